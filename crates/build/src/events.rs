//! What a build tells while it runs.
//!
//! A trait and not a channel: the engine writes docker's JSON lines, the command line draws, a test remembers, and none
//! of them should have to take a queue's back-pressure or order into account. Calls come in the order of the steps and
//! must be quick.

use shipway_container::OutputStream;
use shipway_oci::Digest;
use shipway_registry::PullProgress;

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
}

/// Told of a build.
pub trait BuildEvents: Send + Sync {
    /// An instruction begins.
    fn step_started(&self, _step: &Step<'_>) {}
    /// Its result is known from an earlier build.
    fn cached(&self, _step: &Step<'_>) {}
    /// The process of a RUN wrote something.
    fn output(&self, _step: &Step<'_>, _stream: OutputStream, _bytes: &[u8]) {}
    /// It is done; the digest is the id that an image of the state so far would have.
    fn step_finished(&self, _step: &Step<'_>, _id: &Digest) {}
    /// Something that the author should know, in one sentence.
    fn warning(&self, _message: &str) {}
    /// Who watches base images arrive.
    fn pull_progress(&self) -> &dyn PullProgress {
        &()
    }
}

/// Nobody watches.
impl BuildEvents for () {}
