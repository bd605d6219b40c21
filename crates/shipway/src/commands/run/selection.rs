//! Which jobs of a pipeline run.

use std::collections::BTreeSet;

use shipway_pipeline::{Compiled, JobName, LeftOut, Pipeline, When};

use crate::failure::{Failure, FailureKind};

/// A pipeline cut down to what was asked for.
#[derive(Debug)]
pub(super) struct Selection {
    pipeline: Pipeline,
    /// Jobs that will not find the artifacts of these jobs, which were left out.
    without: Vec<(JobName, Vec<JobName>)>,
}

impl Selection {
    /// All jobs when none is named; else those named, and what their `needs` name, and so on.
    ///
    /// A manual or delayed job that is named runs at once: naming it is what starts it.
    pub(super) fn of(compiled: Compiled, named: &[String]) -> Result<Self, Failure> {
        let Compiled {
            mut pipeline,
            left_out: kept_out,
            ..
        } = compiled;
        if named.is_empty() {
            return Ok(Self {
                pipeline,
                without: Vec::new(),
            });
        }
        let mut wanted: Vec<JobName> = Vec::new();
        for name in named {
            let found: Vec<_> = pipeline
                .jobs
                .iter()
                .filter(|job| job.name.as_str() == name || job.group == *name)
                .collect();
            if found.is_empty() {
                return Err(absent(&pipeline, &kept_out, name));
            }
            wanted.extend(found.into_iter().map(|job| job.name.clone()));
        }
        for job in pipeline.jobs.iter_mut().filter(|job| wanted.contains(&job.name)) {
            if matches!(job.when, When::Manual | When::Delayed | When::OnFailure) {
                job.when = When::OnSuccess;
                job.start_in = None;
            }
        }
        let mut kept: BTreeSet<JobName> = BTreeSet::new();
        while let Some(name) = wanted.pop() {
            if let Some(job) = pipeline.job(&name) {
                wanted.extend(
                    job.needs
                        .iter()
                        .flatten()
                        .map(|need| need.job.clone())
                        .filter(|need| !kept.contains(need)),
                );
                kept.insert(name);
            }
        }
        let without = kept
            .iter()
            .map(|name| (name.clone(), left_out(&pipeline, name, &kept)))
            .filter(|(_, sources)| !sources.is_empty())
            .collect();
        pipeline.jobs.retain(|job| kept.contains(&job.name));
        for job in &mut pipeline.jobs {
            if let Some(dependencies) = &mut job.dependencies {
                dependencies.retain(|name| kept.contains(name));
            }
        }
        let jobs = &pipeline.jobs;
        pipeline
            .stages
            .retain(|stage| jobs.iter().any(|job| job.stage == *stage));
        Ok(Self { pipeline, without })
    }

    /// What a user should know who named jobs: one line for each job that runs without artifacts it would have had.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.without.iter().map(|(name, sources)| {
            let named: Vec<_> = sources.iter().map(|source| format!("`{source}`")).collect();
            format!(
                "`{name}` runs without the artifacts of {}: name them as well where the job needs these files",
                named.join(", ")
            )
        })
    }

    /// What is left.
    pub(super) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// What is left, to keep.
    pub(super) fn into_pipeline(self) -> Pipeline {
        self.pipeline
    }
}

/// The jobs whose artifacts a job would fetch if they ran.
fn left_out(pipeline: &Pipeline, name: &JobName, kept: &BTreeSet<JobName>) -> Vec<JobName> {
    let sources = pipeline.artifact_sources(name).into_iter();
    let missing = sources.filter(|source| {
        let leaves = pipeline.job(source).is_some_and(|job| job.artifacts.is_some());
        leaves && !kept.contains(*source)
    });
    missing.cloned().collect()
}

/// A job that is not in the pipeline is either kept out of this one, which is said with the reason, or of no file.
fn absent(pipeline: &Pipeline, kept_out: &[LeftOut], name: &str) -> Failure {
    let found = kept_out
        .iter()
        .find(|job| job.name.as_str() == name || job.group == name);
    if let Some(job) = found {
        let message = format!("the job `{name}` is not in this pipeline: {job}");
        return Failure::new(FailureKind::Use, message).hint(
            "--tag, --merge-request, --schedule, --web and --variable make pipelines for which other jobs are meant",
        );
    }
    let names: Vec<&str> = pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
    Failure::new(FailureKind::Use, format!("this pipeline has no job `{name}`"))
        .hint(format!("its jobs are: {}", names.join(", ")))
}

#[cfg(test)]
mod tests;
