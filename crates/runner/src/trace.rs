//! What a job says: one stream of bytes, as GitLab's job log has it.
//!
//! Apart because everything a job or the runner prints has to pass here, in this order: the size limit (of the job's
//! output only, so that the runner's own last words are never lost), the masking of secrets, the file and the
//! listeners. Nothing reaches a sink unmasked, also not when a secret arrives cut in two.
//!
//! A sink that fails (a full disk) loses the trace, never the job: the first failure is kept and told in the outcome.

mod limit;
mod mask;
mod section;
mod writer;

pub use limit::DEFAULT_OUTPUT_LIMIT;
pub use mask::Masker;
pub use section::Stage;
pub use writer::{Trace, TraceEvent, TraceListener};
