//! Networks as clients know them: scopes of names.
//!
//! A pod has one bridge, and every container of the engine is on it. A user network is therefore a name, its members and
//! what they are called; it separates nothing, as one job's containers have nothing to hide from each other. Compose
//! files and scripts that create, join and remove networks work as they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::clock::rfc3339;
use crate::failure::Failure;
use crate::filter::Filters;
use crate::model::nullable;
use crate::name::{ResourceName, identifier};

/// More networks than any job needs.
const MOST_NETWORKS: usize = 256;
/// The networks that are always there.
const PREDEFINED: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

/// The body of `POST /networks/create`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct NetworkBody {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) driver: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) internal: bool,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
}

/// One network.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) name: String,
    driver: String,
    internal: bool,
    labels: BTreeMap<String, String>,
    created: OffsetDateTime,
    /// Containers by id.
    members: BTreeSet<String>,
}

/// The networks of one engine.
#[derive(Debug)]
pub(crate) struct Networks {
    by_name: BTreeMap<String, Network>,
}

impl Networks {
    pub(crate) fn new() -> Networks {
        let by_name = PREDEFINED
            .iter()
            .map(|(name, driver)| {
                (
                    (*name).to_owned(),
                    Network::new(name, driver, NetworkBody::default()),
                )
            })
            .collect();
        Networks { by_name }
    }

    pub(crate) fn create(&mut self, body: NetworkBody) -> Result<String, Failure> {
        let name: ResourceName = body
            .name
            .parse()
            .map_err(|error| Failure::from_error(http::StatusCode::BAD_REQUEST, &error))?;
        match body.driver.as_str() {
            "" | "bridge" | "default" => {}
            driver => {
                return Err(Failure::bad_request(format!(
                    "network driver {driver:?} is not there: only bridge is"
                )));
            }
        }
        if self.by_name.contains_key(name.as_str()) {
            return Err(Failure::conflict(format!(
                "network with name {name} already exists"
            )));
        }
        if self.by_name.len() >= MOST_NETWORKS {
            return Err(Failure::conflict(format!(
                "there are {MOST_NETWORKS} networks already: remove some"
            )));
        }
        let network = Network::new(name.as_str(), "bridge", body);
        let id = network.id.clone();
        self.by_name.insert(name.to_string(), network);
        Ok(id)
    }

    /// By name, id or a beginning of the id that is unambiguous.
    pub(crate) fn find(&self, asked: &str) -> Result<&Network, Failure> {
        if let Some(network) = self.by_name.get(asked) {
            return Ok(network);
        }
        let mut found = self
            .by_name
            .values()
            .filter(|network| !asked.is_empty() && network.id.starts_with(asked));
        match (found.next(), found.next()) {
            (Some(network), None) => Ok(network),
            (Some(_), Some(_)) => Err(Failure::bad_request(format!(
                "network {asked} is ambiguous: give more of its id"
            ))),
            (None, _) => Err(Failure::not_found(format!("network {asked} not found"))),
        }
    }

    pub(crate) fn join(&mut self, asked: &str, container: &str) -> Result<String, Failure> {
        let name = self.find(asked)?.name.clone();
        if let Some(network) = self.by_name.get_mut(&name) {
            network.members.insert(container.to_owned());
        }
        Ok(name)
    }

    pub(crate) fn leave(&mut self, asked: &str, container: &str) -> Result<String, Failure> {
        let name = self.find(asked)?.name.clone();
        let left = self
            .by_name
            .get_mut(&name)
            .is_some_and(|network| network.members.remove(container));
        if left {
            Ok(name)
        } else {
            Err(Failure::forbidden(format!(
                "container {container} is not connected to the network {asked}"
            )))
        }
    }

    pub(crate) fn forget_container(&mut self, container: &str) {
        for network in self.by_name.values_mut() {
            network.members.remove(container);
        }
    }

    pub(crate) fn remove(&mut self, asked: &str) -> Result<Network, Failure> {
        let network = self.find(asked)?;
        if network.is_predefined() {
            return Err(Failure::forbidden(format!(
                "{} is a pre-defined network and cannot be removed",
                network.name
            )));
        }
        if !network.members.is_empty() {
            return Err(Failure::forbidden(format!(
                "network {} has active endpoints: remove its containers first",
                network.name
            )));
        }
        let name = network.name.clone();
        self.by_name
            .remove(&name)
            .ok_or_else(|| Failure::not_found(format!("network {asked} not found")))
    }

