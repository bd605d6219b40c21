//! Images removed: by name as long as they have several, by id or digest when they have one name or none.
//!
//! What a name means is taken away wherever it means it: for the person, for the import that stands in for a registry, for every
//! project.

use std::collections::{BTreeMap, BTreeSet};

use shipway_container::Image;
use shipway_oci::{Digest, Platform, Reference};
use shipway_store::Scope;

use super::list::lasting_scopes;
use super::lookup_failed;
use crate::commands::build::parse_reference;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// Of a whole SHA-256.
const DIGITS: usize = 64;

pub(super) async fn remove(installation: &Installation, asked: &[String]) -> Result<(), Failure> {
    let images = installation.images();
    let mut missing = Vec::new();
    for text in asked {
        let scopes = lasting_scopes(installation)?;
        let mut found = false;
        // No name has as many hexadecimal digits as a digest, and what begins like one is one.
        if digits(text).is_none_or(|digits| digits.len() < DIGITS && digits == text) {
            let reference = parse_reference(text)?;
            for scope in &scopes {
                found |= images
                    .untag(scope, &reference)
                    .await
                    .map_err(|error| lookup_failed(&error))?;
            }
            if found {
                screen::line(&format!("removed {}", reference.familiar()));
            }
        }
        if !found && !remove_by_digest(installation, &scopes, text)? {
            missing.push(format!("`{text}`"));
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

/// The hexadecimal digits of what may be the beginning of a digest.
fn digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hexadecimal && !digits.is_empty()).then_some(digits)
}

/// One image, wherever it is.
#[derive(Default)]
struct Found {
    names: BTreeSet<Reference>,
    places: BTreeSet<(Scope, Digest)>,
    /// Its own manifest, too, where the places have an index.
    manifests: BTreeSet<Digest>,
}

/// Removes the image whose id or manifest begins so; false when there is none.
fn remove_by_digest(installation: &Installation, scopes: &[Scope], text: &str) -> Result<bool, Failure> {
    let Some(digits) = digits(text) else {
        return Ok(false);
    };
    let found = find(installation, scopes, digits)?;
    let mut found = found.into_iter();
    let Some((id, image)) = found.next() else {
        return Ok(false);
    };
    let others = found.len();
    if others > 0 {
        let message = format!(
            "`{text}` begins the ids of {} images: write more of it",
            others + 1
        );
        return Err(Failure::new(FailureKind::Use, message));
    }
    if image.names.len() > 1 {
        let names: Vec<_> = image.names.iter().map(Reference::familiar).collect();
        let message = format!("the image {} has several names: {}", id.short(), names.join(", "));
        return Err(
            Failure::new(FailureKind::Use, message).hint("remove them by name; the image goes with its last")
        );
    }
    let store = &installation.store;
    for manifest in &image.manifests {
        if store.is_lent(manifest).map_err(|error| lookup_failed(&error))? {
            let message = format!(
                "a container of an engine that runs stands on the image {}",
                id.short()
            );
            return Err(Failure::new(FailureKind::Use, message)
                .hint("remove the container first, with `docker rm`, or end the engine"));
        }
    }
    for (scope, manifest) in &image.places {
        let removed = store.forget_manifest(scope, manifest);
        removed.map_err(|error| lookup_failed(&error))?;
    }
    for name in &image.names {
        screen::line(&format!("removed {}", name.familiar()));
    }
    screen::line(&format!("removed {id}"));
    Ok(true)
}

/// Images by their ids; those that cannot be read as an image by the digest of their manifest.
fn find(
    installation: &Installation,
    scopes: &[Scope],
    digits: &str,
) -> Result<BTreeMap<Digest, Found>, Failure> {
    let mut found: BTreeMap<Digest, Found> = BTreeMap::new();
    for scope in scopes {
        let images = installation.store.images(scope);
        for named in images.map_err(|error| lookup_failed(&error))? {
            let image = Image::load(&installation.store, None, &named.manifest, &Platform::host()).ok();
            let (id, own) = image.map_or_else(
                || (named.manifest.clone(), named.manifest.clone()),
                |image| (image.id, image.manifest),
            );
            if [&id, &own, &named.manifest]
                .iter()
                .any(|digest| digest.hex().starts_with(digits))
            {
                let entry = found.entry(id).or_default();
                entry.names.extend(named.reference);
                entry.manifests.extend([own, named.manifest.clone()]);
                entry.places.insert((scope.clone(), named.manifest));
            }
        }
    }
    Ok(found)
}
