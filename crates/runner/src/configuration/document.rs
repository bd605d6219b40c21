//! TOML with places: sections that know which of their keys were asked for.
//!
//! Keys are compared without regard to case, as gitlab-runner's own reader compares them.

use super::finding::{Findings, Severity};
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What the parser says of a value without quotes; it goes on with the value as text.
const NOT_QUOTED: &str = "string values must be quoted";
/// What it says of a backslash before a character that needs none; it goes on with the backslash.
const NO_ESCAPE: &str = "missing escaped value";

/// Parses as far as possible; what is wrong is among the findings.
pub(super) fn parse<'t>(text: &'t str, findings: &Findings) -> Spanned<DeTable<'t>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        // `TOKEN` begins like `True`.
        let placeholder = text.get(span.clone()).is_some_and(is_placeholder);
        if message.starts_with(NOT_QUOTED) || placeholder {
            findings.add(
                Severity::Warning,
                &span,
                "the value is not in quotes, which gitlab-runner refuses; it is taken as text",
            );
        } else if message.starts_with(NO_ESCAPE) {
            findings.add(
                Severity::Warning,
                &span,
                "a backslash in double quotes is written \\\\; this one is taken as it stands",
            );
        } else {
            findings.add(Severity::Error, &span, format!("not TOML: {message}"));
        }
    }
    table
}

