//! `shipway build --output`: every form is what other people's programs read, and all of them are the same image.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use shipway_testkit::{Account, Peer};

use crate::harness::{RunningEngine, User, skopeo_copy, succeed, text, with_storage};
use crate::image_tree;

/// What skopeo makes of an image: its files and its manifest.
fn tree(user: &User, skopeo: &Peer, source: &str, name: &str) -> Result<(image_tree::Tree, Value)> {
    let directory = user.home.work().join(name);
    skopeo_copy(
        &user.home,
        skopeo,
        &[],
        source,
        &format!("dir:{}", directory.display()),
    )?;
    let (tree, _) = image_tree::read_skopeo_directory(&directory)?;
    Ok((tree, json(&directory.join("manifest.json"))?))
}

fn ensure_same(expected: &image_tree::Tree, found: &image_tree::Tree, what: &str) -> Result<()> {
    let differences = image_tree::differences(expected, found);
    ensure!(differences.is_empty(), "{what}: {}", differences.join("\n"));
    Ok(())
}

fn json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[test]
fn one_build_gives_every_form_and_other_programs_read_them() -> Result<()> {
    let (Some(skopeo), Some(podman), Some(docker)) =
        (Peer::find("skopeo"), Peer::find("podman"), Peer::find("docker"))
    else {
        return Ok(());
    };
    let user = User::new(Account::Caller)?;
    let context = user.busybox_context("context")?;
    let at = |name: &str| -> PathBuf { user.home.work().join(name) };
    let output = |kind: &str, name: &str| format!("{kind},dest={}", at(name).display());
    succeed(
        user.shipway(&[
            "build",
            "--tag",
            "one.example/app:1",
            "--annotation",
            "org.example.why=test",
        ])
        .args(["--output", "type=image"])
        .args(["--output", &output("type=oci", "oci.tar")])
        .args(["--output", &output("type=oci,tar=false", "layout")])
        .args(["--output", &output("type=docker", "docker.tar")])
        .args(["--output", &output("type=tar", "files.tar")])
        .args(["--output", &output("type=local", "out")])
        .arg("--metadata-file")
        .arg(at("metadata.json"))
        .arg("--iidfile")
        .arg(at("iid"))
        .arg(&context),
    )?;
    let metadata = json(&at("metadata.json"))?;
    ensure!(metadata["image.name"] == "one.example/app:1", "{metadata}");
    let config = metadata["containerimage.config.digest"]
        .as_str()
        .context("a digest")?;
    ensure!(std::fs::read_to_string(at("iid"))? == config, "{metadata}");
    let descriptor = &metadata["containerimage.descriptor"];
    ensure!(
        descriptor["digest"] == metadata["containerimage.digest"],
        "{metadata}"
    );
    ensure!(descriptor["platform"]["os"] == "linux", "{metadata}");

    let archive = at("oci.tar").display().to_string();
    let (expected, manifest) = tree(&user, &skopeo, &format!("oci-archive:{archive}"), "from-oci")?;
    ensure!(manifest["annotations"]["org.example.why"] == "test", "{manifest}");
    ensure!(manifest["config"]["digest"] == config, "{manifest}");
    for (source, name) in [
        (format!("oci:{}:1", at("layout").display()), "from-layout"),
        (
            format!("docker-archive:{}", at("docker.tar").display()),
            "from-docker",
        ),
    ] {
        let (found, manifest) = tree(&user, &skopeo, &source, name)?;
        ensure!(manifest["config"]["digest"] == config, "{name}: {manifest}");
        ensure_same(&expected, &found, name)?;
    }
    with_storage(
        &user.home,
        podman.path(),
        &[
            "load",
            "--quiet",
            "--input",
            &at("docker.tar").display().to_string(),
        ],
    )?;
    let other = User::new(Account::Caller)?;
    let engine = RunningEngine::start(&other)?;
    let mut load = std::process::Command::new(docker.path());
    load.env("DOCKER_HOST", &engine.host)
        .args(["load", "--input"])
        .arg(at("docker.tar"));
    let said = text(&succeed(&mut load)?);
    ensure!(said.contains("one.example/app:1"), "{said}");
    engine.end()?;

    let listed = text(&succeed(user.home.command("tar").arg("tf").arg(at("files.tar")))?);
    ensure!(
        listed.lines().any(|line| line == "bin/busybox") && listed.lines().any(|line| line == "made"),
        "{listed}"
    );
    ensure!(std::fs::read(at("out/bin/busybox"))? == std::fs::read(context.join("busybox"))?);
    ensure!(at("out/made").is_file());
    // Both at once, and neither goes beside the other into a store that has the image.
    let images = text(&succeed(&mut user.shipway(&["image", "ls", "--all"]))?);
    ensure!(
        images.lines().count() == 2 && images.contains("one.example/app:1"),
        "{images}"
    );
    Ok(())
}

