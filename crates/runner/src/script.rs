//! The text of the scripts a job runs.
//!
//! Apart from the rest of the runner because it is pure: variables and commands in, text out. What the text means
//! is fixed by GitLab's documentation and by fifteen years of pipelines that rely on it, so the rules are listed
//! here and held by snapshot tests:
//!
//! - `before_script` and `script` are lines of one script in one shell; state carries over from line to line.
//! - `errexit` always, `pipefail` where the shell has it, `noclobber` never.
//! - A syntax error fails the script where it is met; shells parse as they go.
//! - The commands' stdin is `/dev/null`: the script itself arrives on the shell's stdin.
//! - Every variable is exported again, since the image's entrypoint may have changed some.
//! - Each command is echoed before it runs, green, and only its first line when it has several.
//!
//! Values reach the shell on its stdin and never in an argument, where `ps` would show them.

mod body;
mod probe;
mod quote;

pub use body::{Environment, ScriptSource};
pub use probe::shell_command;
pub use quote::quote;