/// A word in capitals, which documentation writes where a value of one's own belongs.
fn is_placeholder(text: &str) -> bool {
    text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// A text, also one that the parser took for a half of `true` although [`parse`] has called it text.
fn as_text(value: &Spanned<DeValue<'_>>, findings: &Findings) -> Option<String> {
    let word = || {
        let word = findings.text_at(&value.span());
        (value.get_ref().is_bool() && is_placeholder(word)).then_some(word)
    };
    value.get_ref().as_str().or_else(word).map(str::to_owned)
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A table whose keys are asked for one by one; [`Section::finish`] says which nobody knew.
pub(super) struct Section<'d> {
    table: &'d DeTable<'d>,
    /// Where it begins.
    pub(super) span: Range<usize>,
    /// Its name, as in `runners.docker`; empty for the file itself.
    pub(super) name: String,
    pub(super) findings: &'d Findings,
    asked: BTreeSet<String>,
}

impl<'d> Section<'d> {
    pub(super) fn new(
        table: &'d DeTable<'d>,
        span: Range<usize>,
        name: String,
        findings: &'d Findings,
    ) -> Self {
        Self {
            table,
            span,
            name,
            findings,
            asked: BTreeSet::new(),
        }
    }

    fn value(&mut self, key: &str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.asked.insert(key.to_ascii_lowercase());
        let (_, value) = self
            .table
            .iter()
            .find(|(known, _)| known.get_ref().eq_ignore_ascii_case(key))?;
        Some(value)
    }

    /// A key that is known and whose value does not matter.
    pub(super) fn know(&mut self, key: &str) {
        self.asked.insert(key.to_ascii_lowercase());
    }

    /// Every key is known: what it means is not this reader's business.
    pub(super) fn know_all(&mut self) {
        let keys = self.table.keys();
        self.asked
            .extend(keys.map(|key| key.get_ref().to_ascii_lowercase()));
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table
            .keys()
            .any(|known| known.get_ref().eq_ignore_ascii_case(key))
    }

    /// Where a key stands.
    pub(super) fn place(&self, key: &str) -> Range<usize> {
        self.table
            .keys()
            .find(|known| known.get_ref().eq_ignore_ascii_case(key))
            .map_or_else(|| self.span.clone(), Spanned::span)
    }

    fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'d Spanned<DeValue<'d>>) -> Option<T>,
    ) -> Option<Placed<T>> {
        let found = self.value(key)?;
        let value = read(found);
        if value.is_none() {
            let message = format!("`{key}` is {expected}, not {}", found.get_ref().type_str());
            self.findings.add(Severity::Error, &found.span(), message);
        }
        Some(Placed {
            value: value?,
            span: found.span(),
        })
    }

    /// A text, with its place.
    pub(super) fn placed_text(&mut self, key: &str) -> Option<Placed<String>> {
        let findings = self.findings;
        self.take(key, "a text", |value| as_text(value, findings))
    }

    /// A text; an empty one is none.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.placed_text(key)
            .map(|text| text.value)
            .filter(|text| !text.is_empty())
    }

    /// A whole number from 0; one below stands for 0, as it does wherever gitlab-runner counts or measures.
    pub(super) fn number(&mut self, key: &str) -> Option<u64> {
        self.integer(key)
            .map(|number| u64::try_from(number).unwrap_or_default())
    }

    /// A whole number.
    pub(super) fn integer(&mut self, key: &str) -> Option<i64> {
        let number = self.take(key, "a whole number", |value| {
            let number = value.get_ref().as_integer()?;
            i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
        })?;
        Some(number.value)
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        self.take(key, "true or false", |value| value.get_ref().as_bool())
            .map(|flag| flag.value)
    }

    /// A list of texts; where gitlab-runner takes a single text too, so does this.
    pub(super) fn texts(&mut self, key: &str) -> Vec<Placed<String>> {
        let findings = self.findings;
        let one = |item: &Spanned<DeValue<'_>>| {
            Some(Placed {
                value: as_text(item, findings)?,
                span: item.span(),
            })
        };
        let read = |value: &'d Spanned<DeValue<'d>>| match value.get_ref() {
            DeValue::Array(array) => array.iter().map(one).collect::<Option<Vec<_>>>(),
            _ => Some(vec![one(value)?]),
        };
        let texts = self.take(key, "a list of texts", read);
        texts.map(|texts| texts.value).unwrap_or_default()
    }

    /// A list of texts whose places do not matter.
    pub(super) fn plain_texts(&mut self, key: &str) -> Vec<String> {
        self.texts(key).into_iter().map(|text| text.value).collect()
    }

    /// A table.
    pub(super) fn table(&mut self, key: &str) -> Option<Section<'d>> {
        let table = self.take(key, "a section", |value| value.get_ref().as_table())?;
        Some(Section::new(
            table.value,
            table.span,
            self.name_of(key),
            self.findings,
        ))
    }

    /// A list of tables, `[[key]]`.
    pub(super) fn tables(&mut self, key: &str) -> Vec<Section<'d>> {
        let read = |value: &'d Spanned<DeValue<'d>>| {
            let value = value.get_ref();
            value
                .as_array()?
                .iter()
                .map(|item| Some((item.get_ref().as_table()?, item.span())))
                .collect::<Option<Vec<_>>>()
        };
        let name = self.name_of(key);
        let found = self.take(key, "a list of sections, as in [[…]]", read);
        found
            .into_iter()
            .flat_map(|found| found.value)
            .map(|(table, span)| Section::new(table, span, name.clone(), self.findings))
            .collect()
    }

    /// Flags by their names, as in `[runners.feature_flags]`.
    pub(super) fn flags(&mut self, key: &str) -> Vec<(String, bool)> {
        let read = |value: &'d Spanned<DeValue<'d>>| {
            let value = value.get_ref();
            value
                .as_table()?
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), value.get_ref().as_bool()?)))
                .collect::<Option<Vec<_>>>()
        };
        self.take(key, "a section of flags", read)
            .map(|flags| flags.value)
            .unwrap_or_default()
    }

    /// Settings that are known and change nothing here: said where they ask for more than their default.
    pub(super) fn without_meaning(&mut self, settings: &[(&str, &str)]) {
        for (key, why) in settings {
            let asks = self.value(key).is_some_and(|value| asks(value.get_ref()));
            if asks {
                let message = format!("`{key}` has no effect: {why}");
                self.findings.add(Severity::Warning, &self.place(key), message);
            }
        }
    }

    /// Says which keys nobody asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            if !self.asked.contains(&key.get_ref().to_ascii_lowercase()) {
                let place = if self.name.is_empty() {
                    "outside of [[runners]]".to_owned()
                } else {
                    format!("in [{}]", self.name)
                };
                let message = format!("`{}` is not known {place} and has no effect", key.get_ref());
                self.findings.add(Severity::Warning, &key.span(), message);
            }
        }
    }

    fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }
}

/// Whether a value is more than what a missing one would be.
fn asks(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::String(text) => !text.is_empty(),
        DeValue::Integer(number) => number.as_str() != "0",
        DeValue::Boolean(flag) => *flag,
        DeValue::Array(items) => items.iter().any(|item| asks(item.get_ref())),
        DeValue::Table(table) => table.values().any(|value| asks(value.get_ref())),
        DeValue::Float(_) | DeValue::Datetime(_) => true,
    }
}
