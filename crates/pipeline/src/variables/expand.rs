//! The three expanders. Each is one scan over the text; none of them evaluates what it inserts again, except
//! [`sort_and_expand_all`], which orders variables so that what it inserts is already expanded.

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use regex::{Captures, Regex};

use super::{Variable, find};

/// Variables that cannot be expanded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExpandError {
    /// They refer to one another in a circle.
    #[error("circular variable reference detected: {}", names.join(", "))]
    Cycle {
        /// The variables of the circle.
        names: Vec<String>,
    },
    /// The values grow past any use.
    #[error("the variables expand to more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
}

/// All values together after expansion: doubling references would fill the memory otherwise.
const LIMIT: usize = 4 * 1024 * 1024;

const NAME: &str = "[a-zA-Z_][a-zA-Z0-9_]*";

static REFERENCE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"\$({NAME})|\$\{{({NAME})?\}}|%({NAME})%")).ok());
static REFERENCE_OR_DOUBLE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(&format!(r"\$\$|%%|\$({NAME})|\$\{{({NAME})?\}}|%({NAME})%")).ok());

fn name_of<'t>(found: &Captures<'t>) -> Option<&'t str> {
    found.iter().skip(1).flatten().next().map(|group| group.as_str())
}

fn replace(
    regex: &LazyLock<Option<Regex>>,
    text: &str,
    mut value: impl FnMut(&str) -> Option<String>,
) -> String {
    match regex.as_ref() {
        Some(regex) => regex
            .replace_all(text, |found: &Captures<'_>| {
                let whole = found.get(0).map_or("", |whole| whole.as_str());
                match name_of(found) {
                    Some(name) => value(name).unwrap_or_else(|| whole.to_owned()),
                    None => whole.to_owned(),
                }
            })
            .into_owned(),
        None => text.to_owned(),
    }
}

/// GitLab's expansion of a keyword: one pass over `$name`, `${name}` and `%name%`; what does not exist vanishes.
pub fn expand(text: &str, variables: &[Variable]) -> String {
    replace(&REFERENCE, text, |name| {
        Some(find(variables, name).map_or_else(String::new, |found| found.value.clone()))
    })
}

/// As [`expand`], but what does not exist stays as it is written.
pub fn expand_existing(text: &str, variables: &[Variable]) -> String {
    replace(&REFERENCE, text, |name| {
        find(variables, name).map(|found| found.value.clone())
    })
}

/// Expands variables in one another, as GitLab does before a job leaves for the runner: `$$`, references to what does not
/// exist, and references to raw and file variables stay for the runner. A variable that refers to itself takes the value
/// of an earlier one of the same name.
pub fn sort_and_expand_all(variables: &[Variable]) -> Result<Vec<Variable>, ExpandError> {
    let last: HashMap<&str, usize> = variables
        .iter()
        .enumerate()
        .map(|(position, variable)| (variable.key.as_str(), position))
        .collect();
    let needs: Vec<Vec<usize>> = variables
        .iter()
        .enumerate()
        .map(|(position, variable)| {
            let mut needs: Vec<usize> = references(variable)
                .iter()
                .filter_map(|name| last.get(name).copied())
                .filter(|needed| *needed != position)
                .collect();
            needs.dedup();
            needs
        })
        .collect();
    let order = topological(&needs).map_err(|circle| ExpandError::Cycle {
        names: circle
            .iter()
            .filter_map(|position| variables.get(*position))
            .map(|found| found.key.clone())
            .collect(),
    })?;

    let mut expanded: Vec<Variable> = Vec::with_capacity(variables.len());
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut size = 0usize;
    for position in &order {
        let Some(variable) = variables.get(*position) else {
            continue;
        };
        let value = if variable.raw {
            variable.value.clone()
        } else {
            replace(&REFERENCE_OR_DOUBLE, &variable.value, |name| {
                let found = expanded.get(*known.get(name)?)?;
                (!found.file && !found.raw).then(|| found.value.clone())
            })
        };
        size = size.saturating_add(value.len());
        if size > LIMIT {
            return Err(ExpandError::TooLarge { limit: LIMIT });
        }
        known.insert(&variable.key, expanded.len());
        expanded.push(Variable {
            value,
            ..variable.clone()
        });
    }
    // Of several variables of one name the last given counts, whatever the order of expansion was.
    let mut winners: HashMap<&str, Variable> = HashMap::new();
    for (variable, position) in expanded.iter().zip(order) {
        if last.get(variable.key.as_str()) == Some(&position) {
            winners.insert(&variable.key, variable.clone());
        }
    }
    let mut seen = std::collections::HashSet::new();
    Ok(variables
        .iter()
        .filter(|variable| seen.insert(variable.key.as_str()))
        .filter_map(|variable| winners.remove(variable.key.as_str()))
        .collect())
}

