//! From an image's configuration and what the caller wants to the process of a container, by docker's rules.
//!
//! Pure, because these rules are old, odd and relied upon: each oddity is a row of a table in the tests.

use shipway_oci::ExecutionConfig;

/// The `PATH` of a container whose image names none, as docker sets it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Neither the image nor the caller says what to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no command to run: the image has neither an entrypoint nor a command, so give one")]
pub struct NoCommand;

/// Program and arguments.
///
/// An entrypoint from the caller, even the empty string that stands for "none", takes the image's command away; an
/// empty list of entrypoint words takes only the image's entrypoint away.
///
/// # Errors
/// When nothing is left to run.
pub fn argv(
    image: &ExecutionConfig,
    entrypoint: Option<&[String]>,
    command: Option<&[String]>,
) -> Result<Vec<String>, NoCommand> {
    let command = command.unwrap_or_default();
    let (entrypoint, command) = match entrypoint {
        Some([_, ..]) => (entrypoint.unwrap_or_default(), command),
        _ => {
            let own = match entrypoint {
                None => image.entrypoint.as_deref().unwrap_or_default(),
                Some(_) => &[],
            };
            (
                own,
                if command.is_empty() {
                    image.cmd.as_deref().unwrap_or_default()
                } else {
                    command
                },
            )
        }
    };
    let entrypoint = match entrypoint {
        [single] if single.is_empty() => &[],
        words => words,
    };
    let argv: Vec<String> = entrypoint.iter().chain(command).cloned().collect();
    if argv.is_empty() { Err(NoCommand) } else { Ok(argv) }
}

/// Names given more than once: the last value counts, the first place stays. `NAME` without a value, from the caller,
/// takes a variable of the image away.
pub fn merge_environment(image: &[String], caller: &[String]) -> Vec<String> {
    let mut merged: Vec<String> = Vec::with_capacity(image.len() + caller.len());
    for entry in image.iter().chain(caller) {
        let name = variable_name(entry);
        let place = merged.iter().position(|other| variable_name(other) == name);
        match (place, entry.contains('=')) {
            (Some(place), true) => merged[place].clone_from(entry),
            (Some(place), false) => {
                merged.remove(place);
            }
            (None, true) => merged.push(entry.clone()),
            (None, false) => {}
        }
    }
    merged
}

/// The environment of a process: merged, with what docker adds where nobody says otherwise.
pub(crate) fn environment(
    image: &[String],
    caller: &[String],
    hostname: &str,
    terminal: bool,
) -> Vec<String> {
    let mut defaults = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={hostname}")];
    if terminal {
        defaults.push("TERM=xterm".to_owned());
    }
    let given = merge_environment(image, caller);
    defaults.retain(|default| {
        let name = variable_name(default);
        // Taken away on purpose is not the same as never given.
        !given
            .iter()
            .chain(caller)
            .any(|entry| variable_name(entry) == name)
    });
    defaults.extend(given);
    defaults
}

fn variable_name(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

#[cfg(test)]
mod tests;
