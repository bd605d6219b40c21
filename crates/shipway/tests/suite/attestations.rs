//! Images with an SBOM and provenance beside them: everybody who pulls images pulls these, and cosign signs and verifies them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use shipway_testkit::{Account, Peer};

use crate::harness::{
    CREDENTIALS, Registry, RunningEngine, SUITES, User, finish, skopeo_copy, succeed, text, with_storage,
};
use crate::image_tree;

const STATUS: &str = "Package: bash\nStatus: install ok installed\nVersion: 5.2\nArchitecture: amd64\n";

/// A user whose registry has `group/app:1` with both attestations, and `group/app:plain` without.
struct Attested {
    user: User,
    registry: Registry,
}

impl Attested {
    fn new(account: Account) -> Result<Self> {
        let user = User::with_base_images(account, SUITES[0])?;
        let registry = user.serve()?;
        let attested = Self { user, registry };
        let context = attested.user.home.work().join("context");
        std::fs::create_dir(&context)?;
        std::fs::write(context.join("status"), STATUS)?;
        std::fs::write(
            context.join("Dockerfile"),
            "FROM busybox:1.36\nCOPY status /var/lib/dpkg/status\nRUN echo made > /made\n",
        )?;
        account.own(&context)?;
        attested.build("app:plain", &[])?;
        attested.build(
            "app:1",
            &[
                "--sbom=true",
                "--provenance=mode=max",
                "--builder-id=https://ci.example.com",
            ],
        )?;
        Ok(attested)
    }

    fn build(&self, image: &str, arguments: &[&str]) -> Result<()> {
        let name = self.name(image);
        let mut build = self.user.shipway(&["build", "--quiet", "--push", "--tag", &name]);
        build.args(arguments).arg(self.user.home.work().join("context"));
        // The registry is another process on loopback; the user is logged in there.
        let (name, word) = CREDENTIALS.split_once(':').context("a password")?;
        let login = format!("{name}:{word}");
        let configuration = serde_json::json!({"auths": {&self.registry.address: {"auth": base64(&login)}}});
        let directory = self.user.home.path().join(".docker");
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("config.json"), configuration.to_string())?;
        self.user.home.account().own(&directory)?;
        succeed(build.env("DOCKER_CONFIG", &directory)).map(drop)
    }

    fn name(&self, image: &str) -> String {
        format!("{}/group/{image}", self.registry.address)
    }

    /// What the registry has under a name, as JSON.
    fn manifest(&self, image: &str) -> Result<Option<Value>> {
        let (name, selector) = image.split_once([':', '@']).context("a tag or a digest")?;
        let selector = if image.contains('@') {
            &image[name.len() + 1..]
        } else {
            selector
        };
        let accept =
            "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json";
        let arguments = ["--user", CREDENTIALS, "--header", accept];
        let path = format!("/v2/group/{name}/manifests/{selector}");
        let Some(answer) = self.registry.curl(&self.user.home, &arguments, &path)? else {
            return Ok(None);
        };
        ensure!(answer.status == 200, "{image}: {answer:?}");
        Ok(Some(serde_json::from_str(&answer.body)?))
    }
}

fn base64(text: &str) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn whoever_pulls_an_attested_image_gets_the_image() -> Result<()> {
    for account in Account::all() {
        let attested = Attested::new(account)?;
        let Attested { user, registry } = &attested;
        let (Some(index), Some(plain)) = (attested.manifest("app:1")?, attested.manifest("app:plain")?)
        else {
            return Ok(());
        };
        ensure!(index["manifests"].as_array().map(Vec::len) == Some(2), "{index}");
        ensure!(plain["layers"].is_array(), "{plain}");

        // skopeo takes the one for its platform, and all when it is asked to.
        let mut trees = Vec::new();
        for image in ["group/app:1", "group/app:plain"] {
            let Some(pulled) = registry.pull(&user.home, image)? else {
                return Ok(());
            };
            trees.push(image_tree::read_skopeo_directory(&pulled)?.0);
        }
        let differences = image_tree::differences(&trees[0], &trees[1]);
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        if let Some(skopeo) = Peer::find("skopeo") {
            let options = ["--all", "--src-tls-verify=false", "--src-creds", CREDENTIALS];
            let layout = format!("oci:{}", user.home.work().join("all").display());
            skopeo_copy(
                &user.home,
                &skopeo,
                &options,
                &format!("docker://{}", attested.name("app:1")),
                &layout,
            )?;
        }
        for name in ["podman", "buildah"] {
            if let Some(client) = Peer::find(name) {
                let image = attested.name("app:1");
                let pull = [
                    "pull",
                    "--quiet",
                    "--tls-verify=false",
                    "--creds",
                    CREDENTIALS,
                    &image,
                ];
                with_storage(&user.home, client.path(), &pull)?;
            }
        }
        for name in ["docker-20.10", "docker-26"] {
            let Some(docker) = Peer::find(name) else { continue };
            // Another installation: nothing can stay inside one process.
            let other = User::new(account)?;
            let engine = RunningEngine::start(&other)?;
            let docker = |arguments: &[&str]| {
                let mut command = user.home.command(docker.path());
                command.env("DOCKER_CONFIG", user.home.path().join(".docker"));
                succeed(command.env("DOCKER_HOST", &engine.host).args(arguments))
            };
            docker(&["pull", "--quiet", &attested.name("app:1")])?;
            let said = docker(&["run", "--rm", &attested.name("app:1"), "cat", "/made"])?;
            ensure!(said.stdout.trim_ascii() == b"made", "{}", text(&said));
        }
        // On the machine it is one image, by either name.
        let listed = String::from_utf8(succeed(&mut user.shipway(&["image", "ls", "--json"]))?.stdout)?;
        let ids: Vec<Value> = listed
            .lines()
            .map(serde_json::from_str::<Value>)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .filter(|row| {
                row["name"]
                    .as_str()
                    .is_some_and(|name| name.contains("group/app"))
            })
            .map(|row| row["id"].clone())
            .collect();
        ensure!(ids.len() == 2 && ids[0] == ids[1], "{listed}");
    }
    Ok(())
}

