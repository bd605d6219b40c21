//! By which means pods are kept apart here, found out at little cost.
//!
//! `doctor` tries everything and explains; a verb that only wants to begin asks this. Where nothing speaks against namespaces no process
//! is started for the question, and the first pod finds out.

use std::path::Path;

use rustix::thread::{CapabilitySet, UnshareFlags};

use crate::id_map::{IdMap, IdMapError};
use crate::isolation::Isolation;
use crate::launch::LaunchOptions;
use crate::probe::pods_work;
use crate::sys;

/// What root needs for trees that are entered by `chroot`: of what container engines give by default, all that those have a use for.
const FOR_TREES: [CapabilitySet; 11] = [
    CapabilitySet::CHOWN,
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::FOWNER,
    CapabilitySet::FSETID,
    CapabilitySet::KILL,
    CapabilitySet::MKNOD,
    CapabilitySet::SETFCAP,
    CapabilitySet::SETGID,
    CapabilitySet::SETPCAP,
    CapabilitySet::SETUID,
    CapabilitySet::SYS_CHROOT,
];

/// The means, and the ids that pods get by them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// How containers are kept apart.
    pub isolation: Isolation,
    /// The ids of a pod.
    pub id_map: IdMap,
}

impl Place {
    /// The strongest means that this place gives, or those that are wanted. `scratch` is a directory that may be made and filled to try
    /// something, on the file system that matters.
    ///
    /// # Errors
    /// When there are no ids to give to a pod's user namespace.
    pub fn detect(wanted: Option<Isolation>, scratch: &Path) -> Result<Self, IdMapError> {
        let isolation = wanted.unwrap_or_else(|| strongest(scratch));
        let id_map = match isolation {
            Isolation::Namespaces => IdMap::detect()?,
            Isolation::OneId => IdMap::one(),
            Isolation::Chroot => IdMap::own(),
            Isolation::NoMounts | Isolation::Bare => IdMap::one(),
        };
        Ok(Self { isolation, id_map })
    }
}

/// Whether there is no more than a user's own id to be had.
pub(crate) fn is_of_one_id(error: &IdMapError) -> bool {
    !rustix::process::geteuid().is_root()
        && matches!(
            error,
            IdMapError::MissingHelper { .. } | IdMapError::NoRange { .. }
        )
}

/// Tried, since there is nothing else to be had: who cannot have it is to hear what is missing of the stronger means.
fn works(options: &LaunchOptions) -> bool {
    let works = pods_work(options);
    // Empty but for what the keeper made for itself; what stays there does no harm.
    let _ = std::fs::remove_dir_all(&options.directory);
    works
}

fn strongest(scratch: &Path) -> Isolation {
    if has_no_namespaces(scratch) {
        return if may_use_trees() {
            Isolation::Chroot
        } else {
            Isolation::Bare
        };
    }
    if rustix::process::geteuid().is_root() {
        return Isolation::Namespaces;
    }
    let one_id = LaunchOptions::one_id(scratch, "probe");
    let no_mounts = LaunchOptions::no_mounts(scratch, "probe");
    let candidates = match IdMap::detect() {
        Ok(_) if !is_confined() => return Isolation::Namespaces,
        Ok(id_map) => vec![LaunchOptions::new(id_map, scratch, "probe"), one_id, no_mounts],
        Err(error) if is_of_one_id(&error) => vec![one_id, no_mounts],
        Err(_) => return Isolation::Namespaces,
    };
    let first = candidates.iter().find(|options| works(options));
    first.map_or(Isolation::Namespaces, |options| options.isolation)
}

/// Whether this is a user who may be refused mounts: none is asked to whom nothing speaks against them. Host root is never one: no pod
/// has its id.
pub(crate) fn may_lack_mounts() -> bool {
    let has_one_id = || IdMap::detect().is_err_and(|error| is_of_one_id(&error));
    !rustix::process::geteuid().is_root() && (is_confined() || has_one_id())
}

/// Whether a filter of system calls or the rules of a security module lie over this process.
fn is_confined() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let has_filter = status.lines().any(|line| {
        line.strip_prefix("Seccomp:")
            .is_some_and(|mode| mode.trim() != "0")
    });
    let label = std::fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    let label = label.trim_end_matches(['\0', '\n']);
    has_filter || !(label.is_empty() || label.starts_with("unconfined"))
}

/// Whether no namespace can be made. Of an ordinary user only what is forbidden to everybody is known beforehand.
fn has_no_namespaces(scratch: &Path) -> bool {
    if are_namespaces_forbidden() {
        return true;
    }
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    let administers =
        rustix::thread::capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_ADMIN));
    if administers {
        return false;
    }
    !IdMap::detect().is_ok_and(|id_map| works(&LaunchOptions::new(id_map, scratch, "probe")))
}

/// Whether the machine has none, or a filter refuses the call altogether, even with nothing to do, as container engines' do.
pub(crate) fn are_namespaces_forbidden() -> bool {
    let none_at_all = std::fs::read_to_string("/proc/sys/user/max_user_namespaces")
        .is_ok_and(|number| number.trim() == "0");
    none_at_all || sys::unshare(UnshareFlags::empty()).is_err()
}

/// Whether this is root with the capabilities that trees ask for.
pub(crate) fn may_use_trees() -> bool {
    rustix::process::geteuid().is_root()
        && rustix::thread::capabilities(None).is_ok_and(|own| {
            FOR_TREES
                .iter()
                .all(|capability| own.effective.contains(*capability))
        })
}

/// The one setting with which programs could be started where none can, and the tier that it gives: words to follow a semicolon.
pub fn what_lets_programs_run() -> String {
    let may_be_had = FOR_TREES
        .iter()
        .all(|capability| rustix::thread::capability_is_in_bounding_set(*capability).unwrap_or(false));
    let (setting, tier) = match (rustix::process::geteuid().is_root(), may_be_had) {
        (false, true) => (
            "run this container as root (Docker: without --user; Kubernetes: runAsUser: 0)",
            "C",
        ),
        (true, _) => (
            "leave root the capabilities that container engines give by default (Docker: without --cap-drop; Kubernetes: no `drop` \
             in securityContext.capabilities)",
            "C",
        ),
        (false, false) => (
            "let processes make user namespaces (Docker: --security-opt seccomp=unconfined; Kubernetes: seccompProfile.type: \
             Unconfined)",
            "B",
        ),
    };
    format!("{setting}: that gives tier {tier}")
}
