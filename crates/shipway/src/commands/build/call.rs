//! What is asked of a Dockerfile instead of building it.

use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use shipway_build::{BuildRequest, Builder};

use crate::commands::findings::{CheckedFile, Form};
use crate::failure::Failure;
use crate::screen;

mod listing;

/// The arguments that ask instead of building.
#[derive(Debug, Args)]
pub(super) struct CallArguments {
    /// Check the Dockerfile and build nothing; the same as `--call=check`
    #[arg(long, conflicts_with = "call")]
    check: bool,
    /// What to do: `build`, `check` the Dockerfile, list its `targets`, or `outline` what one of them takes
    ///
    /// `check,format=json` gives one JSON document, and so with the others. What a check finds ends with exit code 1, unless
    /// `ignorestatus=true` follows.
    #[arg(
        long,
        value_name = "METHOD[,OPTION]",
        default_value = "build",
        hide_default_value = true
    )]
    call: Call,
}

/// `build` or `check,format=json,ignorestatus=true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    method: Method,
    form: Form,
    /// Whether findings have no say in the exit code.
    ignores_findings: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Build,
    Check,
    Targets,
    Outline,
}

impl FromStr for Call {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let method = match parts.next().unwrap_or_default() {
            "build" | "" => Method::Build,
            "check" | "lint" => Method::Check,
            "targets" => Method::Targets,
            "outline" => Method::Outline,
            other => {
                return Err(format!(
                    "there is no method `{other}`: use `build`, `check`, `targets` or `outline`"
                ));
            }
        };
        let mut call = Self {
            method,
            form: Form::Text,
            ignores_findings: false,
        };
        for option in parts {
            match option.split_once('=') {
                Some(("format", "text")) => call.form = Form::Text,
                Some(("format", "json")) => call.form = Form::Json,
                Some(("ignorestatus", "true" | "1")) => call.ignores_findings = true,
                Some(("ignorestatus", "false" | "0")) => call.ignores_findings = false,
                _ => {
                    return Err(format!(
                        "`{option}` is no option: use `format=text`, `format=json` or `ignorestatus=true`"
                    ));
                }
            }
        }
        Ok(call)
    }
}

impl CallArguments {
    /// Whether something else than a build is asked for.
    pub(super) fn asks(&self) -> bool {
        self.check || self.call.method != Method::Build
    }

    /// Answers instead of building.
    pub(super) async fn answer(&self, builder: &Builder, request: BuildRequest) -> Result<ExitCode, Failure> {
        match self.call.method {
            Method::Targets => {
                let told = builder.targets(request).await.map_err(super::failure)?;
                match self.call.form {
                    Form::Text => screen::whole(&listing::targets_text(&told.answer), false),
                    Form::Json => document(&listing::targets_document(&told.answer, &told.bytes)),
                }
                Ok(ExitCode::SUCCESS)
            }
            Method::Outline => {
                let told = builder.outline(request).await.map_err(super::failure)?;
                match self.call.form {
                    Form::Text => screen::whole(&listing::outline_text(&told.answer), false),
                    Form::Json => document(&listing::outline_document(&told.answer, &told.bytes)),
                }
                Ok(ExitCode::SUCCESS)
            }
            Method::Build | Method::Check => self.check(builder, request).await,
        }
    }

    async fn check(&self, builder: &Builder, request: BuildRequest) -> Result<ExitCode, Failure> {
        let checked = builder.check(request).await.map_err(super::failure)?;
        let file = CheckedFile {
            name: &checked.name,
            bytes: &checked.bytes,
            report: &checked.report,
        };
        let code = file.tell(self.call.form)?;
        Ok(match self.call.ignores_findings {
            true => ExitCode::SUCCESS,
            false => code,
        })
    }
}

/// With the indentation that BuildKit's documents have.
fn document(value: &serde_json::Value) {
    screen::document(&format!("{value:#}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_options() {
        let parsed = |text: &str| {
            text.parse::<Call>()
                .map(|call| (call.method, call.form, call.ignores_findings))
        };
        assert_eq!(parsed("build"), Ok((Method::Build, Form::Text, false)));
        assert_eq!(parsed("check"), Ok((Method::Check, Form::Text, false)));
        assert_eq!(
            parsed("lint,format=json,ignorestatus=true"),
            Ok((Method::Check, Form::Json, true))
        );
        assert_eq!(parsed("targets"), Ok((Method::Targets, Form::Text, false)));
        assert_eq!(
            parsed("outline,format=json"),
            Ok((Method::Outline, Form::Json, false))
        );
        assert!(parsed("make").unwrap_err().contains("`make`"));
        assert!(parsed("check,format=xml").unwrap_err().contains("format=xml"));
    }
}
