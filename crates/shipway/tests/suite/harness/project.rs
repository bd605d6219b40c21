//! A pipeline of the real inputs over the test's own files, as the projects on GitLab have them: run with every docker CLI
//! and account, and what it made compared with what its Dockerfile says.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{
    Account, Suite, assert_nothing_left, finish, git_repository, shared_images, succeed, suites, text,
    workspace,
};

use super::{Registry, User, shared_pipeline};
use crate::image_tree::{self, Node, Tree};

/// A git repository with an unchanged pipeline, ready to run.
pub(crate) struct Project {
    pub(crate) user: User,
    /// The docker CLI in the job images.
    pub(crate) suite: Suite,
    pub(crate) repository: PathBuf,
    /// A line that only this project's files have.
    pub(crate) nonce: String,
}

impl Project {
    /// The project `group/project` on `main`, or nothing where the real inputs are not beside the workspace.
    pub(crate) fn new(pipeline: &str, account: Account, suite: Suite) -> Result<Option<Self>> {
        let Some(inputs) = shared_pipeline(pipeline) else {
            return Ok(None);
        };
        let user = User::with_base_images(account, suite)?;
        let files = tempfile::tempdir()?;
        let fixture = workspace().join("crates/shipway/tests/fixtures/image");
        let root = files.path().join("files");
        succeed(Command::new("cp").arg("-a").arg(fixture).arg(&root))?;
        std::fs::copy(inputs.join(".gitlab-ci.yml"), root.join(".gitlab-ci.yml"))?;
        // What a test of another moment printed cannot pass for this one's.
        let nonce = format!(
            "nonce-{}-{}",
            std::process::id(),
            files.path().to_string_lossy().replace('/', "-")
        );
        std::fs::write(root.join("nonce.txt"), format!("{nonce}\n"))?;
        succeed(Command::new("chmod").args(["-R", "a+rX,u+w"]).arg(files.path()))?;
        let repository = git_repository(&user.home, &root, "group/project", "main")?;
        Ok(Some(Self {
            user,
            suite,
            repository,
            nonce,
        }))
    }

    /// Runs the pipeline to its successful end; what was said is returned.
    pub(crate) fn run(&self) -> Result<String> {
        self.run_with(&[])
    }

    /// As [`Self::run`], with more arguments.
    pub(crate) fn run_with(&self, arguments: &[&str]) -> Result<String> {
        let output = self.attempt(arguments)?;
        let trace = text(&output);
        ensure!(
            output.status.success(),
            "`shipway run {}` ended with {}:\n{trace}",
            arguments.join(" "),
            output.status
        );
        Ok(trace)
    }

    /// Runs the pipeline to its end, whatever that is.
    pub(crate) fn attempt(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.user.shipway(&["run"]);
        finish(command.args(arguments).current_dir(&self.repository))
    }

    /// Insists that the pipeline is refused with GitLab's reason: some of the documentation's are parts of one, without a job.
    pub(crate) fn refused_without_a_job(&self) -> Result<()> {
        let output = self.attempt(&[])?;
        let trace = text(&output);
        ensure!(
            output.status.code() == Some(2)
                && trace.contains("jobs config should contain at least one visible job"),
            "{}:\n{trace}",
            output.status
        );
        Ok(())
    }

    /// A file beside a pipeline of the real inputs, `15-socket-binding/config.toml`, where the account of the test can read it.
    pub(crate) fn input(&self, name: &str) -> Result<String> {
        let (pipeline, file) = name.split_once('/').context("PIPELINE/FILE")?;
        let inputs =
            shared_pipeline(pipeline).context("the pipeline is here: the project is made from one")?;
        let copy = self.user.home.work().join(file);
        std::fs::copy(inputs.join(file), &copy)?;
        succeed(Command::new("chmod").arg("a+r,u+w").arg(&copy))?;
        Ok(copy.to_string_lossy().into_owned())
    }

