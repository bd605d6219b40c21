//! A job's variables, as its script, its services and its own definition see them.
//!
//! A job brings a list in which a later entry wins over an earlier one of the same name; the runner puts facts that
//! only it knows before and after it and expands the values once (how is `shipway_pipeline::variables`' business). A
//! file-type variable's value is its content; what others see of it is the path of a file.

use crate::script::Environment;
use shipway_pipeline::variables::{Variable, expand_all_for_runner, expand_for_runner};

/// The variables of one job, expanded.
#[derive(Clone, Debug)]
pub(crate) struct Variables {
    list: Vec<Variable>,
    file_directory: String,
}

impl Variables {
    /// Joins what the runner knows with what the job brings and expands the values.
    ///
    /// `before` may be overridden by the job, `after` may not. File-type values will lie in `file_directory`.
    pub(crate) fn new(
        before: Vec<Variable>,
        job: &[Variable],
        after: Vec<Variable>,
        file_directory: &str,
    ) -> Self {
        let list: Vec<Variable> = before
            .into_iter()
            .chain(job.iter().cloned())
            .chain(after)
            .collect();
        Self {
            list: expand_all_for_runner(&list, file_directory),
            file_directory: file_directory.to_owned(),
        }
    }

    /// The value a script sees.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let variable = self.list.iter().rev().find(|variable| variable.key == name)?;
        Some(self.visible(variable))
    }

    /// The value a script sees, unless it is empty.
    pub(crate) fn get_filled(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Whether a variable says yes.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
    }

    /// Puts variables into a text of the job's definition (an image's name, an artifact's path).
    pub(crate) fn expand(&self, text: &str) -> String {
        expand_for_runner(text, &self.list, &self.file_directory)
    }

    /// Sets a variable that only becomes known while the job is prepared or runs.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.list.retain(|variable| variable.key != name);
        self.list.push(fact(name, value));
    }

    /// What the processes of the job's container find in their environment.
    pub(crate) fn container_environment(&self) -> Vec<String> {
        self.effective()
            .map(|variable| format!("{}={}", variable.key, self.visible(variable)))
            .collect()
    }

    /// What services find: nothing that is not public, since a service runs an image of its own.
    pub(crate) fn service_environment(&self) -> Vec<(String, String)> {
        let public = self.effective().filter(|variable| variable.public);
        public
            .map(|variable| (variable.key.clone(), self.visible(variable)))
            .collect()
    }

    /// What a script exports.
    pub(crate) fn script_environment(&self, directory: &str) -> Environment {
        let (files, plain): (Vec<_>, Vec<_>) = self.effective().partition(|variable| variable.file);
        let pair = |variable: &Variable| (variable.key.clone(), variable.value.clone());
        Environment {
            directory: directory.to_owned(),
            file_directory: self.file_directory.clone(),
            variables: plain.into_iter().map(pair).collect(),
            files: files.into_iter().map(pair).collect(),
            debug: self.is_true("CI_DEBUG_TRACE"),
        }
    }

    /// Values that must not appear in the trace.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let masked = self.list.iter().filter(|variable| variable.masked);
        masked
            .map(|variable| variable.value.trim().to_owned())
            .filter(|value| !value.is_empty())
            .collect()
    }

    fn effective(&self) -> impl Iterator<Item = &Variable> {
        self.list.iter().enumerate().filter_map(|(index, variable)| {
            let overridden = self.list[index + 1..]
                .iter()
                .any(|later| later.key == variable.key);
            (!overridden).then_some(variable)
        })
    }

    fn visible(&self, variable: &Variable) -> String {
        if variable.file {
            format!("{}/{}", self.file_directory, variable.key)
        } else {
            variable.value.clone()
        }
    }
}

/// A variable that the runner adds: public, and not a text to expand.
pub(crate) fn fact(name: &str, value: impl Into<String>) -> Variable {
    Variable {
        raw: true,
        ..Variable::public(name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::{Variables, fact};
    use shipway_pipeline::variables::Variable;

    #[test]
    fn later_wins_and_files_are_paths() {
        let job = [
            Variable::public("NAME", "first"),
            Variable::public("NAME", "second"),
            Variable::public("GREETING", "hello $NAME, $$NAME."),
            Variable {
                file: true,
                ..Variable::public("KEY", "content")
            },
            Variable::public("KEY_PATH", "$KEY"),
        ];
        let variables = Variables::new(vec![fact("CI_SERVER", "yes")], &job, vec![], "/builds/p.tmp");
        assert_eq!(variables.get("GREETING").unwrap(), "hello second, $NAME.");
        assert_eq!(variables.get("KEY_PATH").unwrap(), "/builds/p.tmp/KEY");
        let environment = variables.container_environment();
        assert_eq!(
            environment
                .iter()
                .filter(|pair| pair.starts_with("NAME="))
                .count(),
            1
        );
        assert!(environment.contains(&"KEY=/builds/p.tmp/KEY".to_owned()));
        assert_eq!(
            variables.script_environment("/").files,
            [("KEY".to_owned(), "content".to_owned())]
        );
    }

    #[test]
    fn what_is_not_public_stays_away_from_services_and_the_trace() {
        let job = [
            Variable::public("OPEN", "1"),
            Variable::secret("CLOSED", "swordfish"),
        ];
        let variables = Variables::new(vec![], &job, vec![], "/tmp");
        assert_eq!(
            variables.service_environment(),
            [("OPEN".to_owned(), "1".to_owned())]
        );
        assert_eq!(variables.secrets(), ["swordfish"]);
    }
}
