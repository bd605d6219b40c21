//! What this place allows: asked of the kernel by doing it.
//!
//! A mount that works says little (overlayfs mounts and then fails at removing directories), so each question does
//! what containers will do. The questions are answered by workers of a keeper that is started for them.

use serde::{Deserialize, Serialize};

use crate::keeper::Workplace;

/// Something that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What would make it work, if it does not.
    pub remedy: Option<String>,
}

/// How strongly steps can be isolated here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// User namespace with a range of ids, mounts, a fresh `/proc`, an own network.
    A,
    /// As `A`, but `/proc` is masked, so the masked one is shown.
    APrime,
    /// No containers here.
    Unsupported,
}

/// What this place allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// The result.
    pub tier: Tier,
    /// What it rests on.
    pub findings: Vec<Finding>,
}

/// What a worker tries.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Question {
    Overlay,
    Proc,
    Network,
}

pub(crate) fn examine(_place: &Workplace<'_>, question: Question) -> Finding {
    Finding {
        name: format!("{question:?}"),
        ok: false,
        detail: "not examined yet".into(),
        remedy: None,
    }
}
