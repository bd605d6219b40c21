//! `shipway image`: what it lists, its other verbs know.

use anyhow::{Context as _, Result, ensure};
use shipway_oci::Reference;
use shipway_store::{ManifestWrite, Scope, Store};
use shipway_testkit::{Account, Peer};

use crate::harness::{RunningEngine, SUITES, User, succeed, text};

#[test]
fn an_imported_image_can_be_tagged_before_anything_used_it() -> Result<()> {
    let user = User::with_base_images(Account::Caller, SUITES[0])?;
    succeed(&mut user.shipway(&["image", "tag", "busybox:1.36", "mine:1"]))?;
    let listed = succeed(&mut user.shipway(&["image", "ls"]))?;
    ensure!(text(&listed).contains("mine:1"), "{}", text(&listed));

    // The new name is the user's own: it does not go with the import.
    succeed(&mut user.shipway(&["image", "rm", "busybox:1.36"]))?;
    succeed(&mut user.shipway(&["image", "inspect", "mine:1"]))?;
    Ok(())
}

/// A context without a step that starts a program, so that any platform can be built.
fn for_any_platform(user: &User) -> Result<std::path::PathBuf> {
    let context = user.home.work().join("any");
    std::fs::create_dir(&context)?;
    std::fs::write(
        context.join("Dockerfile"),
        "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY Dockerfile /\n",
    )?;
    user.home.account().own(&context)?;
    Ok(context)
}

#[test]
fn an_archive_of_several_platforms_is_loaded_as_it_is() -> Result<()> {
    let Some(skopeo) = Peer::find("skopeo") else {
        return Ok(());
    };
    let (one, two) = (User::new(Account::Caller)?, User::new(Account::Caller)?);
    let (archive, saved) = (one.home.work().join("app.tar"), two.home.work().join("again.tar"));
    let output = format!("type=oci,dest={},name=app:1", archive.display());
    let platforms = "linux/amd64,linux/arm64,linux/s390x";
    let mut build = one.shipway(&[
        "build",
        "--provenance=mode=min",
        "--platform",
        platforms,
        "--output",
    ]);
    succeed(build.arg(&output).arg(for_any_platform(&one)?))?;
    succeed(two.shipway(&["image", "load", "--input"]).arg(&archive))?;
    let listed = text(&succeed(&mut two.shipway(&["image", "ls"]))?);
    ensure!(
        listed.lines().count() == 2 && listed.contains("app:1 "),
        "{listed}"
    );
    succeed(
        two.shipway(&["image", "save", "--output"])
            .arg(&saved)
            .arg("app:1"),
    )?;
    let index = |archive: &std::path::Path| -> Result<String> {
        let mut inspect = two.home.command(skopeo.path());
        let output = inspect
            .args(["inspect", "--raw"])
            .arg(format!("oci-archive:{}", archive.display()));
        Ok(text(&succeed(output)?))
    };
    let (before, after) = (index(&archive)?, index(&saved)?);
    ensure!(before == after && after.contains("s390x"), "{before}\n{after}");
    succeed(&mut two.shipway(&["fsck"]))?;
    Ok(())
}

#[test]
fn an_image_for_other_platforms_is_listed_with_them() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let mut build = user.shipway(&[
        "build",
        "--tag",
        "other:1",
        "--platform",
        "linux/riscv64,linux/s390x",
    ]);
    let built = succeed(build.arg("--quiet").arg(for_any_platform(&user)?))?;
    let digest = String::from_utf8(built.stdout)?;
    let listed = text(&succeed(&mut user.shipway(&["image", "ls"]))?);
    let line = listed.lines().find(|line| line.starts_with("other:1 "));
    let line = line.with_context(|| listed.clone())?;
    let short = digest.trim().strip_prefix("sha256:").context("a digest")?;
    ensure!(
        line.contains(&short[..12]) && line.ends_with("built or pulled, for linux/riscv64, linux/s390x"),
        "{line}"
    );
    let json = text(&succeed(&mut user.shipway(&["image", "ls", "--json"]))?);
    ensure!(
        json.contains("\"platforms\":\"linux/riscv64, linux/s390x\""),
        "{json}"
    );
    Ok(())
}

