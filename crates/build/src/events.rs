//! What a build tells while it runs.
//!
//! A trait and not a channel: the engine writes docker's JSON lines, the command line draws, a test remembers, and none
//! of them should have to take a queue's back-pressure or order into account. Calls come in the order of the steps and
//! must be quick.

use shipway_container::OutputStream;
use shipway_oci::Digest;
use shipway_registry::PullProgress;

use crate::error::BuildError;
use crate::lint::Finding;
use crate::solve::Miss;

/// An instruction being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// Its number, from 1.
    pub index: usize,
    /// How many there are; a base image's triggers are not counted.
    pub total: usize,
    /// The instruction as written.
    pub text: &'a str,
    /// The stage's name, or its number in the file.
    pub stage: &'a str,
    /// Its line in the Dockerfile.
    pub line: u32,
    /// Its last line, that of a heredoc's end included.
    pub last_line: u32,
    /// Which trigger of the base it is, from 1; 0 for what the file itself says. Together with `index` no other step's.
    pub trigger: usize,
    /// Where it stands in its stage; nothing for what only changes the configuration or begins with another stage.
    pub position: Option<Position>,
    /// How many stages the file has.
    pub stages: usize,
    /// What the variables of a FROM make of its name, where it has some.
    pub base: Option<&'a str>,
    /// For which platform it is done, where the build is for several.
    pub platform: Option<&'a str>,
}

/// The place of a step among those of its stage that make or fetch files: BuildKit counts these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub number: usize,
    /// How many there are, as far as is known.
    pub total: usize,
}

/// Told of a build.
pub trait BuildEvents: Send + Sync {
    /// The Dockerfile was read; its name and its text.
    fn dockerfile(&self, _name: &str, _text: &str) {}
    /// An instruction begins.
    fn step_started(&self, _step: &Step<'_>) {}
    /// Its result is known from an earlier build.
    fn cached(&self, _step: &Step<'_>) {}
    /// It is not known, and has to be carried out, for this reason. Only where [`BuildRequest::explain`](crate::BuildRequest::explain)
    /// asks for it.
    fn missed(&self, _step: &Step<'_>, _why: &Miss) {}
    /// Another build carries out the very same step; its result is waited for.
    fn waiting(&self, _step: &Step<'_>) {}
    /// The process of a RUN wrote something.
    fn output(&self, _step: &Step<'_>, _stream: OutputStream, _bytes: &[u8]) {}
    /// It is done; the digest names the state so far. It is no image's id but for a `FROM`: the last state becomes an image with an id of its own.
    fn step_finished(&self, _step: &Step<'_>, _id: &Digest) {}
    /// It failed, and with it the build. Others that run at that time are told nothing more of.
    fn step_failed(&self, _step: &Step<'_>, _error: &BuildError) {}
    /// Something worth knowing that is as it should be, in one sentence.
    fn note(&self, _message: &str) {}
    /// Something that the author should know, in one sentence.
    fn warning(&self, _message: &str) {}
    /// What should be written otherwise in the Dockerfile of this name: told once, when its stages are built, or, if that
    /// fails the build, before.
    fn findings(&self, _dockerfile: &str, _findings: &[Finding]) {}
    /// Who watches base images arrive.
    fn pull_progress(&self) -> &dyn PullProgress {
        &()
    }
}

/// Nobody watches.
impl BuildEvents for () {}
