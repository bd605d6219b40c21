//! Volumes as clients know them: names of directories in the pod, gone with it.
//!
//! The directory itself belongs to the pod; this table knows which volumes exist, what they are labelled and who uses
//! them. A volume in use is never removed, by nobody's force.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::failure::Failure;
use crate::filter::Filters;
use crate::model::nullable;
use crate::name::ResourceName;

/// More volumes than any job needs.
const MOST_VOLUMES: usize = 1024;

/// The body of `POST /volumes/create`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct VolumeBody {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) driver: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) driver_opts: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// One volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) name: ResourceName,
    labels: BTreeMap<String, String>,
    created: OffsetDateTime,
    anonymous: bool,
    /// Containers that mount it, running or not.
    users: BTreeSet<String>,
}

/// The volumes of one engine.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    by_name: BTreeMap<ResourceName, Volume>,
}

impl Volumes {
    /// The volume of that name, made if it is new; an empty name makes an anonymous one.
    pub(crate) fn create(&mut self, body: VolumeBody) -> Result<&Volume, Failure> {
        if !matches!(body.driver.as_str(), "" | "local") {
            return Err(Failure::bad_request(format!(
                "volume driver {:?} is not there: only local is",
                body.driver
            )));
        }
        if let Some(option) = body.driver_opts.keys().next() {
            return Err(Failure::bad_request(format!(
                "volume option {option:?} is not supported: volumes are directories of the job"
            )));
        }
        let anonymous = body.name.is_empty();
        let name = if anonymous {
            ResourceName::generate(|_| true)
        } else {
            body.name
                .parse()
                .map_err(|error| Failure::from_error(http::StatusCode::BAD_REQUEST, &error))?
        };
        self.ensure(name, anonymous, body.labels)
    }

    fn ensure(
        &mut self,
        name: ResourceName,
        anonymous: bool,
        labels: BTreeMap<String, String>,
    ) -> Result<&Volume, Failure> {
        if !self.by_name.contains_key(&name) && self.by_name.len() >= MOST_VOLUMES {
            return Err(Failure::conflict(format!(
                "there are {MOST_VOLUMES} volumes already: remove some"
            )));
        }
        Ok(self.by_name.entry(name.clone()).or_insert_with(|| Volume {
            name,
            labels,
            created: OffsetDateTime::now_utc(),
            anonymous,
            users: BTreeSet::new(),
        }))
    }

    /// Notes that a container mounts a volume, made if it is new; says whether it was.
    pub(crate) fn use_by(
        &mut self,
        name: &ResourceName,
        anonymous: bool,
        container: &str,
    ) -> Result<bool, Failure> {
        let new = !self.by_name.contains_key(name);
        self.ensure(name.clone(), anonymous, BTreeMap::new())?;
        if let Some(volume) = self.by_name.get_mut(name) {
            volume.users.insert(container.to_owned());
        }
        Ok(new)
    }

    /// Forgets a container; returns the anonymous volumes that nobody else uses.
    pub(crate) fn forget_container(&mut self, container: &str) -> Vec<ResourceName> {
        let mut orphans = Vec::new();
        for volume in self.by_name.values_mut() {
            if volume.users.remove(container) && volume.anonymous && volume.users.is_empty() {
                orphans.push(volume.name.clone());
            }
        }
        orphans
    }

    pub(crate) fn find(&self, asked: &str) -> Result<&Volume, Failure> {
        asked
            .parse::<ResourceName>()
            .ok()
            .and_then(|name| self.by_name.get(&name))
            .ok_or_else(|| Failure::not_found(format!("get {asked}: no such volume")))
    }

    pub(crate) fn remove(&mut self, asked: &str) -> Result<ResourceName, Failure> {
        let volume = self.find(asked)?;
        if let Some(user) = volume.users.first() {
            return Err(Failure::conflict(format!(
                "remove {asked}: volume is in use - [{user}]"
            )));
        }
        let name = volume.name.clone();
        self.by_name.remove(&name);
        Ok(name)
    }

    /// Removes what nobody uses and returns the names: the anonymous ones, or all with `all=1`.
    pub(crate) fn prune(&mut self, filters: &Filters) -> Vec<ResourceName> {
        let all = filters.truth("all") == Some(true);
        let unused: Vec<ResourceName> = self
            .by_name
            .values()
            .filter(|volume| volume.users.is_empty() && (all || volume.anonymous))
            .filter(|volume| filters.admits_labels(&volume.labels) && filters.admits_moment(volume.created))
            .map(|volume| volume.name.clone())
            .collect();
        for name in &unused {
            self.by_name.remove(name);
        }
        unused
    }

    /// The volumes that a list request's filters let through.
    pub(crate) fn list<'a>(&'a self, filters: &'a Filters) -> impl Iterator<Item = &'a Volume> {
        self.by_name.values().filter(|volume| {
            filters.admits("name", |wanted| volume.name.as_str().contains(wanted.as_str()))
                && filters.admits("driver", |wanted| wanted == "local")
                && filters
                    .truth("dangling")
                    .is_none_or(|dangling| dangling == volume.users.is_empty())
                && filters.admits_labels(&volume.labels)
        })
    }
}

impl Volume {
    pub(crate) fn json(&self) -> Value {
        json!({
            "Name": self.name.as_str(),
            "Driver": "local",
            "Mountpoint": format!("/volumes/{}", self.name),
            "CreatedAt": rfc3339(Some(self.created)),
            "Labels": self.labels,
            "Scope": "local",
            "Options": null,
            "UsageData": { "Size": -1, "RefCount": self.users.len() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_in_use_stays() {
        let mut volumes = Volumes::default();
        let name = volumes
            .create(VolumeBody {
                name: "data".to_owned(),
                ..VolumeBody::default()
            })
            .unwrap()
            .name
            .clone();
        assert!(!volumes.use_by(&name, false, "c1").unwrap());
        assert_eq!(volumes.remove("data").unwrap_err().status(), 409);
        assert!(volumes.forget_container("c1").is_empty());
        assert_eq!(volumes.remove("data").unwrap(), name);
        assert_eq!(volumes.remove("data").unwrap_err().status(), 404);
    }

    #[test]
    fn anonymous_volumes_go_with_their_last_container() {
        let mut volumes = Volumes::default();
        let name = volumes.create(VolumeBody::default()).unwrap().name.clone();
        volumes.use_by(&name, true, "c1").unwrap();
        volumes.use_by(&name, true, "c2").unwrap();
        assert!(volumes.forget_container("c1").is_empty());
        assert_eq!(volumes.forget_container("c2"), std::slice::from_ref(&name));
        assert_eq!(volumes.prune(&Filters::default()), [name]);
    }

    #[test]
    fn drivers_and_options_are_refused_by_name() {
        let mut volumes = Volumes::default();
        let body = VolumeBody {
            driver: "nfs".to_owned(),
            ..VolumeBody::default()
        };
        assert!(volumes.create(body).unwrap_err().message().contains("nfs"));
        let body = VolumeBody {
            driver_opts: [("o".to_owned(), "bind".to_owned())].into(),
            ..VolumeBody::default()
        };
        assert!(volumes.create(body).unwrap_err().message().contains("\"o\""));
    }
}
