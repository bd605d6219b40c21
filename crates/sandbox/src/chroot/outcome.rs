//! What became of a tree that was lent to somebody.

use serde::{Deserialize, Serialize};

/// How a tree was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// It is what it was.
    Unchanged,
    /// It is what it was, and what is in the upper directory over that.
    Changed,
    /// Nobody knows: it is of no use any more.
    Broken,
}