#[test]
fn annotations_reach_the_document_that_they_name() -> Result<()> {
    let Some(skopeo) = Peer::find("skopeo") else {
        return Ok(());
    };
    let user = User::new(Account::Caller)?;
    let context = user.busybox_context("context")?;
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY busybox /\n")?;
    let layout = user.home.work().join("layout");
    let output = format!(
        "type=oci,tar=false,dest={},annotation-index.of=index",
        layout.display()
    );
    succeed(
        user.shipway(&["build", "--tag", "app:1", "--platform", "linux/amd64,linux/arm64"])
            .args(["--annotation", "manifest[linux/arm64]:of=arm64"])
            .args(["--annotation", "index,manifest-descriptor:why=test"])
            .args(["--annotation", "index-descriptor:of=the index"])
            .args(["--output", &output])
            .arg(&context),
    )?;
    let top = json(&layout.join("index.json"))?;
    ensure!(top["manifests"][0]["annotations"]["of"] == "the index", "{top}");
    let image = format!("oci:{}:1", layout.display());
    let raw = succeed(
        user.home
            .command(skopeo.path())
            .args(["inspect", "--raw", &image]),
    )?;
    let index: Value = serde_json::from_slice(&raw.stdout)?;
    let said = &index["annotations"];
    ensure!(said["of"] == "index" && said["why"] == "test", "{index}");
    for entry in index["manifests"].as_array().context("an index")? {
        ensure!(entry["annotations"]["why"] == "test", "{index}");
        let digest = entry["digest"].as_str().context("a digest")?;
        let blob = layout.join("blobs").join(digest.replace(':', "/"));
        let expected = match entry["platform"]["architecture"].as_str() {
            Some("arm64") => serde_json::json!("arm64"),
            _ => Value::Null,
        };
        ensure!(json(&blob)?["annotations"]["of"] == expected, "{digest}");
    }
    Ok(())
}

#[test]
fn a_directory_keeps_what_is_not_of_the_build_unless_it_is_asked_to() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let context = user.busybox_context("context")?;
    std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY busybox /bin/\n")?;
    let out = user.home.work().join("out");
    std::fs::create_dir_all(out.join("bin/old"))?;
    std::fs::write(out.join("bin/old/stale"), "stale")?;
    for (mode, stays) in [("", true), (",mode=delete", false)] {
        let output = format!("type=local,dest={}{mode}", out.display());
        succeed(user.shipway(&["build", "--output", &output]).arg(&context))?;
        ensure!(out.join("bin/busybox").is_file(), "{output}");
        ensure!(out.join("bin/old/stale").exists() == stays, "{output}");
        ensure!(out.join("bin/old").exists() == stays, "{output}");
    }
    Ok(())
}

