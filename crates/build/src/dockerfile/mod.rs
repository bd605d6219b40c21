//! Dockerfile text to typed instructions.
//!
//! Four passes, each a file: `lines` joins physical lines into logical ones and collects heredocs, `syntax`
//! splits a logical line into keyword, flags and arguments, `instruction` and its neighbours give them types,
//! and `file` groups them into stages. Variable expansion (`words`) is not a pass: what `$x` means depends on
//! the base image, so the solver expands an instruction when it reaches it.
//!
//! Pure: no clock, environment, disk or network. Total: any bytes give a [`Dockerfile`] or a [`DockerfileError`]
//! that points at a line and a column, within [`limits`].

mod convert;
mod duration;
mod error;
mod file;
mod flags;
mod frontend;
mod heredoc;
mod instruction;
mod json;
mod lines;
mod mount;
mod pattern;
mod split;
mod suggest;
mod syntax;
mod words;

#[cfg(test)]
mod tests;

pub use error::{DockerfileError, Location};
pub(crate) use file::parse_as_far_as_possible;
pub use file::{CheckDirective, Dockerfile, GlobalArg, Instructions, Stage, StageName, parse, parse_trigger};
pub use heredoc::Heredoc;
pub use instruction::{
    AddOptions, ArgDeclaration, Assignment, CommandLine, Healthcheck, Instruction, RunCommand, Security,
    Separator, Source, Step, StepNetwork, Transfer, Written,
};
pub(crate) use lines::directive;
pub use mount::{MountKind, MountText, RunMount, Sharing};
pub(crate) use suggest::{did_you_mean, nearest};
pub use words::{ExpandError, Expander};

/// What a Dockerfile may hold at most. Generous for people, small for an attacker.
pub mod limits {
    /// Bytes of one Dockerfile, heredoc bodies included.
    pub const FILE_BYTES: usize = 4 << 20;
    /// Instructions of one Dockerfile.
    pub const INSTRUCTIONS: usize = 10_000;
    /// `FROM` lines of one Dockerfile.
    pub const STAGES: usize = 1_000;
    /// Comment lines that are remembered with one instruction.
    pub const COMMENTS: usize = 1_000;
    /// Heredocs that one instruction may open.
    pub const HEREDOCS: usize = 64;
    /// Bytes that the expansion of one word may give.
    pub const EXPANDED_BYTES: usize = 1 << 20;
    /// Bytes that all expansions of one build may give together: a short line may name a value of a megabyte.
    pub const EXPANSIONS_BYTES: usize = 256 << 20;
    /// Variables, and build arguments, of one stage.
    pub const VARIABLES: usize = 4_096;
    /// States that the patterns of one word (`${x##p}`, `${x/p/r}`) may go through.
    pub const MATCHING_STEPS: usize = 16 << 20;
    /// How deep `${a:-${b:-…}}` may nest.
    pub const EXPANSION_DEPTH: usize = 32;
}
