//! Job images that only some may pull, from a registry that asks for a password.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use shipway_testkit::{Account, git_repository};

use crate::harness::{Registry, SUITES, User, finish, shared_images, succeed, text};

/// `tester:correct horse`
const AUTH: &str = "dGVzdGVyOmNvcnJlY3QgaG9yc2U=";

/// A registry with an image, and somebody else who wants to run a job in it.
struct Place {
    registry: Registry,
    user: User,
    repository: PathBuf,
    settings: PathBuf,
    /// Held: the registry's data.
    _owner: User,
}

impl Place {
    fn new() -> Result<Self> {
        let owner = User::new(Account::Caller)?;
        let registry = owner.serve()?;
        let image = format!("{}/group/image:1", registry.address);
        let import = ["image", "import", "--quiet", "--change", "CMD [\"sh\"]", &image];
        succeed(owner.shipway(&import).arg(shared_images(SUITES[0])?.busybox))?;
        succeed(&mut owner.shipway(&["image", "push", &image]))?;

        let user = User::new(Account::Caller)?;
        let settings = user.home.work().join("shipway.toml");
        let text = format!(
            "[registry]\ninsecure = [\"{0}\"]\n[egress]\nallow = [\"{0}\"]\n",
            registry.address
        );
        std::fs::write(&settings, text)?;
        let files = tempfile::tempdir()?;
        let pipeline = format!("job:\n  image: {image}\n  script:\n    - echo it runs\n");
        std::fs::write(files.path().join(".gitlab-ci.yml"), pipeline)?;
        let repository = git_repository(&user.home, files.path(), "group/project", "main")?;
        Ok(Self {
            registry,
            user,
            repository,
            settings,
            _owner: owner,
        })
    }

    fn command(&self, auth_config: Option<&str>) -> Command {
        let mut command = self.user.shipway(&["run", "--config"]);
        command.arg(&self.settings).current_dir(&self.repository);
        if let Some(config) = auth_config {
            command
                .arg("--variable")
                .arg(format!("DOCKER_AUTH_CONFIG={config}"));
        }
        command
    }
}

fn ran(output: &Output) -> bool {
    output.status.success() && text(output).contains("| it runs")
}

#[test]
fn a_private_image_is_pulled_with_docker_auth_config() -> Result<()> {
    let place = Place::new()?;
    let refused = finish(&mut place.command(None))?;
    let said = text(&refused);
    ensure!(
        refused.status.code() == Some(1) && said.contains("failed to pull image") && !ran(&refused),
        "without credentials:\n{said}"
    );
    let hint = format!("there is no login for `{}`", place.registry.address);
    ensure!(said.contains(&hint), "what to do is not said:\n{said}");
    let config = format!(
        r#"{{"auths":{{"{}/group":{{"auth":"{AUTH}"}}}}}}"#,
        place.registry.address
    );
    let output = finish(&mut place.command(Some(&config)))?;
    ensure!(ran(&output), "with DOCKER_AUTH_CONFIG:\n{}", text(&output));
    Ok(())
}

#[test]
fn a_private_image_is_pulled_with_a_credential_helper() -> Result<()> {
    let place = Place::new()?;
    let programs = place.user.home.work().join("programs");
    std::fs::create_dir(&programs)?;
    let answer = format!(
        r#"{{"ServerURL":"{}","Username":"tester","Secret":"correct horse"}}"#,
        place.registry.address
    );
    let script = format!("#!/bin/sh\n[ \"$1\" = get ] && cat > /dev/null && echo '{answer}'\n");
    write_program(&programs.join("docker-credential-tests"), &script)?;
    let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
    let config = format!(r#"{{"credHelpers":{{"{}":"tests"}}}}"#, place.registry.address);
    let output = finish(place.command(Some(&config)).env("PATH", path))?;
    ensure!(ran(&output), "with a helper:\n{}", text(&output));
    Ok(())
}

/// Written by another process: a file that this one has open for writing while another test forks would be busy.
fn write_program(path: &Path, content: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""]);
    succeed(shell.arg(path).arg(content))?;
    Ok(())
}

