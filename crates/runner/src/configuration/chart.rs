//! The values of GitLab's Helm chart: YAML with a `config.toml` in it, under `runners.config`.
//!
//! The rest of the file is the chart's own business (which cluster, which account, how many replicas) and is passed over,
//! but for `concurrent`. Apart from the rest because it only finds the text and where it begins, so that findings about it
//! name places in the file that people edit. What the chart would put in place of `{{ … }}` stays as it stands.

use super::finding::{Finding, Findings, Origin, Severity};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use std::path::Path;

/// How many jobs run at once where the values do not say: the chart's own default.
const CONCURRENT: u64 = 10;

/// What the values say about a runner.
#[derive(Debug)]
pub(super) struct Values {
    /// The text of the `config.toml`.
    pub(super) text: String,
    /// Where it begins.
    pub(super) origin: Origin,
    /// How many jobs run at once.
    pub(super) concurrent: u64,
}

/// Whether a file is read as the chart's values: YAML by its name.
pub(super) fn is_values(file: &Path) -> bool {
    let extension = file.extension().unwrap_or_default();
    extension.eq_ignore_ascii_case("yml") || extension.eq_ignore_ascii_case("yaml")
}

/// Finds the runner's configuration in the values.
///
/// # Errors
/// When the text is not YAML, or has no configuration as a block of lines.
pub(super) fn read(file: &Path, text: &str) -> Result<Values, Finding> {
    let wrong =
        |at: Origin, message: String| Findings::new(file, "", at).make(Severity::Error, &(0..0), message);
    let not_there = || {
        let message = "`runners.config` is a block of lines, which is not here: write `config: |` and the lines of the \
                       config.toml below it";
        wrong(Origin::default(), message.to_owned())
    };
    let mut keys = Keys::default();
    let (mut block, mut concurrent) = (None, CONCURRENT);
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| wrong(origin(*error.marker()), format!("not YAML: {}", error.info())))?;
        let Some(path) = keys.follow(&event) else {
            continue;
        };
        match (path.as_str(), &event) {
            ("runners.config", Event::Scalar(text, ScalarStyle::Literal, ..)) => {
                let mut begin = origin(span.start);
                // The parser's place is that of the first line with anything on it.
                let empty = text.bytes().take_while(|byte| *byte == b'\n').count();
                begin.lines = begin.lines.saturating_sub(empty);
                block = Some((text.to_string(), begin));
            }
            // Without a value, the chart's own holds.
            ("concurrent", Event::Scalar(text, ScalarStyle::Plain, ..))
                if matches!(text.as_ref(), "" | "~" | "null") => {}
            ("concurrent", event) => {
                let number = match event {
                    Event::Scalar(text, ..) => text.parse().ok(),
                    _ => None,
                };
                concurrent = number.ok_or_else(|| {
                    wrong(
                        origin(span.start),
                        "`concurrent` is not a whole number".to_owned(),
                    )
                })?;
            }
            _ => {}
        }
    }
    let (text, origin) = block.ok_or_else(not_there)?;
    Ok(Values {
        text,
        origin,
        concurrent,
    })
}

fn origin(marker: Marker) -> Origin {
    Origin {
        lines: marker.line().saturating_sub(1),
        columns: marker.col(),
    }
}

/// Where in the tree an event stands.
#[derive(Default)]
struct Keys(Vec<Level>);

enum Level {
    Sequence,
    /// With the key whose value comes next.
    Mapping(Option<String>),
}

impl Keys {
    /// Takes the next event; when it is a mapping's value, or begins one, the keys that lead to it, joined by dots.
    fn follow(&mut self, event: &Event<'_>) -> Option<String> {
        if let (Event::Scalar(text, ..), Some(Level::Mapping(key @ None))) = (event, self.0.last_mut()) {
            *key = Some(text.to_string());
            return None;
        }
        let path = || {
            let keys = self.0.iter().map(|level| match level {
                Level::Sequence => None,
                Level::Mapping(key) => key.as_deref(),
            });
            keys.collect::<Option<Vec<_>>>().map(|keys| keys.join("."))
        };
        match event {
            Event::Scalar(..) | Event::Alias(_) => {
                let path = path();
                self.leave();
                path
            }
            Event::MappingStart(..) => {
                let path = path();
                self.0.push(Level::Mapping(None));
                path
            }
            Event::SequenceStart(..) => {
                let path = path();
                self.0.push(Level::Sequence);
                path
            }
            Event::MappingEnd | Event::SequenceEnd => {
                self.0.pop();
                self.leave();
                None
            }
            _ => None,
        }
    }

    /// A value is complete: the next scalar of its mapping is a key.
    fn leave(&mut self) {
        if let Some(Level::Mapping(key)) = self.0.last_mut() {
            *key = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, is_values, read};
    use std::path::Path;

    #[test]
    fn the_configuration_is_found_with_its_place() {
        let text = "gitlabUrl: https://gitlab.example\nconcurrent: 3\nrunners:\n  tags: [a, {config: no}]\n  nested: {config: no}\n  \
                    config: |  # TOML\n\n    [[runners]]\n      name = \"one\"\nlast: 1\n";
        let values = read(Path::new("values.yml"), text).unwrap();
        assert_eq!(values.text, "\n[[runners]]\n  name = \"one\"\n");
        let begin = Origin { lines: 6, columns: 4 };
        assert_eq!((values.origin, values.concurrent), (begin, 3));
    }

    #[test]
    fn without_a_number_the_charts_own_holds() {
        for (number, expected) in [("", 10), ("null", 10), ("'4'", 4), ("4", 4)] {
            let text = format!("concurrent: {number}\nrunners:\n  config: |\n    [[runners]]\n");
            let values = read(Path::new("values.yml"), &text).unwrap();
            assert_eq!(values.concurrent, expected, "{number}");
        }
    }

    #[test]
    fn what_is_no_block_is_said_with_its_place() {
        let table = [
            ("runners: {config: inline}\n", "values.yml:1:1: `runners.config`"),
            ("config: |\n  [[runners]]\n", "values.yml:1:1: `runners.config`"),
            ("", "values.yml:1:1: `runners.config`"),
            ("a: 1\nb: [\n", "values.yml:3:1: not YAML"),
            ("a: 1\nconcurrent: ten\n", "values.yml:2:13: `concurrent` is"),
            ("concurrent: [10]\n", "values.yml:1:13: `concurrent` is"),
        ];
        for (text, expected) in table {
            let said = read(Path::new("values.yml"), text).unwrap_err().to_string();
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn values_are_known_by_their_name() {
        assert!(is_values(Path::new("a/values.YAML")) && is_values(Path::new("v.yml")));
        assert!(!is_values(Path::new("config.toml")) && !is_values(Path::new("config")));
    }
}
