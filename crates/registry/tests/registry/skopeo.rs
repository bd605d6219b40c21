//! A peer that is not ours: skopeo, both ways, over TLS and without.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use shipway_oci::{Descriptor, Digest, ImageManifest, Manifest, Platform, media_type};
use shipway_registry::{Client, ClientOptions, RegistryCredentials};
use shipway_store::Store;
use tempfile::TempDir;

use crate::fixture::{Ask, Place, Registry, hold, impatient, reference};
use crate::tls::Authorities;

/// Whether there is a skopeo. Its absence is a failure only where somebody promised to install it.
fn have_skopeo() -> bool {
    let found = std::process::Command::new("skopeo")
        .arg("--version")
        .output()
        .is_ok();
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "skopeo is missing: apt-get install skopeo"
        );
        eprintln!("skipped: there is no skopeo here");
    }
    found
}

async fn skopeo(home: &Path, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new("skopeo")
        .arg("--insecure-policy")
        .args(arguments)
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("REGISTRY_AUTH_FILE", home.join("auth.json"))
        .current_dir(home)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// An image that skopeo can take apart: a gzip tar with one file for each size.
fn image(store: &Store, sizes: &[usize]) -> Digest {
    let mut diff_ids = Vec::new();
    let mut layers = Vec::new();
    for (at, size) in sizes.iter().enumerate() {
        let mut content = vec![0; *size];
        rand::Rng::fill(&mut rand::rng(), &mut content[..]);
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(*size as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("file-{at}"), &content[..])
            .unwrap();
        let tar = tar.into_inner().unwrap();
        diff_ids.push(Digest::sha256(&tar));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let layer = gzip.finish().unwrap();
        store.put_blob(&layer).unwrap();
        layers.push(Descriptor::of(media_type::OCI_LAYER_GZIP, &layer));
    }
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Cmd": ["/file-0"] },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = serde_json::to_vec(&config).unwrap();
    store.put_blob(&config).unwrap();
    let manifest = ImageManifest::new(Descriptor::of(media_type::OCI_CONFIG, &config), layers);
    hold(
        store,
        Manifest::Image(manifest).to_json().unwrap(),
        media_type::OCI_MANIFEST,
    )
}

fn user(job: &RegistryCredentials) -> String {
    format!("{}:{}", job.username, job.password.expose())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_go_to_skopeo_and_come_back() {
    if !have_skopeo() {
        return;
    }
    let authorities = Authorities::new();
    let certificates = TempDir::new().unwrap();
    std::fs::write(certificates.path().join("ca.crt"), &authorities.root_pem).unwrap();
    let directory = certificates.path().to_str().unwrap();
    for tls in [false, true] {
        let (registry, from, into, home) = (
            Registry::new(),
            Place::new(),
            Place::new(),
            TempDir::new().unwrap(),
        );
        let address = registry
            .listen(tls.then(|| Arc::clone(&authorities.server)))
            .await;
        let name = address.to_string().parse().unwrap();
        let extra_roots = vec![authorities.root.clone()];
        let client = Client::new(ClientOptions {
            extra_roots,
            ..impatient()
        })
        .unwrap();
        let job = registry.job("team");
        let user = user(&job);
        let (source, target) = match tls {
            true => (
                format!("--src-cert-dir={directory}"),
                format!("--dest-cert-dir={directory}"),
            ),
            false => (
                "--src-tls-verify=false".to_owned(),
                "--dest-tls-verify=false".to_owned(),
            ),
        };

        let digest = image(&from.store, &[10, 3_000_000, 70_000]);
        client
            .push(
                &from.store,
                &digest,
                &reference(&name, "team/one:v1"),
                Some(&job),
                &(),
            )
            .await
            .unwrap();
        let (one, two, three) = (
            format!("docker://{address}/team/one:v1"),
            format!("docker://{address}/team/two:v1"),
            format!("docker://{address}/team/three:v1"),
        );
        skopeo(
            home.path(),
            &["copy", &source, "--src-creds", &user, &one, "oci:layout:v1"],
        )
        .await;
        skopeo(
            home.path(),
            &["copy", &target, "--dest-creds", &user, "oci:layout:v1", &two],
        )
        .await;
        let pulled = client
            .pull(
                &reference(&name, "team/two:v1"),
                &Platform::host(),
                Some(&job),
                &into.store,
                &(),
            )
            .await
            .unwrap();
        assert_eq!(
            pulled.manifest.digest, digest,
            "the way through skopeo changed the image"
        );

        // From registry to registry, in docker's own format, which mounts the layers.
        let both = ["--src-creds", &user, "--dest-creds", &user];
        let copy = [
            &["copy", "--format", "v2s2", &source, &target][..],
            &both,
            &[&one, &three],
        ]
        .concat();
        skopeo(home.path(), &copy).await;
        let three = registry.ask(&job, Ask::head("/v2/team/three/manifests/v1")).await;
        assert_eq!(three.header("content-type"), media_type::DOCKER_MANIFEST);

        let verify = if tls {
            format!("--cert-dir={directory}")
        } else {
            "--tls-verify=false".to_owned()
        };
        let repository = format!("docker://{address}/team/two");
        let tags = skopeo(
            home.path(),
            &["list-tags", &verify, "--creds", &user, &repository],
        )
        .await;
        assert!(tags.contains("\"v1\""), "{tags}");
        skopeo(home.path(), &["delete", &verify, "--creds", &user, &two]).await;
        let gone = registry.ask(&job, Ask::head("/v2/team/two/manifests/v1")).await;
        assert_eq!(gone.status, 404);
    }
}
