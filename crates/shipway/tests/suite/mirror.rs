//! Pipeline 20 of GitLab's documentation: a mirror of Docker Hub that the Docker service is told of. The mirror is Debian's
//! docker-registry under the very name that the documentation uses, with TLS, and its access log is the evidence.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use shipway_engine::certificates::CertificateAuthority;
use shipway_testkit::{Account, Peer, shared_inputs, wait_for};

use crate::harness::{Island, Project, SUITES, User, everywhere_with, finish, shared_images, succeed, text};

const MIRROR: &str = "registry-mirror.example.com";
/// Nobody has it but the mirror.
const IMAGE: &str = "only-at-the-mirror:1";

/// A mirror in a place where its name leads to it.
struct Mirror {
    island: Island,
    registry: Child,
    log: PathBuf,
    _files: tempfile::TempDir,
}

impl Mirror {
    /// A mirror that has [`IMAGE`], which says `word`.
    fn start(program: &Peer, skopeo: &Peer, word: &str) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let root = files.path();
        succeed(Command::new("chmod").arg("a+rx").arg(root))?;
        let authority = CertificateAuthority::ephemeral("an authority of a test")?;
        let identity = authority.issue_server(&[MIRROR.to_owned()], &[])?;
        let certificates = root.join("containers/certs.d").join(MIRROR);
        std::fs::create_dir_all(&certificates)?;
        std::fs::write(certificates.join("ca.crt"), authority.ca_pem())?;
        std::fs::write(root.join("hosts"), format!("127.0.0.1 localhost {MIRROR}\n"))?;
        std::fs::write(root.join("server.crt"), &identity.cert_pem)?;
        std::fs::write(root.join("server.key"), &identity.key_pem)?;
        let settings = serde_json::json!({
            "version": "0.1",
            "storage": { "filesystem": { "rootdirectory": root.join("data") } },
            "http": {
                "addr": "127.0.0.1:443",
                "tls": { "certificate": root.join("server.crt"), "key": root.join("server.key") },
            },
        });
        // JSON is YAML.
        std::fs::write(root.join("config.yml"), settings.to_string())?;

        // Where a configuration of the documentation has it.
        let daemon = serde_json::json!({ "registry-mirrors": [format!("https://{MIRROR}")] });
        std::fs::create_dir_all(root.join("opt/docker"))?;
        std::fs::write(root.join("opt/docker/daemon.json"), daemon.to_string())?;

        let island = Island::new(&[
            (&root.join("hosts"), "/etc/hosts"),
            (&root.join("containers"), "/etc/containers"),
            (&root.join("opt"), "/opt"),
        ])?;
        let log = root.join("log");
        let output = std::fs::File::create(&log)?;
        let mut serve = Command::new(program.path());
        serve.arg("serve").arg(root.join("config.yml"));
        let registry = island
            .enter(&serve, Account::Caller)
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .spawn()?;
        let mirror = Self {
            island,
            registry,
            log,
            _files: files,
        };
        wait_for(Duration::from_secs(20), || {
            let said = mirror.said().map_err(|error| error.to_string())?;
            if said.contains("listening on 127.0.0.1:443") {
                Ok(())
            } else {
                Err(format!("the mirror does not listen:\n{said}"))
            }
        })?;
        mirror.fill(skopeo, word)?;
        Ok(mirror)
    }

    fn fill(&self, skopeo: &Peer, word: &str) -> Result<()> {
        let owner = User::new(Account::Caller)?;
        let says = format!("CMD [\"echo\", \"{word}\"]");
        let import = ["image", "import", "--quiet", "--change", &says, IMAGE];
        succeed(owner.shipway(&import).arg(shared_images(SUITES[0])?.busybox))?;
        let from = format!("docker-archive:{}", owner.save(IMAGE)?.display());
        let mut copy = owner.home.command(skopeo.path());
        copy.args(["--insecure-policy", "copy", &from])
            .arg(format!("docker://{MIRROR}/library/{IMAGE}"));
        succeed(&mut self.island.enter(&copy, Account::Caller)).map(drop)
    }

    fn said(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// How often the image was asked for.
    fn asked(&self) -> Result<usize> {
        Ok(self
            .said()?
            .matches("GET /v2/library/only-at-the-mirror/manifests/1?ns=docker.io HTTP/")
            .count())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // Gone already is as good as ended.
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

/// Runs the project where the mirror is, as the only place that a job may reach, and insists that it was asked.
fn run(project: &Project, mirror: &Mirror, arguments: &[&str]) -> Result<()> {
    let settings = project.user.home.work().join("shipway.toml");
    std::fs::write(&settings, "[egress]\nallow = [\"127.0.0.1:443\"]\n")?;
    let before = mirror.asked()?;
    let mut plain = project.user.shipway(&["run", "--config"]);
    plain
        .arg(&settings)
        .args(arguments)
        .current_dir(&project.repository);
    let output = finish(&mut mirror.island.enter(&plain, project.user.home.account()))?;
    let trace = text(&output);
    ensure!(
        output.status.success() && trace.contains(&format!("| {}", project.nonce)),
        "the image of the mirror did not run:\n{trace}"
    );
    ensure!(
        trace.contains(&format!("https://{MIRROR}/")),
        "`docker info` does not name the mirror:\n{trace}"
    );
    ensure!(
        mirror.asked()? > before,
        "the mirror was not asked:\n{}",
        mirror.said()?
    );
    Ok(())
}

const JOB: &str =
    "job:\n  image: docker:24.0.5-cli\n  script: [docker info, 'docker run only-at-the-mirror:1']\n";

/// A job whose own Docker service knows no mirror: what the first job found under a name is nothing to it.
const NEXT_JOB: &str = "next:\n  image: docker:24.0.5-cli\n  services: [docker:24.0.5-dind]\n  needs: [job]\n  \
                        script: ['! docker run only-at-the-mirror:1']\n";

/// The fragment as it stands, then with jobs; then the job alone, with a mirror in each of the two ways that the configuration
/// of a runner has.
#[test]
fn the_mirror_of_a_docker_service_is_asked() {
    let (true, Some(program), Some(skopeo)) = (
        rustix::process::geteuid().is_root(),
        Peer::find("docker-registry"),
        Peer::find("skopeo"),
    ) else {
        return;
    };
    everywhere_with(&SUITES, "20-registry-mirror-service", |project| {
        project.refused_without_a_job()?;
        let mirror = Mirror::start(&program, &skopeo, &project.nonce)?;
        let file = project.repository.join(".gitlab-ci.yml");
        let fragment = std::fs::read_to_string(&file)?;
        std::fs::write(&file, format!("{fragment}\n{JOB}{NEXT_JOB}"))?;
        run(project, &mirror, &[])?;

        std::fs::write(&file, JOB)?;
        let directory = project.user.home.work();
        let services = runner_configuration("docker-services-mirror.toml", &directory)?;
        run(project, &mirror, &["-c", &services])?;

        std::fs::write(&file, format!("services: [docker:24.0.5-dind]\n{JOB}"))?;
        let mounted = runner_configuration("docker-daemon-json-mount.toml", &directory)?;
        run(project, &mirror, &["-c", &mounted])
    });
}

/// A runner's configuration of the documentation, where the account of the test can read it.
fn runner_configuration(name: &str, directory: &Path) -> Result<String> {
    let inputs = shared_inputs("runner-configs").context("the configurations are beside the pipelines")?;
    let file = directory.join(name);
    std::fs::write(&file, std::fs::read(inputs.join(name))?)?;
    succeed(Command::new("chmod").arg("a+r").arg(&file))?;
    Ok(file.to_string_lossy().into_owned())
}