/// What a job of a project pulled, as it is in the store after the job.
fn pulled(user: &User, project: &str, name: &str) -> Result<()> {
    let store = Store::open(&user.home.data().join("store"))?;
    let found = store.image(&Scope::imported(), &Reference::parse("busybox:1.36")?)?;
    let manifest = store.image_manifest(&found.context("busybox is not imported")?)?;
    let manifest = manifest.context("its manifest")?;
    let write = ManifestWrite::new(Some(&manifest.media_type), manifest.bytes)?;
    store.put_image(&Scope::pulled(project)?, &Reference::parse(name)?, &write)?;
    Ok(())
}

#[test]
fn images_of_projects_are_listed_with_their_project_and_go_by_name_or_all_at_once() -> Result<()> {
    let user = User::with_base_images(Account::Caller, SUITES[0])?;
    let listed = || Ok::<_, anyhow::Error>(text(&succeed(&mut user.shipway(&["image", "ls"]))?));
    let line = |listed: &str, name: &str, origin: &str| {
        let mut lines = listed.lines();
        lines.any(|line| line.contains(name) && line.contains(origin))
    };
    for project in [
        "group/one:protected",
        "group/one:unprotected",
        "group/two:protected",
    ] {
        pulled(&user, project, "alpine:3")?;
    }
    pulled(&user, "group/two:protected", "debian:12")?;
    succeed(&mut user.shipway(&["image", "tag", "busybox:1.36", "mine:1"]))?;
    let before = listed()?;
    for (name, origin) in [
        ("alpine:3", "pulled for 2 projects"),
        ("debian:12", "pulled for group/two:protected"),
        ("busybox:1.36", "imported"),
        ("mine:1", "built or pulled"),
    ] {
        ensure!(line(&before, name, origin), "{name} {origin}: {before}");
    }
    ensure!(
        before.matches("alpine:3").count() == 1,
        "a line for each image: {before}"
    );
    let json = text(&succeed(&mut user.shipway(&["image", "ls", "--json"]))?);
    for origin in [
        "group/one:protected",
        "group/one:unprotected",
        "group/two:protected",
    ] {
        ensure!(
            line(&json, "alpine:3", &format!("pulled for {origin}")),
            "programs are told all: {json}"
        );
    }

    succeed(&mut user.shipway(&["image", "rm", "alpine:3"]))?;
    let after = listed()?;
    ensure!(
        !after.contains("alpine"),
        "it is still there for a project: {after}"
    );
    ensure!(line(&after, "debian:12", "group/two"), "{after}");
    let again = user.shipway(&["image", "rm", "alpine:3"]).output()?;
    ensure!(again.status.code() == Some(2), "{}", text(&again));

    succeed(&mut user.shipway(&["prune"]))?;
    ensure!(
        listed()?.contains("debian:12"),
        "without --all nothing pulled goes"
    );
    succeed(&mut user.shipway(&["prune", "--all"]))?;
    let left = listed()?;
    ensure!(!left.contains("debian"), "{left}");
    ensure!(left.contains("mine:1") && left.contains("busybox:1.36"), "{left}");
    Ok(())
}

/// A day goes by for what the images of a data directory are kept for.
fn age(user: &User) -> Result<()> {
    let store = rusqlite::Connection::open(user.home.data().join("store/store.sqlite"))?;
    store.execute_batch(
        "UPDATE held_manifests SET held = held - 86400000; UPDATE blobs SET touched = touched - 86400000;",
    )?;
    Ok(())
}

/// What a build without a name made on an image.
fn built(user: &User, base: &str, mark: &str) -> Result<String> {
    let context = user.home.work().join("context");
    std::fs::create_dir_all(&context)?;
    std::fs::write(
        context.join("Dockerfile"),
        format!("FROM {base}\nCOPY Dockerfile /\nLABEL mark={mark}\n"),
    )?;
    user.home.account().own(&context)?;
    let built = succeed(user.shipway(&["build", "--quiet"]).arg(&context))?;
    Ok(String::from_utf8(built.stdout)?.trim().to_owned())
}

