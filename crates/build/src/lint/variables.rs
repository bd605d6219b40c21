//! Variables that nothing defines where they are used.
//!
//! Looked at in the words that the build expands, and nowhere else: what a RUN's shell does with `$x` is its own affair.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::findings::Here;
use super::rule::Rule;
use crate::dockerfile::{DockerfileError, Expander, Instruction, Source, Step, Transfer, nearest};
use crate::plan::Effects;

/// Arguments that speak to the builder, and never are variables.
const FOR_THE_BUILDER: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Whether every variable of the base is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    Known,
    Unknown,
}

/// The words of one step.
///
/// # Errors
/// When a word cannot be expanded.
pub(super) fn check(
    step: &Step,
    effects: &Effects<'_>,
    base: Base,
    here: &mut Here<'_, '_>,
) -> Result<(), DockerfileError> {
    let missing = RefCell::new(BTreeSet::new());
    let lookup = |name: &str| {
        let value = effects.variable(name);
        if value.is_none() {
            missing.borrow_mut().insert(name.to_owned());
        }
        value
    };
    let mut expanded = |text: &str, is_body: bool| {
        let (expander, result);
        if is_body {
            expander = Expander::for_heredocs(&lookup);
            result = expander.body(text);
        } else {
            expander = Expander::new(effects.escape(), &lookup);
            result = expander.word(text);
        }
        let names = missing.take();
        if base == Base::Known {
            tell(step, effects, names, here);
        }
        let charged = result.and_then(|text| {
            let cost = text.len() + expander.cost();
            effects.arguments.charge(cost).map(|()| text)
        });
        charged.map_err(|error| error.to_string())
    };
    let failed = |message: String| effects.error(step, message);
    for text in plain_words(&step.instruction) {
        expanded(text, false).map_err(failed)?;
    }
    match &step.instruction {
        Instruction::Copy(transfer) | Instruction::Add(transfer, _) => {
            for heredoc in transfer
                .sources
                .iter()
                .filter_map(inline)
                .filter(|heredoc| heredoc.expand)
            {
                expanded(&heredoc.body(), true).map_err(failed)?;
            }
        }
        Instruction::Run(run) => {
            let expanded = RefCell::new(expanded);
            for mount in &run.mounts {
                let expand = |text: &str| (expanded.borrow_mut())(text, false);
                mount.expanded(expand).map_err(failed)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn tell(step: &Step, effects: &Effects<'_>, names: BTreeSet<String>, here: &mut Here<'_, '_>) {
    for name in names {
        if effects.arguments.is_declared(&name) || FOR_THE_BUILDER.contains(&name.as_str()) {
            continue;
        }
        let hint = here.hint(|| {
            let known = effects.variable_names();
            let near = nearest(&name, known.iter().map(String::as_str))?;
            Some(format!(" (did you mean ${near}?)"))
        });
        let detail = format!("the variable `${name}` is not defined here{hint}");
        here.add(Rule::UndefinedVar, &step.location, detail);
    }
}

fn inline(source: &Source) -> Option<&crate::dockerfile::Heredoc> {
    match source {
        Source::Inline(heredoc) => Some(heredoc),
        Source::Path(_) => None,
    }
}

/// What the build expands to one word each. The ports of EXPOSE are not among them: BuildKit does not look there.
fn plain_words(instruction: &Instruction) -> Vec<&str> {
    match instruction {
        Instruction::Env(pairs) | Instruction::Label(pairs) => pairs
            .iter()
            .flat_map(|pair| [pair.name.as_str(), pair.value.as_str()])
            .collect(),
        Instruction::Arg(declared) => declared
            .iter()
            .filter_map(|argument| argument.default.as_deref())
            .collect(),
        Instruction::Add(transfer, options) => transfer_words(transfer)
            .chain(options.checksum.as_deref())
            .collect(),
        Instruction::Copy(transfer) => transfer_words(transfer).collect(),
        Instruction::User(text) | Instruction::Workdir(text) | Instruction::StopSignal(text) => vec![text],
        Instruction::Volume(volumes) => volumes.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

fn transfer_words(transfer: &Transfer) -> impl Iterator<Item = &str> {
    let sources = transfer.sources.iter().filter_map(|source| match source {
        Source::Path(path) => Some(path.as_str()),
        Source::Inline(_) => None,
    });
    let owners = transfer
        .chown
        .as_deref()
        .into_iter()
        .chain(transfer.chmod.as_deref());
    owners.chain(sources).chain([transfer.destination.as_str()])
}
