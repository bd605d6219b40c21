//! A `[[runners]]` section to be written, as gitlab-runner's `register` writes it.

use shipway_access::Secret;
use shipway_container::PullPolicy;
use std::path::PathBuf;
use toml_edit::{Array, Item, Table, value};

/// A section. Empty texts and lists are left out.
#[derive(Clone)]
pub struct NewRunner {
    /// Its name.
    pub name: String,
    /// The GitLab.
    pub url: String,
    /// GitLab's number for it.
    pub id: Option<u64>,
    /// Its token.
    pub token: Secret,
    /// Certificates to trust besides this machine's when GitLab is asked.
    pub ca_file: Option<PathBuf>,
    /// How many of its jobs run at once; 0 says nothing.
    pub limit: u64,
    /// `NAME=value`.
    pub environment: Vec<String>,
    /// How it runs jobs.
    pub executor: NewExecutor,
}

/// How a runner runs jobs.
#[derive(Clone)]
pub enum NewExecutor {
    /// In containers.
    Docker(DockerSection),
    /// As one of this name does, which needs no section of its own.
    Other(String),
}

/// `[runners.docker]`
#[derive(Clone, Default)]
pub struct DockerSection {
    /// The image of jobs that name none.
    pub image: String,
    /// As there.
    pub privileged: bool,
    /// As there; `/cache` is added, as gitlab-runner adds it.
    pub volumes: Vec<String>,
    /// As there.
    pub pull_policies: Vec<PullPolicy>,
}

impl NewRunner {
    /// The section.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table["name"] = value(&self.name);
        table["url"] = value(&self.url);
        if let Some(id) = self.id.and_then(|id| i64::try_from(id).ok()) {
            table["id"] = value(id);
        }
        table["token"] = value(self.token.expose());
        if let Some(file) = &self.ca_file {
            table["tls-ca-file"] = value(file.display().to_string());
        }
        table["executor"] = value(match &self.executor {
            NewExecutor::Docker(_) => "docker",
            NewExecutor::Other(name) => name,
        });
        if self.limit > 0 {
            table["limit"] = value(i64::try_from(self.limit).unwrap_or(i64::MAX));
        }
        if !self.environment.is_empty() {
            table["environment"] = list(self.environment.iter().map(String::as_str));
        }
        if let NewExecutor::Docker(docker) = &self.executor {
            table["docker"] = Item::Table(docker.table());
        }
        table
    }
}

impl DockerSection {
    fn table(&self) -> Table {
        let mut table = Table::new();
        table["image"] = value(&self.image);
        table["privileged"] = value(self.privileged);
        let cache = (!self.volumes.iter().any(|volume| volume == "/cache")).then_some("/cache");
        table["volumes"] = list(self.volumes.iter().map(String::as_str).chain(cache));
        if !self.pull_policies.is_empty() {
            table["pull_policy"] = list(
                self.pull_policies
                    .iter()
                    .map(|policy| crate::images::word(*policy)),
            );
        }
        table
    }
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> Item {
    value(texts.collect::<Array>())
}
