//! What is there: local images, the registry's repositories, one image's configuration; and names given.

use std::collections::BTreeSet;

use shipway_container::Image;
use shipway_oci::{Digest, Platform};
use shipway_store::{NamelessImage, Scope};

use super::{Which, lookup_failed, no_such_image};
use crate::commands::build::parse_reference;
use crate::failure::Failure;
use crate::installation::Installation;
use crate::screen;

/// Repositories and tags are read in pages of this many.
const PAGE: usize = 500;
/// As Docker writes it.
const NO_NAME: &str = "<none>";

/// A name of an image, or the lack of one, and where it has it.
struct Row {
    name: Option<String>,
    /// Its id; the digest of its manifest where that is not to be read as an image of this machine's platform.
    id: Digest,
    /// Nothing where the image is not to be read.
    size: Option<u64>,
    origin: Origin,
    /// Of an image for other platforms than this machine's, which.
    platforms: Option<String>,
}

/// How an image came to be here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Own,
    Imported,
    /// By jobs of a project, for branches that are protected or for others: `group/project:protected`.
    Pulled(String),
    Built(String),
}

impl Origin {
    /// Of the images of a scope; nothing for one that `image` has nothing to do with.
    fn of(scope: &Scope) -> Option<Self> {
        if *scope == Scope::user() {
            return Some(Self::Own);
        }
        if *scope == Scope::imported() {
            return Some(Self::Imported);
        }
        let pulled = scope.pulled_for().map(|project| Self::Pulled(project.to_owned()));
        pulled.or_else(|| scope.built_for().map(|project| Self::Built(project.to_owned())))
    }

    /// For people, of one image that came here in several ways of one kind.
    fn describe(origins: &[Self]) -> String {
        let (doing, projects): (_, Vec<&str>) = match origins.first() {
            None => return String::new(),
            Some(Self::Own) => return "built or pulled".to_owned(),
            Some(Self::Imported) => return "imported".to_owned(),
            Some(Self::Pulled(_)) => ("pulled", origins.iter().filter_map(Self::project).collect()),
            Some(Self::Built(_)) => ("built", origins.iter().filter_map(Self::project).collect()),
        };
        let paths: BTreeSet<&str> = projects
            .iter()
            .map(|project| project.rsplit_once(':').map_or(*project, |(path, _)| path))
            .collect();
        match (projects.as_slice(), paths.len()) {
            ([project], _) => format!("{doing} for {project}"),
            (_, 1) => format!("{doing} for {}", paths.first().unwrap_or(&"")),
            (_, number) => format!("{doing} for {number} projects"),
        }
    }

    fn project(&self) -> Option<&str> {
        match self {
            Self::Own | Self::Imported => None,
            Self::Pulled(project) | Self::Built(project) => Some(project),
        }
    }
}

pub(super) async fn local(installation: &Installation, which: Which, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    if which != Which::Nameless {
        rows.extend(named(installation).await?);
    }
    if which != Which::Named {
        rows.extend(nameless(installation)?);
    }
    if json {
        for Row {
            name,
            id,
            size,
            origin,
            platforms,
        } in &rows
        {
            let origin = Origin::describe(std::slice::from_ref(origin));
            let mut row = serde_json::json!({"name": name, "id": id, "size": size, "origin": origin});
            if let Some(platforms) = platforms {
                row["platforms"] = serde_json::json!(platforms);
            }
            screen::document(&row.to_string());
        }
    } else {
        show(&rows);
    }
    Ok(())
}

