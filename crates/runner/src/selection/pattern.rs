//! Patterns of `artifacts:paths`, as GitLab's runner reads them.
//!
//! `*` and `?` stop at a slash, `**` as a whole path element stands for any number of elements, `[…]` and `{a,b}`
//! are known. A pattern that matches a directory stands for all below it. Patterns are taken relative to the project
//! directory, and nothing outside it is ever matched.
//!
//! Matching is bounded: a pattern that needs more steps than [`STEPS`] on one path does not match.

/// A ceiling on the work for one path, so that `**/**/**/…` in a foreign file costs nothing.
const STEPS: usize = 100_000;

/// A ceiling on what braces unfold to, and on the pairs of braces that are unfolded: later ones stand for themselves.
const ALTERNATIVES: usize = 256;

/// One entry of `artifacts:paths`.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    alternatives: Vec<Vec<Vec<u8>>>,
}

impl Pattern {
    /// Reads a pattern; none when it points outside the project.
    pub(crate) fn parse(text: &str, project_directory: &str) -> Option<Self> {
        let text = text.trim();
        let relative = match text.strip_prefix('/') {
            None => text,
            Some(_) => {
                let below = text.strip_prefix(project_directory.trim_end_matches('/'))?;
                if !below.is_empty() && !below.starts_with('/') {
                    return None;
                }
                below
            }
        };
        let mut alternatives = Vec::new();
        for alternative in unfold(relative) {
            let mut elements: Vec<Vec<u8>> = Vec::new();
            for element in alternative.split('/') {
                match element {
                    "" | "." => {}
                    ".." => {
                        elements.pop()?;
                    }
                    element => elements.push(element.as_bytes().to_vec()),
                }
            }
            alternatives.push(elements);
        }
        Some(Self { alternatives })
    }

    /// Whether the pattern takes in this path (relative, without a leading slash), itself or by a directory above.
    pub(super) fn takes_in(&self, path: &str) -> bool {
        let path = elements(path);
        self.alternatives.iter().any(|pattern| {
            let mut steps = STEPS;
            (0..=path.len()).any(|length| elements_match(pattern, &path[..length], &mut steps))
        })
    }

    /// Whether the pattern may take in anything below this directory.
    pub(super) fn leads_below(&self, directory: &str) -> bool {
        let path = elements(directory);
        self.alternatives
            .iter()
            .any(|pattern| elements_lead_below(pattern, &path, &mut STEPS.clone()))
    }

    /// Whether the pattern matches exactly this path.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let path = elements(path);
        self.alternatives
            .iter()
            .any(|pattern| elements_match(pattern, &path, &mut STEPS.clone()))
    }

    /// Whether the pattern is one path, without a wildcard.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self.alternatives.as_slice(), [only] if !only.iter().any(|element| is_wild(element)))
    }

    /// The part before the first wildcard, as far as every alternative shares it: where a search may start.
    pub(super) fn fixed_prefix(&self) -> String {
        let Some((first, rest)) = self.alternatives.split_first() else {
            return String::new();
        };
        let fixed = |pattern: &[Vec<u8>]| pattern.iter().take_while(|element| !is_wild(element)).count();
        let mut length = fixed(first);
        for other in rest {
            let same = first.iter().zip(other).take_while(|(a, b)| a == b).count();
            length = length.min(same);
        }
        first[..length]
            .iter()
            .map(|element| String::from_utf8_lossy(element))
            .collect::<Vec<_>>()
            .join("/")
    }
}