#[test]
fn every_compression_is_the_same_image_to_other_programs() -> Result<()> {
    let (Some(skopeo), Some(podman)) = (Peer::find("skopeo"), Peer::find("podman")) else {
        return Ok(());
    };
    let user = User::new(Account::Caller)?;
    let context = user.busybox_context("context")?;
    let mut expected: Option<image_tree::Tree> = None;
    for (compression, media_type, more) in [
        ("gzip", "tar+gzip", ""),
        ("zstd", "tar+zstd", ",compression-level=7"),
        ("uncompressed", "v1.tar", ""),
        ("estargz", "tar+gzip", ",compression-level=1"),
        ("gzip", "tar.gzip", ",compression-level=9,oci-mediatypes=false"),
    ] {
        let name = format!("{compression}{}", more.len());
        let archive = user.home.work().join(format!("{name}.tar"));
        let archive = archive.display().to_string();
        let output = format!(
            "type=oci,dest={archive},compression={compression},force-compression=true,name=one.example/{name}{more}"
        );
        succeed(user.shipway(&["build", "--output", &output]).arg(&context))?;
        let (found, manifest) = tree(&user, &skopeo, &format!("oci-archive:{archive}"), &name)?;
        for layer in manifest["layers"].as_array().context("layers")? {
            let kind = layer["mediaType"].as_str().unwrap_or_default();
            ensure!(kind.ends_with(media_type), "{compression}: {manifest}");
        }
        match &expected {
            Some(expected) => ensure_same(expected, &found, &name)?,
            None => expected = Some(found),
        }
        with_storage(
            &user.home,
            podman.path(),
            &["pull", "--quiet", &format!("oci-archive:{archive}")],
        )?;
        // Once more, from the cache and by other threads: the same bytes.
        let first = std::fs::read(&archive)?;
        succeed(
            user.shipway(&["build", "--no-cache", "--output", &output])
                .arg(&context),
        )?;
        ensure!(
            std::fs::read(&archive)? == first,
            "{name} is another one the second time"
        );
    }
    Ok(())
}

#[test]
fn outputs_that_contradict_themselves_are_refused_before_anything_is_built() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let context = user.busybox_context("context")?;
    for (arguments, part) in [
        (
            &["--output", "-", "--output", "type=tar"][..],
            "both go to standard output",
        ),
        (
            &["--output", "type=image,compression=zstd,oci-mediatypes=false"][..],
            "OCI's media types",
        ),
        (&["--annotation", "index:a=b"][..], "no index"),
        (&["--output", "type=image,colour=red"][..], "no `colour`"),
        (&["--push"][..], "nothing to push to"),
    ] {
        let refused = user.shipway(&["build"]).args(arguments).arg(&context).output()?;
        ensure!(
            refused.status.code() == Some(2) && text(&refused).contains(part),
            "{arguments:?}: {}",
            text(&refused)
        );
        ensure!(!text(&refused).contains("[1/"), "{}", text(&refused));
    }
    Ok(())
}

#[test]
fn what_is_said_about_files_lies_beside_them() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let context = user.home.work().join("said");
    std::fs::create_dir(&context)?;
    std::fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nCOPY Dockerfile /in/it\n",
    )?;
    let (split, whole) = (user.home.work().join("split"), user.home.work().join("whole.tar"));
    let mut build = user.shipway(&["build", "--quiet", "--sbom=true", "--provenance=mode=max"]);
    build.args(["--platform", "linux/amd64,linux/arm64", "--output"]);
    build.arg(format!("type=local,dest={}", split.display()));
    build.arg("--output");
    build.arg(format!("type=tar,dest={},platform-split=false", whole.display()));
    succeed(build.arg(&context))?;
    let copied = std::fs::read(split.join("linux_arm64/in/it"))?;
    let digest = shipway_oci::Digest::sha256(&copied);
    for (name, predicate) in [
        ("linux_arm64/sbom.spdx.json", "https://spdx.dev/Document"),
        ("linux_amd64/provenance.json", "https://slsa.dev/provenance/v1"),
    ] {
        let said: serde_json::Value = serde_json::from_slice(&std::fs::read(split.join(name))?)?;
        let subject = serde_json::json!([{ "name": "in/it", "digest": { "sha256": digest.hex() } }]);
        ensure!(
            said["predicateType"] == predicate && said["subject"] == subject,
            "{name}: {said:#}"
        );
    }
    let mut archive = tar::Archive::new(std::fs::File::open(&whole)?);
    let mut names = Vec::new();
    for entry in archive.entries()? {
        names.push(entry?.path()?.display().to_string());
    }
    for name in ["sbom.spdx.linux_amd64.json", "provenance.linux_arm64.json"] {
        ensure!(
            names.iter().any(|found| found == name),
            "{name} is not in {names:?}"
        );
    }
    Ok(())
}
