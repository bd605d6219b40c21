//! The volumes of a runner, which last from job to job.

use crate::place::{Place, block_on, job};
use shipway_pipeline::job::JobPayload;
use shipway_runner::JobStatus;
use shipway_runner::configuration::Configuration;
use shipway_testkit::harness::BlockingTest;

pub(crate) const TESTS: &[BlockingTest] = &[(
    "a_volume_of_the_runner_lasts_for_its_project_and_class_of_branches",
    a_volume_of_the_runner_lasts_for_its_project_and_class_of_branches,
)];

/// A job that says what is in the volume and leaves its own number there.
fn visit(id: u64, project: &str, protected: bool) -> JobPayload {
    let leave = format!("echo {id} >> /cache/visitors");
    let mut payload = job(
        id,
        &["echo \"found <$(cat /cache/visitors | tr '\\n' ' ')>\"", &leave],
    );
    payload.job_info.project_full_path = project.into();
    payload.git_info.protected = Some(protected);
    payload
}

fn a_volume_of_the_runner_lasts_for_its_project_and_class_of_branches() {
    block_on(async {
        let mut place = Place::new().await;
        // A user who is not root writes there, too.
        let text = "[[runners]]\nexecutor = \"docker\"\n[runners.docker]\nuser = \"ann\"\n\
                    allowed_pull_policies = [\"never\"]\nvolumes = [\"/cache\", \"named:/cache2\"]\n";
        let configuration = Configuration::read("config.toml".as_ref(), text).unwrap();
        place.context.settings = configuration.choose(None).unwrap().settings.clone();
        for (id, project, protected, found) in [
            (1, "group/project", true, "found <>"),
            (2, "group/project", true, "found <1 >"),
            (3, "group/other", true, "found <>"),
            (4, "group/project", false, "found <>"),
            (5, "group/project", true, "found <1 2 >"),
            (6, "group/project", false, "found <4 >"),
        ] {
            let ended = place.run(&visit(id, project, protected)).await;
            assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
            assert!(ended.trace.contains(found), "{id}: {}", ended.trace);
        }
    });
}
