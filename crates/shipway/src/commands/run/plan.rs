//! From the file to a pipeline, for `run` and for `lint`: the same file, the same situation, the same verdict.
//!
//! Apart from both so that neither can come to compile differently. What is wrong is given back, not shown: one verb
//! shows it between events, the other as its answer.

use clap::Args;
use shipway_oci::RegistryName;
use shipway_pipeline::{Compiled, Diagnostic, Options, compile};

use super::files::WorkTreeFiles;
use super::git::WorkTreeFacts;
use super::situation::SituationArguments;
use crate::failure::Failure;
use crate::screen::{self, Colours};

/// Which file is compiled, and for what.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The pipeline's file, relative to the top of the work tree
    #[arg(short, long, value_name = "PATH", default_value = ".gitlab-ci.yml")]
    pub(crate) file: String,
    #[command(flatten)]
    situation: SituationArguments,
    /// Go on, with a warning, where the file uses what is not supported
    #[arg(long)]
    allow_unsupported: bool,
}

impl PlanArguments {
    /// Compiles the file as pipeline `number`. The inner error is what is wrong with the file.
    pub(crate) fn compile(
        &self,
        facts: &WorkTreeFacts,
        number: u64,
        registry: &RegistryName,
    ) -> Result<Result<Compiled, Vec<Diagnostic>>, Failure> {
        let situation = self.situation.situation(facts, number, registry)?;
        let parting = situation
            .merge_request
            .as_ref()
            .map(|request| request.diff_base_sha.as_str());
        let source = WorkTreeFiles::new(&facts.root, parting);
        let options = Options {
            allow_unsupported: self.allow_unsupported,
        };
        Ok(compile(&source, &self.file, &situation, options))
    }
}

/// Shows people what the compiler said, each with its place.
pub(crate) fn show(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let text = screen::clean(&diagnostic.to_string(), Colours::Dropped);
        screen::error_line(&format!("{text}\n"));
    }
}
