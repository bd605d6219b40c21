//! `mounts=` and `mounts-max-size=` of `--cache-to`: whether cache mounts go along, and which.
//!
//! They go with `mode=max`, which is for who wants everything that makes later builds fast and has room for it; `mode=min` stays small.
//! BuildKit has no such word, so no line that was written for it changes its meaning.

use std::collections::BTreeSet;

use shipway_container::ByteSize;

use super::{CacheMode, CacheOptionError, Fields, MountSelection};

/// What cache mounts may take of the disk together, unless it is said: what a runner moves in a minute or two.
const USUAL_MOST: u64 = 10 << 30;

impl Fields {
    pub(super) fn mounts(&mut self, mode: CacheMode) -> Result<Option<MountSelection>, CacheOptionError> {
        let wrong = |key, value: &str, wanted| CacheOptionError::Value {
            key,
            value: value.to_owned(),
            wanted,
        };
        let (mut all, mut ids) = (None, BTreeSet::new());
        while let Some(value) = self.take("mounts") {
            match value.as_str() {
                "true" | "1" => all = Some(true),
                "false" | "0" => all = Some(false),
                "" => {
                    return Err(wrong(
                        "mounts",
                        "",
                        "it is `true`, `false` or the id of a cache mount",
                    ));
                }
                id => {
                    ids.insert(id.to_owned());
                }
            }
        }
        if let (Some(_), Some(id)) = (all, ids.first()) {
            return Err(wrong("mounts", id, "it is `true` or `false`, or ids alone"));
        }
        let most_bytes = match self.take("mounts-max-size") {
            None => USUAL_MOST,
            Some(text) => text
                .parse::<ByteSize>()
                .map_err(|_| {
                    wrong(
                        "mounts-max-size",
                        &text,
                        "it is a number and a unit, such as `10GB`",
                    )
                })?
                .get(),
        };
        let is_wanted = all.unwrap_or(mode == CacheMode::Max || !ids.is_empty());
        Ok(is_wanted.then(|| MountSelection {
            ids: Some(ids).filter(|ids| !ids.is_empty()),
            most_bytes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::CacheExport;
    use super::*;

    #[test]
    fn mounts_go_with_all_steps_and_else_where_they_are_asked_for() {
        let selected = |words: &str| {
            let export: CacheExport = format!("type=registry,ref=x{words}").parse().unwrap();
            export.mounts.map(|mounts| {
                (
                    mounts.ids.into_iter().flatten().collect::<Vec<_>>(),
                    mounts.most_bytes,
                )
            })
        };
        let all = Some((Vec::new(), USUAL_MOST));
        assert_eq!(selected(""), None);
        assert_eq!(selected(",mode=max"), all);
        assert_eq!(selected(",mounts=true"), all);
        assert_eq!(selected(",mode=max,mounts=false"), None);
        let some = vec!["/root/.cache".to_owned(), "apt".to_owned()];
        assert_eq!(
            selected(",mounts=apt,mounts=/root/.cache"),
            Some((some, USUAL_MOST))
        );
        assert_eq!(
            selected(",mounts=true,mounts-max-size=1GB"),
            Some((Vec::new(), 1 << 30))
        );
        for (text, said) in [
            ("type=registry,ref=x,mounts=", "`true`, `false` or the id"),
            ("type=registry,ref=x,mounts=apt,mounts=false", "or ids alone"),
            ("type=registry,ref=x,mounts-max-size=big", "such as `10GB`"),
            ("type=inline,mode=max,mounts=true", "no `mounts`"),
        ] {
            let error = text.parse::<CacheExport>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert_eq!(
            "type=inline,mode=max".parse::<CacheExport>().unwrap().mounts,
            None
        );
    }
}
