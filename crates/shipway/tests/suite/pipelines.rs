//! Pipelines of GitLab's documentation, unchanged, with the real docker CLI inside the job images: each with the CLIs of
//! Debian 12 and 13, as the caller and as an ordinary user.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, git_repository, workspace};

use crate::harness::{
    Suite, User, assert_nothing_left, finish, on_path, shared_images, shared_pipeline, succeed, suites, text,
};
use crate::image_tree::{self, Tree};

/// A pipeline from the real inputs over the test's own files, ready to run.
struct Project {
    user: User,
    repository: PathBuf,
    nonce: String,
}

impl Project {
    fn new(pipeline: &str, account: Account, suite: Suite) -> Result<Option<Self>> {
        let Some(inputs) = shared_pipeline(pipeline) else {
            return Ok(None);
        };
        let user = User::with_base_images(account, suite)?;
        let files = tempfile::tempdir()?;
        let fixture = workspace().join("crates/shipway/tests/fixtures/image");
        succeed(
            Command::new("cp")
                .arg("-a")
                .arg(fixture)
                .arg(files.path().join("files")),
        )?;
        let files_root = files.path().join("files");
        std::fs::copy(inputs.join(".gitlab-ci.yml"), files_root.join(".gitlab-ci.yml"))?;
        // What a test of another moment printed cannot pass for this one's.
        let nonce = format!(
            "nonce-{}-{}",
            std::process::id(),
            files.path().to_string_lossy().replace('/', "-")
        );
        std::fs::write(files_root.join("nonce.txt"), format!("{nonce}\n"))?;
        succeed(Command::new("chmod").args(["-R", "a+rX,u+w"]).arg(files.path()))?;
        let repository = git_repository(&user.home, &files_root, "group/project", "main")?;
        Ok(Some(Self {
            user,
            repository,
            nonce,
        }))
    }

    fn run(&self) -> Result<String> {
        self.run_with(&[])
    }

    fn run_with(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.user.shipway(&["run"]);
        Ok(text(&succeed(
            command.args(arguments).current_dir(&self.repository),
        )?))
    }

    /// What the image must hold: the base, and what the Dockerfile of the fixture does to it.
    fn expected_tree(&self, suite: Suite) -> Result<Tree> {
        let mut tree = Tree::new();
        image_tree::apply_layer(&mut tree, File::open(shared_images(suite)?.busybox)?)?;
        let file = |mode: u32, content: &[u8]| image_tree::Node {
            kind: tar::EntryType::Regular,
            mode,
            owner: (0, 0),
            link: None,
            content: content.to_vec(),
        };
        let directory = image_tree::Node {
            kind: tar::EntryType::Directory,
            ..file(0o755, b"")
        };
        let nonce = format!("{}\n", self.nonce);
        tree.insert("nonce.txt".into(), file(0o644, nonce.as_bytes()));
        for name in [
            "script",
            "script/to",
            "script/to/run",
            "script/to/run/another",
            "made",
        ] {
            tree.insert(name.into(), directory.clone());
        }
        for name in ["script/to/run/tests", "script/to/run/another/test"] {
            tree.insert(
                name.into(),
                file(0o755, &std::fs::read(self.repository.join(name))?),
            );
        }
        tree.insert("made/by-a-step".into(), file(0o644, nonce.as_bytes()));
        tree.remove("bin/vi")
            .context("the base has a bin/vi for the build to remove")?;
        Ok(tree)
    }

    /// Pulls an image with an independent client and compares it file by file.
    fn compare(&self, image: &str, suite: Suite) -> Result<()> {
        let registry = self.user.serve()?;
        let Some(directory) = registry.pull(&self.user.home, image)? else {
            return Ok(());
        };
        let (found, configuration) = image_tree::read_skopeo_directory(&directory)?;
        let differences = image_tree::differences(&self.expected_tree(suite)?, &found);
        ensure!(
            differences.is_empty(),
            "{image} differs:\n{}",
            differences.join("\n")
        );
        ensure!(
            configuration["config"]["Cmd"] == serde_json::json!(["sh"]),
            "the configuration: {configuration}"
        );
        Ok(())
    }
}

