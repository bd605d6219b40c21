//! Why a build failed.

use std::path::PathBuf;

use shipway_container::{
    ControlError, CreateError, EgressError, Excess, ImagesError, LayerError, OutputError, PullError,
    StartError, StartPodError,
};
use shipway_oci::{Digest, EncodeError, PlatformError, ReferenceError};
use shipway_registry::ClientError;
use shipway_sandbox::KeeperError;
use shipway_store::{CommitError, PutCacheRecordError, PutManifestError, StoreError};

use crate::context::ContextError;
use crate::dockerfile::DockerfileError;
use crate::gzip::GzipError;
use crate::ignore::IgnoreError;
use crate::plan::SelectError;

/// A build that gave no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile cannot be built as written.
    #[error(transparent)]
    Dockerfile(#[from] DockerfileError),
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
    /// The ignore file cannot be used.
    #[error("cannot use the ignore file")]
    Ignore {
        /// What is wrong.
        #[source]
        source: IgnoreError,
    },
    /// The process of a RUN failed.
    #[error("{file}:{line}: the command `{command}` returned a non-zero code: {exit_code}")]
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
    #[error("{file}:{line}: {text}")]
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
    #[error("cannot keep the image")]
    Export {
        /// What is wrong.
        #[source]
        source: Box<ExportError>,
    },
    /// A thread of ours ended early.
    #[error("the build was interrupted")]
    Interrupted,
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
    /// More than one source, and a destination that is no directory.
    #[error(
        "more than one file is copied, so the destination {destination} must be a directory and end with a /"
    )]
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
    /// A secret that the caller did not give.
    #[error("the secret `{id}` was not given: pass --secret id={id},src=…")]
    NoSecret {
        /// Its id.
        id: String,
    },
    /// A stage that an ONBUILD trigger names and that this build does not make.
    #[error("an ONBUILD trigger needs the stage `{stage}`, which comes later or is not part of this build")]
    StageNotBuilt {
        /// The stage.
        stage: String,
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
    Gzip {
        /// Why.
        #[source]
        source: GzipError,
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
    /// A stream between us and the keeper broke.
    #[error("cannot move the files of the step")]
    Stream {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread of ours ended early.
    #[error("the step was interrupted")]
    Interrupted,
}

/// Why an image could not be put together or kept.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be written as JSON.
    #[error("cannot write the image's configuration")]
    Encode {
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// Its configuration cannot be kept.
    #[error("cannot keep the image's configuration")]
    Commit {
        /// Why.
        #[source]
        source: CommitError,
    },
    /// Its manifest is refused by our own parser.
    #[error("the image's manifest is not valid: it has too many layers")]
    Manifest {
        /// Why.
        #[source]
        source: shipway_oci::ManifestError,
    },
    /// Its manifest cannot be kept.
    #[error("cannot keep the image's manifest")]
    Put {
        /// Why.
        #[source]
        source: PutManifestError,
    },
}