#[test]
fn an_image_of_the_own_registry_is_pulled_with_the_jobs_token_under_every_name_of_it() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let settings = user.home.work().join("shipway.toml");
    // Nobody listens there, so it can only be the installation's own address.
    std::fs::write(&settings, "[registry]\nlisten = \"127.0.0.1:1\"\n")?;
    let shipway = |arguments: &[&str]| {
        let mut command = user.shipway(arguments);
        command.arg("--config").arg(&settings);
        command
    };
    let busybox = shared_images(SUITES[0])?.busybox;
    for image in ["group/project/tool:1", "group/other/tool:1"].map(|path| format!("localhost:1/{path}")) {
        let import = ["image", "import", "--quiet", "--change", "CMD [\"sh\"]", &image];
        succeed(shipway(&import).arg(&busybox))?;
        succeed(&mut shipway(&["image", "push", &image]))?;
        succeed(&mut shipway(&["image", "rm", &image]))?;
    }
    let files = tempfile::tempdir()?;
    let pipeline = "own:\n  image: localhost:1/group/project/tool:1\n  script: [echo it runs]\n\
                    other:\n  image: localhost:1/group/other/tool:1\n  script: [echo it must not run]\n";
    std::fs::write(files.path().join(".gitlab-ci.yml"), pipeline)?;
    let repository = git_repository(&user.home, files.path(), "group/project", "main")?;
    let output = finish(shipway(&["run", "own"]).current_dir(&repository))?;
    ensure!(ran(&output), "the project's own image:\n{}", text(&output));
    let output = finish(shipway(&["run", "other"]).current_dir(&repository))?;
    let said = text(&output);
    ensure!(
        output.status.code() == Some(1) && said.contains("`localhost:1` was asked as `gitlab-ci-token`"),
        "another project's image:\n{said}"
    );

    Ok(())
}

#[test]
fn the_users_own_login_is_not_shown_to_the_own_registry_for_a_job() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let registry = user.serve()?;
    let settings = user.home.work().join("shipway.toml");
    std::fs::write(
        &settings,
        format!("[registry]\nlisten = \"{}\"\n", registry.address),
    )?;
    let busybox = shared_images(SUITES[0])?.busybox;
    for path in ["group/project/tool", "corp/secret"] {
        let image = format!("{}/{path}:1", registry.address);
        let import = ["image", "import", "--quiet", "--change", "CMD [\"sh\"]", &image];
        succeed(user.shipway(&import).arg(&busybox))?;
        succeed(&mut user.shipway(&["image", "push", &image]))?;
        succeed(&mut user.shipway(&["image", "rm", &image]))?;
    }
    let files = tempfile::tempdir()?;
    let pipeline = format!(
        "own:\n  image: {0}/group/project/tool:1\n  script: [echo it runs]\n\
         secret:\n  image: {0}/corp/secret:1\n  script: [echo it must not run]\n",
        registry.address
    );
    std::fs::write(files.path().join(".gitlab-ci.yml"), pipeline)?;
    let repository = git_repository(&user.home, files.path(), "group/project", "main")?;
    let run = |job: &str, auth: &str| {
        // As `shipway login` writes it, once for the administrator and once with a password of before.
        let configuration = user.home.path().join(".docker");
        std::fs::create_dir_all(&configuration)?;
        let text = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.address);
        std::fs::write(configuration.join("config.json"), text)?;
        let mut command = user.shipway(&["run", job, "--config"]);
        command
            .arg(&settings)
            .current_dir(&repository)
            .env("DOCKER_CONFIG", &configuration);
        finish(&mut command)
    };
    let output = run("secret", AUTH)?;
    let said = text(&output);
    ensure!(
        output.status.code() == Some(1) && said.contains("was asked as `gitlab-ci-token`"),
        "the administrator's login opened it:\n{said}"
    );
    // `tester:outdated`
    let output = run("own", "dGVzdGVyOm91dGRhdGVk")?;
    ensure!(ran(&output), "the project's own image:\n{}", text(&output));
    Ok(())
}
