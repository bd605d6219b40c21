//! `.dockerignore`: which paths of a context do not exist for the build.
//!
//! The rules are those of moby/patternmatcher, quirks included (`**x` is a plain suffix match), because a path that
//! is wrongly taken in may be a secret. `glob` is the pattern syntax that COPY's wildcards share.

mod glob;
mod list;

pub use glob::{Glob, GlobError};
pub use list::{IgnoreError, IgnoreList, Verdict};
