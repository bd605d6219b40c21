//! What can be told from the text alone: it is checked even in a file that has a mistake further down.

use super::findings::Findings;
use super::rule::Rule;
use crate::dockerfile::{ArgDeclaration, Dockerfile, Instruction, Location, Stage, Step, Written};

pub(super) fn check(file: &Dockerfile, findings: &mut Findings<'_>) {
    for location in &file.empty_continuations {
        let detail = "an empty line stands inside of the instruction that ends here: remove it";
        findings
            .beside(&[])
            .add(Rule::NoEmptyContinuation, location, detail);
    }
    for line in &file.arguments {
        describe(
            findings,
            "ARG",
            &names(&line.declared),
            &line.written,
            &line.location,
        );
    }
    for stage in &file.stages {
        from(stage, findings);
        for step in &stage.steps {
            instruction(step, findings);
        }
    }
}

fn names(declared: &[ArgDeclaration]) -> Vec<&str> {
    declared.iter().map(|argument| argument.name.as_str()).collect()
}

fn from(stage: &Stage, findings: &mut Findings<'_>) {
    let (Some(written), Some(name)) = (&stage.written_name, &stage.name) else {
        return;
    };
    let mut here = findings.beside(&stage.written.comments);
    if written.name != *name {
        let detail = format!("the stage's name `{}` should be in lower case", written.name);
        here.add(Rule::StageNameCasing, &stage.location, detail);
    }
    let (from, keyword) = (&stage.written.keyword, &written.keyword);
    // A FROM in both cases at once is another rule's.
    let wanted = if from.chars().all(|c| c.is_ascii_lowercase()) {
        keyword.to_ascii_lowercase()
    } else if from.chars().all(|c| c.is_ascii_uppercase()) {
        keyword.to_ascii_uppercase()
    } else {
        keyword.clone()
    };
    if *keyword != wanted {
        let detail = format!("`{keyword}` should be `{wanted}` behind `{from}`");
        here.add(Rule::FromAsCasing, &stage.location, detail);
    }
    describe(findings, "FROM", &[name], &stage.written, &stage.location);
}

fn instruction(step: &Step, findings: &mut Findings<'_>) {
    match &step.instruction {
        Instruction::Maintainer(_) => {
            let detail = "MAINTAINER is deprecated: write LABEL org.opencontainers.image.authors=…";
            findings
                .beside(&step.written.comments)
                .add(Rule::MaintainerDeprecated, &step.location, detail);
        }
        Instruction::Arg(declared) => {
            describe(findings, "ARG", &names(declared), &step.written, &step.location);
        }
        _ => {}
    }
}

/// The last comment above a definition describes it, and begins with its name.
fn describe(
    findings: &mut Findings<'_>,
    keyword: &str,
    names: &[&str],
    written: &Written,
    location: &Location,
) {
    let Some(comment) = written.comments.last() else {
        return;
    };
    let described = comment.split(' ').next().unwrap_or("");
    if names.contains(&described) {
        return;
    }
    let name = match names {
        [name] => name,
        _ => "NAME",
    };
    let detail = format!("the comment above this {keyword} should read `# {name} DESCRIPTION`");
    let mut here = findings.beside(&written.comments);
    here.add(Rule::InvalidDefinitionDescription, location, detail);
}
