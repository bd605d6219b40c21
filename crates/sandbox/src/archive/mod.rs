//! Archives (temporary).
use crate::error::{KeeperError, Result};
use crate::keeper::Workplace;
use crate::protocol::{Answer, ArchivePlan};
use crate::requests::{Conflict, DiffReport, UnpackLimits, UnpackReport};
use crate::spec::RootSpec;
use rustix::process::Pid;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
fn not_yet<T>() -> Result<T> {
    Err(KeeperError::Message {
        reason: "not implemented yet".into(),
    })
}
pub(crate) fn archive(_: &Workplace<'_>, _: &ArchivePlan, _: Option<Pid>, _: OwnedFd) -> Result<Answer> {
    not_yet()
}
pub(crate) fn unpack(
    _: &Workplace<'_>,
    _: &Path,
    _: &[PathBuf],
    _: UnpackLimits,
    _: OwnedFd,
) -> Result<UnpackReport> {
    not_yet()
}
pub(crate) fn apply(
    _: &Workplace<'_>,
    _: &RootSpec,
    _: &Path,
    _: Conflict,
    _: UnpackLimits,
    _: OwnedFd,
) -> Result<UnpackReport> {
    not_yet()
}
pub(crate) fn diff(
    _: &Workplace<'_>,
    _: &Path,
    _: Option<i64>,
    _: &[PathBuf],
    _: OwnedFd,
) -> Result<DiffReport> {
    not_yet()
}
