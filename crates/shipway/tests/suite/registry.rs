//! `shipway serve` and the clients that people have: skopeo, buildah and podman push and pull, tokens and rights hold.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, Peer};

use crate::harness::{CREDENTIALS, SUITES, User, finish, skopeo_copy, succeed, text, with_storage};
use crate::image_tree;

#[test]
fn skopeo_pushes_and_pulls_the_same_image() -> Result<()> {
    let Some(skopeo) = Peer::find("skopeo") else {
        return Ok(());
    };
    let user = User::with_base_images(Account::Caller, SUITES[0])?;
    let archive = user.save("busybox:1.36")?;
    let registry = user.serve()?;
    let target = format!("docker://{}/group/copied:1", registry.address);
    skopeo_copy(
        &user.home,
        &skopeo,
        &["--dest-tls-verify=false", "--dest-creds", CREDENTIALS],
        &format!("docker-archive:{}", archive.display()),
        &target,
    )?;
    let pulled = registry
        .pull(&user.home, "group/copied:1")?
        .context("skopeo is here")?;
    let (found, _) = image_tree::read_skopeo_directory(&pulled)?;
    let mut expected = image_tree::Tree::new();
    image_tree::apply_layer(
        &mut expected,
        std::fs::File::open(shipway_testkit::workspace().join("target/images/busybox.tar"))?,
    )?;
    let differences = image_tree::differences(&expected, &found);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));

    let tags = registry.tags(&user.home, "group/copied")?;
    ensure!(tags == Some(vec!["1".to_owned()]), "{tags:?}");

    succeed(
        user.home
            .command(skopeo.path())
            .args(["delete", "--tls-verify=false", "--creds", CREDENTIALS])
            .arg(&target),
    )?;
    let gone = finish(
        user.home
            .command(skopeo.path())
            .args(["inspect", "--tls-verify=false", "--creds", CREDENTIALS])
            .arg(&target),
    )?;
    ensure!(
        !gone.status.success(),
        "the image is still there after its deletion"
    );
    Ok(())
}

#[test]
fn buildah_and_podman_push_and_pull_plainly() -> Result<()> {
    let (Some(buildah), Some(podman), Some(_)) =
        (Peer::find("buildah"), Peer::find("podman"), Peer::find("skopeo"))
    else {
        return Ok(());
    };
    let user = User::with_base_images(Account::Caller, SUITES[0])?;
    let registry = user.serve()?;
    let context = user.home.work().join("context");
    std::fs::create_dir(&context)?;
    std::fs::write(
        context.join("Containerfile"),
        "FROM scratch\nCOPY Containerfile /copied\n",
    )?;
    let run = |client: &Peer, arguments: &[&str]| with_storage(&user.home, client.path(), arguments);
    let image = format!("{}/group/by-buildah:1", registry.address);
    let directory = context.to_string_lossy().into_owned();
    run(
        &buildah,
        &["bud", "--isolation", "chroot", "-t", &image, &directory],
    )?;
    run(
        &buildah,
        &["push", "--tls-verify=false", "--creds", CREDENTIALS, &image],
    )?;
    let moved = format!("docker://{}/group/by-podman:1", registry.address);
    run(&buildah, &["rmi", &image])?;
    run(
        &podman,
        &[
            "pull",
            "--quiet",
            "--tls-verify=false",
            "--creds",
            CREDENTIALS,
            &image,
        ],
    )?;
    run(
        &podman,
        &[
            "push",
            "--tls-verify=false",
            "--creds",
            CREDENTIALS,
            &image,
            &moved,
        ],
    )?;
    for name in ["group/by-buildah:1", "group/by-podman:1"] {
        let pulled = registry.pull(&user.home, name)?.context("skopeo is here")?;
        let (found, _) = image_tree::read_skopeo_directory(&pulled)?;
        ensure!(found.contains_key("copied"), "{name}: {:?}", found.keys());
    }
    Ok(())
}

