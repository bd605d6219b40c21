//! Pipeline 22 of GitLab's documentation, unchanged: the Buildah of Debian 12 and 13 in a job with nothing of Docker, which
//! pulls its base from the job's registry and pushes to it over TLS.

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Project, SUITES, buildah_image, everywhere_with, shared_images, succeed};
use crate::image_tree::{Node, Tree};

/// Buildah asks registries itself: in the job's own one the base is where a test can put it.
const BASE: &str = "registry.shipway.internal/group/project/busybox:1.36";

/// What upstream's image sets.
const CHANGES: [&str; 3] = [
    r#"CMD ["/bin/bash"]"#,
    "ENV BUILDAH_ISOLATION=chroot",
    "VOLUME /var/lib/containers",
];

/// Gives the project the image with Buildah, and a base that Buildah can pull.
fn prepare(project: &Project) -> Result<()> {
    let user = &project.user;
    let mut import = user.shipway(&["image", "import", "--quiet"]);
    for change in CHANGES {
        import.args(["--change", change]);
    }
    import.arg("quay.io/buildah/stable");
    succeed(import.arg(buildah_image(project.suite)?))?;
    let base = ["image", "import", "--quiet", "--change", r#"CMD ["sh"]"#, BASE];
    succeed(user.shipway(&base).arg(shared_images(project.suite)?.busybox))?;
    succeed(&mut user.shipway(&["image", "push", BASE]))?;
    let dockerfile = project.repository.join("Dockerfile");
    let text = std::fs::read_to_string(&dockerfile)?;
    let text = text.replace("FROM busybox:1.36", &format!("FROM {BASE}"));
    Ok(std::fs::write(dockerfile, text)?)
}

/// What Buildah makes of the Dockerfile on any machine: it takes modes as GitLab leaves the job's files, and the places where
/// it mounts a few files for a `RUN` stay.
fn expected(project: &Project) -> Result<Tree> {
    let mut tree = project.expected_tree()?;
    let nonce = tree.get_mut("nonce.txt").context("the nonce")?;
    nonce.mode = 0o666;
    let place = Node {
        mode: 0o755,
        content: Vec::new(),
        ..nonce.clone()
    };
    for name in ["etc/hostname", "etc/hosts", "etc/resolv.conf"] {
        tree.insert(name.to_owned(), place.clone());
    }
    Ok(tree)
}

#[test]
fn buildah_builds_and_pushes_over_tls() {
    everywhere_with(&SUITES, "22-buildah", |project| {
        prepare(project)?;
        let trace = project.run()?;
        ensure!(
            trace.contains("Login Succeeded!"),
            "Buildah did not log in:\n{trace}"
        );
        let image = "group/project/test:latest";
        let Some(directory) = project.compare_with(&project.user.serve()?, image, &expected(project)?)?
        else {
            return Ok(());
        };
        let manifest = std::fs::read(directory.join("manifest.json"))?;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
        ensure!(
            manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json",
            "BUILDAH_FORMAT is docker, the manifest is {manifest}"
        );
        Ok(())
    });
}
