//! `config.toml`, the file of gitlab-runner, read as it would read it.
//!
//! Administrators have this file already, so it means here what it means there. It is apart from the rest because it is
//! a language of its own: [`Configuration::read`] turns text into types that carry the rules, and a list of
//! [`Finding`]s with their places in the file, and touches nothing else. [`KnownRunners`] are the same sections as GitLab
//! knows them.
//!
//! Contract: a file that gitlab-runner takes is never refused as a whole. What is wrong in a `[[runners]]` section, and
//! what it asks for that cannot be had here (another executor, the host's network), refuses that section alone, when it
//! is chosen, in one line. What has no meaning here is said once, and only where it asks for more than its default.
//! Values without quotes (`token = TOKEN`), lines that are `...` and sections begun twice are the gaps that documentation
//! leaves for its readers: they are warnings.

mod chart;
mod docker;
mod document;
mod entry;
mod finding;
mod gaps;
mod known;
mod kubernetes;
mod volume;

pub use docker::{DockerSettings, ServiceSettings};
pub use entry::{EXECUTORS, Executor, RunnerEntry, RunnerSettings};
pub use finding::{Finding, Place, Severity};
pub use known::{KnownRunner, KnownRunners};
pub use volume::VolumeSetting;

use document::Section;
use finding::{Findings, Origin};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A file larger than this is no configuration.
const LARGEST_FILE: u64 = 1 << 20;

/// What a `config.toml` says.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Where it was read.
    pub file: PathBuf,
    /// How many jobs run at once, over all runners; 1 where the file does not say.
    pub concurrent: usize,
    /// The `[[runners]]`, in the order of the file.
    pub runners: Vec<RunnerEntry>,
    /// What the reader of the file should know, in its order.
    pub findings: Vec<Finding>,
}

/// Why a `config.toml` is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It cannot be read.
    #[error("reading `{}`", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("`{}` is larger than 1 MiB: it is not a runner's configuration", file.display())]
    TooLarge {
        /// Which file.
        file: PathBuf,
    },
    /// It is not TOML, or values outside of `[[runners]]` have the wrong type. Each finding is one line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong(Vec<Finding>),
    /// No section fits.
    #[error("`{}` has no [[runners]] section{wanted}{found}", file.display())]
    NoRunner {
        /// Which file.
        file: PathBuf,
        /// ` with the name …`.
        wanted: String,
        /// `; it has` the names there are; empty without any.
        found: String,
    },
    /// Several sections would fit.
    #[error("`{}` has {} [[runners]] sections: choose one of {found} by its name", file.display(), number)]
    SeveralRunners {
        /// Which file.
        file: PathBuf,
        /// How many.
        number: usize,
        /// The names there are.
        found: String,
    },
    /// The section asks for what cannot be had here.
    #[error("{0}")]
    Refused(Finding),
}

impl Configuration {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is wrong; see [`ConfigurationError`].
    pub fn load(file: &Path) -> Result<Self, ConfigurationError> {
        Self::read(file, &text(file)?)
    }

    /// Reads the text of a file; one whose name says YAML holds the values of GitLab's Helm chart.
    ///
    /// # Errors
    /// When it is not TOML (or YAML around it), or a value outside of `[[runners]]` has the wrong type.
    pub fn read(file: &Path, text: &str) -> Result<Self, ConfigurationError> {
        let (concurrent, runners, findings) = document(file, text, Self::outside, entry::read)?;
        Ok(Self {
            file: file.to_owned(),
            concurrent: usize::try_from(concurrent).unwrap_or(usize::MAX),
            runners,
            findings,
        })
    }

    /// What stands outside of `[[runners]]`: how many jobs run at once.
    fn outside(root: &mut Section<'_>, usual_concurrency: u64) -> u64 {
        let concurrent = root.number("concurrent").unwrap_or(usual_concurrency).max(1);
        // No job is asked for.
        root.know("check_interval");
        root.without_meaning(&[
            ("log_level", "RUST_LOG decides what is logged"),
            ("log_format", "logs have one format"),
            ("listen_address", "no metrics are served"),
            ("sentry_dsn", "errors are reported to nobody"),
            ("shutdown_timeout", "jobs end when the runner is told to stop"),
            ("connection_max_age", "connections are kept as long as they last"),
            ("session_server", "there are no interactive web terminals"),
            ("experimental", "no experiment of gitlab-runner is known"),
        ]);
        concurrent
    }

    /// The section to work by: the one of that name, or the only one.
    ///
    /// # Errors
    /// When there is none or more than one, or it asks for what cannot be had here.
    pub fn choose(&self, name: Option<&str>) -> Result<&RunnerEntry, ConfigurationError> {
        let mut fitting = self
            .runners
            .iter()
            .filter(|runner| name.is_none_or(|name| runner.name == name));
        let found = || {
            let names: Vec<String> = self
                .runners
                .iter()
                .map(|runner| format!("`{}`", runner.name))
                .collect();
            names.join(", ")
        };
        match (fitting.next(), fitting.count()) {
            (None, _) => Err(ConfigurationError::NoRunner {
                file: self.file.clone(),
                wanted: name
                    .map(|name| format!(" with the name `{name}`"))
                    .unwrap_or_default(),
                found: if self.runners.is_empty() {
                    String::new()
                } else {
                    format!("; it has {}", found())
                },
            }),
            (Some(runner), 0) => match &runner.refusal {
                Some(refusal) => Err(ConfigurationError::Refused(refusal.clone())),
                None => Ok(runner),
            },
            (Some(_), more) => Err(ConfigurationError::SeveralRunners {
                file: self.file.clone(),
                number: more + 1,
                found: found(),
            }),
        }
    }
}

/// The text of a file, as far as a configuration may go.
fn text(file: &Path) -> Result<String, ConfigurationError> {
    let unreadable = |source| ConfigurationError::Read {
        file: file.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    let mut most = opened.take(LARGEST_FILE + 1);
    most.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(ConfigurationError::TooLarge {
            file: file.to_owned(),
        });
    }
    String::from_utf8(bytes)
        .map_err(|_| unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text")))
}

/// Reads the text of a file by what stands outside of `[[runners]]`, with the chart's idea of how many jobs run at once, and
/// by each section: the one judgement about what can be read, whoever asks and for what.
fn document<Root, Runner>(
    file: &Path,
    text: &str,
    read_root: impl FnOnce(&mut Section<'_>, u64) -> Root,
    read_section: impl Fn(Section<'_>) -> Runner,
) -> Result<(Root, Vec<Runner>, Vec<Finding>), ConfigurationError> {
    let values = match chart::is_values(file) {
        true => Some(chart::read(file, text).map_err(|finding| ConfigurationError::Wrong(vec![finding]))?),
        false => None,
    };
    let (text, origin, usual_concurrency) = match &values {
        Some(values) => (values.text.as_str(), values.origin, values.concurrent),
        None => (text, Origin::default(), 1),
    };
    let findings = Findings::new(file, text, origin);
    let text = gaps::without_gaps(text, &findings);
    let table = document::parse(&text, &findings);
    let mut root = Section::new(table.get_ref(), 0..0, String::new(), &findings);
    let outside = read_root(&mut root, usual_concurrency);
    let sections = root.tables("runners");
    let wrong = findings.first_error_after(0).is_some();
    let runners = sections.into_iter().map(read_section).collect();
    root.finish();
    let mut findings = findings.into_inner();
    if wrong {
        findings.retain(|finding| finding.severity == Severity::Error);
        return Err(ConfigurationError::Wrong(findings));
    }
    Ok((outside, runners, findings))
}

#[cfg(test)]
mod tests;
