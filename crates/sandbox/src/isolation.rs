//! How a keeper keeps what it starts apart from the place that it runs in.

use serde::{Deserialize, Serialize};

use crate::id_map::IdMap;
use crate::owners::Ownership;

/// Which means a keeper has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Namespaces of its own, overlay mounts: tiers A and A′.
    #[default]
    Namespaces,
    /// The same with one id, this process's own: what files are owned by, and who a step's processes are, is kept by a supervisor.
    /// Tier B, for a user without subordinate ids.
    OneId,
    /// Neither: trees of plain files, `chroot` and Landlock. Tier C, for root in a container that may make no namespace.
    Chroot,
    /// A user namespace with one id, in which nothing can be mounted: trees, `chroot` and Landlock as in tier C, the supervisor of tier B.
    /// Tier B′, for a user who may make a namespace and no mount.
    NoMounts,
    /// Not even those: trees of plain files that nobody enters, owners in records beside them. Tier D, for who may do nothing. No
    /// program is started.
    Bare,
}

impl Isolation {
    /// Whether a pod's ids are those of a user namespace of its own.
    pub(crate) fn has_ids_of_its_own(self) -> bool {
        match self {
            Self::Namespaces | Self::OneId | Self::NoMounts => true,
            Self::Chroot | Self::Bare => false,
        }
    }

    /// Whether roots are trees of plain files.
    pub fn is_in_trees(self) -> bool {
        match self {
            Self::Namespaces | Self::OneId => false,
            Self::Chroot | Self::NoMounts | Self::Bare => true,
        }
    }

    /// A name for the directory in which keepers of these means unpack layers: what others have unpacked is of no use to them.
    pub fn class(self, ids: &IdMap) -> String {
        match self {
            Self::Namespaces | Self::OneId | Self::Chroot | Self::NoMounts => ids.class(),
            // Modes are recorded there too, and those of the files themselves are others.
            Self::Bare => format!("bare-{}", ids.class()),
        }
    }

    /// Where it is said whose a pod's files are.
    pub(crate) fn ownership(self) -> Ownership {
        match self {
            Self::Namespaces | Self::Chroot => Ownership::Real,
            Self::OneId | Self::NoMounts => Ownership::Recorded,
            Self::Bare => Ownership::RecordedWithModes,
        }
    }
}
