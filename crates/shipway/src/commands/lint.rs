//! `shipway lint`: what `shipway run` would do, without doing it, or what should be written otherwise in a Dockerfile.
//!
//! It reads the work tree and the configuration only: no store is opened and no number taken, so that it can run in an
//! editor or in a hook. The exit code is that of `run` for a file that gives no pipeline.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use shipway_oci::RegistryName;
use shipway_pipeline::job::PayloadFacts;
use shipway_pipeline::variables::{Variable, expand_all_for_runner, expand_for_runner};
use shipway_pipeline::{AllowFailure, Compiled, Job, Pipeline, When};

use super::findings::Form;
use super::run::{PlanArguments, WorkTreeFacts, show};
use crate::arguments::GlobalArguments;
use crate::failure::{Failure, FailureKind};
use crate::installation::data_directory;
use crate::screen;

mod dockerfile;

/// Show which jobs the pipeline would have, or what is wrong with the file; or check a Dockerfile
///
/// Image names are shown as a runner would ask for them, with their variables filled in. A Dockerfile is checked with the rules
/// of `docker build --check`, as far as they need no base image; `shipway build --check` asks for those, too. Findings end with
/// exit code 1.
#[derive(Debug, Args)]
pub(crate) struct LintArguments {
    /// A Dockerfile to check, or, with a name that ends in `.yml` or `.yaml`, the pipeline's file
    #[arg(value_name = "FILE", conflicts_with = "file")]
    path: Option<PathBuf>,
    /// A Dockerfile to check, whatever its name [- for standard input]
    #[arg(long, value_name = "PATH", conflicts_with_all = ["path", "file"])]
    dockerfile: Option<PathBuf>,
    #[command(flatten)]
    plan: PlanArguments,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Compiles and shows.
pub(crate) fn execute(mut arguments: LintArguments, global: &GlobalArguments) -> Result<ExitCode, Failure> {
    let form = if arguments.json { Form::Json } else { Form::Text };
    if let Some(path) = &arguments.dockerfile {
        return dockerfile::execute(path, form);
    }
    match &arguments.path {
        Some(path) if !is_pipeline(path) => return dockerfile::execute(path, form),
        Some(path) => arguments.plan.file = path.display().to_string(),
        None => {}
    }
    pipeline(&arguments, global)
}

fn is_pipeline(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yml" || extension == "yaml")
}

fn pipeline(arguments: &LintArguments, global: &GlobalArguments) -> Result<ExitCode, Failure> {
    let (settings, _) = data_directory(global)?;
    let registry: RegistryName = settings
        .registry
        .name
        .parse()
        .map_err(|error| Failure::caused(FailureKind::Use, "the setting `registry.name`", &error))?;
    let directory = std::env::current_dir()
        .map_err(|error| Failure::caused(FailureKind::Place, "finding the current directory", &error))?;
    let facts = WorkTreeFacts::read(&directory)?;
    let file = &arguments.plan.file;
    match arguments.plan.compile(&facts, 1, &registry)? {
        Ok(compiled) => {
            show(&compiled.warnings);
            if arguments.json {
                screen::document(&document(file, &compiled)?.to_string());
            } else {
                screen::line(&table(&compiled.pipeline)?);
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(diagnostics) => {
            show(&diagnostics);
            if arguments.json {
                let document = json!({ "file": file, "valid": false, "diagnostics": diagnostics });
                screen::document(&document.to_string());
            }
            Err(Failure::new(
                FailureKind::Use,
                format!("`{file}` gives no pipeline"),
            ))
        }
    }
}

/// Images of a job, with variables filled in.
struct Images {
    job: Option<String>,
    services: Vec<String>,
}

fn images(pipeline: &Pipeline, job: &Job) -> Result<Images, Failure> {
    let payload = pipeline
        .payload(&job.name, &PayloadFacts::default())
        .map_err(|error| {
            let what = format!("the variables of the job `{}`", job.name);
            Failure::caused(FailureKind::Use, &what, &error)
        })?;
    let variables: Vec<Variable> = expand_all_for_runner(&payload.variables, "");
    let filled = |name: &str| expand_for_runner(name, &variables, "");
    Ok(Images {
        job: job.image.as_ref().map(|image| filled(&image.name)),
        services: job
            .services
            .iter()
            .map(|service| filled(&service.image.name))
            .collect(),
    })
}

fn document(file: &str, compiled: &Compiled) -> Result<Value, Failure> {
    let pipeline = &compiled.pipeline;
    let jobs = pipeline.jobs.iter().map(|job| one(pipeline, job));
    let situation = &pipeline.situation;
    Ok(json!({
        "file": file,
        "valid": true,
        "diagnostics": compiled.warnings,
        "name": pipeline.name,
        "ref": situation.ref_name,
        "source": situation.source,
        "stages": pipeline.stages,
        "jobs": jobs.collect::<Result<Vec<_>, _>>()?,
        "left_out": compiled.left_out,
    }))
}

fn one(pipeline: &Pipeline, job: &Job) -> Result<Value, Failure> {
    let images = images(pipeline, job)?;
    let needs = job
        .needs
        .as_ref()
        .map(|needs| needs.iter().map(|need| need.job.as_str()).collect::<Vec<_>>());
    Ok(json!({
        "name": job.name,
        "stage": job.stage,
        "image": images.job,
        "services": images.services,
        "before_script": job.before_script,
        "script": job.script,
        "after_script": job.after_script,
        "when": job.when,
        "start_in": job.start_in.map(|wait| wait.as_secs()),
        "allow_failure": job.allow_failure,
        "needs": needs,
        "dependencies": job.dependencies,
        "artifacts_from": pipeline.artifact_sources(&job.name),
        "tags": job.tags,
        "timeout": job.timeout.map(|limit| limit.as_secs()),
        "retry": job.retry,
        "interruptible": job.interruptible,
        "resource_group": job.resource_group,
        "environment": job.environment,
    }))
}

/// One line for each job: stage, name, image, and what is not as usual.
fn table(pipeline: &Pipeline) -> Result<String, Failure> {
    let width =
        |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
    let stages = width(&mut pipeline.jobs.iter().map(|job| job.stage.as_str()));
    let names = width(&mut pipeline.jobs.iter().map(|job| job.name.as_str()));
    let mut lines = Vec::new();
    for job in &pipeline.jobs {
        let images = images(pipeline, job)?;
        let mut line = format!("{:stages$}  {:names$}", job.stage.as_str(), job.name.as_str());
        for image in images.job.iter().chain(&images.services) {
            line.push_str("  ");
            line.push_str(image);
        }
        if let Some(unusual) = unusual(job) {
            line.push_str("  (");
            line.push_str(&unusual);
            line.push(')');
        }
        lines.push(line.trim_end().to_owned());
    }
    Ok(lines.join("\n"))
}

fn unusual(job: &Job) -> Option<String> {
    let mut parts = Vec::new();
    match job.when {
        When::OnSuccess => {}
        When::OnFailure => parts.push("on failure".to_owned()),
        When::Always => parts.push("always".to_owned()),
        When::Manual => parts.push("manual".to_owned()),
        When::Delayed => parts.push("delayed".to_owned()),
    }
    if let Some(needs) = &job.needs {
        let names: Vec<&str> = needs.iter().map(|need| need.job.as_str()).collect();
        parts.push(match names.as_slice() {
            [] => "needs nothing".to_owned(),
            names => format!("needs {}", names.join(", ")),
        });
    }
    if job.allow_failure != AllowFailure::No {
        parts.push("may fail".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::{document, table};
    use shipway_pipeline::{Compiled, Options, Situation, compile};
    use std::collections::BTreeMap;

    const FILE: &str = "
variables: {VERSION: '24.0.5', PROXY: $CI_DEPENDENCY_PROXY_GROUP_IMAGE_PREFIX}
build: {stage: build, image: 'docker:$VERSION-cli', services: ['$PROXY/docker:${VERSION}-dind'], script: make}
test: {script: test, needs: [build], timeout: 90 minutes, allow_failure: true}
deploy: {stage: deploy, script: deploy, when: manual, allow_failure: false}
";

    fn compiled() -> Compiled {
        let files = BTreeMap::from([("ci.yml".to_owned(), FILE.as_bytes().to_vec())]);
        let situation = Situation {
            ref_name: "main".to_owned(),
            ..Situation::default()
        };
        compile(&files, "ci.yml", &situation, Options::default()).unwrap()
    }

    #[test]
    fn a_line_says_what_is_not_as_usual() {
        assert_eq!(
            table(&compiled().pipeline).unwrap(),
            "build   build   docker:24.0.5-cli  docker.io/docker:24.0.5-dind\n\
             test    test    (needs build; may fail)\n\
             deploy  deploy  (manual)"
        );
    }

    #[test]
    fn the_document_has_images_with_their_variables_filled_in() {
        let document = document("ci.yml", &compiled()).unwrap();
        assert_eq!(document["source"], "push");
        let job = |index: usize| &document["jobs"][index];
        assert_eq!(job(0)["image"], "docker:24.0.5-cli");
        assert_eq!(job(0)["services"][0], "docker.io/docker:24.0.5-dind");
        assert_eq!(
            (&job(1)["image"], &job(1)["timeout"]),
            (&serde_json::Value::Null, &5400.into())
        );
        assert_eq!(
            (&job(1)["needs"][0], &job(2)["when"]),
            (&"build".into(), &"manual".into())
        );
    }
}
