//! Looking at a root without starting anything in it.

use std::path::PathBuf;

use crate::error::Result;
use crate::keeper::Workplace;
use crate::overlay::{self, Access};
use crate::requests::FileStatus;
use crate::spec::RootSpec;
use crate::start;

pub(crate) fn stat(
    place: &Workplace<'_>,
    root: &RootSpec,
    paths: &[PathBuf],
) -> Result<Vec<Option<FileStatus>>> {
    overlay::enter(place.directory, root, Access::View)?;
    let _ = paths;
    Ok(Vec::new())
}

pub(crate) fn glob(place: &Workplace<'_>, root: &RootSpec, pattern: &str) -> Result<Vec<PathBuf>> {
    overlay::enter(place.directory, root, Access::View)?;
    let _ = pattern;
    Ok(Vec::new())
}

pub(crate) fn resolve_user(place: &Workplace<'_>, root: &RootSpec, user: &str) -> Result<(u32, u32)> {
    overlay::enter(place.directory, root, Access::View)?;
    let user = start::resolve_user(user)?;
    Ok((user.uid, user.gid))
}
