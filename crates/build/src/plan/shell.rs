//! What a RUN executes: its shell, its heredocs.

use crate::dockerfile::{CommandLine, Heredoc, RunCommand};

/// A process to start, and the file it may need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) argv: Vec<String>,
    /// A heredoc that begins with `#!` becomes a program at this path.
    pub(crate) script: Option<(String, String)>,
}

/// Docker's default shell.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// The process of a RUN in a stage with this SHELL.
pub(crate) fn invocation(run: &RunCommand, shell: Option<&[String]>) -> Invocation {
    let text = match &run.command {
        CommandLine::Exec(argv) => {
            return Invocation {
                argv: argv.clone(),
                script: None,
            };
        }
        CommandLine::Shell(text) => text,
    };
    let only = Heredoc::parse(text.trim()).is_some();
    let text = match run.heredocs.as_slice() {
        [] => text.clone(),
        [heredoc] if only && heredoc.body().starts_with("#!") => {
            let path = format!("/dev/pipes/{}", heredoc.name);
            return Invocation {
                argv: vec![path.clone()],
                script: Some((path, heredoc.body())),
            };
        }
        // Nothing but a heredoc: its body is the command, so that the shell need not know heredocs.
        [heredoc] if only => heredoc.body(),
        heredocs => heredocs.iter().fold(text.clone(), |mut whole, heredoc| {
            whole.push('\n');
            whole.push_str(&heredoc.content);
            whole.push_str(&heredoc.name);
            whole
        }),
    };
    let shell = shell.filter(|shell| !shell.is_empty()).map(<[String]>::to_vec);
    let mut argv = shell.unwrap_or_else(|| SHELL.map(str::to_owned).to_vec());
    argv.push(text);
    Invocation { argv, script: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::{Instruction, parse};

    fn run(text: &str, shell: Option<&[String]>) -> Invocation {
        let file = parse(format!("FROM a\nRUN {text}\n").as_bytes(), "Dockerfile").expect("a file");
        match &file.stages[0].steps[0].instruction {
            Instruction::Run(run) => invocation(run, shell),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn forms() {
        assert_eq!(run("echo $X", None).argv, ["/bin/sh", "-c", "echo $X"]);
        assert_eq!(run("[\"a\", \"b\"]", None).argv, ["a", "b"]);
        let bash = ["/bin/bash".to_owned(), "-ec".to_owned()];
        assert_eq!(run("x", Some(&bash)).argv, ["/bin/bash", "-ec", "x"]);
        assert_eq!(run("<<EOF\na\nb\nEOF", None).argv, ["/bin/sh", "-c", "a\nb\n"]);
        assert_eq!(
            run("python <<-EOF\n\ta\n\tEOF", None).argv,
            ["/bin/sh", "-c", "python <<-EOF\n\ta\nEOF"]
        );
        let indented = run("<<-X\n\t#!/bin/awk -f\n\tX", None);
        assert_eq!(
            indented.script,
            Some(("/dev/pipes/X".to_owned(), "#!/bin/awk -f\n".to_owned()))
        );
        let script = run("<<run.py\n#!/usr/bin/python\nx\nrun.py", None);
        assert_eq!(script.argv, ["/dev/pipes/run.py"]);
        assert_eq!(
            script.script,
            Some((
                "/dev/pipes/run.py".to_owned(),
                "#!/usr/bin/python\nx\n".to_owned()
            ))
        );
    }
}