#[test]
fn whoever_is_not_logged_in_gets_401_in_the_registrys_own_format() -> Result<()> {
    let Some(curl) = Peer::find("curl") else {
        return Ok(());
    };
    let user = User::new(Account::Caller)?;
    let registry = user.serve()?;
    let output = succeed(
        user.home
            .command(curl.path())
            .args([
                "--silent",
                "--show-error",
                "--include",
                "--user",
                "gitlab-ci-token:wrong",
            ])
            .arg(format!(
                "http://{}/v2/group/project/manifests/latest",
                registry.address
            )),
    )?;
    let answer = text(&output);
    ensure!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    ensure!(
        answer.contains(r#"{"errors":[{"code":"UNAUTHORIZED""#),
        "{answer}"
    );
    ensure!(
        answer
            .to_lowercase()
            .contains("www-authenticate: bearer realm=\"http://"),
        "{answer}"
    );
    Ok(())
}

#[test]
fn a_wrong_password_is_refused_at_login() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let registry = user.serve()?;
    let mut login = user.shipway(&[
        "login",
        "--username",
        "tester",
        "--password-stdin",
        &registry.address,
    ]);
    let mut process = login
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    process
        .stdin
        .take()
        .context("standard input")?
        .write_all(b"wrong\n")?;
    let output = process.wait_with_output()?;
    ensure!(
        output.status.code() == Some(1),
        "{:?}: {}",
        output.status,
        text(&output)
    );
    Ok(())
}

/// With a helper in docker's configuration, the password goes there and `docker login`'s file holds none.
#[test]
fn login_keeps_the_password_where_the_configuration_says() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let registry = user.serve()?;
    let (docker, programs) = (
        user.home.path().join(".docker"),
        user.home.path().join("programs"),
    );
    std::fs::create_dir(&docker)?;
    std::fs::create_dir(&programs)?;
    let file = docker.join("config.json");
    std::fs::write(&file, r#"{"credsStore":"test"}"#)?;
    let helper = programs.join("docker-credential-test");
    let script = r#"#!/bin/sh
kept=$HOME/kept
case $1 in
store) cat > "$kept" ;;
get) cat "$kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm "$kept" ;;
esac
"#;
    std::fs::write(&helper, script)?;
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);

    let mut login = user.shipway(&["login", "--username", "tester", "--password-stdin"]);
    login.arg(&registry.address).env("PATH", &path);
    let mut process = login.stdin(Stdio::piped()).spawn()?;
    process
        .stdin
        .take()
        .context("standard input")?
        .write_all(b"correct horse\n")?;
    ensure!(process.wait()?.success());
    let kept = std::fs::read_to_string(user.home.path().join("kept"))?;
    ensure!(kept.contains(r#""Secret":"correct horse""#), "{kept}");
    let configuration: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    ensure!(
        configuration["auths"][&registry.address] == serde_json::json!({}),
        "{configuration}"
    );

    succeed(user.shipway(&["logout", &registry.address]).env("PATH", &path))?;
    ensure!(!user.home.path().join("kept").exists());
    Ok(())
}

#[test]
fn who_opens_the_address_reads_what_it_is() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let registry = user.serve()?;
    let Some(text) = registry.curl(&user.home, &[], "/")? else {
        return Ok(());
    };
    ensure!(text.status == 200, "{text:?}");
    ensure!(
        text.body.starts_with("This is a container registry")
            && text
                .body
                .contains(&format!("\ndocker login {}\n", registry.address)),
        "{text:?}"
    );
    let page = registry.curl(&user.home, &["--header", "Accept: text/html,*/*;q=0.8"], "/")?;
    let page = page.context("curl is here")?;
    ensure!(
        page.body.starts_with("<!DOCTYPE html>") && page.body.contains(&text.body),
        "{page:?}"
    );
    Ok(())
}

#[test]
fn the_places_of_one_address_are_a_setting() -> Result<()> {
    let settings = "[registry.limits]\nconnections = 8\nconnections_per_address = 1\n";
    let user = User::new(Account::Caller)?.with_settings(settings)?;
    let registry = user.serve()?;
    let mut first = TcpStream::connect(&registry.address)?;
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut status = [0; 12];
    first.read_exact(&mut status)?;
    ensure!(&status == b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&status));
    let mut second = TcpStream::connect(&registry.address)?;
    second.set_read_timeout(Some(Duration::from_secs(60)))?;
    let read = second.read(&mut status);
    ensure!(
        matches!(&read, Ok(0)) || matches!(&read, Err(error) if error.kind() == ErrorKind::ConnectionReset),
        "a second connection was kept: {read:?}"
    );
    Ok(())
}
