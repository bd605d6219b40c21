//! Keywords in one case, that of the most of them. ARG in front of the first FROM has no say.

use super::findings::Findings;
use super::rule::Rule;
use crate::dockerfile::{Dockerfile, Location, Written};

/// A keyword's case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Upper,
    Mixed,
}

impl Case {
    fn of(keyword: &str) -> Self {
        if !keyword.contains(|c: char| c.is_ascii_uppercase()) {
            Self::Lower
        } else if !keyword.contains(|c: char| c.is_ascii_lowercase()) {
            Self::Upper
        } else {
            Self::Mixed
        }
    }
}

pub(super) fn check(file: &Dockerfile, findings: &mut Findings<'_>) {
    let count = |case: Case| {
        keywords(file)
            .filter(|(written, _)| Case::of(&written.keyword) == case)
            .count()
    };
    let (wanted, name) = if count(Case::Lower) > count(Case::Upper) {
        (Case::Lower, "lower")
    } else {
        (Case::Upper, "upper")
    };
    for (written, location) in keywords(file) {
        if Case::of(&written.keyword) != wanted {
            let detail = format!(
                "`{}` should be in {name} case, as most of this file is",
                written.keyword
            );
            let mut here = findings.beside(&written.comments);
            here.add(Rule::ConsistentInstructionCasing, location, detail);
        }
    }
}

fn keywords(file: &Dockerfile) -> impl Iterator<Item = (&Written, &Location)> {
    file.stages.iter().flat_map(|stage| {
        let steps = stage.steps.iter().map(|step| (&step.written, &step.location));
        std::iter::once((&stage.written, &stage.location)).chain(steps)
    })
}
