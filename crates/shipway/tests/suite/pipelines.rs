//! Pipelines of GitLab's documentation, unchanged, with the real docker CLI inside the job images: each with the CLIs of
//! Debian 12 and 13, as the caller and as an ordinary user.

use anyhow::ensure;

use crate::harness::{everywhere, on_path, text};

#[test]
fn build_and_push_to_the_registry() {
    everywhere("03-build-push-latest", |project| {
        project.run()?;
        project.compare("group/project/image:latest")
    });
}

#[test]
fn four_stages_with_tests_of_the_image_just_built() {
    everywhere("05-four-stages", |project| {
        let trace = project.run()?;
        ensure!(
            trace.contains("deployed as production"),
            "the deploy job did not run:\n{trace}"
        );
        project.compare("group/project:latest")
    });
}

#[test]
fn docker_in_docker_over_tls() {
    everywhere("09-dind-tls", |project| {
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
    everywhere("11-dind-plain", |project| {
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
    everywhere("05-four-stages", |project| {
        project.git(&["checkout", "--quiet", "-b", "feature/Other_one"])?;
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
    everywhere("03-build-push-latest", |project| {
        let dockerfile = project.repository.join("Dockerfile");
        std::fs::write(&dockerfile, "FROM busybox:1.36\nRUN echo before\nRUN exit 42\n")?;
        let output = project.attempt(&[])?;
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
    everywhere("08-shell-executor", |project| {
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

#[test]
fn socket_binding_as_the_configuration_of_the_runner_has_it() {
    for pipeline in ["15-socket-binding", "17-socket-binding-plain"] {
        everywhere(pipeline, |project| {
            let file = project.input("15-socket-binding/config.toml")?;
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
fn who_uses_a_socket_that_no_configuration_gives_is_told_what_gitlab_needs() {
    everywhere("17-socket-binding-plain", |project| {
        let notice = "this job uses Shipway's engine at unix:///var/run/docker.sock";
        let trace = project.run()?;
        ensure!(
            trace.contains(&format!("tests of {}", project.nonce)),
            "no nonce in the trace:\n{trace}"
        );
        ensure!(trace.matches(notice).count() == 1, "not said once:\n{trace}");
        let file = project.input("15-socket-binding/config.toml")?;
        let trace = project.run_with(&["-c", &file])?;
        ensure!(
            !trace.contains(notice),
            "said although the runner binds it:\n{trace}"
        );
        Ok(())
    });
}

#[test]
fn with_socket_binding_the_next_job_runs_what_the_last_one_built() {
    everywhere("15-socket-binding", |project| {
        let file = project.input("15-socket-binding/config.toml")?;
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
        let output = project.attempt(&["-c", &file])?;
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
    everywhere("10-dind-unix-socket", |project| {
        let file = project.input("10-dind-unix-socket/config.toml")?;
        let trace = project.run_with(&["-c", &file])?;
        ensure!(
            trace.contains("unix:///runner/services/docker/docker.sock") && trace.contains("Server: Shipway"),
            "`docker version` does not name the engine:\n{trace}"
        );
        Ok(())
    });
}
