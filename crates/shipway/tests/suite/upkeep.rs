//! What `prune` frees, and what it leaves to those who need it.

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, git_repository, wait_for};
use std::path::Path;
use std::time::Duration;

use crate::harness::{RunningEngine, User, finish, leftovers, names, succeed, text};

/// How many layers are unpacked for pods of any ids.
fn layers(user: &User) -> Result<usize> {
    let classes = std::fs::read_dir(user.home.data().join("keeper"))?.flatten();
    Ok(classes
        .filter_map(|class| Some(std::fs::read_dir(class.path().join("layers")).ok()?.count()))
        .sum())
}

#[test]
fn beside_an_engine_prune_says_that_layers_stay_and_frees_the_rest() -> Result<()> {
    for account in Account::all() {
        let user = User::new(account)?;
        let context = user.busybox_context("context")?;
        succeed(user.shipway(&["build", "--quiet"]).arg(&context))?;
        ensure!(layers(&user)? > 0, "nothing was unpacked");

        let engine = RunningEngine::start(&user)?;
        let said = text(&succeed(&mut user.shipway(&["prune", "--all"]))?);
        ensure!(
            said.contains("blobs removed")
                && said.contains("the unpacked layers stay")
                && said.contains("run `shipway prune --all` again"),
            "as {}: {said}",
            account.name()
        );
        ensure!(layers(&user)? > 0, "an engine may use them");
        let figures = succeed(&mut user.shipway(&["prune", "--all", "--json"]))?;
        let figures: serde_json::Value = serde_json::from_slice(&figures.stdout)?;
        ensure!(
            figures["layers_in_use"] == true && figures["removed_blobs"].is_u64(),
            "{figures}"
        );

        engine.end().context("ending the engine")?;
        let asked = text(&succeed(&mut user.shipway(&["prune", "--all", "--dry-run"]))?);
        ensure!(
            asked.contains("unpacked layer") && asked.contains("could be removed") && layers(&user)? > 0,
            "as {}: {asked}",
            account.name()
        );
        let said = text(&succeed(&mut user.shipway(&["prune", "--all"]))?);
        ensure!(
            said.contains("unpacked layer") && layers(&user)? == 0,
            "as {}: {said}",
            account.name()
        );
    }
    Ok(())
}

/// Only the start of a process swept before: what a killed one held stayed until something else ran containers.
#[test]
fn what_a_killed_process_held_goes_with_prune_and_gc() -> Result<()> {
    for account in Account::all() {
        for verb in ["prune", "gc"] {
            let user = User::new(account)?;
            // Dropped, it is killed.
            drop(RunningEngine::start(&user)?);
            let data = user.home.data();
            ensure!(!leftovers(&data).is_empty(), "it left nothing that could go");
            if verb == "prune" {
                let said = text(&succeed(&mut user.shipway(&["prune", "--dry-run"]))?);
                ensure!(said.contains("what 1 dead pod left could be removed"), "{said}");
                ensure!(!leftovers(&data).is_empty(), "it was only asked");
            }
            let said = text(&succeed(&mut user.shipway(&[verb]))?);
            ensure!(
                said.contains("what 1 dead pod left"),
                "as {}: {said}",
                account.name()
            );
            let left = leftovers(&data);
            ensure!(left.is_empty(), "{verb} as {}: {left:?}", account.name());
        }
    }
    Ok(())
}

/// How many jobs of each pipeline have artifacts, oldest first.
fn archives(user: &User) -> Vec<usize> {
    let artifacts = user.home.data().join("artifacts");
    let mut pipelines = names(&artifacts);
    pipelines.sort_by_key(|pipeline| pipeline.parse::<u64>().ok());
    let of = |pipeline: &String| {
        let files = names(&artifacts.join(pipeline));
        files.iter().filter(|name| name.ends_with(".tar")).count()
    };
    pipelines.iter().map(of).collect()
}

/// Runs a pipeline, or those of its jobs that are named.
fn run_pipeline(user: &User, repository: &Path, jobs: &[&str]) -> Result<()> {
    let mut run = user.shipway(&["run", "--executor", "shell"]);
    let output = finish(run.args(jobs).current_dir(repository))?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(())
}

/// Prunes until artifacts of any job went; says of how many.
fn prune_what_expires(user: &User) -> Result<u64> {
    let mut expired = 0;
    wait_for(Duration::from_secs(60), || {
        let said = user
            .shipway(&["prune", "--json"])
            .output()
            .map_err(|error| error.to_string())?;
        let figures: serde_json::Value =
            serde_json::from_slice(&said.stdout).map_err(|error| error.to_string())?;
        expired += figures["removed_artifacts"]["count"].as_u64().unwrap_or_default();
        if expired > 0 {
            Ok(())
        } else {
            Err(figures.to_string())
        }
    })?;
    Ok(expired)
}

#[test]
fn artifacts_go_when_they_expire_but_not_those_of_the_latest_success() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let files = tempfile::tempdir()?;
    std::fs::write(
        files.path().join(".gitlab-ci.yml"),
        "job:\n  script: [echo made > made]\n  artifacts: {paths: [made], expire_in: 1 second}\n\
         other:\n  script: [echo kept > kept]\n  artifacts: {paths: [kept], expire_in: never}\n",
    )?;
    let repository = git_repository(&user.home, files.path(), "group/expires", "main")?;
    run_pipeline(&user, &repository, &[])?;
    run_pipeline(&user, &repository, &[])?;
    ensure!(archives(&user) == [2, 2], "{:?}", archives(&user));
    let expired = prune_what_expires(&user)?;
    ensure!(
        expired == 1 && archives(&user) == [1, 2],
        "{expired}, {:?}",
        archives(&user)
    );
    // Nothing of the latest goes, however old.
    succeed(&mut user.shipway(&["prune"]))?;
    ensure!(archives(&user) == [1, 2], "{:?}", archives(&user));
    Ok(())
}

#[test]
fn a_run_of_one_job_takes_the_place_of_that_job_alone() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let files = tempfile::tempdir()?;
    // What `first` leaves is over before what `second` leaves.
    std::fs::write(
        files.path().join(".gitlab-ci.yml"),
        "stages: [one, two]\n\
         first: {stage: one, script: [echo made > a], artifacts: {paths: [a], expire_in: 1 second}}\n\
         second: {stage: two, script: [echo made > b], artifacts: {paths: [b], expire_in: 1 second}}\n",
    )?;
    let repository = git_repository(&user.home, files.path(), "group/selected", "main")?;
    run_pipeline(&user, &repository, &[])?;
    run_pipeline(&user, &repository, &["second"])?;
    prune_what_expires(&user)?;
    ensure!(archives(&user) == [1, 1], "{:?}", archives(&user));
    // All of a later pipeline take the place of both.
    run_pipeline(&user, &repository, &[])?;
    prune_what_expires(&user)?;
    wait_for(Duration::from_secs(60), || {
        succeed(&mut user.shipway(&["prune"])).map_err(|error| error.to_string())?;
        match archives(&user).as_slice() {
            [2] => Ok(()),
            others => Err(format!("{others:?}")),
        }
    })
}
