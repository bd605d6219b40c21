//! Remove and prune: a container goes with what only it had.
//!
//! The container itself comes first: when that fails nothing else is touched and the client may try again. A volume that
//! cannot go stays until the pod ends.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;

use super::life::Phase;
use super::record::Record;
use crate::engine::Inner;
use crate::failure::{Failure, told};
use crate::filter::Filters;
use crate::name::ResourceName;
use crate::query::Query;
use crate::reply::{self, Reply};

/// Whether a container's anonymous volumes go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VolumesToo {
    Yes,
    No,
}

impl Inner {
    pub(crate) async fn remove_container(
        self: &Arc<Inner>,
        record: &Arc<Record>,
        query: &Query,
    ) -> Result<Reply, Failure> {
        if query.flag("link") {
            return Ok(reply::empty(StatusCode::NO_CONTENT));
        }
        if record.life.is_running() {
            if !query.flag("force") {
                return Err(Failure::conflict(format!(
                    "cannot remove container \"/{}\": container is running: stop the container before removing or force remove",
                    record.name()
                )));
            }
            self.kill_and_wait(record).await?;
        }
        let volumes = if query.flag("v") {
            VolumesToo::Yes
        } else {
            VolumesToo::No
        };
        self.remove(record, volumes).await?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    /// Removes what is not running; nothing happens to what somebody else removes.
    pub(super) async fn remove(&self, record: &Arc<Record>, volumes: VolumesToo) -> Result<(), Failure> {
        let _transition = record.transition.lock().await;
        match record.life.now().phase {
            Phase::Removed => return Ok(()),
            Phase::Running { .. } => {
                return Err(Failure::conflict(format!(
                    "container {} was started again",
                    record.name()
                )));
            }
            Phase::Created | Phase::Exited { .. } => {}
        }
        record.container.remove(false).await.map_err(|error| {
            Failure::internal(format!(
                "cannot remove container {}: {}",
                record.name(),
                told(&error)
            ))
        })?;
        self.pod.give_back_image(&record.image.manifest).await;
        self.containers.remove(record);
        self.execs.forget_container(&record.id);
        self.networks().forget_container(&record.id);
        let orphans = self.volumes().forget_container(&record.id);
        if volumes == VolumesToo::Yes {
            for orphan in orphans {
                self.drop_volume(&orphan).await;
            }
        }
        record.life.removed();
        self.tell(record, "destroy", []);
        Ok(())
    }

    async fn drop_volume(&self, name: &ResourceName) {
        let removed = self.volumes().remove(name.as_str());
        if removed.is_ok()
            && let Err(error) = self.pod.remove_volume(name.as_str()).await
        {
            tracing::debug!(error = told(&error), volume = %name, "a volume stays until the pod ends");
        }
    }

    pub(crate) async fn prune_containers(self: &Arc<Inner>, query: &Query) -> Result<Reply, Failure> {
        let filters = Filters::from_query(query, &["label", "label!", "until"])?;
        let mut deleted = Vec::new();
        for record in self.containers.all() {
            if !record.life.is_running()
                && filters.admits_labels(&record.labels)
                && filters.admits_moment(record.created)
            {
                self.remove(&record, VolumesToo::No).await?;
                deleted.push(record.id.clone());
            }
        }
        Ok(reply::json(
            StatusCode::OK,
            &json!({ "ContainersDeleted": deleted, "SpaceReclaimed": 0 }),
        ))
    }

    /// At the end of the engine.
    pub(crate) async fn remove_all_containers(self: &Arc<Inner>) {
        let removals = self.containers.all().into_iter().map(|record| {
            let engine = Arc::clone(self);
            async move {
                if record.life.is_running() {
                    engine.kill_and_wait(&record).await?;
                }
                engine.remove(&record, VolumesToo::Yes).await
            }
        });
        for outcome in futures::future::join_all(removals).await {
            if let Err(failure) = outcome {
                tracing::warn!(error = failure.message(), "a container stays until its pod ends");
            }
        }
    }
}
