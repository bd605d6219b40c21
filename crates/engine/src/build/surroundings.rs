//! What a build's client asks for around its steps: hosts, shared memory, limits. Pure, and bounded as all that clients send.

use std::net::IpAddr;

use shipway_sandbox::ResourceLimit;

use crate::failure::{Failure, told};
use crate::query::Query;

/// Words of one kind.
const MOST: usize = 128;

/// `--add-host`, each `NAME:ADDRESS`.
pub(super) fn extra_hosts(query: &Query) -> Result<Vec<(String, IpAddr)>, Failure> {
    let all = query.all("extrahosts").filter(|text| !text.is_empty());
    let hosts: Vec<(String, IpAddr)> = all
        .map(|text| {
            let parts = text.split_once('=').or_else(|| text.split_once(':'));
            let host = parts.and_then(|(name, address)| {
                let plain = address.trim_start_matches('[').trim_end_matches(']');
                Some((name.to_owned(), plain.parse().ok()?)).filter(|(name, _)| !name.is_empty())
            });
            host.ok_or_else(|| {
                Failure::bad_request(format!(
                    "invalid argument {text:?} for --add-host: write NAME:ADDRESS, the address as numbers"
                ))
            })
        })
        .collect::<Result<_, _>>()?;
    bounded("extrahosts", hosts.len())?;
    Ok(hosts)
}

/// `--shm-size` in bytes; 0 is the default.
pub(super) fn shm_size(query: &Query) -> Result<Option<u64>, Failure> {
    let text = query.get("shmsize").filter(|text| !text.is_empty());
    let size = text.map(|text| {
        let wrong =
            |_| Failure::bad_request(format!("invalid argument {text:?} for --shm-size: write bytes"));
        text.parse::<u64>().map_err(wrong)
    });
    Ok(size.transpose()?.filter(|size| *size > 0))
}

/// A limit as clients send it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SentLimit {
    name: String,
    hard: i64,
    soft: i64,
}

pub(super) fn limits(query: &Query) -> Result<Vec<ResourceLimit>, Failure> {
    let sent: Vec<SentLimit> = query.json::<Option<_>>("ulimits")?.flatten().unwrap_or_default();
    bounded("ulimits", sent.len())?;
    let limit = |limit: &SentLimit| {
        let text = format!("{}={}:{}", limit.name, limit.soft, limit.hard);
        let failed = |error| Failure::bad_request(format!("invalid argument for --ulimit: {}", told(&error)));
        text.parse::<ResourceLimit>().map_err(failed)
    };
    sent.iter().map(limit).collect()
}

/// Nobody types so many, and each costs something.
pub(super) fn bounded(what: &str, count: usize) -> Result<(), Failure> {
    match count {
        0..=MOST => Ok(()),
        _ => Err(Failure::bad_request(format!(
            "{count} of {what} are too many: at most {MOST}"
        ))),
    }
}
