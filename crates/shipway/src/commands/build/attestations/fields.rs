//! Settings as buildx writes them: `KEY=VALUE` with commas between, or one word that says whether at all.

use std::collections::BTreeMap;

use shipway_build::csv_fields;

use crate::failure::{Failure, FailureKind};

/// The settings of one flag.
#[derive(Debug)]
pub(super) struct Fields {
    flag: &'static str,
    fields: BTreeMap<String, String>,
    word: Option<String>,
}

impl Fields {
    pub(super) fn parse(flag: &'static str, text: &str) -> Result<Self, Failure> {
        let (mut fields, mut word) = (BTreeMap::new(), None);
        let all = csv_fields(text)
            .ok_or_else(|| Failure::new(FailureKind::Use, format!("{flag} {text}: a quote is not closed")))?;
        for field in all
            .iter()
            .map(|field| field.trim())
            .filter(|field| !field.is_empty())
        {
            match field.split_once('=') {
                Some((name, value)) => {
                    fields.insert(name.to_ascii_lowercase(), value.to_owned());
                }
                None if word.is_none() => word = Some(field.to_owned()),
                None => {
                    let message = format!("{flag}: `{field}` is no setting: write KEY=VALUE");
                    return Err(Failure::new(FailureKind::Use, message));
                }
            }
        }
        Ok(Self { flag, fields, word })
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.fields.remove(name)
    }

    /// Whether the flag says yes, which it does with any setting.
    pub(super) fn switch(&mut self) -> Result<bool, Failure> {
        match self.word.take() {
            Some(word) => switch(self.flag, &word),
            None => Ok(true),
        }
    }

    pub(super) fn refuse(&self, name: &str, value: &str, known: &str) -> Failure {
        let message = format!("{}: there is no {name} `{value}`", self.flag);
        Failure::new(FailureKind::Use, message).hint(format!("use {known}"))
    }

    /// Refuses what nobody took: a setting without effect would be believed to have one.
    pub(super) fn end(self) -> Result<(), Failure> {
        match self.fields.keys().next() {
            Some(name) => Err(Failure::new(
                FailureKind::Use,
                format!("{}: there is no setting `{name}`", self.flag),
            )),
            None => Ok(()),
        }
    }
}

/// The words for yes and no that Go's clients take.
pub(super) fn switch(flag: &str, text: &str) -> Result<bool, Failure> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(Failure::new(FailureKind::Use, format!("{flag} is `{text}`")).hint("use true or false")),
    }
}
