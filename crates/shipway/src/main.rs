//! The one binary: arguments in, exit code out. What it does is in `commands`, one file for each verb.

mod arguments;
mod commands;
mod credentials;
mod failure;
mod installation;
mod screen;
mod settings;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // A keeper is this binary started again; it must be single-threaded, so it goes its own way before anything else.
    shipway_sandbox::enter_keeper_if_asked();
    shipway_sandbox::give_freed_memory_back();
    raise_descriptor_limit();
    screen::log::start();

    let arguments = match arguments::Arguments::try_parse_from(words(std::env::args_os().collect())) {
        Ok(arguments) => arguments,
        Err(help_or_error) => return failure::usage(&help_or_error),
    };
    match commands::execute(arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// A command line. Called by the name `gitlab-runner`, this is `shipway runner`, so that its scripts run unchanged.
fn words(mut words: Vec<OsString>) -> Vec<OsString> {
    let name = words.first().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|name| name == "gitlab-runner") {
        words.insert(1, "runner".into());
    }
    words
}

/// Takes as many descriptors as this place allows: the usual 1024 are used up by one busy pod, at the cost of all others.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Refused, the limit stays as it was, and so does everything else.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        );
    }
}
