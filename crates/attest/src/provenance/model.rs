//! The predicate's JSON, in the names of SLSA and, for what SLSA leaves to each build type, of BuildKit where it has one.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::{ConfigSource, Facts, Material, Step};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Predicate<'a> {
    pub(super) build_definition: BuildDefinition,
    pub(super) run_details: RunDetails<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BuildDefinition {
    pub(super) build_type: &'static str,
    pub(super) external_parameters: Value,
    pub(super) internal_parameters: Value,
    pub(super) resolved_dependencies: Vec<Value>,
}

#[derive(Serialize)]
pub(super) struct RunDetails<'a> {
    pub(super) builder: Builder<'a>,
    pub(super) metadata: Metadata<'a>,
}

#[derive(Serialize)]
pub(super) struct Builder<'a> {
    pub(super) id: &'a str,
    pub(super) version: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata<'a> {
    pub(super) invocation_id: &'a str,
    pub(super) started_on: &'a str,
    pub(super) finished_on: &'a str,
    #[serde(rename = "shipway_metadata")]
    pub(super) extension: Value,
    #[serde(rename = "shipway_completeness")]
    pub(super) completeness: Value,
    #[serde(rename = "shipway_hermetic", skip_serializing_if = "std::ops::Not::not")]
    pub(super) hermetic: bool,
    #[serde(rename = "shipway_reproducible", skip_serializing_if = "std::ops::Not::not")]
    pub(super) reproducible: bool,
}

pub(super) fn material(material: &Material) -> Value {
    json!({"uri": material.uri, "digest": material.digest})
}

pub(super) fn config_source(source: &ConfigSource) -> Value {
    let mut value = json!({"path": source.path});
    if let Some(uri) = &source.uri {
        value["uri"] = uri.as_str().into();
    }
    if !source.digest.is_empty() {
        value["digest"] = json!(source.digest);
    }
    value
}

/// Ids, and whether the build could do without them.
pub(super) fn ids(ids: &BTreeMap<String, bool>) -> Value {
    let entry = |(id, optional): (&String, &bool)| match optional {
        true => json!({"id": id, "optional": true}),
        false => json!({"id": id}),
    };
    ids.iter().map(entry).collect::<Vec<_>>().into()
}

pub(super) fn step(step: &Step) -> Value {
    let mut value = json!({
        "id": format!("step{}", step.number),
        "stage": step.stage,
        "line": step.line,
        "instruction": step.instruction,
        "cached": step.cached,
    });
    if let Some(layer) = &step.layer {
        value["layer"] = json!(layer);
    }
    value
}

pub(super) fn source(facts: &Facts) -> Value {
    json!({"infos": [{
        "filename": facts.source.path,
        "language": "Dockerfile",
        "data": STANDARD.encode(&facts.dockerfile),
    }]})
}
