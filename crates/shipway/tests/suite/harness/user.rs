//! A user at a keyboard: a home, the binary, and the base images of the pipelines.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, Home, Suite, shared_images, succeed, workspace};

use super::Registry;

/// A user with Shipway.
pub(crate) struct User {
    pub(crate) home: Home,
    binary: PathBuf,
    settings: Option<PathBuf>,
}

impl User {
    /// A user of the given account with nothing in the data directory.
    pub(crate) fn new(account: Account) -> Result<Self> {
        let home = Home::new(account)?;
        // The account of the test may not be allowed to enter the directory that the binary was built in. Another process
        // copies: a descriptor of ours, open for writing while another test forks, would make the binary `busy`.
        let binary = home.path().join("shipway");
        succeed(Command::new("cp").arg(env!("CARGO_BIN_EXE_shipway")).arg(&binary))?;
        Ok(Self {
            home,
            binary,
            settings: None,
        })
    }

    /// The same user with a `shipway.toml`.
    pub(crate) fn with_settings(mut self, text: &str) -> Result<Self> {
        let file = self.home.path().join("shipway.toml");
        std::fs::write(&file, text)?;
        self.settings = Some(file);
        Ok(self)
    }

    /// A user who has the base images of the pipelines, with the docker CLI of `suite` in them.
    pub(crate) fn with_base_images(account: Account, suite: Suite) -> Result<Self> {
        let user = Self::new(account)?;
        user.add_base_images(suite)?;
        Ok(user)
    }

    /// Puts them into the data directory.
    pub(crate) fn add_base_images(&self, suite: Suite) -> Result<()> {
        // The tars are made here, once for all tests of the machine; the script would make them as the account of the test.
        shared_images(suite)?;
        let mut script = self.home.command(workspace().join("scripts/base-images"));
        succeed(script.arg(&self.binary).arg(suite.0))?;
        Ok(())
    }

    /// The image of this name as a tar that other tools read.
    pub(crate) fn save(&self, image: &str) -> Result<PathBuf> {
        let archive = self.home.work().join("saved.tar");
        succeed(
            self.shipway(&["image", "save", "--output"])
                .arg(&archive)
                .arg(image),
        )?;
        Ok(archive)
    }

    /// A build context of that name: busybox and a step that runs it. Made once.
    pub(crate) fn busybox_context(&self, name: &str) -> Result<PathBuf> {
        let context = self.home.work().join(name);
        if context.is_dir() {
            return Ok(context);
        }
        std::fs::create_dir(&context)?;
        std::fs::copy("/bin/busybox", context.join("busybox"))?;
        std::fs::write(
            context.join("Dockerfile"),
            "FROM scratch\nCOPY busybox /bin/\nRUN [\"/bin/busybox\", \"touch\", \"/made\"]\n",
        )?;
        self.home.account().own(&context)?;
        Ok(context)
    }

    /// The binary with arguments, in this user's home.
    pub(crate) fn shipway(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(&self.binary);
        if let Some(settings) = &self.settings {
            command.env("SHIPWAY_CONFIG", settings);
        }
        command.args(arguments);
        command
    }

    /// Starts the registry over this user's data and logs a new administrator in.
    pub(crate) fn serve(&self) -> Result<Registry> {
        self.serve_with(&[])
    }

    /// As [`Self::serve`], with more arguments.
    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Result<Registry> {
        self.add_tester()?;
        self.serve_again(arguments)
    }

    /// Makes the user that [`CREDENTIALS`](super::CREDENTIALS) name.
    pub(crate) fn add_tester(&self) -> Result<()> {
        let mut add = self.shipway(&["user", "add", "tester", "--password-stdin"]);
        let mut process = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        process
            .stdin
            .take()
            .context("standard input")?
            .write_all(b"correct horse\n")?;
        ensure!(process.wait()?.success(), "`shipway user add` failed");
        Ok(())
    }

    /// Starts the registry over this user's data, in which the tester is known already.
    pub(crate) fn serve_again(&self, arguments: &[&str]) -> Result<Registry> {
        Registry::start(
            self.shipway(&["serve", "--listen", "127.0.0.1:0"])
                .args(arguments),
        )
    }
}
