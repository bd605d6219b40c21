//! The command a job's container is started with: find the best shell of the image, run what comes on stdin.
//!
//! It is the container's *command*, not its entrypoint, so an image's own entrypoint runs first and may prepare the
//! environment (the `docker` image chooses its daemon's address there).

/// Where a shell may be, best first. Absolute, since `PATH` belongs to the job.
const SHELLS: [&str; 7] = [
    "/usr/local/bin/bash",
    "/usr/bin/bash",
    "/bin/bash",
    "/usr/local/bin/sh",
    "/usr/bin/sh",
    "/bin/sh",
    "/busybox/sh",
];

/// The argument vector that reads a script from stdin with the best shell the image has.
pub fn shell_command() -> Vec<String> {
    let mut probe = String::new();
    for (index, shell) in SHELLS.iter().enumerate() {
        let keyword = if index == 0 { "if" } else { "elif" };
        probe.push_str(&format!("{keyword} [ -x {shell} ]; then exec {shell}\n"));
    }
    probe.push_str("else echo 'shell not found' >&2; exit 1\nfi\n");
    vec!["sh".to_owned(), "-c".to_owned(), probe]
}

#[cfg(test)]
mod tests {
    use super::shell_command;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn the_probed_shell_reads_its_script_from_stdin() {
        let argv = shell_command();
        let mut child = Command::new(&argv[0])
            .args(&argv[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"echo from stdin\nexit 7\n")
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"from stdin\n");
        assert_eq!(output.status.code(), Some(7));
    }
}