fn is_wild(element: &[u8]) -> bool {
    element
        .iter()
        .any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

fn unfold(text: &str) -> Vec<String> {
    let mut open = vec![text.to_owned()];
    let mut done = Vec::new();
    let mut pairs = ALTERNATIVES;
    while let Some(text) = open.pop() {
        match innermost_braces(&text) {
            Some((start, end)) if open.len() + done.len() < ALTERNATIVES && spend(&mut pairs) => {
                for choice in text[start + 1..end].rsplit(',') {
                    open.push(format!("{}{choice}{}", &text[..start], &text[end + 1..]));
                }
            }
            _ => done.push(text),
        }
    }
    done
}

fn innermost_braces(text: &str) -> Option<(usize, usize)> {
    let end = text.find('}')?;
    let start = text[..end].rfind('{')?;
    Some((start, end))
}

fn elements(path: &str) -> Vec<&[u8]> {
    path.split('/')
        .filter(|element| !element.is_empty())
        .map(str::as_bytes)
        .collect()
}

/// In proportion to the product of both, and without recursion: when something does not fit, the last `**` takes one more.
fn elements_match(pattern: &[Vec<u8>], path: &[&[u8]], steps: &mut usize) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut retry = None;
    while spend(steps) {
        match pattern.get(at) {
            Some(any) if any == b"**" => {
                at += 1;
                retry = Some((at, here));
                continue;
            }
            Some(wanted)
                if path
                    .get(here)
                    .is_some_and(|element| element_matches(wanted, element, steps)) =>
            {
                (at, here) = (at + 1, here + 1);
                continue;
            }
            None if here == path.len() => return true,
            _ => {}
        }
        match retry {
            Some((after, taken)) if taken < path.len() => {
                (at, here) = (after, taken + 1);
                retry = Some((after, here));
            }
            _ => return false,
        }
    }
    false
}

/// One step less; false when none is left.
fn spend(steps: &mut usize) -> bool {
    let left = *steps > 0;
    *steps -= usize::from(left);
    left
}

/// Whether a path that a pattern takes in can begin like this.
fn elements_lead_below(pattern: &[Vec<u8>], path: &[&[u8]], steps: &mut usize) -> bool {
    match (pattern.split_first(), path.split_first()) {
        // What a pattern matches stands for all below it.
        (_, None) | (None, _) => true,
        (Some((first, _)), _) if first == b"**" => true,
        (Some((first, rest)), Some((element, below))) => {
            element_matches(first, element, steps) && elements_lead_below(rest, below, steps)
        }
    }
}

/// As [`elements_match`] for the bytes of one element, with its last `*`.
fn element_matches(pattern: &[u8], text: &[u8], steps: &mut usize) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut retry = None;
    while spend(steps) {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            retry = Some((at, here));
            continue;
        }
        if at == pattern.len() && here == text.len() {
            return true;
        }
        match single(&pattern[at..], &text[here..]) {
            Some((used, taken)) => (at, here) = (at + used, here + taken),
            None => match retry {
                Some((after, taken)) if taken < text.len() => {
                    (at, here) = (after, taken + 1);
                    retry = Some((after, here));
                }
                _ => return false,
            },
        }
    }
    false
}

/// How much of the pattern its first character uses up, and how much of the text it takes; none if it does not fit.
fn single(pattern: &[u8], text: &[u8]) -> Option<(usize, usize)> {
    let (first, next) = (pattern.first()?, text.first()?);
    match (first, &pattern[1..]) {
        (b'?', _) => {
            let rest = text[1..]
                .iter()
                .take_while(|byte| (**byte & 0xC0) == 0x80)
                .count();
            Some((1, 1 + rest))
        }
        (b'[', rest) => match class(rest) {
            Some((class, after)) => class.contains(*next).then_some((pattern.len() - after.len(), 1)),
            None => (next == first).then_some((1, 1)),
        },
        (b'\\', [escaped, ..]) => (next == escaped).then_some((2, 1)),
        _ => (next == first).then_some((1, 1)),
    }
}

struct Class<'a> {
    members: &'a [u8],
    negated: bool,
}

impl Class<'_> {
    fn contains(&self, byte: u8) -> bool {
        let mut members = self.members;
        let mut found = false;
        while let Some((first, rest)) = members.split_first() {
            match rest {
                [b'-', last, after @ ..] => {
                    found |= (*first..=*last).contains(&byte);
                    members = after;
                }
                _ => {
                    found |= *first == byte;
                    members = rest;
                }
            }
        }
        found != self.negated
    }
}

fn class(rest: &[u8]) -> Option<(Class<'_>, &[u8])> {
    let negated = matches!(rest.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let end = start + 1 + rest.get(start + 1..)?.iter().position(|byte| *byte == b']')?;
    Some((
        Class {
            members: &rest[start..end],
            negated,
        },
        &rest[end + 1..],
    ))
}

#[cfg(test)]
mod tests;
