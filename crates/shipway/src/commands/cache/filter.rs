//! Which steps and mounts of the build cache are meant.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use shipway_build::{KeptMount, recorded_step};
use shipway_store::CacheEntry;

use crate::arguments::span;

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    Scope(String),
    Step(String),
    Id(String),
    /// Not used within this time.
    Until(Duration),
    Shared(bool),
    Kind(Kind),
}

/// What there is in the build cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Step,
    Mount,
}

impl Filter {
    pub(super) fn fits(&self, entry: &CacheEntry, now: SystemTime) -> bool {
        match self {
            Self::Scope(scope) => entry.scope.as_str() == scope,
            Self::Step(step) => recorded_step(&entry.record).as_deref() == Some(step),
            Self::Id(id) => super::id(entry).starts_with(&id.to_ascii_lowercase()),
            Self::Until(span) => now.duration_since(entry.used).unwrap_or_default() >= *span,
            Self::Shared(shared) => entry.is_shared == *shared,
            Self::Kind(kind) => *kind == Kind::Step,
        }
    }

    pub(super) fn fits_mount(&self, mount: &KeptMount, now: SystemTime) -> bool {
        match self {
            Self::Scope(scope) => mount.scope.as_ref() == Some(scope),
            Self::Step(_) => false,
            Self::Id(id) => mount.name.starts_with(id) || mount.id.as_ref() == Some(id),
            Self::Until(span) => now.duration_since(mount.used).unwrap_or_default() >= *span,
            Self::Shared(shared) => !shared,
            Self::Kind(kind) => *kind == Kind::Mount,
        }
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        match (key, value) {
            (_, "") => Err(format!("`{text}` is no filter: write KEY=VALUE")),
            ("scope", scope) => Ok(Self::Scope(scope.to_owned())),
            ("step", "run" | "copy" | "workdir") => Ok(Self::Step(value.to_owned())),
            ("step", other) => Err(format!(
                "there is no step `{other}`: it is `run`, `copy` or `workdir`"
            )),
            ("id", id) => Ok(Self::Id(id.to_owned())),
            // The second words are those of `docker builder prune`.
            ("kind" | "type", "step" | "regular") => Ok(Self::Kind(Kind::Step)),
            ("kind" | "type", "mount" | "exec.cachemount") => Ok(Self::Kind(Kind::Mount)),
            ("kind" | "type", other) => Err(format!("there is no kind `{other}`: it is `step` or `mount`")),
            ("until" | "unused-for", time) => span(time).map(Self::Until),
            ("shared", "true") => Ok(Self::Shared(true)),
            ("shared", "false") => Ok(Self::Shared(false)),
            ("shared", other) => Err(format!("`shared={other}`: it is `true` or `false`")),
            (other, _) => Err(format!(
                "there is no filter `{other}`: use `kind`, `scope`, `step`, `id`, `until` or `shared`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_others_are_named() {
        assert_eq!("scope=user".parse(), Ok(Filter::Scope("user".to_owned())));
        assert_eq!("until=2h".parse(), Ok(Filter::Until(Duration::from_secs(7200))));
        for (text, said) in [
            ("scope", "KEY=VALUE"),
            ("step=add", "`add`"),
            ("color=red", "`color`"),
            ("shared=1", "`true`"),
            ("kind=layer", "`mount`"),
        ] {
            let error = text.parse::<Filter>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
