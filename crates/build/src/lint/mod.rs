//! Checks of a Dockerfile: what can be built and should yet be written otherwise.
//!
//! The rules are BuildKit's, under its names, so that `# check=skip=…` and what people have learnt of them holds here.
//! Each family of rules is a file: what is `written`, the names of stages (`stage_names`), the `casing` of
//! keywords, the `base` of a stage, the `instructions` with their `variables`, `ports` and `ignored` sources.
//! The first three look at text alone; the others follow each stage through its instructions (`stages`), because what
//! `$x` is depends on the base image.
//!
//! Pure: no clock, disk, network or environment. What is known beside the file comes as [`Facts`]; a base image of which
//! nothing is known only makes the rules silent that would need it. Total: a file that cannot be parsed or planned gives
//! the findings in front of its mistake, and the mistake.

mod base;
mod casing;
mod findings;
mod ignored;
mod instructions;
mod options;
mod ports;
mod rule;
mod stage_names;
mod stages;
mod variables;
mod written;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use shipway_oci::{ImageConfig, Platform};

use crate::dockerfile::{Dockerfile, DockerfileError, parse_as_far_as_possible};
use crate::ignore::IgnoreList;
use crate::named::NamedContexts;
use findings::Findings;
pub use findings::{Finding, Lines};
pub use options::{CheckOptionsError, Options};
pub use rule::Rule;

/// The build argument that goes before the file's `# check=`.
pub const CHECK_ARGUMENT: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What is known beside the Dockerfile.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Build arguments, as they are given to a build.
    pub arguments: &'a BTreeMap<String, Option<String>>,
    /// The platform that is built for.
    pub platform: &'a Platform,
    /// The stage that is asked for. Without one every stage is checked.
    pub target: Option<&'a str>,
    /// Whether stages that the target does not need are checked, where no target is named.
    pub unneeded_stages: bool,
    /// What the caller put in the place of names.
    pub contexts: &'a NamedContexts,
    /// What the context leaves out.
    pub ignore: &'a IgnoreList,
    /// Configurations of base images, by the index of the stage that begins with one.
    pub bases: &'a BTreeMap<usize, ImageConfig>,
}

/// What the checks say of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was found, by line.
    pub findings: Vec<Finding>,
    /// Why the file cannot be built at all.
    pub error: Option<DockerfileError>,
    /// Whether its author wants findings to fail the build.
    pub fails_build: bool,
}

/// Checks a Dockerfile; `name` is for messages.
pub fn check(bytes: &[u8], name: &str, facts: &Facts<'_>) -> Report {
    let (file, error) = parse_as_far_as_possible(bytes, name);
    check_parsed(&file, error, facts)
}

/// The same for a file that is parsed, as far as it could be.
pub(crate) fn check_parsed(file: &Dockerfile, error: Option<DockerfileError>, facts: &Facts<'_>) -> Report {
    let options = match Options::of(file, facts.arguments) {
        Ok(options) => options,
        Err(error) => {
            return Report {
                error: Some(error),
                ..Report::default()
            };
        }
    };
    let mut findings = Findings::new(&options);
    written::check(file, &mut findings);
    let error = match error {
        Some(error) => Some(error),
        None => {
            stage_names::check(file, &mut findings);
            casing::check(file, &mut findings);
            stages::check(file, facts, &mut findings).err()
        }
    };
    Report {
        findings: findings.sorted(),
        error,
        fails_build: options.fails_build,
    }
}

impl Report {
    /// The rules that were broken, each once, if they are to fail the build.
    pub fn violations(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self.findings.iter().map(|finding| finding.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules.retain(|_| self.fails_build);
        rules
    }
}
