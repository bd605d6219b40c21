//! What a stage begins with: the arguments of FROM and the platform of its image.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use shipway_oci::{ImageConfig, Platform, Reference};

use super::Facts;
use super::findings::{Findings, Here};
use super::rule::Rule;
use crate::dockerfile::{Dockerfile, ExpandError, Expander, Stage, did_you_mean};
use crate::plan::GlobalArguments;

/// The names of images, as they are without any build argument.
pub(super) fn check_defaults(file: &Dockerfile, facts: &Facts<'_>, findings: &mut Findings<'_>) {
    // What is predefined may still be overridden.
    let predefined = facts
        .arguments
        .iter()
        .filter(|(name, _)| GlobalArguments::is_predefined(name));
    let arguments: BTreeMap<_, _> = predefined
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let Ok(global) = GlobalArguments::new(file, &arguments, facts.platform, facts.target) else {
        return;
    };
    let lookup = |name: &str| global.lookup(name);
    for stage in &file.stages {
        let Ok(base) = Expander::new(file.escape, &lookup).word(&stage.base) else {
            return;
        };
        if Reference::parse(&base).is_err() {
            let detail = format!("without build arguments, `{}` is no image's name", stage.base);
            let mut here = findings.beside(&stage.written.comments);
            here.add(Rule::InvalidDefaultArgInFrom, &stage.location, detail);
        }
    }
}

/// The arguments that a FROM uses.
pub(super) fn check_arguments(
    file: &Dockerfile,
    stage: &Stage,
    global: &GlobalArguments,
    findings: &mut Findings<'_>,
) {
    let mut here = findings.beside(&stage.written.comments);
    let Ok(base) = Expanded::of(file, &stage.base, global) else {
        return;
    };
    undefined(stage, &base, global, &mut here);
    let Some(text) = &stage.platform else { return };
    let Ok(platform) = Expanded::of(file, text, global) else {
        return;
    };
    undefined(stage, &platform, global, &mut here);
    if platform.is_only("TARGETPLATFORM") && global.lookup("TARGETPLATFORM").as_ref() == Some(&platform.text)
    {
        let detail = format!("--platform={text} changes nothing: it is what FROM takes by itself");
        here.add(Rule::RedundantTargetPlatform, &stage.location, detail);
    }
    if platform.found.is_empty() && platform.missing.is_empty() {
        constant(stage, &platform.text, &mut here);
    }
}

/// A stage that is for one platform by its very name may say so.
fn constant(stage: &Stage, text: &str, here: &mut Here<'_, '_>) {
    let Ok(platform) = text.parse::<Platform>() else {
        return;
    };
    let name = stage.name.as_deref().unwrap_or("");
    if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
        let detail = format!("--platform={text} is a constant: the stage is built for that platform alone");
        here.add(Rule::FromPlatformFlagConstDisallowed, &stage.location, detail);
    }
}

fn undefined(stage: &Stage, word: &Expanded, global: &GlobalArguments, here: &mut Here<'_, '_>) {
    for name in &word.missing {
        if global.is_declared(name) {
            continue;
        }
        let hint = here.hint(|| Some(did_you_mean(name, global.names())));
        let detail = format!("the argument `{name}` of FROM is not declared{hint}");
        here.add(Rule::UndefinedArgInFrom, &stage.location, detail);
    }
}

/// The image that came, against the platform that was asked for.
pub(super) fn check_image(
    stage: &Stage,
    wanted: &Platform,
    name: &str,
    image: &ImageConfig,
    findings: &mut Findings<'_>,
) {
    let is_empty = image.rootfs.diff_ids.is_empty();
    if is_empty || (wanted.os == image.os && wanted.architecture == image.architecture) {
        return;
    }
    let mut found = Platform::new(&image.os, &image.architecture);
    found.variant.clone_from(&image.variant);
    let detail = format!("the base image {name} is for {found}, and {wanted} is being built for");
    let mut here = findings.beside(&stage.written.comments);
    here.add(Rule::InvalidBaseImagePlatform, &stage.location, detail);
}

/// A word of FROM with the names that it used.
struct Expanded {
    text: String,
    found: BTreeSet<String>,
    missing: BTreeSet<String>,
}

impl Expanded {
    fn of(file: &Dockerfile, text: &str, global: &GlobalArguments) -> Result<Self, ExpandError> {
        let (found, missing) = (RefCell::default(), RefCell::default());
        let lookup = |name: &str| {
            let value = global.lookup(name);
            let names: &RefCell<BTreeSet<String>> = if value.is_some() { &found } else { &missing };
            names.borrow_mut().insert(name.to_owned());
            value
        };
        let text = Expander::new(file.escape, &lookup).word(text)?;
        Ok(Self {
            text,
            found: found.take(),
            missing: missing.take(),
        })
    }

    fn is_only(&self, name: &str) -> bool {
        self.missing.is_empty() && self.found.iter().eq([name])
    }
}
