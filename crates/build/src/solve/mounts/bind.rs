//! `type=bind`: files of the context, of a stage or of an image.
//!
//! They are copied into a directory of the step, so that a step which may write to them (`rw`) changes nothing but its copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_sandbox::{ArchiveRequest, ArchiveRoot, Conflict, FileKind, Keeper, MountSource};

use super::{Making, failed};
use crate::context::View;
use crate::error::StepError;
use crate::plan::{CopyInputs, CopySource, Destination, Ground, Item, Sources, copy_key, join_path, select};
use crate::solve::contexts::Material;
use crate::solve::copy::{exclude_list, hashes};
use crate::solve::place::{Placing, Upper};
use crate::solve::roots::Roots;
use crate::solve::site::blocking;
use crate::solve::stage::{Snapshot, Stage};

/// What a bind mount shows.
pub(super) enum Bound {
    Files {
        items: Vec<Item>,
        view: Arc<View>,
        /// The only file, which is mounted itself.
        file: Option<PathBuf>,
    },
    Root(RootFiles),
}

/// A path of a stage or an image.
pub(super) struct RootFiles {
    pub(super) from: Arc<Snapshot>,
    path: String,
    /// As the author calls it.
    label: String,
}

impl Stage<'_> {
    /// What `from` and `source` name, and what stands for it in a key.
    pub(super) async fn bound(
        &self,
        from: Option<String>,
        source: Option<String>,
    ) -> Result<(Bound, String), StepError> {
        let path = source.unwrap_or_else(|| "/".to_owned());
        let (label, view) = match from {
            None => (None, Arc::clone(&self.build.view)),
            Some(label) => match self.source(&label).await? {
                Material::Files(view) => (Some(label), view),
                Material::Root(from) => {
                    let identity = format!("{:?}", (from.chain(), &path));
                    return Ok((Bound::Root(RootFiles { from, path, label }), identity));
                }
            },
        };
        let platform = self.platform.clone();
        blocking(move || {
            let placement = select(view.tree(), &path, &exclude_list(&[])?, false)?;
            let file = (!placement.folder)
                .then(|| placement.items.first().map(|item| item.to.clone()))
                .flatten();
            let hashes = hashes(&view, &placement.items)?;
            // A file is mounted itself, a folder with what is in it.
            let whole = Destination::of("/source", Sources::None.and_all(&placement));
            let content = copy_key(&CopyInputs {
                ground: Ground::Root(None),
                platform: &platform,
                epoch: 0,
                destination: &whole,
                destination_text: "",
                chown: "",
                chmod: "",
                sources: &[CopySource::Files {
                    items: &placement.items,
                    hashes: &hashes,
                }],
            });
            let items = placement.items;
            Ok((Bound::Files { items, view, file }, content.to_string()))
        })
        .await
        .map_err(|error| error.in_context(label))
    }
}

impl Bound {
    /// Blocks.
    pub(super) fn make(self, making: &Making) -> Result<MountSource, StepError> {
        making
            .keeper
            .make_directory(&making.place, 0o755, (0, 0))
            .map_err(failed)?;
        let tree = making.place.join("fs");
        Ok(MountSource::Keeper(match self.copy(making)? {
            Some(name) => tree.join(name),
            None => tree,
        }))
    }

    /// Copies it below the place, which is there; gives the name of the only file, if it is no directory. Blocks.
    pub(super) fn copy(self, making: &Making) -> Result<Option<PathBuf>, StepError> {
        match self {
            Self::Files { items, view, file } => {
                let placing = placing(&making.keeper, &making.place, making.epoch);
                let target = placing.target(&Destination::Directory("/".into()), "", None)?;
                placing.items(&target, &view, &items)?;
                Ok(file)
            }
            Self::Root(files) => files.copy(making),
        }
    }
}

impl RootFiles {
    fn copy(self, making: &Making) -> Result<Option<PathBuf>, StepError> {
        let (keeper, root) = (&making.keeper, &making.root);
        let placing = placing(keeper, &making.place, making.epoch);
        let roots = Roots {
            keeper,
            root: root.clone(),
        };
        let asked = PathBuf::from(join_path("/", &self.path));
        let is_root = asked == Path::new("/");
        let (real, directory) = match roots.follow(&asked)? {
            Some((real, status)) => (real, status.kind == FileKind::Directory),
            None if is_root => (asked, true),
            None => {
                return Err(StepError::MissingInRoot {
                    path: self.path,
                    from: self.label,
                });
            }
        };
        let relative_to = if directory {
            real.clone()
        } else {
            real.parent().unwrap_or(Path::new("/")).into()
        };
        let mut target = placing.target(&Destination::Directory("/".into()), "", None)?;
        target.conflict = Conflict::Replace;
        placing.apply(&target, |output| {
            let mut request =
                ArchiveRequest::new(ArchiveRoot::Root(root.clone()), vec![real.clone()], output);
            request.relative_to.clone_from(&relative_to);
            keeper.archive(request).map(drop).map_err(failed)
        })?;
        Ok(real.file_name().filter(|_| !directory).map(PathBuf::from))
    }
}

fn placing(keeper: &Keeper, place: &Path, epoch: i64) -> Placing {
    Placing {
        keeper: keeper.clone(),
        layers: Vec::new(),
        upper: Upper::Over(place.to_owned()),
        epoch,
    }
}
