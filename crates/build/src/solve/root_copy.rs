//! COPY --from: from one root file system into another, through the keeper.
//!
//! Where names and modes stay, the keeper's two workers are connected by a pipe and no byte passes through us.

use std::path::{Path, PathBuf};

use shipway_sandbox::{ArchiveRequest, ArchiveRoot, FileKind, LinkedFiles, RootSpec};

use super::mode::ModeChange;
use super::place::{Placing, Target, rewrite};
use super::roots::Roots;
use super::stream::{file, finish, tar_writer, through_pipe};
use crate::error::StepError;
use crate::ignore::{Glob, IgnoreList};
use crate::plan::{Destination, Sources, join_path};

/// COPY --from, once the root can be looked at.
pub(super) struct RootCopy<'a> {
    pub(super) placing: &'a Placing,
    pub(super) root: &'a RootSpec,
    pub(super) label: &'a str,
    /// Absolute, with its trailing slash if it had one.
    pub(super) destination_text: &'a str,
    pub(super) chown: &'a str,
    pub(super) chmod: Option<&'a ModeChange>,
    pub(super) exclude: &'a IgnoreList,
    pub(super) parents: bool,
}

impl RootCopy<'_> {
    pub(super) fn paths(&self, paths: &[String]) -> Result<(), StepError> {
        let keeper = &self.placing.keeper;
        let source = Roots {
            keeper,
            root: self.root.clone(),
        };
        let mut found = Vec::new();
        for asked in paths {
            let absolute = join_path("/", asked);
            let missing = || StepError::MissingInRoot {
                path: asked.clone(),
                from: self.label.to_owned(),
            };
            if Glob::is_pattern(&absolute) {
                for path in source.glob(&absolute)? {
                    let path = Path::new("/").join(path);
                    // A link that leads nowhere is passed over when only a pattern named it.
                    found.extend(source.follow(&path)?.map(|(real, status)| (path, real, status)));
                }
            } else {
                let path = PathBuf::from(absolute);
                let (real, status) = source.follow(&path)?.ok_or_else(missing)?;
                found.push((path, real, status));
            }
        }
        if found.is_empty() {
            let path = paths.join(" ");
            return Err(StepError::MissingInRoot {
                path,
                from: self.label.to_owned(),
            });
        }
        let kinds = found
            .iter()
            .map(|(_, _, status)| self.parents || status.kind == FileKind::Directory)
            .fold(Sources::None, Sources::and);
        let destination = Destination::of(self.destination_text, kinds);
        for (asked, real, status) in found {
            let target = self
                .placing
                .target(&destination, self.chown, self.chmod.cloned())?;
            self.one(&target, &asked, &real, status.kind == FileKind::Directory)?;
        }
        Ok(())
    }

    fn one(&self, target: &Target, asked: &Path, real: &Path, directory: bool) -> Result<(), StepError> {
        let relative_to = if directory {
            real
        } else {
            real.parent().unwrap_or(Path::new("/"))
        };
        let archive = |output| {
            let request = ArchiveRequest {
                root: ArchiveRoot::Root(self.root.clone()),
                paths: vec![real.to_owned()],
                relative_to: relative_to.to_owned(),
                prefix: std::path::PathBuf::new(),
                follow: false,
                owner: target.owner,
                clamp_mtime: Some(self.placing.epoch),
                linked: if self.exclude.is_empty() {
                    LinkedFiles::Once
                } else {
                    LinkedFiles::EachTime
                },
                output,
            };
            self.placing
                .keeper
                .archive(request)
                .map(drop)
                .map_err(|source| StepError::Keeper {
                    action: "read the files of another stage",
                    source,
                })
        };
        let own_name = asked.file_name().map(PathBuf::from).unwrap_or_default();
        let prefix = if self.parents {
            asked.strip_prefix("/").unwrap_or(asked).to_owned()
        } else {
            PathBuf::new()
        };
        let as_is = directory || real.file_name() == asked.file_name() && target.name.is_none();
        let untouched =
            as_is && prefix.as_os_str().is_empty() && self.exclude.is_empty() && target.mode.is_none();
        if untouched {
            return self.placing.apply(target, archive);
        }
        self.placing.apply(target, |end| {
            through_pipe(archive, |input| {
                let mut tar = tar_writer(end);
                rewrite(&mut file(input), &mut tar, target, |name| {
                    let excluded = self.exclude.ignores(&name.to_string_lossy());
                    let own = match (directory, self.parents) {
                        (true, _) => prefix.join(name),
                        (false, true) => prefix.clone(),
                        (false, false) => own_name.clone(),
                    };
                    (!excluded).then(|| target.entry(&own))
                })?;
                Ok(finish(tar)?)
            })
            .map(drop)
        })
    }
}
