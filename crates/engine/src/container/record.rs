//! One container: what was asked for, what it stands on, where it is in its life.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use shipway_container::{Container, Image};
use shipway_oci::Healthcheck;
use time::OffsetDateTime;

use super::health::{self, Health, Status};
use super::life::Lifeline;
use super::publish::Published;
use crate::model::create::CreateBody;
use crate::name::ResourceName;
use crate::plan::PortPlan;

/// A container of the engine.
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) created: OffsetDateTime,
    /// The bytes that it was reserved with.
    pub(crate) size: usize,
    pub(crate) image: Image,
    pub(crate) body: CreateBody,
    /// As the client sent it.
    pub(crate) host_config: Value,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) mounts: Vec<MountShown>,
    pub(crate) ports: Vec<PortPlan>,
    /// The client's and the image's in one.
    pub(crate) healthcheck: Option<Healthcheck>,
    pub(crate) container: Container,
    pub(crate) life: Lifeline,
    /// Held while it is started, stopped or removed.
    pub(crate) transition: tokio::sync::Mutex<()>,
    name: Mutex<ResourceName>,
    health: Mutex<Health>,
    published: Mutex<Vec<Published>>,
    networks: Mutex<BTreeMap<String, Vec<String>>>,
}

/// A mount as `docker inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountShown {
    pub(crate) kind: &'static str,
    /// The volume's name.
    pub(crate) name: Option<String>,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

/// What a record is made of.
pub(crate) struct NewRecord {
    pub(crate) size: usize,
    pub(crate) name: ResourceName,
    pub(crate) image: Image,
    pub(crate) body: CreateBody,
    pub(crate) host_config: Value,
    pub(crate) mounts: Vec<MountShown>,
    pub(crate) ports: Vec<PortPlan>,
    pub(crate) networks: BTreeMap<String, Vec<String>>,
    pub(crate) container: Container,
}

impl Record {
    pub(crate) fn new(new: NewRecord) -> Record {
        let mut labels = new.image.config.config.labels.clone();
        labels.extend(new.body.labels.clone());
        let own = &new.image.config.config.healthcheck;
        let healthcheck = health::merge(new.body.healthcheck.as_ref(), own.as_ref());
        Record {
            id: new.container.id().to_string(),
            created: OffsetDateTime::now_utc(),
            size: new.size,
            image: new.image,
            body: new.body,
            host_config: new.host_config,
            labels,
            mounts: new.mounts,
            ports: new.ports,
            healthcheck,
            container: new.container,
            life: Lifeline::new(),
            transition: tokio::sync::Mutex::new(()),
            name: Mutex::new(new.name),
            health: Mutex::new(Health::new(Status::None)),
            published: Mutex::new(Vec::new()),
            networks: Mutex::new(new.networks),
        }
    }

    pub(crate) fn name(&self) -> ResourceName {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_name(&self, name: ResourceName) {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    pub(crate) fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn published(&self) -> MutexGuard<'_, Vec<Published>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The networks it is in, and what else it is called there.
    pub(crate) fn networks(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
