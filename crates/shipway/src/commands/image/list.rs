//! What is there: local images, the registry's repositories, one image's configuration, names given and taken.

use shipway_container::Image;
use shipway_store::Scope;

use super::{lookup_failed, no_such_image};
use crate::commands::build::parse_reference;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// Repositories and tags are read in pages of this many.
const PAGE: usize = 500;

pub(super) async fn local(installation: &Installation, json: bool) -> Result<(), Failure> {
    let images = installation.images();
    let list = async |scope| images.list(&scope).await.map_err(|error| lookup_failed(&error));
    let imported = list(Scope::imported()).await?;
    let mut rows = Vec::new();
    for listed in list(Scope::user()).await? {
        for reference in &listed.references {
            // An import that stood in for its registry is the user's image as well: it is listed once, as what it is.
            let stood_in = imported
                .iter()
                .any(|other| other.image.id == listed.image.id && other.references.contains(reference));
            if !stood_in {
                let origin = "built or pulled".to_owned();
                rows.push((reference.familiar(), listed.image.clone(), origin));
            }
        }
    }
    for listed in &imported {
        rows.extend(
            listed
                .references
                .iter()
                .map(|name| (name.familiar(), listed.image.clone(), "imported".to_owned())),
        );
    }
    for scope in pulled_scopes(installation)? {
        let origin = format!("pulled for {}", scope.pulled_for().unwrap_or_default());
        for listed in list(scope).await? {
            let names = listed.references.iter();
            rows.extend(names.map(|name| (name.familiar(), listed.image.clone(), origin.clone())));
        }
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, image, origin)| (name, image.id.clone(), image.compressed_size(), origin))
        .collect();
    if json {
        for (name, id, size, origin) in rows {
            screen::document(
                &serde_json::json!({"name": name, "id": id, "size": size, "origin": origin}).to_string(),
            );
        }
        return Ok(());
    }
    let width = rows
        .iter()
        .map(|(name, ..)| name.len())
        .max()
        .unwrap_or(0)
        .max("NAME".len());
    screen::line(&format!("{:width$}  {:12}  {:>9}  ORIGIN", "NAME", "ID", "SIZE"));
    for (name, id, size, origin) in rows {
        screen::line(&format!(
            "{name:width$}  {}  {:>9}  {origin}",
            id.short(),
            screen::size(size)
        ));
    }
    Ok(())
}

fn pulled_scopes(installation: &Installation) -> Result<Vec<Scope>, Failure> {
    let scopes = installation.store.pulled_scopes();
    scopes.map_err(|error| lookup_failed(&error))
}

pub(super) fn registry(installation: &Installation, json: bool) -> Result<(), Failure> {
    let store = &installation.store;
    let failed = |error: shipway_store::StoreError| lookup_failed(&error);
    let mut last = None;
    loop {
        let repositories = store.repositories(last.as_ref(), PAGE).map_err(failed)?;
        for repository in &repositories {
            let mut last_tag = None;
            loop {
                let tags = store.tags(repository, last_tag.as_ref(), PAGE).map_err(failed)?;
                for tag in &tags {
                    let selector = shipway_store::ManifestSelector::Tag(tag.clone());
                    let Some(manifest) = store.manifest(repository, &selector).map_err(failed)? else {
                        continue;
                    };
                    let name = format!("{}/{repository}:{tag}", installation.settings.registry.listen);
                    if json {
                        let row = serde_json::json!({"name": name, "digest": manifest.digest});
                        screen::document(&row.to_string());
                    } else {
                        screen::line(&format!("{name}@{}", manifest.digest));
                    }
                }
                if tags.len() < PAGE {
                    break;
                }
                last_tag = tags.last().cloned();
            }
        }
        if repositories.len() < PAGE {
            return Ok(());
        }
        last = repositories.last().cloned();
    }
}

/// One of the images that `image ls` lists, the user's own or else an imported one, and whose it is.
async fn listed(installation: &Installation, name: &str) -> Result<(Scope, Image), Failure> {
    let images = installation.images();
    for scope in [Scope::user(), Scope::imported()] {
        let found = images.resolve(&scope, name).await;
        if let Some(image) = found.map_err(|error| lookup_failed(&error))? {
            return Ok((scope, image));
        }
    }
    Err(no_such_image(name))
}

pub(super) async fn inspect(installation: &Installation, name: &str) -> Result<(), Failure> {
    let (_, image) = listed(installation, name).await?;
    let description = serde_json::json!({
        "id": image.id,
        "manifest": image.manifest,
        "config": image.config,
        "layers": image.layers,
    });
    screen::document(&format!("{description:#}"));
    Ok(())
}

pub(super) async fn tag(installation: &Installation, name: &str, reference: &str) -> Result<(), Failure> {
    let images = installation.images();
    let reference = parse_reference(reference)?;
    let (scope, image) = listed(installation, name).await?;
    if scope == Scope::user() {
        images
            .tag(&scope, &image.manifest, &reference)
            .await
            .map_err(|error| lookup_failed(&error))
    } else {
        let adopted = images.adopt(&Scope::user(), &reference, image).await;
        adopted.map(|_| ()).map_err(|error| lookup_failed(&error))
    }
}

pub(super) async fn remove(installation: &Installation, names: &[String]) -> Result<(), Failure> {
    let images = installation.images();
    let mut scopes = pulled_scopes(installation)?;
    scopes.extend([Scope::user(), Scope::imported()]);
    let mut missing = Vec::new();
    for name in names {
        let reference = parse_reference(name)?;
        let mut found = false;
        for scope in &scopes {
            found |= images
                .untag(scope, &reference)
                .await
                .map_err(|error| lookup_failed(&error))?;
        }
        if found {
            screen::line(&format!("removed {}", reference.familiar()));
        } else {
            missing.push(format!("`{name}`"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::Use,
        format!("there is no image {} on this machine", missing.join(", ")),
    ))
}
