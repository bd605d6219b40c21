//! `DELETE /images/{name}` and prune.
//!
//! A name is taken away; with its last name the image goes. By id, an image with several names needs force. An image that
//! a container stands on stays, unless the container is stopped and force is used.

use http::StatusCode;
use serde_json::{Value, json};
use shipway_container::ListedImage;
use shipway_oci::Reference;

use super::known::lookup_failure;
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::event::EventKind;
use crate::failure::Failure;
use crate::filter::Filters;
use crate::name::short;
use crate::query::Query;
use crate::reply::{self, Reply};

impl Inner {
    pub(crate) async fn remove_image(&self, asked: &str, query: &Query) -> Result<Reply, Failure> {
        let force = query.flag("force");
        let listed = self.listed_images().await?;
        let named = Reference::parse(asked).ok().and_then(|reference| {
            listed
                .iter()
                .find(|listed| listed.references.contains(&reference))
                .map(|listed| (listed.clone(), reference))
        });
        let done = match named {
            Some((listed, reference)) => self.untag(&listed, &reference, force).await?,
            None => {
                let image = self.find_image(asked).await?;
                let found = listed.into_iter().find(|listed| listed.image.id == image.id);
                let found = found.ok_or_else(|| Failure::no_such_image(asked))?;
                if found.references.len() > 1 && !force {
                    return Err(Failure::conflict(format!(
                        "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
                        image.id.short()
                    )));
                }
                self.delete(&found, force).await?
            }
        };
        Ok(reply::json(StatusCode::OK, &done))
    }

    async fn untag(
        &self,
        listed: &ListedImage,
        reference: &Reference,
        force: bool,
    ) -> Result<Vec<Value>, Failure> {
        if listed.references.len() == 1 {
            self.refuse_in_use(
                listed,
                force,
                &format!("remove repository reference \"{}\"", reference.familiar()),
            )?;
        }
        if !self.forget_name(reference).await? {
            return Err(Failure::no_such_image(&reference.familiar()));
        }
        let id = listed.image.id.to_string();
        self.events
            .tell(EventKind::Image, "untag", &id, [("name", reference.familiar())]);
        let mut done = vec![json!({ "Untagged": reference.familiar() })];
        if listed.references.len() == 1 {
            self.events.tell(EventKind::Image, "delete", &id, []);
            done.push(json!({ "Deleted": id }));
        }
        Ok(done)
    }

    async fn delete(&self, listed: &ListedImage, force: bool) -> Result<Vec<Value>, Failure> {
        self.refuse_in_use(listed, force, &format!("delete {}", listed.image.id.short()))?;
        let mut removed = false;
        for reference in &listed.references {
            removed |= self.forget_name(reference).await?;
        }
        removed |= self.remove_own(listed).await?;
        if !removed {
            return Err(Failure::no_such_image(listed.image.id.as_ref()));
        }
        Ok(self.tell_deleted(listed))
    }

    /// From the scope, with all names that it has there.
    async fn remove_own(&self, listed: &ListedImage) -> Result<bool, Failure> {
        let removed = self.images.remove(&self.scope, &listed.image.manifest).await;
        removed.map_err(|error| lookup_failure(&error))
    }

    fn tell_deleted(&self, listed: &ListedImage) -> Vec<Value> {
        let id = listed.image.id.to_string();
        self.events.tell(EventKind::Image, "delete", &id, []);
        let mut done: Vec<Value> = listed
            .references
            .iter()
            .map(|reference| json!({ "Untagged": reference.familiar() }))
            .collect();
        done.push(json!({ "Deleted": id }));
        done
    }

    fn refuse_in_use(&self, listed: &ListedImage, force: bool, action: &str) -> Result<(), Failure> {
        let users = self.users_of(&listed.image);
        if let Some(running) = users.iter().find(|record| record.life.is_running()) {
            return Err(Failure::conflict(format!(
                "conflict: unable to {action} (cannot be forced) - image is being used by running container {}",
                short(&running.id)
            )));
        }
        match users.first() {
            Some(user) if !force => Err(Failure::conflict(format!(
                "conflict: unable to {action} (must force) - container {} is using its referenced image {}",
                short(&user.id),
                listed.image.id.short()
            ))),
            _ => Ok(()),
        }
    }

    /// Without names, or with `dangling=false` all that no container stands on. What was imported stays: no registry brings it back.
    pub(crate) async fn prune_images(&self, call: &Call) -> Result<Reply, Failure> {
        let filters = Filters::from_query(&call.query, &["dangling", "label", "label!", "until"])?;
        let all = filters.truth("dangling") == Some(false);
        let (mut deleted, mut reclaimed) = (Vec::new(), 0u64);
        for listed in self.own_images().await? {
            let wanted = (all || listed.references.is_empty())
                && self.users_of(&listed.image).is_empty()
                && filters.admits_labels(&listed.image.config.config.labels)
                && filters.admits_moment(listed.created.into());
            if wanted {
                self.remove_own(&listed).await?;
                deleted.extend(self.tell_deleted(&listed));
                reclaimed = reclaimed.saturating_add(listed.image.compressed_size());
            }
        }
        Ok(reply::json(
            StatusCode::OK,
            &json!({ "ImagesDeleted": deleted, "SpaceReclaimed": reclaimed }),
        ))
    }
}