#[test]
fn images_without_a_name_are_listed_and_go_by_digest_or_in_time() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let listed = |arguments: &[&str]| -> Result<String> {
        let command = [&["image", "ls"], arguments].concat();
        Ok(text(&succeed(&mut user.shipway(&command))?))
    };
    let (one, two) = (built(&user, "scratch", "one")?, built(&user, "scratch", "two")?);
    let hex = |id: &str| id.trim_start_matches("sha256:").to_owned();
    ensure!(!listed(&[])?.contains("<none>"), "docker lists them when asked");
    for flag in ["--dangling", "--all"] {
        let shown = listed(&[flag])?;
        ensure!(
            shown.matches("<none>").count() == 2 && shown.contains(&hex(&one)[..12]),
            "{flag}: {shown}"
        );
    }
    let json = listed(&["--dangling", "--json"])?;
    ensure!(json.contains(&one) && json.contains("\"name\":null"), "{json}");

    // An id of an image with one name goes as docker has it; one with several names is asked about.
    succeed(&mut user.shipway(&["image", "tag", &one, "mine:1"]))?;
    succeed(&mut user.shipway(&["image", "tag", &one, "mine:2"]))?;
    let refused = user.shipway(&["image", "rm", &hex(&one)[..12]]).output()?;
    ensure!(
        refused.status.code() == Some(2) && text(&refused).contains("mine:1, mine:2"),
        "{}",
        text(&refused)
    );
    succeed(&mut user.shipway(&["image", "rm", "mine:1"]))?;
    for id in [&hex(&one)[..12], two.as_str()] {
        succeed(&mut user.shipway(&["image", "rm", id]))?;
    }
    ensure!(
        listed(&["--all"])?.lines().count() == 1,
        "{}",
        listed(&["--all"])?
    );
    let gone = user.shipway(&["image", "rm", &hex(&two)]).output()?;
    ensure!(gone.status.code() == Some(2), "{}", text(&gone));

    built(&user, "scratch", "three")?;
    let said = text(&succeed(&mut user.shipway(&["prune"]))?);
    ensure!(said.contains("1 image without a name kept"), "{said}");
    age(&user)?;
    let said = text(&succeed(&mut user.shipway(&["prune", "--dry-run"]))?);
    ensure!(said.contains("1 image without a name could be removed"), "{said}");
    let said = text(&succeed(&mut user.shipway(&["prune"]))?);
    ensure!(said.contains("1 image without a name removed"), "{said}");
    ensure!(
        listed(&["--all"])?.lines().count() == 1,
        "{}",
        listed(&["--all"])?
    );
    Ok(())
}

/// Docker leaves alone what a container stands on, and so does who frees space beside an engine.
#[test]
fn the_image_of_a_container_stays_while_its_engine_lives() -> Result<()> {
    let Some(docker) = Peer::find("docker") else {
        return Ok(());
    };
    let user = User::with_base_images(Account::Caller, SUITES[0])?;
    let engine = RunningEngine::start(&user)?;
    let run = |arguments: &[&str]| -> Result<String> {
        let mut docker = std::process::Command::new(docker.path());
        docker.env("DOCKER_HOST", &engine.host).args(arguments);
        Ok(text(&succeed(&mut docker)?).trim().to_owned())
    };
    let mine = built(&user, "busybox:1.36", "mine")?;
    succeed(&mut user.shipway(&["image", "tag", &mine, "mine:1"]))?;
    let container = run(&["create", "mine:1", "true"])?;
    let id = run(&["inspect", "--format", "{{.Image}}", &container])?;
    ensure!(id == mine, "{id}");
    // Its name goes to another one.
    let other = built(&user, "scratch", "other")?;
    succeed(&mut user.shipway(&["image", "tag", &other, "mine:1"]))?;
    age(&user)?;
    let said = text(&succeed(&mut user.shipway(&["prune"]))?);
    ensure!(said.contains("1 image without a name kept"), "{said}");
    let refused = user.shipway(&["image", "rm", &id]).output()?;
    ensure!(
        refused.status.code() == Some(2) && text(&refused).contains("stands on"),
        "{}",
        text(&refused)
    );
    run(&["start", "--attach", &container])?;
    run(&["image", "inspect", &id])?;
    run(&["rm", &container])?;
    let said = text(&succeed(&mut user.shipway(&["prune"]))?);
    ensure!(said.contains("1 image without a name removed"), "{said}");
    engine.end()?;
    Ok(())
}
