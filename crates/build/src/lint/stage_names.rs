//! The names of stages: each its own, and none that means something else.

use std::collections::BTreeSet;

use super::findings::Findings;
use super::rule::Rule;
use crate::dockerfile::Dockerfile;

/// What FROM and `--from` mean without any stage of that name.
const RESERVED: [&str; 2] = ["context", "scratch"];

pub(super) fn check(file: &Dockerfile, findings: &mut Findings<'_>) {
    let mut known = BTreeSet::new();
    for stage in &file.stages {
        let Some(name) = &stage.name else { continue };
        let mut here = findings.beside(&stage.written.comments);
        if RESERVED.contains(&name.as_str()) {
            let detail = format!("`{name}` has a meaning of its own and should not be a stage's name");
            here.add(Rule::ReservedStageName, &stage.location, detail);
        }
        if !known.insert(name) {
            let detail = format!("an earlier stage is called `{name}` as well: give this one another name");
            here.add(Rule::DuplicateStageName, &stage.location, detail);
        }
    }
}
