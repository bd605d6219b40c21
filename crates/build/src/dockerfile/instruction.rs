//! Instructions with meaning: what each line of a stage asks for, before variables are expanded.

use super::error::Location;
use super::heredoc::Heredoc;
use super::mount::MountText;

/// An instruction and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub instruction: Instruction,
    /// The instruction as written, continuations joined.
    pub text: String,
    /// Its letters and its comments.
    pub written: Written,
    /// Where it begins.
    pub location: Location,
}

/// What the meaning of an instruction does not depend on, and what checks and people look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The keyword in its own letters: `FROM`, `from`, `From`.
    pub keyword: String,
    /// The comments since the instruction before, a line each, without their `#`. An empty comment drops those above it.
    pub comments: Vec<String>,
}

/// One instruction inside a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD`
    Add(Transfer, AddOptions),
    /// `ARG`
    Arg(Vec<ArgDeclaration>),
    /// `CMD`
    Cmd(CommandLine),
    /// `COPY`
    Copy(Transfer),
    /// `ENTRYPOINT`
    Entrypoint(CommandLine),
    /// `ENV`
    Env(Vec<Assignment>),
    /// `EXPOSE`
    Expose(Vec<String>),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`
    Label(Vec<Assignment>),
    /// `MAINTAINER`
    Maintainer(String),
    /// `ONBUILD`: the instruction's text, run by the build that uses this image as its base.
    OnBuild(String),
    /// `RUN`
    Run(RunCommand),
    /// `SHELL`
    Shell(Vec<String>),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `USER`
    User(String),
    /// `VOLUME`
    Volume(Vec<String>),
    /// `WORKDIR`
    Workdir(String),
}

impl Instruction {
    /// Whether it makes files, as far as it says.
    pub(crate) fn makes_files(&self) -> bool {
        matches!(
            self,
            Self::Run(_) | Self::Copy(_) | Self::Add(..) | Self::Workdir(_)
        )
    }

    /// Whether it takes files of the build context alone, or such as stand in the Dockerfile, as they are.
    pub(crate) fn copies_context(&self) -> Option<&Transfer> {
        match self {
            Self::Copy(transfer) if transfer.from.is_none() => Some(transfer),
            _ => None,
        }
    }
}

/// `ARG name` or `ARG name=default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The argument's name.
    pub name: String,
    /// Its default, unexpanded.
    pub default: Option<String>,
}

/// `name=value` of ENV and LABEL, unexpanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The name; LABEL expands it too.
    pub name: String,
    /// The value with its quotes.
    pub value: String,
    /// What stands between the two.
    pub separator: Separator,
}

/// What parts a name from its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    /// `name=value`
    Equals,
    /// `name value`, the old form.
    Space,
}

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A string for the stage's shell.
    Shell(String),
    /// An argument vector.
    Exec(Vec<String>),
}

/// What COPY and ADD share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfer {
    /// `--from`: a stage or an image; `None` is the build context.
    pub from: Option<String>,
    /// What to copy, in order.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: String,
    /// `--chown`, unexpanded.
    pub chown: Option<String>,
    /// `--chmod`, unexpanded.
    pub chmod: Option<String>,
    /// `--exclude` patterns, unexpanded.
    pub exclude: Vec<String>,
    /// `--parents`: keep the source's folders.
    pub parents: bool,
    /// `--link`: the layer is the same whatever lies below it.
    pub link: bool,
}

/// A source of COPY and ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path, pattern or URL, unexpanded.
    Path(String),
    /// A file whose content is in the Dockerfile.
    Inline(Heredoc),
}

/// What only ADD takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddOptions {
    /// `--checksum`: a digest of a fetched file, or the commit of a repository; unexpanded.
    pub checksum: Option<String>,
    /// `--keep-git-dir`: whether `.git` of a repository comes along.
    pub keep_git_dir: Option<bool>,
    /// `--unpack`: whether archives are extracted; by default local ones are and fetched ones are not.
    pub unpack: Option<bool>,
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCommand {
    /// The command.
    pub command: CommandLine,
    /// Heredocs it opens.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`
    pub mounts: Vec<MountText>,
    /// `--network`
    pub network: StepNetwork,
    /// `--security`
    pub security: Security,
}

/// The network of one RUN.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StepNetwork {
    /// The build's.
    #[default]
    Default,
    /// None.
    None,
    /// The host's.
    Host,
}

/// The confinement of one RUN.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Security {
    /// As every step.
    #[default]
    Sandbox,
    /// More rights.
    Insecure,
}

/// HEALTHCHECK.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", …]`.
    pub test: Vec<String>,
    /// Nanoseconds between checks.
    pub interval: Option<i64>,
    /// Nanoseconds a check may take.
    pub timeout: Option<i64>,
    /// Nanoseconds a container may take to start.
    pub start_period: Option<i64>,
    /// Nanoseconds between checks while it starts.
    pub start_interval: Option<i64>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<i64>,
}
