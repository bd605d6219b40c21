//! The first stage of a job: a place to run in, made as its executor has it.
//!
//! With the container executor a failure ends the job. With the shell executor the script may need no Docker at all, so
//! only an engine that could not be started is said, and the job goes on without.

use super::on_machine::{self, PlannedDirectory};
use super::{Job, Workplace, prepare};
use crate::Stage;
use crate::outcome::JobError;

impl Job<'_> {
    /// Ends with a workplace in which scripts can run, or with the reason why there is none.
    pub(super) async fn prepare(&mut self) -> Result<(), JobError> {
        match self.planned.take() {
            None => self.prepare_container().await?,
            Some(planned) => self.prepare_shell(planned).await?,
        }
        self.begin(Stage::PrepareScript);
        self.run.trace.say(format!(
            "Running on job-{} via {}...",
            self.run.payload.id,
            prepare::host_name()
        ));
        Ok(())
    }

    /// A directory on the machine; an engine where no Docker daemon answers.
    async fn prepare_shell(&mut self, planned: PlannedDirectory) -> Result<(), JobError> {
        self.begin(Stage::PrepareShell);
        let trace = self.run.trace.clone();
        on_machine::say_what_is_not_followed(self.run.payload, &trace);
        let making = planned.make(&self.run.payload.job_info.project_full_path);
        let directory = self.bounds.within(making).await?;
        let builds = self.directory.insert(directory).builds();
        if on_machine::wants_engine(self.context, &self.variables).await {
            let pod = prepare::pod(self.context, self.run.payload, self.excess.clone());
            match self.bounds.within(pod).await {
                Ok(pod) => self.pod = Some(pod),
                Err(stopped @ (JobError::Canceled | JobError::Timeout { .. })) => return Err(stopped),
                Err(error) => on_machine::say_that_there_is_no_engine(&error, &trace),
            }
        }
        let pod = self.pod.clone();
        let preparing = Workplace::on_machine(self.context, &self.run, builds, pod, &mut self.variables);
        self.workplace = Some(self.bounds.within(preparing).await?);
        Ok(())
    }

    /// Pod, registry, images, services, engine, container.
    async fn prepare_container(&mut self) -> Result<(), JobError> {
        self.begin(Stage::PrepareExecutor);
        let trace = self.run.trace.clone();
        if let Some(notice) = self.default_image_notice() {
            trace.say(notice);
        }
        trace.say(format!(
            "Using the container executor with image {} ...",
            self.image_name()
        ));
        let starting = prepare::pod(self.context, self.run.payload, self.excess.clone());
        let pod = self.bounds.within(starting).await?;
        self.pod = Some(pod.clone());
        let image = self.image_name();
        // Boxed: it is by far the largest part of a job, and soon over.
        let preparing = Box::pin(Workplace::prepare(prepare::Preparation {
            context: self.context,
            payload: self.run.payload,
            sources: self.run.sources.clone(),
            trace: &trace,
            pod,
            image: &image,
            variables: &mut self.variables,
        }));
        let prepared = self.bounds.within(preparing).await?;
        self.workplace = Some(prepared);
        Ok(())
    }

    /// What a reader has to know when the image is nobody's choice.
    fn default_image_notice(&self) -> Option<String> {
        let named = &self.run.payload.image.name;
        if !self.variables.expand(named).is_empty() {
            return None;
        }
        let why = if named.is_empty() {
            "This job names no image".to_owned()
        } else {
            format!("This job's image {named} expands to nothing")
        };
        Some(format!(
            "{why}: the default {} is used.",
            self.context.default_image
        ))
    }

    fn image_name(&self) -> String {
        match self.variables.expand(&self.run.payload.image.name) {
            name if name.is_empty() => self.context.default_image.clone(),
            name => name,
        }
    }
}