/// Runs a test for every CLI and account; all are tried before the first failure is told.
fn everywhere(pipeline: &str, test: impl Fn(&Project, Suite) -> Result<()>) {
    let mut failures = Vec::new();
    for suite in suites() {
        for account in Account::all() {
            let outcome = Project::new(pipeline, account, suite).and_then(|project| match project {
                None => Ok(()),
                Some(project) => {
                    test(&project, suite)?;
                    assert_nothing_left(&project.user.home)
                }
            });
            if let Err(error) = outcome {
                failures.push(format!(
                    "{pipeline} as {} with {}: {error:?}",
                    account.name(),
                    suite.0
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn build_and_push_to_the_registry() {
    everywhere("03-build-push-latest", |project, suite| {
        project.run()?;
        project.compare("group/project/image:latest", suite)
    });
}

#[test]
fn four_stages_with_tests_of_the_image_just_built() {
    everywhere("05-four-stages", |project, suite| {
        let trace = project.run()?;
        ensure!(
            trace.contains("deployed as production"),
            "the deploy job did not run:\n{trace}"
        );
        project.compare("group/project:latest", suite)
    });
}

#[test]
fn docker_in_docker_over_tls() {
    everywhere("09-dind-tls", |project, _| {
        let trace = project.run()?;
        ensure!(
            trace.contains(&format!("tests of {}", project.nonce)),
            "no nonce in the trace:\n{trace}"
        );
        Ok(())
    });
}

#[test]
fn docker_in_docker_without_tls() {
    everywhere("11-dind-plain", |project, _| {
        let trace = project.run()?;
        ensure!(
            trace.contains(&format!("tests of {}", project.nonce)),
            "no nonce in the trace:\n{trace}"
        );
        Ok(())
    });
}

#[test]
fn jobs_for_main_stay_away_from_other_branches() {
    everywhere("05-four-stages", |project, _| {
        let git = ["checkout", "--quiet", "-b", "feature/Other_one"];
        succeed(
            project
                .user
                .home
                .command("git")
                .arg("-C")
                .arg(&project.repository)
                .args(git),
        )?;
        let trace = project.run()?;
        ensure!(
            !trace.contains("deployed as"),
            "the deploy job ran on a branch:\n{trace}"
        );
        let registry = project.user.serve()?;
        registry.pull(&project.user.home, "group/project:feature-other-one")?;
        Ok(())
    });
}

#[test]
fn a_failing_step_ends_the_job_with_its_line() {
    everywhere("03-build-push-latest", |project, _| {
        let dockerfile = project.repository.join("Dockerfile");
        std::fs::write(&dockerfile, "FROM busybox:1.36\nRUN echo before\nRUN exit 42\n")?;
        let output = finish(project.user.shipway(&["run"]).current_dir(&project.repository))?;
        let trace = text(&output);
        ensure!(
            output.status.code() == Some(1),
            "exit {:?}:\n{trace}",
            output.status.code()
        );
        ensure!(
            trace.contains("exit 42") && trace.contains("42"),
            "the failing line is not shown:\n{trace}"
        );
        Ok(())
    });
}

#[test]
fn the_shell_executor_builds_with_the_docker_cli_of_the_machine() {
    // A daemon of this machine would be asked instead, and would not know the images of the test.
    let answers = std::os::unix::net::UnixStream::connect("/var/run/docker.sock").is_ok();
    if answers || on_path("docker").is_none() {
        return;
    }
    everywhere("08-shell-executor", |project, _| {
        let trace = project.run_with(&["--executor", "shell"])?;
        for expected in [
            "DOCKER_HOST leads to Shipway's engine".to_owned(),
            format!("tests of {}", project.nonce),
        ] {
            ensure!(trace.contains(&expected), "{expected}:\n{trace}");
        }
        Ok(())
    });
}

/// The runner's configuration of a pipeline, where the account of the test can read it.
fn runner_configuration(project: &Project, pipeline: &str) -> Result<String> {
    let inputs = shared_pipeline(pipeline).context("the pipeline is here: the project is made from one")?;
    let file = project.user.home.work().join("config.toml");
    std::fs::copy(inputs.join("config.toml"), &file)?;
    succeed(Command::new("chmod").arg("a+r,u+w").arg(&file))?;
    Ok(file.to_string_lossy().into_owned())
}

#[test]
fn socket_binding_as_the_configuration_of_the_runner_has_it() {
    for pipeline in ["15-socket-binding", "17-socket-binding-plain"] {
        everywhere(pipeline, |project, _| {
            let file = runner_configuration(project, "15-socket-binding")?;
            let trace = project.run_with(&["-c", &file])?;
            ensure!(
                trace.contains(&format!("tests of {}", project.nonce)),
                "no nonce in the trace:\n{trace}"
            );
            ensure!(
                trace.contains("config.toml:3:11: the value is not in quotes"),
                "the gap that the documentation leaves is not said:\n{trace}"
            );
            Ok(())
        });
    }
}

#[test]
fn with_socket_binding_the_next_job_runs_what_the_last_one_built() {
    everywhere("15-socket-binding", |project, _| {
        let file = runner_configuration(project, "15-socket-binding")?;
        let two_jobs = "image: docker:24.0.5\nstages: [build, run]\n\
                        make:\n  stage: build\n  script: [docker build -t mine .]\n\
                        use:\n  stage: run\n  script: [docker run mine /script/to/run/tests]\n";
        std::fs::write(project.repository.join(".gitlab-ci.yml"), two_jobs)?;
        let trace = project.run_with(&["-c", &file])?;
        ensure!(
            trace.contains(&format!("tests of {}", project.nonce)),
            "no nonce in the trace:\n{trace}"
        );
        // Without the socket in `volumes`, there is no Docker to ask.
        std::fs::write(
            &file,
            "[[runners]]\nexecutor = \"docker\"\n[runners.docker]\nimage = \"docker:24.0.5\"\n",
        )?;
        let output = finish(
            project
                .user
                .shipway(&["run", "-c", &file])
                .current_dir(&project.repository),
        )?;
        ensure!(
            output.status.code() == Some(1),
            "a job found a socket:\n{}",
            text(&output)
        );
        Ok(())
    });
}

#[test]
fn docker_in_docker_on_a_socket_in_a_shared_volume() {
    everywhere("10-dind-unix-socket", |project, _| {
        let file = runner_configuration(project, "10-dind-unix-socket")?;
        let trace = project.run_with(&["-c", &file])?;
        ensure!(
            trace.contains("unix:///runner/services/docker/docker.sock") && trace.contains("Server: Shipway"),
            "`docker version` does not name the engine:\n{trace}"
        );
        Ok(())
    });
}
