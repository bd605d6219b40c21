//! `GET /containers/json`: what `docker ps` shows.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::life::Phase;
use super::record::Record;
use crate::engine::Inner;
use crate::failure::Failure;
use crate::filter::Filters;
use crate::query::Query;
use crate::reply::{self, Reply};

const FILTERS: &[&str] = &[
    "id", "name", "status", "label", "label!", "ancestor", "exited", "network", "volume", "before", "since",
    "publish", "expose", "health", "is-task",
];

impl Inner {
    pub(crate) fn list_containers(&self, query: &Query) -> Result<Reply, Failure> {
        let filters = Filters::from_query(query, FILTERS)?;
        let limit = query
            .number::<i64>("limit")?
            .filter(|limit| *limit > 0)
            .and_then(|limit| usize::try_from(limit).ok());
        let all = query.flag("all") || limit.is_some() || !filters.values("status").is_empty();
        let before = self.bound(&filters, "before")?;
        let since = self.bound(&filters, "since")?;
        let records = self.containers.all();
        let shown = records
            .iter()
            .filter(|record| all || record.life.is_running())
            .filter(|record| before.as_ref().is_none_or(|bound| record.created < bound.created))
            .filter(|record| since.as_ref().is_none_or(|bound| record.created > bound.created))
            .filter(|record| wanted(record, &filters))
            .take(limit.unwrap_or(usize::MAX))
            .map(|record| self.container_summary(record));
        // One after the other: a list of values takes many times the room of its text.
        let mut text = vec![b'['];
        for (position, summary) in shown.enumerate() {
            if position > 0 {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &summary)
                .map_err(|error| Failure::internal(format!("cannot write the answer as JSON: {error}")))?;
        }
        text.push(b']');
        Ok(reply::bytes(StatusCode::OK, reply::JSON, text))
    }

    fn bound(&self, filters: &Filters, key: &str) -> Result<Option<Arc<Record>>, Failure> {
        filters
            .values(key)
            .first()
            .map(|asked| self.containers.find(asked))
            .transpose()
    }

    pub(crate) fn container_summary(&self, record: &Record) -> Value {
        let phase = record.life.now().phase;
        let remark = match phase {
            Phase::Running { .. } => record.health().status.remark(),
            _ => "",
        };
        let networks: Map<String, Value> = record
            .networks()
            .iter()
            .map(|(name, aliases)| (name.clone(), self.endpoint(record, name, aliases)))
            .collect();
        let network_mode = record.body.host_config.network_mode.as_str();
        json!({
            "Id": record.id,
            "Names": [format!("/{}", record.name())],
            "Image": record.body.image,
            "ImageID": record.image.id.to_string(),
            "Command": command_line(record.container.argv()),
            "Created": record.created.unix_timestamp(),
            "Ports": ports(record),
            "Labels": record.labels,
            "State": phase.word(),
            "Status": format!("{}{remark}", phase.sentence()),
            "HostConfig": { "NetworkMode": if network_mode.is_empty() { "default" } else { network_mode } },
            "NetworkSettings": { "Networks": networks },
            "Mounts": mounts(record),
        })
    }

    /// The container as one network sees it.
    pub(super) fn endpoint(&self, record: &Record, network: &str, aliases: &[String]) -> Value {
        let running = record.life.is_running();
        let address = record
            .container
            .address()
            .filter(|_| running && network != "none");
        let shown = address.map(|address| address.to_string()).unwrap_or_default();
        let id = self
            .networks()
            .find(network)
            .map(|network| network.id.clone())
            .unwrap_or_default();
        json!({
            "IPAMConfig": null,
            "Links": null,
            "Aliases": aliases,
            "DNSNames": aliases,
            "NetworkID": id,
            "EndpointID": if shown.is_empty() { "" } else { record.id.as_str() },
            "Gateway": if shown.is_empty() { String::new() } else { shipway_container::Pod::GATEWAY.to_string() },
            "IPAddress": shown,
            "IPPrefixLen": if address.is_some() { 16 } else { 0 },
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "MacAddress": "",
            "DriverOpts": null,
        })
    }
}

