//! Targets and parameters of a Dockerfile, for people and for programs, in the forms that `docker buildx build --call` has.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use shipway_build::{Outline, OutlinedMount, Target};

use crate::commands::findings::location;
use crate::screen;

/// What stands for a target without a name.
const DEFAULT: &str = "(default)";

/// A line for each target.
pub(super) fn targets_text(targets: &[Target]) -> String {
    let mut rows = vec![["TARGET".to_owned(), "DESCRIPTION".to_owned()]];
    rows.extend(targets.iter().map(|target| {
        let name = match (&target.name, target.is_default) {
            (None, true) => DEFAULT.to_owned(),
            (Some(name), true) => format!("{name} {DEFAULT}"),
            (name, false) => name.clone().unwrap_or_default(),
        };
        [name, target.description.clone().unwrap_or_default()]
    }));
    table(&rows, 1)
}

/// One document of all targets.
pub(super) fn targets_document(targets: &[Target], dockerfile: &[u8]) -> Value {
    let target = |target: &Target| {
        let mut value = Map::new();
        put(&mut value, "name", target.name.as_deref());
        if target.is_default {
            value.insert("default".to_owned(), true.into());
        }
        put(&mut value, "description", target.description.as_deref());
        put(&mut value, "base", Some(&target.base));
        put(&mut value, "platform", target.platform.as_deref());
        value.insert("location".to_owned(), location(target.lines));
        Value::Object(value)
    };
    json!({
        "targets": targets.iter().map(target).collect::<Vec<_>>(),
        "sources": [STANDARD.encode(dockerfile)],
    })
}

/// A table for each kind of parameter that there is.
pub(super) fn outline_text(outline: &Outline) -> String {
    let mut text = String::new();
    if outline.name.is_some() || outline.description.is_some() {
        let name = outline.name.clone().unwrap_or_else(|| DEFAULT.to_owned());
        let mut rows = vec![["TARGET:".to_owned(), name]];
        rows.extend(
            outline
                .description
                .iter()
                .map(|text| ["DESCRIPTION:".to_owned(), text.clone()]),
        );
        text.push_str(&table(&rows, 1));
        text.push('\n');
    }
    if !outline.arguments.is_empty() {
        let mut rows = vec![["BUILD ARG", "VALUE", "DESCRIPTION"].map(str::to_owned)];
        rows.extend(outline.arguments.iter().map(|argument| {
            let description = argument.description.clone().unwrap_or_default();
            [argument.name.clone(), argument.value.clone(), description]
        }));
        text.push_str(&table(&rows, 3));
        text.push('\n');
    }
    for (kind, mounts) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        if !mounts.is_empty() {
            let mut rows = vec![[kind, "REQUIRED"].map(str::to_owned)];
            rows.extend(mounts.iter().map(|mount| {
                let required = if mount.required { "true" } else { "" };
                [mount.id.clone(), required.to_owned()]
            }));
            text.push_str(&table(&rows, 3));
            text.push('\n');
        }
    }
    text
}

/// One document of all parameters.
pub(super) fn outline_document(outline: &Outline, dockerfile: &[u8]) -> Value {
    let mut document = Map::new();
    put(&mut document, "name", outline.name.as_deref());
    put(&mut document, "description", outline.description.as_deref());
    let arguments = outline.arguments.iter().map(|argument| {
        let mut value = Map::new();
        put(&mut value, "name", Some(&argument.name));
        put(&mut value, "description", argument.description.as_deref());
        put(
            &mut value,
            "value",
            Some(argument.value.as_str()).filter(|value| !value.is_empty()),
        );
        value.insert("location".to_owned(), location(argument.lines));
        Value::Object(value)
    });
    list(&mut document, "args", arguments.collect());
    list(
        &mut document,
        "secrets",
        outline.secrets.iter().map(mount).collect(),
    );
    list(&mut document, "ssh", outline.ssh.iter().map(mount).collect());
    document.insert("sources".to_owned(), json!([STANDARD.encode(dockerfile)]));
    Value::Object(document)
}

fn mount(mount: &OutlinedMount) -> Value {
    let mut value = json!({ "name": mount.id, "location": location(mount.lines) });
    if mount.required {
        value["required"] = true.into();
    }
    value
}

fn put(object: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    object.extend(value.map(|value| (name.to_owned(), value.into())));
}

fn list(object: &mut Map<String, Value>, name: &str, values: Vec<Value>) {
    if !values.is_empty() {
        object.insert(name.to_owned(), values.into());
    }
}

/// Columns as wide as their longest cell and that many spaces; the last one is not filled up.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]], spaces: usize) -> String {
    let rows: Vec<[String; COLUMNS]> = rows
        .iter()
        .map(|row| std::array::from_fn(|column| screen::phrase(&row[column])))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(column).unwrap_or_default() + spaces);
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = if column + 1 == COLUMNS { 0 } else { widths[column] };
            let _ = write!(text, "{cell:width$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