#[test]
fn what_is_said_is_beside_the_image_and_among_its_referrers() -> Result<()> {
    let attested = Attested::new(Account::Caller)?;
    let Some(index) = attested.manifest("app:1")? else {
        return Ok(());
    };
    let image = index["manifests"][0]["digest"]
        .as_str()
        .context("an image")?
        .to_owned();
    let beside = index["manifests"][1]["digest"]
        .as_str()
        .context("an attachment")?
        .to_owned();
    let attachment = attested
        .manifest(&format!("app@{beside}"))?
        .context("curl is here")?;
    let kinds: Vec<&str> = attachment["layers"]
        .as_array()
        .context("layers")?
        .iter()
        .filter_map(|layer| layer["annotations"]["in-toto.io/predicate-type"].as_str())
        .collect();
    ensure!(
        kinds == ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"],
        "{attachment}"
    );
    let get = |path: String| -> Result<Value> {
        let arguments = ["--user", CREDENTIALS];
        let answer = attested
            .registry
            .curl(&attested.user.home, &arguments, &path)?
            .context("curl is here")?;
        Ok(serde_json::from_str(&answer.body)?)
    };
    let statement = |number: usize| -> Result<Value> {
        let digest = attachment["layers"][number]["digest"]
            .as_str()
            .context("a digest")?;
        get(format!("/v2/group/app/blobs/{digest}"))
    };
    let subject = image.strip_prefix("sha256:").context("SHA-256")?;
    for number in [0, 1] {
        ensure!(
            statement(number)?["subject"][0]["digest"]["sha256"] == subject,
            "statement {number}"
        );
    }
    let packages = statement(0)?["predicate"]["packages"].to_string();
    ensure!(packages.contains("pkg:deb/bash@5.2?arch=amd64"), "{packages}");
    let predicate = statement(1)?["predicate"].take();
    ensure!(
        predicate["runDetails"]["builder"]["id"] == "https://ci.example.com",
        "{predicate}"
    );
    let base = &predicate["buildDefinition"]["resolvedDependencies"][0]["uri"];
    ensure!(
        base.as_str()
            .is_some_and(|uri| uri.starts_with("pkg:docker/busybox@1.36?platform=")),
        "{base}"
    );
    let referrers = get(format!("/v2/group/app/referrers/{image}"))?;
    ensure!(
        referrers["manifests"][0]["artifactType"] == "application/vnd.docker.attestation.manifest.v1+json",
        "{referrers}"
    );
    Ok(())
}

/// cosign with a key pair of its own, and no way to anybody but the registry.
struct Cosign<'a> {
    attested: &'a Attested,
    program: Peer,
}

impl Cosign<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let home = &self.attested.user.home;
        let mut command = home.command(self.program.path());
        command
            .current_dir(home.work())
            .env("COSIGN_PASSWORD", "")
            .env("DOCKER_CONFIG", home.path().join(".docker"))
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = succeed(&mut self.command(arguments))?;
        Ok(text(&output))
    }
}