fn references(variable: &Variable) -> Vec<&str> {
    if variable.raw {
        return Vec::new();
    }
    REFERENCE_OR_DOUBLE.as_ref().map_or_else(Vec::new, |regex| {
        regex
            .captures_iter(&variable.value)
            .filter_map(|found| name_of(&found))
            .collect()
    })
}

/// Order in which every node comes after what it needs; otherwise the nodes of a circle. Iterative: names are foreign.
pub(crate) fn topological(needs: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; needs.len()];
    let mut order = Vec::with_capacity(needs.len());
    for root in 0..needs.len() {
        let mut stack = vec![(root, 0usize)];
        while let Some((node, next)) = stack.last().copied() {
            let Some(mark) = marks.get_mut(node) else { break };
            if next == 0 {
                if *mark == Mark::Done {
                    stack.pop();
                    continue;
                }
                *mark = Mark::Open;
            }
            match needs.get(node).and_then(|needed| needed.get(next)).copied() {
                None => {
                    *mark = Mark::Done;
                    order.push(node);
                    stack.pop();
                }
                Some(needed) => {
                    if let Some(top) = stack.last_mut() {
                        top.1 += 1;
                    }
                    match marks.get(needed) {
                        Some(Mark::Open) => {
                            let start = stack.iter().position(|(open, _)| *open == needed).unwrap_or(0);
                            return Err(stack.iter().skip(start).map(|(open, _)| *open).collect());
                        }
                        Some(Mark::New) => stack.push((needed, 0)),
                        Some(Mark::Done) | None => {}
                    }
                }
            }
        }
    }
    Ok(order)
}

/// The runner's expansion (Go's `os.Expand`): `$name` and `${name}`, `$$` is a dollar, positional and special parameters and
/// what does not exist are empty. A file variable stands for its path below `temporary_directory`.
pub fn expand_for_runner(text: &str, variables: &[Variable], temporary_directory: &str) -> String {
    os_expand(text, |name| match name {
        "$" => Cow::Borrowed("$"),
        _ => match find(variables, name) {
            Some(variable) if variable.file => Cow::Owned(format!("{temporary_directory}/{}", variable.key)),
            Some(variable) => Cow::Borrowed(variable.value.as_str()),
            None => Cow::Borrowed(""),
        },
    })
}

/// The runner's pass over all variables: values that are not raw, each expanded once with the values as they came.
pub fn expand_all_for_runner(variables: &[Variable], temporary_directory: &str) -> Vec<Variable> {
    variables
        .iter()
        .map(|variable| {
            if variable.raw {
                return variable.clone();
            }
            Variable {
                value: expand_for_runner(&variable.value, variables, temporary_directory),
                ..variable.clone()
            }
        })
        .collect()
}

fn os_expand<'a>(text: &str, value: impl Fn(&str) -> Cow<'a, str>) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, after) = rest.split_at(dollar);
        output.push_str(before);
        let after = after.get(1..).unwrap_or("");
        let (name, length) = shell_name(after);
        if name.is_empty() && length == 0 {
            output.push('$');
        } else if !name.is_empty() {
            output.push_str(&value(name));
        }
        rest = after.get(length..).unwrap_or("");
    }
    output.push_str(rest);
    output
}

/// The name after a dollar and how much of the text it takes; an empty name with a length is bad syntax, which vanishes.
fn shell_name(text: &str) -> (&str, usize) {
    let special = |byte: u8| matches!(byte, b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9');
    match text.as_bytes() {
        [b'{', rest @ ..] => match rest.iter().position(|byte| *byte == b'}') {
            Some(0) => ("", 2),
            Some(end) => (text.get(1..=end).unwrap_or(""), end + 2),
            None => ("", 1),
        },
        [byte, ..] if special(*byte) => (text.get(..1).unwrap_or(""), 1),
        bytes => {
            let length = bytes
                .iter()
                .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))
                .unwrap_or(bytes.len());
            (text.get(..length).unwrap_or(""), length)
        }
    }
}

#[cfg(test)]
mod tests;