    /// Removes what nobody uses and returns the names.
    pub(crate) fn prune(&mut self, filters: &Filters) -> Vec<String> {
        let unused: Vec<String> = self
            .by_name
            .values()
            .filter(|network| !network.is_predefined() && network.members.is_empty())
            .filter(|network| {
                filters.admits_labels(&network.labels) && filters.admits_moment(network.created)
            })
            .map(|network| network.name.clone())
            .collect();
        for name in &unused {
            self.by_name.remove(name);
        }
        unused
    }

    /// The networks that a list request's filters let through.
    pub(crate) fn list<'a>(&'a self, filters: &'a Filters) -> impl Iterator<Item = &'a Network> {
        self.by_name.values().filter(|network| {
            filters.admits("name", |wanted| network.name.contains(wanted.as_str()))
                && filters.admits("id", |wanted| network.id.starts_with(wanted.as_str()))
                && filters.admits("driver", |wanted| network.driver == *wanted)
                && filters.admits("type", |wanted| (wanted == "builtin") == network.is_predefined())
                && filters.admits("scope", |wanted| wanted == "local")
                && filters.truth("dangling").is_none_or(|dangling| {
                    dangling == (network.members.is_empty() && !network.is_predefined())
                })
                && filters.admits_labels(&network.labels)
        })
    }
}

impl Network {
    fn new(name: &str, driver: &str, body: NetworkBody) -> Network {
        Network {
            id: identifier(),
            name: name.to_owned(),
            driver: driver.to_owned(),
            internal: body.internal,
            labels: body.labels,
            created: OffsetDateTime::now_utc(),
            members: BTreeSet::new(),
        }
    }

    fn is_predefined(&self) -> bool {
        PREDEFINED.iter().any(|(name, _)| *name == self.name)
    }

    /// As inspect and list show it; `member` describes a container of the network.
    pub(crate) fn json(&self, subnet: &str, gateway: &str, member: impl Fn(&str) -> Option<Value>) -> Value {
        let containers: serde_json::Map<String, Value> = self
            .members
            .iter()
            .filter_map(|container| member(container).map(|shown| (container.clone(), shown)))
            .collect();
        let addresses = match self.driver.as_str() {
            "bridge" => json!([{ "Subnet": subnet, "Gateway": gateway }]),
            _ => json!([]),
        };
        json!({
            "Name": self.name,
            "Id": self.id,
            "Created": rfc3339(Some(self.created)),
            "Scope": "local",
            "Driver": self.driver,
            "EnableIPv4": true,
            "EnableIPv6": false,
            "IPAM": { "Driver": "default", "Options": null, "Config": addresses },
            "Internal": self.internal,
            "Attachable": false,
            "Ingress": false,
            "ConfigFrom": { "Network": "" },
            "ConfigOnly": false,
            "Containers": containers,
            "Options": {},
            "Labels": self.labels,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(name: &str) -> NetworkBody {
        NetworkBody {
            name: name.to_owned(),
            ..NetworkBody::default()
        }
    }

    #[test]
    fn networks_are_found_by_name_and_id_and_names_are_unique() {
        let mut networks = Networks::new();
        let id = networks.create(body("ci")).unwrap();
        assert_eq!(networks.find("ci").unwrap().id, id);
        assert_eq!(networks.find(&id[..10]).unwrap().name, "ci");
        assert_eq!(networks.create(body("ci")).unwrap_err().status(), 409);
        assert_eq!(networks.find("").unwrap_err().status(), 404);
        assert!(networks.create(body("a/b")).is_err());
        let overlay = NetworkBody {
            driver: "overlay".to_owned(),
            ..body("x1")
        };
        assert!(
            networks
                .create(overlay)
                .unwrap_err()
                .message()
                .contains("overlay")
        );
    }

    #[test]
    fn only_empty_user_networks_can_be_removed() {
        let mut networks = Networks::new();
        networks.create(body("ci")).unwrap();
        networks.create(body("idle")).unwrap();
        networks.join("ci", "c1").unwrap();
        assert_eq!(networks.remove("bridge").unwrap_err().status(), 403);
        assert_eq!(networks.remove("ci").unwrap_err().status(), 403);
        assert_eq!(networks.prune(&Filters::default()), ["idle"]);
        networks.forget_container("c1");
        assert_eq!(networks.remove("ci").unwrap().name, "ci");
        assert!(networks.leave("bridge", "c1").is_err());
    }
}
