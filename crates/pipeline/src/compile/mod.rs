//! From files to a pipeline, in GitLab's order: read and `include` → `extends` → `!reference` → stages, defaults and
//! variables → `workflow` → jobs with their rules → needs.
//!
//! Errors do not stop at the first: each stage says all it finds, and the next stage runs only if there were none. Nothing
//! here panics on any input, and the work is bounded by the limits of `yaml` and [`Budget`].

mod deploy;
mod duration;
mod extends;
mod files;
mod finish;
mod image;
mod include;
mod inputs;
mod job;
mod keep;
mod keyword;
mod matrix;
mod needs;
mod only;
mod read;
mod reference;
mod root;
mod rules;
mod stop;
mod variables;

use crate::{
    diagnostic::{Diagnostic, Reports, Severity, Span},
    expression::Effort,
    left_out::LeftOut,
    pipeline::Pipeline,
    situation::Situation,
    source::FileSource,
};

pub use duration::{DurationError, parse_duration};

/// How strict to be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// Goes on, with warnings, where a keyword is not supported though it changes what runs.
    pub allow_unsupported: bool,
}

/// A pipeline and what its author should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Warnings only.
    pub warnings: Vec<Diagnostic>,
    /// Jobs of the files that are not in the pipeline, in the order of the files; of more than 10 000 the first.
    pub left_out: Vec<LeftOut>,
}

/// Work left, in nodes copied or visited: `extends` and `!reference` can multiply a small file.
pub(crate) struct Budget(u32);

impl Budget {
    /// Takes some of it; false when there is none left.
    pub(crate) fn take(&mut self, amount: usize) -> bool {
        match u32::try_from(amount)
            .ok()
            .and_then(|amount| self.0.checked_sub(amount))
        {
            Some(left) => {
                self.0 = left;
                true
            }
            None => {
                self.0 = 0;
                false
            }
        }
    }
}

/// What every stage needs.
pub(crate) struct Context<'a> {
    pub(crate) reports: Reports,
    pub(crate) source: &'a dyn FileSource,
    pub(crate) situation: &'a Situation,
    pub(crate) options: Options,
    pub(crate) budget: Budget,
    /// What is left for conditions and patterns.
    pub(crate) effort: Effort,
    said_spent: bool,
    files: files::Known,
}

impl Context<'_> {
    /// Says that something is not supported: an error, or a warning where the caller accepts that.
    pub(crate) fn unsupported(&mut self, span: Span, message: &str) {
        if self.options.allow_unsupported {
            self.reports.warn(span, message, None);
        } else {
            self.reports
                .error_with_help(span, message, "`--allow-unsupported` goes on without it");
        }
    }

    /// Says once that the conditions ask for too much; true when there is nothing left for this one, which has no answer.
    pub(crate) fn is_spent(&mut self, span: Span) -> bool {
        let spent = self.effort.is_spent();
        if spent && !std::mem::replace(&mut self.said_spent, true) {
            self.reports.error_with_help(
                span,
                "the conditions up to here take too long: too many patterns, too large ones, or too much text to look through",
                "shorten the patterns or the variables that they look at, or ask once in `workflow:rules` and set a variable there",
            );
        }
        spent
    }

    pub(crate) fn too_large(&mut self, span: Span) {
        self.reports.error_with_help(
            span,
            "the configuration is too large once `extends` and `!reference` are resolved",
            "split the pipeline",
        );
    }
}

/// Compiles the pipeline of `config_path` for a situation.
///
/// The error is never empty. A pipeline that its own rules exclude is an error as well, with GitLab's words.
pub fn compile(
    source: &dyn FileSource,
    config_path: &str,
    situation: &Situation,
    options: Options,
) -> Result<Compiled, Vec<Diagnostic>> {
    let mut context = Context {
        reports: Reports::default(),
        source,
        situation,
        options,
        budget: Budget(2_000_000),
        effort: Effort::default(),
        said_spent: false,
        files: files::Known::default(),
    };
    let compiled = stages(&mut context, config_path);
    let failed = context.reports.has_errors();
    let mut diagnostics = context.reports.into_diagnostics();
    match compiled {
        Some((pipeline, left_out)) if !failed => Ok(Compiled {
            pipeline,
            warnings: diagnostics,
            left_out,
        }),
        _ => {
            if diagnostics
                .iter()
                .all(|diagnostic| diagnostic.severity != Severity::Error)
            {
                // Every stage that gives up says why; this keeps the promise should one forget.
                diagnostics.push(Diagnostic {
                    severity: Severity::Error,
                    message: "the configuration gives no pipeline".to_owned(),
                    file: config_path.to_owned(),
                    line: 0,
                    column: 0,
                    source_line: None,
                    help: None,
                });
            }
            Err(diagnostics)
        }
    }
}

fn stages(context: &mut Context<'_>, config_path: &str) -> Option<(Pipeline, Vec<LeftOut>)> {
    let loaded = include::load(context, config_path)?;
    let extended = extends::resolve(context, &loaded)?;
    let resolved = reference::resolve(context, &extended)?;
    let root = root::read(context, &resolved, config_path)?;
    let mut jobs = job::compile(context, &root);
    stop::check(context, &root, &jobs);
    if context.reports.has_errors() {
        return None;
    }
    let left_out = std::mem::take(&mut jobs.left_out);
    Some((finish::finish(context, root, jobs, &left_out)?, left_out))
}