async fn named(installation: &Installation) -> Result<Vec<Row>, Failure> {
    let images = installation.images();
    let list = async |scope| images.list(&scope).await.map_err(|error| lookup_failed(&error));
    let imported = list(Scope::imported()).await?;
    let mut scopes = lasting_scopes(installation)?;
    // What somebody at the keyboard made comes first.
    scopes.sort_by_key(|scope| (*scope != Scope::user(), *scope != Scope::imported()));
    let mut rows = Vec::new();
    for scope in scopes {
        let Some(origin) = Origin::of(&scope) else {
            continue;
        };
        let foreign = images.list_foreign(&scope).await;
        for foreign in foreign.map_err(|error| lookup_failed(&error))? {
            rows.extend(foreign.references.iter().map(|reference| Row {
                name: Some(reference.familiar()),
                id: foreign.manifest.clone(),
                size: None,
                origin: origin.clone(),
                platforms: Some(foreign.platforms.clone()),
            }));
        }
        for listed in list(scope).await? {
            for reference in &listed.references {
                // An import that stood in for its registry is the user's image as well: it is listed once, as what it is.
                let stood_in = origin == Origin::Own
                    && imported.iter().any(|other| {
                        other.image.id == listed.image.id && other.references.contains(reference)
                    });
                if !stood_in {
                    rows.push(Row {
                        name: Some(reference.familiar()),
                        id: listed.image.id.clone(),
                        size: Some(listed.image.compressed_size()),
                        origin: origin.clone(),
                        platforms: None,
                    });
                }
            }
        }
    }
    Ok(rows)
}

fn nameless(installation: &Installation) -> Result<Vec<Row>, Failure> {
    let nameless = installation.store.nameless_images();
    let rows = nameless
        .map_err(|error| lookup_failed(&error))?
        .into_iter()
        .filter_map(|NamelessImage { scope, manifest, .. }| {
            let origin = Origin::of(&scope)?;
            let image = Image::load(&installation.store, None, &manifest, &Platform::host()).ok();
            Some(Row {
                name: None,
                size: image.as_ref().map(Image::compressed_size),
                id: image.map_or(manifest, |image| image.id),
                origin,
                platforms: None,
            })
        });
    Ok(rows.collect())
}

/// A line for each name of each image, however many projects have it.
fn show(rows: &[Row]) {
    let mut lines: Vec<(&Row, Vec<Origin>)> = Vec::new();
    for row in rows {
        let same = lines.iter_mut().find(|(first, _)| {
            (&first.name, &first.id) == (&row.name, &row.id)
                && std::mem::discriminant(&first.origin) == std::mem::discriminant(&row.origin)
        });
        match same {
            Some((_, origins)) => origins.push(row.origin.clone()),
            None => lines.push((row, vec![row.origin.clone()])),
        }
    }
    let name = |row: &Row| row.name.clone().unwrap_or_else(|| NO_NAME.to_owned());
    let names = lines.iter().map(|(row, _)| name(row).len());
    let width = names.max().unwrap_or(0).max("NAME".len());
    screen::line(&format!("{:width$}  {:12}  {:>9}  ORIGIN", "NAME", "ID", "SIZE"));
    for (row, origins) in lines {
        let platforms = row.platforms.as_ref();
        screen::line(&format!(
            "{:width$}  {}  {:>9}  {}{}",
            name(row),
            row.id.short(),
            row.size.map_or_else(|| "-".to_owned(), screen::size),
            Origin::describe(&origins),
            platforms.map_or_else(String::new, |platforms| format!(", for {platforms}"))
        ));
    }
}

/// The scopes whose images outlive a job.
pub(super) fn lasting_scopes(installation: &Installation) -> Result<Vec<Scope>, Failure> {
    let scopes = installation.store.lasting_scopes();
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
            .tag(&scope, &image.root, &reference)
            .await
            .map_err(|error| lookup_failed(&error))
    } else {
        let adopted = images.adopt(&Scope::user(), &reference, image).await;
        adopted.map(|_| ()).map_err(|error| lookup_failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn several_projects_are_counted() {
        let pulled = |projects: &[&str]| {
            let origins: Vec<Origin> = projects
                .iter()
                .map(|project| Origin::Pulled((*project).to_owned()))
                .collect();
            Origin::describe(&origins)
        };
        assert_eq!(pulled(&["a/b:protected"]), "pulled for a/b:protected");
        assert_eq!(pulled(&["a/b:protected", "a/b:unprotected"]), "pulled for a/b");
        assert_eq!(
            pulled(&["a/b:protected", "a/b:unprotected", "c:protected"]),
            "pulled for 2 projects"
        );
    }
}