#[test]
fn cosign_signs_and_verifies_with_a_key_pair() -> Result<()> {
    let Some(program) = Peer::find("cosign") else {
        return Ok(());
    };
    let attested = Attested::new(Account::Caller)?;
    let cosign = Cosign {
        attested: &attested,
        program,
    };
    let Some(pulled) = attested.registry.curl(
        &attested.user.home,
        &[
            "--user",
            CREDENTIALS,
            "--head",
            "--header",
            "Accept: application/vnd.oci.image.index.v1+json",
        ],
        "/v2/group/app/manifests/1",
    )?
    else {
        return Ok(());
    };
    let digest = pulled
        .body
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("docker-content-digest:")
                .map(|digest| digest.trim().to_owned())
        })
        .context("a digest")?;
    let image = format!("{}@{digest}", attested.name("app"));
    cosign.run(&["generate-key-pair"])?;
    let http = "--allow-http-registry";
    let offline = ["--tlog-upload=false", "--yes", http];
    let verify = ["--key", "cosign.pub", "--insecure-ignore-tlog=true", http];
    cosign.run(
        &[
            &["sign", "--key", "cosign.key", "--recursive"],
            &offline[..],
            &[&image],
        ]
        .concat(),
    )?;
    let verified = cosign.run(&[&["verify"], &verify[..], &[&image]].concat())?;
    ensure!(verified.contains(&digest), "{verified}");
    // By its tag, too; and the image for the platform, which is the one without attestations, has a signature of its own.
    for name in ["app:1", "app:plain"] {
        cosign.run(&[&["verify"], &verify[..], &[&attested.name(name)]].concat())?;
    }

    // An SBOM that cosign attests and verifies is the document that the build made.
    let predicate = attested.user.home.work().join("sbom.json");
    std::fs::write(&predicate, spdx(&attested)?)?;
    let predicate = predicate.to_string_lossy().into_owned();
    let attest = [
        "attest",
        "--key",
        "cosign.key",
        "--type",
        "spdxjson",
        "--predicate",
        &predicate,
    ];
    cosign.run(&[&attest[..], &offline[..], &[&image]].concat())?;
    let verified = cosign.run(
        &[
            &["verify-attestation", "--type", "spdxjson"],
            &verify[..],
            &[&image],
        ]
        .concat(),
    )?;
    ensure!(verified.contains("application/vnd.in-toto+json"), "{verified}");

    // Another image has no signature.
    attested.build("app:other", &["--label", "other=yes"])?;
    let other =
        finish(&mut cosign.command(&[&["verify"], &verify[..], &[&attested.name("app:other")]].concat()))?;
    ensure!(!other.status.success(), "a signature of nobody was verified");
    Ok(())
}

/// The document beside `app:1`.
fn spdx(attested: &Attested) -> Result<Vec<u8>> {
    let index = attested.manifest("app:1")?.context("curl is here")?;
    let beside = index["manifests"][1]["digest"]
        .as_str()
        .context("an attachment")?;
    let attachment = attested
        .manifest(&format!("app@{beside}"))?
        .context("curl is here")?;
    let digest = attachment["layers"][0]["digest"].as_str().context("a digest")?;
    let path: PathBuf = format!("/v2/group/app/blobs/{digest}").into();
    let answer = attested
        .registry
        .curl(
            &attested.user.home,
            &["--user", CREDENTIALS],
            &path.to_string_lossy(),
        )?
        .context("curl is here")?;
    let statement: Value = serde_json::from_str(&answer.body)?;
    Ok(statement["predicate"].to_string().into_bytes())
}

#[test]
fn a_build_is_made_twice_and_what_differs_is_told() -> Result<()> {
    let user = User::with_base_images(Account::Caller, SUITES[0])?;
    let context = user.home.work().join("context");
    std::fs::create_dir(&context)?;
    std::fs::write(context.join("same"), "same")?;
    let build = |dockerfile: &str, arguments: &[&str]| {
        std::fs::write(context.join("Dockerfile"), dockerfile)?;
        let mut command = user.shipway(&["build", "--verify-reproducible", "--sbom=true"]);
        finish(command.args(arguments).arg(&context))
    };
    let same = build(
        "FROM busybox:1.36\nCOPY same /same\nRUN umask > /umask && echo made > /made\n",
        &["--compat=3"],
    )?;
    ensure!(same.status.success(), "{}", text(&same));
    ensure!(
        String::from_utf8_lossy(&same.stderr).contains("gave the same image"),
        "{}",
        text(&same)
    );

    let other = build(
        "FROM busybox:1.36\nRUN cat /proc/sys/kernel/random/uuid > /random\nCOPY same /same\n",
        &[],
    )?;
    let told = String::from_utf8_lossy(&other.stderr).into_owned();
    ensure!(other.status.code() == Some(1), "{told}");
    for expected in [
        "layer 2, RUN /bin/sh -c cat /proc",
        "  /random: content (37 bytes)",
        "1 layer and 1 path differ",
    ] {
        ensure!(told.contains(expected), "{expected}: {told}");
    }
    ensure!(!told.contains("/same:"), "{told}");
    let number = build("FROM scratch\n", &["--compat=4"])?;
    ensure!(number.status.code() == Some(2), "{}", text(&number));
    Ok(())
}