    /// Runs git in the repository; what it printed is returned, without the end of its last line.
    pub(crate) fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.user.home.command("git");
        let output = succeed(command.arg("-C").arg(&self.repository).args(arguments))?;
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// What the image must hold: the base, and what the Dockerfile of the fixture does to it.
    pub(crate) fn expected_tree(&self) -> Result<Tree> {
        let mut tree = Tree::new();
        image_tree::apply_layer(&mut tree, File::open(shared_images(self.suite)?.busybox)?)?;
        let file = |mode: u32, content: &[u8]| Node {
            kind: tar::EntryType::Regular,
            mode,
            owner: (0, 0),
            link: None,
            content: content.to_vec(),
        };
        let directory = Node {
            kind: tar::EntryType::Directory,
            ..file(0o755, b"")
        };
        let nonce = format!("{}\n", self.nonce);
        tree.insert("nonce.txt".into(), file(0o644, nonce.as_bytes()));
        for name in [
            "script",
            "script/to",
            "script/to/run",
            "script/to/run/another",
            "made",
        ] {
            tree.insert(name.into(), directory.clone());
        }
        for name in ["script/to/run/tests", "script/to/run/another/test"] {
            tree.insert(
                name.into(),
                file(0o755, &std::fs::read(self.repository.join(name))?),
            );
        }
        tree.insert("made/by-a-step".into(), file(0o644, nonce.as_bytes()));
        tree.remove("bin/vi")
            .context("the base has a bin/vi for the build to remove")?;
        Ok(tree)
    }

    /// Pulls an image from `shipway serve` with an independent client and compares it file by file.
    pub(crate) fn compare(&self, image: &str) -> Result<()> {
        self.compare_in(&self.user.serve()?, image)
    }

    /// As [`Self::compare`], from a registry that runs already.
    pub(crate) fn compare_in(&self, registry: &Registry, image: &str) -> Result<()> {
        self.compare_with(registry, image, &self.expected_tree()?)
            .map(drop)
    }

    /// As [`Self::compare_in`], with what another builder makes of the Dockerfile; says where the client put the image.
    pub(crate) fn compare_with(
        &self,
        registry: &Registry,
        image: &str,
        expected: &Tree,
    ) -> Result<Option<PathBuf>> {
        let Some(directory) = registry.pull(&self.user.home, image)? else {
            return Ok(None);
        };
        let (found, configuration) = image_tree::read_skopeo_directory(&directory)?;
        let differences = image_tree::differences(expected, &found);
        ensure!(
            differences.is_empty(),
            "{image} differs:\n{}",
            differences.join("\n")
        );
        ensure!(
            configuration["config"]["Cmd"] == serde_json::json!(["sh"]),
            "the configuration: {configuration}"
        );
        Ok(Some(directory))
    }
}

/// Runs a test for every CLI and account; all are tried before the first failure is told.
///
/// # Panics
/// When one fails or leaves a process or a mount behind: with the pipeline, the account and the CLI in the message.
pub(crate) fn everywhere(pipeline: &str, test: impl Fn(&Project) -> Result<()>) {
    everywhere_with(&suites(), pipeline, test);
}

/// As [`everywhere`], with these CLIs only.
pub(crate) fn everywhere_with(suites: &[Suite], pipeline: &str, test: impl Fn(&Project) -> Result<()>) {
    let mut failures = Vec::new();
    for &suite in suites {
        for account in Account::all() {
            let outcome = Project::new(pipeline, account, suite).and_then(|project| {
                let Some(project) = project else {
                    return Ok("passed over: the real inputs are not here");
                };
                test(&project)?;
                assert_nothing_left(&project.user.home)?;
                Ok("as expected")
            });
            let place = format!("{pipeline} as {} with {}", account.name(), suite.0);
            match outcome {
                Ok(how) => report(&format!("{place}: {how}")),
                Err(error) => failures.push(format!("{place}: {error:?}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[expect(
    clippy::print_stderr,
    reason = "what was tried and what was not is for whoever runs the tests"
)]
fn report(line: &str) {
    eprintln!("{line}");
}
