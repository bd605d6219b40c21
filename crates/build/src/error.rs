//! Why a build failed.

use std::borrow::Cow;
use std::path::PathBuf;

use shipway_container::{
    ControlError, CreateError, EgressError, Excess, ImagesError, LayerError, OutputError, PullError,
    StartError, StartPodError,
};
use shipway_oci::{Digest, Platform, PlatformError, ReferenceError};
use shipway_registry::ClientError;
use shipway_sandbox::KeeperError;
use shipway_store::{CommitError, PutCacheRecordError, StoreError};

use crate::compression::CompressError;
use crate::context::ContextError;
use crate::dockerfile::DockerfileError;
use crate::export::ExportError;
use crate::git::{GitAddressError, GitError};
use crate::ignore::IgnoreError;
use crate::lint::Rule;
use crate::oci_layout::OciLayoutError;
use crate::plan::SelectError;

/// A build that gave no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile cannot be built as written.
    #[error(transparent)]
    Dockerfile(#[from] DockerfileError),
    /// The Dockerfile breaks rules, and its author wants that to fail the build.
    #[error("the Dockerfile breaks rules that fail its build: {}", rules.iter().map(|rule| rule.name()).collect::<Vec<_>>().join(", "))]
    Checks {
        /// Which, each once.
        rules: Vec<Rule>,
    },
    /// There is no Dockerfile.
    #[error("the build context has no {}: name the Dockerfile with --file", path.display())]
    NoDockerfile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The context cannot be used.
    #[error("cannot use the build context")]
    Context {
        /// What is wrong.
        #[source]
        source: ContextError,
    },
    /// The context cannot be fetched.
    #[error("cannot fetch the build context")]
    Fetch {
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// `SOURCE_DATE_EPOCH` is no time.
    #[error(
        "the build argument SOURCE_DATE_EPOCH is `{text}`: give seconds since 1970, or `context` for the commit's time"
    )]
    Epoch {
        /// As given.
        text: String,
        /// Why it is none.
        #[source]
        source: std::num::ParseIntError,
    },
    /// The ignore file cannot be used.
    #[error("cannot use the ignore file")]
    Ignore {
        /// What is wrong.
        #[source]
        source: IgnoreError,
    },
    /// The process of a RUN failed.
    #[error("{file}:{line}: the command `{command}` returned a non-zero code: {exit_code}", command = shown(command))]
    Run {
        /// Its exit code; 128 and the number for one that was killed by a signal.
        exit_code: i32,
        /// The Dockerfile.
        file: String,
        /// The line of the instruction.
        line: u32,
        /// The command.
        command: String,
    },
    /// An instruction could not be carried out.
    #[error("{file}:{line}: {}", shown(text))]
    Step {
        /// The Dockerfile.
        file: String,
        /// The line of the instruction.
        line: u32,
        /// The instruction.
        text: String,
        /// What is wrong.
        #[source]
        source: Box<StepError>,
    },
    /// Its steps took too much of the machine.
    #[error("the build was ended")]
    Excess {
        /// Of what.
        #[source]
        source: Excess,
    },
    /// The image could not be put together or kept.
    #[error("cannot make the image")]
    Export {
        /// What is wrong.
        #[source]
        source: Box<ExportError>,
    },
    /// The build cannot begin in the store.
    #[error("cannot use the store")]
    Store {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Whoever asked for it does not want it any more.
    #[error("the build was canceled")]
    Canceled,
    /// A thread of ours ended early.
    #[error("the build was interrupted")]
    Interrupted,
}

/// An instruction as messages have it: one of four megabytes would hide what is wrong with it.
fn shown(instruction: &str) -> Cow<'_, str> {
    const MOST_BYTES: usize = 4096;
    if instruction.len() <= MOST_BYTES {
        return instruction.into();
    }
    format!("{}…", &instruction[..instruction.floor_char_boundary(MOST_BYTES)]).into()
}

impl BuildError {
    /// The exit code of a RUN, which `docker build` ends with.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Run { exit_code, .. } => Some(*exit_code),
            Self::Step { source, .. } => match source.as_ref() {
                StepError::Start { source } => Some(source.exit_code()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether this is the echo of a failure that is told elsewhere.
    pub(crate) fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted => true,
            Self::Step { source, .. } => matches!(source.as_ref(), StepError::Interrupted),
            _ => false,
        }
    }
}

