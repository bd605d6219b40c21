//! Whose images a job gets: that one is on this machine is no right to it.

use crate::place::{Place, block_on, job};
use shipway_pipeline::job::JobPayload;
use shipway_runner::JobStatus;
use shipway_store::Scope;
use shipway_testkit::harness::BlockingTest;

pub(crate) const TESTS: &[BlockingTest] = &[
    (
        "an_image_of_the_own_registry_needs_the_right_though_it_is_here",
        an_image_of_the_own_registry_needs_the_right_though_it_is_here,
    ),
    (
        "an_import_stands_in_with_a_warning_each_time_and_is_never_pulled",
        an_import_stands_in_with_a_warning_each_time_and_is_never_pulled,
    ),
    (
        "what_a_job_pulled_is_no_other_projects",
        what_a_job_pulled_is_no_other_projects,
    ),
];

const PATH: &[&str] = &["ENV PATH=/bin"];

fn with_image(id: u64, project: &str, image: &str) -> JobPayload {
    let mut payload = job(id, &["true"]);
    payload.job_info.project_full_path = project.into();
    payload.image.name = image.into();
    payload
}

fn an_image_of_the_own_registry_needs_the_right_though_it_is_here() {
    block_on(async {
        let place = Place::new().await;
        let name = format!("{}/group/secret/app:1", place.context.registry_name);
        place.import_into(Scope::user(), &name, PATH);
        for (id, policy) in (1..).zip(["never", "if-not-present"]) {
            let mut payload = with_image(id, "group/project", &name);
            payload.image.pull_policy = vec![policy.to_owned()];
            let ended = place.run(&payload).await;
            assert_ne!(
                ended.outcome.status,
                JobStatus::Success,
                "{policy}: {}",
                ended.trace
            );
            assert!(
                ended.trace.contains("refuses access"),
                "{policy}: {}",
                ended.trace
            );
        }
    });
}

fn an_import_stands_in_with_a_warning_each_time_and_is_never_pulled() {
    block_on(async {
        let place = Place::new().await;
        let name = "registry.invalid/theirs:1";
        place.import(name, PATH);
        for id in [1, 2] {
            let mut payload = with_image(id, "group/one", name);
            payload.image.pull_policy = vec!["if-not-present".to_owned()];
            let ended = place.run(&payload).await;
            assert_eq!(ended.outcome.status, JobStatus::Success, "{}", ended.trace);
            let warning =
                format!("{name} is the imported image, because `registry.invalid` cannot be reached");
            assert!(ended.trace.contains(&warning), "job {id}: {}", ended.trace);
        }
        for scope in place.context.store.pulled_scopes().unwrap() {
            assert_eq!(place.context.store.images(&scope).unwrap(), [], "{scope}");
        }
    });
}

fn what_a_job_pulled_is_no_other_projects() {
    block_on(async {
        let place = Place::new().await;
        let name = "registry.invalid/theirs:1";
        let pulled = Scope::pulled("group/one:protected").unwrap();
        place.import_into(pulled, name, PATH);
        let own = place.run(&with_image(2, "group/one", name)).await;
        assert_eq!(own.outcome.status, JobStatus::Success, "{}", own.trace);
        let other = place.run(&with_image(3, "group/two", name)).await;
        assert_ne!(other.outcome.status, JobStatus::Success, "{}", other.trace);
        let mut unprotected = with_image(4, "group/one", name);
        unprotected.git_info.protected = Some(false);
        let unprotected = place.run(&unprotected).await;
        assert_ne!(
            unprotected.outcome.status,
            JobStatus::Success,
            "{}",
            unprotected.trace
        );

        // What the user put here by hand is for every project.
        place.import_into(Scope::user(), name, PATH);
        let other = place.run(&with_image(5, "group/two", name)).await;
        assert_eq!(other.outcome.status, JobStatus::Success, "{}", other.trace);
    });
}
