//! The clients that people have, against the registry over TLS and plain HTTP: skopeo, podman, buildah, and the docker CLI
//! through `shipway engine`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use shipway_testkit::{Account, Peer};

use crate::harness::{
    CREDENTIALS, RunningEngine, SUITES, User, assert_nothing_left, finish, skopeo_copy, succeed, text,
    with_storage,
};
use crate::image_tree;

/// A certificate for 127.0.0.1 from an authority of its own, as an administrator makes them.
struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    fn make(directory: PathBuf) -> Result<Self> {
        std::fs::create_dir(&directory)?;
        std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n")?;
        let openssl = |arguments: &str| {
            succeed(
                Command::new("openssl")
                    .current_dir(&directory)
                    .args(arguments.split(' '))
                    .stderr(Stdio::null()),
            )
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=test-authority -days 2"
        ))?;
        openssl(&format!(
            "req {key} -keyout server.key -out server.csr -subj /CN=registry"
        ))?;
        openssl(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names",
        )?;
        // Clients read a directory that holds the authority alone.
        std::fs::create_dir(directory.join("trust"))?;
        std::fs::copy(directory.join("ca.crt"), directory.join("trust/ca.crt"))?;
        Ok(Self { directory })
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }
}

#[test]
fn skopeo_podman_and_buildah_over_tls() -> Result<()> {
    let (Some(skopeo), Some(podman), Some(buildah)) =
        (Peer::find("skopeo"), Peer::find("podman"), Peer::find("buildah"))
    else {
        return Ok(());
    };
    let user = User::with_base_images(Account::Caller, SUITES[0])?;
    let certificates = Certificates::make(user.home.work().join("certificates"))?;
    let trust = certificates.path("trust");
    let registry = user.serve_with(&[
        "--tls-certificate",
        &certificates.path("server.crt"),
        "--tls-key",
        &certificates.path("server.key"),
    ])?;
    let archive = user.save("busybox:1.36")?;
    let address = &registry.address;

    skopeo_copy(
        &user.home,
        &skopeo,
        &["--dest-cert-dir", &trust, "--dest-creds", CREDENTIALS],
        &format!("docker-archive:{}", archive.display()),
        &format!("docker://{address}/tls/image:1"),
    )?;
    let tls = ["--cert-dir", &trust, "--creds", CREDENTIALS];
    for (client, number) in [(podman.path(), 2), (buildah.path(), 3)] {
        let pull = format!("{address}/tls/image:1");
        let push = format!("docker://{address}/tls/image:{number}");
        with_storage(
            &user.home,
            client,
            &[&["pull", "--quiet"], &tls[..], &[&pull]].concat(),
        )?;
        with_storage(
            &user.home,
            client,
            &[&["push"], &tls[..], &[&pull, &push]].concat(),
        )?;
    }

    let mut trees = Vec::new();
    for number in 1..=3 {
        let directory = user.home.work().join(format!("tls-{number}"));
        skopeo_copy(
            &user.home,
            &skopeo,
            &["--src-cert-dir", &trust, "--src-creds", CREDENTIALS],
            &format!("docker://{address}/tls/image:{number}"),
            &format!("dir:{}", directory.display()),
        )?;
        trees.push(image_tree::read_skopeo_directory(&directory)?.0);
    }
    for tree in &trees[1..] {
        let differences = image_tree::differences(&trees[0], tree);
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
    }
    let untrusted = finish(
        user.home
            .command(skopeo.path())
            .args(["inspect", "--creds", CREDENTIALS])
            .arg(format!("docker://{address}/tls/image:1")),
    )?;
    ensure!(
        !untrusted.status.success(),
        "a client that does not know the authority must refuse"
    );
    Ok(())
}

#[test]
fn the_docker_cli_moves_images_between_an_engine_and_somebody_elses_registry() -> Result<()> {
    for name in ["docker-20.10", "docker-26"] {
        let Some(docker) = Peer::find(name) else { continue };
        for account in Account::all() {
            let user = User::with_base_images(account, SUITES[0])?;
            // The registry belongs to another installation: nothing can stay inside one process.
            let other = User::new(Account::Caller)?;
            let registry = other.serve()?;
            let engine = RunningEngine::start(&user)?;
            let docker = |arguments: &[&str]| {
                let mut command = user.home.command(docker.path());
                succeed(
                    command
                        .env("DOCKER_HOST", &engine.host)
                        .env("DOCKER_BUILDKIT", "0")
                        .args(arguments),
                )
            };
            let context = user.home.work().join("context");
            std::fs::create_dir(&context)?;
            std::fs::write(
                context.join("Dockerfile"),
                "FROM busybox:1.36\nRUN echo from a laptop > /made\n",
            )?;
            account.own(&context)?;
            let image = format!("{}/laptop/app:1", registry.address);
            docker(&[
                "login",
                "--username",
                "tester",
                "--password",
                "correct horse",
                &registry.address,
            ])?;
            docker(&["build", "--tag", &image, &context.to_string_lossy()])?;
            docker(&["push", &image])?;
            docker(&["rmi", &image])?;
            docker(&["pull", &image])?;
            let output = docker(&["run", "--rm", &image, "cat", "/made"])?;
            ensure!(
                output.stdout == b"from a laptop\n",
                "{name} as {}: {}",
                account.name(),
                text(&output)
            );
            registry.pull(&other.home, "laptop/app:1")?;
            drop(engine);
            assert_nothing_left(&user.home)?;
        }
    }
    Ok(())
}