/// Why an instruction could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The name of a base image is none.
    #[error("`{text}` is no image's name")]
    Reference {
        /// The name.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// `--platform` names none.
    #[error("`{text}` is no platform")]
    Platform {
        /// The text.
        text: String,
        /// What is wrong with it.
        #[source]
        source: PlatformError,
    },
    /// No step that runs something can be carried out here.
    #[error("RUN needs to start a program in the image, which cannot be done here (tier D); {remedy}")]
    NoRun {
        /// The one setting that would change it, and the tier that it gives.
        remedy: String,
    },
    /// A fetched file does not end.
    #[error("{url} is larger than {limit} bytes, the most that ADD fetches")]
    TooLarge {
        /// What was fetched.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// A base image is not to be had.
    #[error("cannot get the image")]
    Pull {
        /// Why.
        #[source]
        source: Box<PullError>,
    },
    /// A base image cannot be looked up.
    #[error("cannot look up the image")]
    Images {
        /// Why.
        #[source]
        source: ImagesError,
    },
    /// What `--from=` names is no stage, and as an image it is not to be had either.
    #[error("there is no stage called `{name}`, and no image of that name can be had")]
    NoStage {
        /// The name.
        name: String,
        /// What became of the image.
        #[source]
        source: Box<StepError>,
    },
    /// No image has this id.
    #[error("no image has the id {id}")]
    NoImage {
        /// The id.
        id: String,
    },
    /// A source is not in the context.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A file of the context cannot be read.
    #[error("cannot read the build context")]
    Context {
        /// Why.
        #[source]
        source: ContextError,
    },
    /// `--exclude` is malformed.
    #[error("cannot use --exclude")]
    Exclude {
        /// Why.
        #[source]
        source: IgnoreError,
    },
    /// A path of another stage or image does not exist.
    #[error("{path}: not found in {from}")]
    MissingInRoot {
        /// The path.
        path: String,
        /// Where it was looked for.
        from: String,
    },
    /// A folder behind a file, and a destination that the file became.
    #[error("a file and then a folder are copied to {destination}, which is no directory: end it with a /")]
    DestinationNotDirectory {
        /// The destination.
        destination: String,
    },
    /// `--chmod` is malformed.
    #[error("--chmod={mode}: write an octal number such as 0755, or u+x,go-w")]
    Chmod {
        /// As written.
        mode: String,
    },
    /// A file could not be fetched.
    #[error("cannot fetch {url}")]
    Fetch {
        /// From where.
        url: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// A fetched file is not the one the author meant.
    #[error("{url} has the digest {actual}, not {expected}")]
    Checksum {
        /// From where.
        url: String,
        /// What the author wrote.
        expected: String,
        /// What came.
        actual: Digest,
    },
    /// The instruction is understood and not supported.
    #[error("{what} is not supported yet")]
    Unsupported {
        /// What.
        what: String,
    },
    /// The instruction asks for more than whoever builds it permits.
    #[error("{entitlement} is not allowed: permit it with --allow {entitlement}")]
    NotAllowed {
        /// What BuildKit calls it.
        entitlement: &'static str,
    },
    /// A secret that cannot be a variable.
    #[error("the secret `{id}` cannot be the variable `{name}`: it is no text, so mount it as a file")]
    SecretVariable {
        /// Its id.
        id: String,
        /// The variable.
        name: String,
    },
    /// An ssh agent that the caller did not give.
    #[error(
        "no ssh agent was given for `{id}`: pass --ssh {id}, with an agent at SSH_AUTH_SOCK or --ssh {id}=KEY"
    )]
    NoAgent {
        /// Its id.
        id: String,
    },
    /// A named owner where nobody has a name.
    #[error("--link --chown={owner}: there is no file system below to look names up in, so write numbers")]
    LinkOwner {
        /// As written.
        owner: String,
    },
    /// A cache mount that begins with a part of nothing.
    #[error("--mount=type=cache with source= needs from=, the stage or image to take it from")]
    CacheSource,
    /// A cache mount that begins with a file.
    #[error("--mount=type=cache: {path} in {from} is a file, and a cache is a directory")]
    CacheOfFile {
        /// The path.
        path: String,
        /// Where it is.
        from: String,
    },
    /// A secret that the caller did not give.
    #[error("the secret `{id}` was not given: pass --secret id={id},src=…")]
    NoSecret {
        /// Its id.
        id: String,
    },
    /// A repository cannot be fetched.
    #[error("cannot fetch {url}")]
    Git {
        /// Which, without what logs in.
        url: String,
        /// Why.
        #[source]
        source: Box<GitError>,
    },
    /// What looks like the address of a repository makes no sense as one.
    #[error("`{text}` cannot be used")]
    GitAddress {
        /// The address.
        text: String,
        /// Why.
        #[source]
        source: GitAddressError,
    },
    /// What was fetched is neither a tar nor a Dockerfile.
    #[error("{url} is no tar, and with more than {most} bytes no Dockerfile")]
    NoContext {
        /// What was fetched.
        url: String,
        /// The limit.
        most: u64,
    },
    /// A named context cannot be used.
    #[error("cannot use the named context `{name}`")]
    NamedContext {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// A named context is no image in a directory.
    #[error(transparent)]
    OciLayout(#[from] OciLayoutError),
    /// The ignore file of a named context is malformed.
    #[error("cannot use its ignore file")]
    Ignore {
        /// Why.
        #[source]
        source: IgnoreError,
    },
    /// A name that stands for nothing here.
    #[error("{what}")]
    Name {
        /// What is wrong with it.
        what: String,
    },
    /// No pod can be started here.
    #[error("cannot start a place for the step to run in")]
    Pod {
        /// Why.
        #[source]
        source: StartPodError,
    },
    /// The machine's addresses cannot be read.
    #[error("cannot set up the egress policy of the build")]
    Egress {
        /// Why.
        #[source]
        source: EgressError,
    },
    /// The base cannot be unpacked.
    #[error("cannot unpack the layers below the step")]
    Layers {
        /// Why.
        #[source]
        source: LayerError,
    },
    /// The container of a RUN cannot be made.
    #[error("cannot make the container of the step")]
    Create {
        /// Why.
        #[source]
        source: CreateError,
    },
    /// The process of a RUN cannot be started.
    #[error("cannot start the command")]
    Start {
        /// Why.
        #[source]
        source: StartError,
    },
    /// The container of a RUN cannot be removed.
    #[error("cannot remove the container of the step")]
    Control {
        /// Why.
        #[source]
        source: ControlError,
    },
    /// The output of a RUN cannot be read.
    #[error("cannot read the output of the command")]
    Output {
        /// Why.
        #[source]
        source: OutputError,
    },
    /// The keeper failed.
    #[error("cannot {action}")]
    Keeper {
        /// What was being done.
        action: &'static str,
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// The layer cannot be written.
    #[error("cannot write the layer")]
    Compress {
        /// Why.
        #[source]
        source: CompressError,
    },
    /// The layer cannot be kept.
    #[error("cannot keep the layer")]
    Commit {
        /// Why.
        #[source]
        source: CommitError,
    },
    /// The store failed.
    #[error("cannot use the store")]
    Store {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The result cannot be remembered.
    #[error("cannot remember the result for later builds")]
    Remember {
        /// Why.
        #[source]
        source: PutCacheRecordError,
    },
    /// A layer that an imported cache has or claims could not be had. The build is begun again without it.
    #[error("the cache {cache} does not give what it promised")]
    CacheImport {
        /// The cache.
        cache: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A stream between us and the keeper broke.
    #[error("cannot move the files of the step")]
    Stream {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The step runs a program of another processor, which this machine cannot.
    #[error("programs for {platform} do not run on this machine: {reason}")]
    Emulation {
        /// Whose programs.
        platform: Box<Platform>,
        /// Why not, and what would help.
        reason: String,
    },
    /// A thread of ours ended early.
    #[error("the step was interrupted")]
    Interrupted,
}

impl StepError {
    /// The same, said of a named context; of the build's own context without a name.
    pub(crate) fn in_context(self, name: Option<String>) -> Self {
        match name {
            Some(name) => Self::NamedContext {
                name,
                source: Box::new(self),
            },
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_a_part_of_a_long_instruction() {
        let error = BuildError::Run {
            exit_code: 1,
            file: "Dockerfile".to_owned(),
            line: 2,
            command: "é".repeat(1 << 20),
        };
        let message = error.to_string();
        assert!(
            message.len() < 5_000 && message.contains("é…"),
            "{}",
            message.len()
        );
        assert_eq!(shown("COPY a b"), "COPY a b");
    }
}