fn wanted(record: &Record, filters: &Filters) -> bool {
    let phase = record.life.now().phase;
    let name = record.name();
    let ancestor = |wanted: &String| {
        let id = record.image.id.to_string();
        record.body.image == *wanted
            || id == *wanted
            || (wanted.len() >= 4 && record.image.id.hex().starts_with(wanted.as_str()))
            || record.image.reference.as_ref().is_some_and(|reference| {
                reference.familiar() == *wanted || reference.familiar_name() == *wanted
            })
    };
    let exited =
        |wanted: &String| matches!(&phase, Phase::Exited { code, .. } if code.to_string() == *wanted);
    let port = |wanted: &String| {
        let number = wanted.split('/').next().unwrap_or_default();
        record
            .published()
            .iter()
            .any(|port| port.published.to_string() == number || port.container.to_string() == number)
    };
    filters.admits("id", |wanted| record.id.starts_with(wanted.as_str()))
        && filters.admits("name", |wanted| {
            let wanted = wanted.strip_prefix('/').unwrap_or(wanted);
            match wanted
                .strip_prefix('^')
                .map(|rest| rest.strip_prefix('/').unwrap_or(rest))
            {
                Some(anchored) => match anchored.strip_suffix('$') {
                    Some(exact) => name.as_str() == exact,
                    None => name.as_str().starts_with(anchored),
                },
                None => match wanted.strip_suffix('$') {
                    Some(end) => name.as_str().ends_with(end),
                    None => name.as_str().contains(wanted),
                },
            }
        })
        && filters.admits("status", |wanted| wanted == phase.word())
        && filters.admits("ancestor", ancestor)
        && filters.admits("exited", exited)
        && filters.admits("network", |wanted| record.networks().contains_key(wanted))
        && filters.admits("volume", |wanted| {
            record
                .mounts
                .iter()
                .any(|mount| mount.name.as_ref() == Some(wanted) || mount.target == *wanted)
        })
        && filters.admits("publish", port)
        && filters.admits("expose", port)
        && filters.admits("health", |wanted| wanted == record.health().status.word())
        && filters.admits("is-task", |wanted| wanted == "false")
        && filters.admits_labels(&record.labels)
}

pub(super) fn ports(record: &Record) -> Vec<Value> {
    record
        .published()
        .iter()
        .map(|port| {
            json!({
                "IP": port.address.to_string(),
                "PrivatePort": port.container,
                "PublicPort": port.published,
                "Type": "tcp",
            })
        })
        .collect()
}

pub(super) fn mounts(record: &Record) -> Vec<Value> {
    record
        .mounts
        .iter()
        .map(|mount| {
            let mut shown = json!({
                "Type": mount.kind,
                "Source": mount.source,
                "Destination": mount.target,
                "Mode": if mount.read_only { "ro" } else { "" },
                "RW": !mount.read_only,
                "Propagation": if mount.kind == "bind" { "rprivate" } else { "" },
            });
            if let (Some(name), Some(object)) = (&mount.name, shown.as_object_mut()) {
                object.insert("Name".to_owned(), json!(name));
                object.insert("Driver".to_owned(), json!("local"));
            }
            shown
        })
        .collect()
}

/// Words as a person would type them.
fn command_line(words: &[String]) -> String {
    let shown = words.iter().map(|word| {
        if word
            .chars()
            .any(|letter| letter.is_whitespace() || letter == '\'')
            || word.is_empty()
        {
            format!("'{}'", word.replace('\'', "'\\''"))
        } else {
            word.clone()
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_blanks_are_quoted() {
        let words: Vec<String> = ["sh", "-c", "echo it's", ""].map(str::to_owned).to_vec();
        assert_eq!(command_line(&words), r"sh -c 'echo it'\''s' ''");
    }
}
