//! The base images of pipelines as tar files, put together from Debian packages once for all tests of a machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::command::{succeed, text};
use crate::workspace;

/// The docker CLI whose image the jobs of a pipeline run in: a Debian release, or `path` for the one on `PATH`.
#[derive(Debug, Clone, Copy)]
pub struct Suite(pub &'static str);

/// The CLIs of Debian 12 (20.10) and Debian 13 (26).
pub const SUITES: [Suite; 2] = [Suite("bookworm"), Suite("trixie")];

/// [`SUITES`], and a static docker CLI that is on `PATH`.
#[must_use]
pub fn suites() -> Vec<Suite> {
    let mut suites = SUITES.to_vec();
    if on_path("docker").is_some_and(|docker| is_static(&docker)) {
        suites.push(Suite("path"));
    }
    suites
}

/// Where a program is that this process would start.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Whether a program runs in any image: `file` knows, and says so of both kinds of static binaries.
fn is_static(program: &Path) -> bool {
    let output = Command::new("file")
        .arg("--brief")
        .arg("--dereference")
        .arg(program)
        .output();
    output.is_ok_and(|output| text(&output).contains("static"))
}

/// The images that a pipeline with the docker CLI needs.
#[derive(Debug)]
pub struct BaseImages {
    /// A tar of `busybox:1.36`.
    pub busybox: PathBuf,
    /// A tar of `docker:24.0.5-cli` with a suite's CLI in it.
    pub docker_cli: PathBuf,
}

/// Makes the base images where they are missing. Tests run as several processes: the first one works, the others wait.
///
/// # Errors
/// When a script fails; what it said is in the error.
pub fn shared_images(suite: Suite) -> anyhow::Result<BaseImages> {
    let (directory, _lock) = locked_directory("lock")?;
    let images = BaseImages {
        busybox: directory.join("busybox.tar"),
        docker_cli: directory.join(format!("docker-cli-{}.tar", suite.0)),
    };
    let cache = workspace().join("target/debian");
    if !images.busybox.is_file() {
        succeed(script("busybox").arg(&cache).arg(&images.busybox))?;
    }
    if !images.docker_cli.is_file() {
        succeed(
            script("docker-cli")
                .arg(suite.0)
                .arg(&cache)
                .arg(&images.docker_cli),
        )?;
    }
    Ok(images)
}

/// A minimal Debian 12 root file system with apt.
///
/// # Errors
/// When the script fails; what it said is in the error.
pub fn debian_image() -> anyhow::Result<PathBuf> {
    let (directory, _lock) = locked_directory("debian-lock")?;
    let tar = directory.join("debian-12.tar");
    if !tar.is_file() {
        succeed(script("debian").arg("bookworm").arg(&tar))?;
    }
    Ok(tar)
}

/// A tar of `quay.io/buildah/stable` with the Buildah of a Debian release in it.
///
/// # Errors
/// When the script fails; what it said is in the error.
pub fn buildah_image(suite: Suite) -> anyhow::Result<PathBuf> {
    let (directory, _lock) = locked_directory("buildah-lock")?;
    let tar = directory.join(format!("buildah-{}.tar", suite.0));
    if !tar.is_file() {
        succeed(script("buildah").arg(suite.0).arg(&tar))?;
    }
    Ok(tar)
}

fn script(name: &str) -> Command {
    Command::new(workspace().join("scripts/images").join(name))
}

/// Where the images are, and a lock that other processes wait for as long as it lives.
fn locked_directory(lock: &str) -> anyhow::Result<(PathBuf, std::fs::File)> {
    let directory = workspace().join("target/images");
    std::fs::create_dir_all(&directory)?;
    let lock = std::fs::File::create(directory.join(lock))?;
    lock.lock()
        .context("waiting for another test to make the base images")?;
    Ok((directory, lock))
}

/// The folder of real inputs beside the project, if it is there: `shared_inputs("pipelines/05-four-stages")`.
#[must_use]
pub fn shared_inputs(below: &str) -> Option<PathBuf> {
    let path = workspace().parent()?.join("shared").join(below);
    path.is_dir().then_some(path)
}
