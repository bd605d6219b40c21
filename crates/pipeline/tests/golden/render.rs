//! A pipeline as text: what differs from a plain job, one line each.

use std::fmt::Write as _;

use shipway_pipeline::{AllowFailure, CacheKey, Compiled, Diagnostic, Job, Retry, Service, When};

pub(crate) fn diagnostics(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .map(|diagnostic| format!("{diagnostic}\n"))
        .collect()
}

pub(crate) fn compiled(compiled: &Compiled) -> String {
    let mut text = diagnostics(&compiled.warnings);
    let pipeline = &compiled.pipeline;
    if let Some(name) = &pipeline.name {
        writeln!(text, "name: {name}").unwrap();
    }
    let stages: Vec<&str> = pipeline.stages.iter().map(|stage| stage.as_str()).collect();
    writeln!(text, "stages: {}", stages.join(" → ")).unwrap();
    for job in &pipeline.jobs {
        text.push_str(&one_job(job));
    }
    for job in &compiled.left_out {
        writeln!(text, "\nleft out: {}: {job}", job.name).unwrap();
    }
    text
}

fn list(text: &mut String, what: &str, items: &[String]) {
    if !items.is_empty() {
        writeln!(text, "  {what}: {}", serde_json::to_string(items).unwrap()).unwrap();
    }
}

fn one_job(job: &Job) -> String {
    let mut text = format!("\n{} ({})\n", job.name, job.stage);
    if let Some(image) = &job.image {
        writeln!(
            text,
            "  image: {}",
            container(&image.name, &image.entrypoint, &image.pull_policy)
        )
        .unwrap();
    }
    for service in &job.services {
        writeln!(text, "  service: {}", one_service(service)).unwrap();
    }
    list(&mut text, "before_script", &job.before_script);
    list(&mut text, "script", &job.script);
    list(&mut text, "after_script", &job.after_script);
    list(&mut text, "pre_get_sources_script", &job.pre_get_sources_script);
    for variable in &job.variables {
        let raw = if variable.raw { " (raw)" } else { "" };
        writeln!(text, "  ${} = {:?}{raw}", variable.key, variable.value).unwrap();
    }
    if job.when != When::OnSuccess {
        writeln!(text, "  when: {:?} {:?}", job.when, job.start_in).unwrap();
    }
    if job.allow_failure != AllowFailure::No {
        writeln!(text, "  allow_failure: {:?}", job.allow_failure).unwrap();
    }
    if let Some(needs) = &job.needs {
        let needs: Vec<String> = needs
            .iter()
            .map(|need| {
                let artifacts = if need.artifacts { "" } else { " without artifacts" };
                format!(
                    "{}{artifacts}{}",
                    need.job,
                    if need.optional { " if there" } else { "" }
                )
            })
            .collect();
        writeln!(text, "  needs: [{}]", needs.join(", ")).unwrap();
    }
    if let Some(names) = &job.dependencies {
        writeln!(text, "  dependencies: {names:?}").unwrap();
    }
    if let Some(artifacts) = &job.artifacts {
        writeln!(text, "  artifacts: {}", serde_json::to_string(artifacts).unwrap()).unwrap();
    }
    for cache in &job.cache {
        let key = match &cache.key {
            CacheKey::Text(text) => text.clone(),
            files => format!("{files:?}"),
        };
        writeln!(
            text,
            "  cache: {key} {:?} {} {:?} {:?}",
            cache.paths, cache.policy, cache.when, cache.fallback_keys
        )
        .unwrap();
    }
    if let Some(environment) = &job.environment {
        writeln!(text, "  environment: {} {:?}", environment.name, environment.url).unwrap();
    }
    list(&mut text, "tags", &job.tags);
    if let Some(timeout) = job.timeout {
        writeln!(text, "  timeout: {timeout:?}").unwrap();
    }
    if job.retry != Retry::default() {
        writeln!(
            text,
            "  retry: {} {:?} {:?}",
            job.retry.max, job.retry.when, job.retry.exit_codes
        )
        .unwrap();
    }
    if job.interruptible {
        text.push_str("  interruptible\n");
    }
    for (what, value) in [
        ("coverage", &job.coverage),
        ("resource_group", &job.resource_group),
    ] {
        if let Some(value) = value {
            writeln!(text, "  {what}: {value}").unwrap();
        }
    }
    if let Some(node) = job.node {
        writeln!(text, "  node: {}/{}", node.index, node.total).unwrap();
    }
    text
}

fn container(name: &str, entrypoint: &Option<Vec<String>>, pull_policy: &[String]) -> String {
    let mut text = name.to_owned();
    if let Some(entrypoint) = entrypoint {
        write!(text, " entrypoint {entrypoint:?}").unwrap();
    }
    if !pull_policy.is_empty() {
        write!(text, " pull {pull_policy:?}").unwrap();
    }
    text
}

fn one_service(service: &Service) -> String {
    let mut text = container(
        &service.image.name,
        &service.image.entrypoint,
        &service.image.pull_policy,
    );
    if !service.aliases.is_empty() {
        write!(text, " as {:?}", service.aliases).unwrap();
    }
    if let Some(command) = &service.command {
        write!(text, " command {command:?}").unwrap();
    }
    for variable in &service.variables {
        write!(text, " ${}={:?}", variable.key, variable.value).unwrap();
    }
    text
}
