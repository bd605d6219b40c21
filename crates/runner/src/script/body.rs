//! From variables and commands to the text a shell reads on its stdin.

use super::quote;

/// What a script finds in its environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Where the script starts; it fails there if the directory cannot be entered.
    pub directory: String,
    /// Where values of file-type variables are written, one file per variable.
    pub file_directory: String,
    /// Name and value, in the order of their export. A later one wins.
    pub variables: Vec<(String, String)>,
    /// Name and content of file-type variables: exported as the path of a file with that content.
    pub files: Vec<(String, String)>,
    /// Echo every command as the shell runs it (`CI_DEBUG_TRACE`).
    pub debug: bool,
}

/// One script of a job: its environment and its commands.
#[derive(Clone, Copy, Debug)]
pub struct ScriptSource<'a> {
    /// What the commands find.
    pub environment: &'a Environment,
    /// The commands in order, each of one or several lines.
    pub commands: &'a [String],
}

const GREEN: &str = "\u{1b}[32;1m";
const RESET: &str = "\u{1b}[0;m";

/// A terminated shell must end its script too, with a code that is not success.
const TRAP: &str = "trap 'exit 1' TERM\n";

/// Variables a script may add for the scripts after it, as `NAME=value` lines in this file.
const CARRIED_VARIABLES: &str = "gitlab_runner_env";

impl ScriptSource<'_> {
    /// The text to write to the shell's stdin.
    pub fn text(&self) -> String {
        let mut text = String::from(TRAP);
        // One stream keeps the order in which the job wrote; two would be read in any.
        text.push_str("exec 2>&1\n");
        if self.environment.debug {
            text.push_str("set -o xtrace\n");
        }
        // Asked in a subshell: a shell without the option ends when it is set, and `set -o | grep` needs grep.
        text.push_str(
            "if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\nset -o errexit\nset +o noclobber\n",
        );
        // One `eval` argument: the shell has read all of it before it runs any, so that the commands' stdin may be
        // another than the script's, and none of them eats the rest of the script.
        text.push_str(&format!(
            "({}eval {}) < /dev/null\nexit 0\n",
            TRAP.replace('\n', "; "),
            always_quote(&self.body())
        ));
        text
    }

    fn body(&self) -> String {
        let mut body = String::new();
        self.write_exports(&mut body);
        body.push_str(&format!("cd {}\n", quote(&self.environment.directory)));
        for command in self.commands {
            write_command(&mut body, command);
        }
        body
    }

    fn write_exports(&self, body: &mut String) {
        let directory = &self.environment.file_directory;
        body.push_str(&format!("mkdir -p {}\n", quote(directory)));
        for (name, value) in self
            .environment
            .variables
            .iter()
            .filter(|(name, _)| is_name(name))
        {
            body.push_str(&format!("export {name}={}\n", quote(value)));
        }
        for (name, content) in self.environment.files.iter().filter(|(name, _)| is_name(name)) {
            let path = quote(&format!("{directory}/{name}"));
            // `printf` is built into every shell: the content is in no argument list. Some say nothing when the disk is full.
            let failed = quote(&format!(
                "cannot write {directory}/{name}, the file of a variable: is there space left?"
            ));
            body.push_str(&format!(
                "printf %s {} > {path} || {{ echo {failed}; exit 1; }}\nexport {name}={path}\n",
                quote(content)
            ));
        }
        let carried = quote(&format!("{directory}/{CARRIED_VARIABLES}"));
        body.push_str(&format!(
            "export GITLAB_ENV={carried}\nif [ -f {carried} ]; then set -o allexport; . {carried}; set +o allexport; fi\n"
        ));
    }
}

fn write_command(body: &mut String, command: &str) {
    let command = command.trim();
    if command.is_empty() {
        body.push_str("echo\n");
        return;
    }
    let echoed = match command.split_once('\n') {
        Some((first, _)) => format!("$ {first} # collapsed multi-line command"),
        None => format!("$ {command}"),
    };
    body.push_str(&format!(
        "printf '%s\\n' {}\n",
        quote(&format!("{GREEN}{echoed}{RESET}"))
    ));
    body.push_str(command);
    body.push('\n');
}

/// A quoted word even when quoting is not needed, so that the script's shape does not depend on its content.
fn always_quote(text: &str) -> String {
    let quoted = quote(text);
    if quoted.starts_with('\'') {
        quoted
    } else {
        format!("'{quoted}'")
    }
}

/// Whether a shell accepts this as a variable's name. Others exist only in the container's environment.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests;
