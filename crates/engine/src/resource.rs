//! Handlers of networks and volumes, over their tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::container::Record;
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::event::EventKind;
use crate::failure::{Failure, told};
use crate::filter::Filters;
use crate::intake;
use crate::model::create::EndpointConfig;
use crate::model::nullable;
use crate::network::{Network, NetworkBody};
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::volume::{Volume, VolumeBody};

/// Bytes of the labels of one network or volume.
const MOST_LABELS: usize = 16 << 10;
/// The subnet of every pod.
const SUBNET: &str = "198.18.0.0/16";

/// The body of connect and disconnect.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConnectBody {
    #[serde(deserialize_with = "nullable")]
    container: String,
    #[serde(deserialize_with = "nullable")]
    endpoint_config: EndpointConfig,
}

/// Refuses labels that would take much memory: networks and volumes are kept as long as the engine.
fn bound_labels(labels: &BTreeMap<String, String>) -> Result<(), Failure> {
    let size: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > MOST_LABELS {
        return Err(Failure::bad_request(format!(
            "the labels come to {size} bytes: at most {MOST_LABELS} are kept"
        )));
    }
    Ok(())
}

impl Inner {
    fn network_json(&self, network: &Network) -> Value {
        let gateway = shipway_container::Pod::GATEWAY.to_string();
        network.json(SUBNET, &gateway, |container| {
            let record = self
                .containers
                .find(container)
                .ok()
                .filter(|record| record.life.is_running())?;
            let address = record
                .container
                .address()
                .map(|address| format!("{address}/16"))
                .unwrap_or_default();
            Some(json!({
                "Name": record.name().as_str(),
                "EndpointID": record.id,
                "MacAddress": "",
                "IPv4Address": address,
                "IPv6Address": "",
            }))
        })
    }

    pub(crate) fn list_networks(&self, query: &Query) -> Result<Reply, Failure> {
        let filters = Filters::from_query(
            query,
            &[
                "name", "id", "driver", "type", "scope", "dangling", "label", "label!",
            ],
        )?;
        let found: Vec<Network> = self.networks().list(&filters).cloned().collect();
        let shown: Vec<Value> = found.iter().map(|network| self.network_json(network)).collect();
        Ok(reply::json(StatusCode::OK, &shown))
    }

    pub(crate) async fn create_network(&self, call: Call) -> Result<Reply, Failure> {
        let body: NetworkBody = intake::json(call.request.into_body()).await?;
        bound_labels(&body.labels)?;
        let name = body.name.clone();
        let id = self.networks().create(body)?;
        self.events
            .tell(EventKind::Network, "create", &id, [("name", name)]);
        Ok(reply::json(
            StatusCode::CREATED,
            &json!({ "Id": id, "Warning": "" }),
        ))
    }

    pub(crate) fn inspect_network(&self, asked: &str) -> Result<Reply, Failure> {
        let network = self.networks().find(asked)?.clone();
        Ok(reply::json(StatusCode::OK, &self.network_json(&network)))
    }

    pub(crate) fn remove_network(&self, asked: &str) -> Result<Reply, Failure> {
        let network = self.networks().remove(asked)?;
        self.events.tell(
            EventKind::Network,
            "destroy",
            &network.id,
            [("name", network.name.clone())],
        );
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    pub(crate) fn prune_networks(&self, query: &Query) -> Result<Reply, Failure> {
        let filters = Filters::from_query(query, &["label", "label!", "until"])?;
        let deleted = self.networks().prune(&filters);
        Ok(reply::json(
            StatusCode::OK,
            &json!({ "NetworksDeleted": deleted }),
        ))
    }

    pub(crate) async fn connect_network(
        self: &Arc<Inner>,
        asked: &str,
        call: Call,
    ) -> Result<Reply, Failure> {
        let body: ConnectBody = intake::json(call.request.into_body()).await?;
        if body.endpoint_config.asks_for_address() {
            return Err(Failure::bad_request(
                "--ip is not possible here: a container keeps the address that it got; others find it by its name",
            ));
        }
        let record = self.containers.find(&body.container)?;
        let Some(address) = record.container.address() else {
            return Err(Failure::bad_request(format!(
                "container {} was made without a network",
                record.name()
            )));
        };
        let name = self.networks().join(asked, &record.id)?;
        for alias in &body.endpoint_config.aliases {
            self.pod.add_name(alias, address);
        }
        record.networks().insert(name, body.endpoint_config.aliases);
        Ok(reply::empty(StatusCode::OK))
    }

    pub(crate) async fn disconnect_network(
        self: &Arc<Inner>,
        asked: &str,
        call: Call,
    ) -> Result<Reply, Failure> {
        let body: ConnectBody = intake::json(call.request.into_body()).await?;
        let record = self.containers.find(&body.container)?;
        let name = self.networks().leave(asked, &record.id)?;
        self.drop_aliases(&record, &name);
        Ok(reply::empty(StatusCode::OK))
    }

    fn drop_aliases(&self, record: &Record, network: &str) {
        let aliases = record.networks().remove(network).unwrap_or_default();
        let kept: Vec<String> = record.networks().values().flatten().cloned().collect();
        for alias in aliases {
            let own = alias == record.name().as_str() || kept.contains(&alias);
            if !own && self.pod.address_of(&alias) == record.container.address() {
                self.pod.remove_name(&alias);
            }
        }
    }

    pub(crate) fn list_volumes(&self, query: &Query) -> Result<Reply, Failure> {
        let filters = Filters::from_query(query, &["name", "driver", "dangling", "label", "label!"])?;
        let shown: Vec<Value> = self.volumes().list(&filters).map(Volume::json).collect();
        Ok(reply::json(
            StatusCode::OK,
            &json!({ "Volumes": shown, "Warnings": null }),
        ))
    }

    pub(crate) async fn create_volume(&self, call: Call) -> Result<Reply, Failure> {
        let body: VolumeBody = intake::json(call.request.into_body()).await?;
        bound_labels(&body.labels)?;
        let (shown, name) = {
            let mut volumes = self.volumes();
            let volume = volumes.create(body)?;
            (volume.json(), volume.name.to_string())
        };
        self.events.tell(
            EventKind::Volume,
            "create",
            &name,
            [("driver", "local".to_owned())],
        );
        Ok(reply::json(StatusCode::CREATED, &shown))
    }

    pub(crate) fn inspect_volume(&self, asked: &str) -> Result<Reply, Failure> {
        let shown = self.volumes().find(asked)?.json();
        Ok(reply::json(StatusCode::OK, &shown))
    }

    pub(crate) async fn remove_volume(&self, asked: &str, query: &Query) -> Result<Reply, Failure> {
        let removed = self.volumes().remove(asked);
        let name = match removed {
            // With force, what is not there is as good as removed.
            Err(failure) if query.flag("force") && failure.status() == StatusCode::NOT_FOUND => {
                return Ok(reply::empty(StatusCode::NO_CONTENT));
            }
            removed => removed?,
        };
        self.pod
            .remove_volume(name.as_str())
            .await
            .map_err(|error| Failure::internal(told(&error)))?;
        self.events.tell(
            EventKind::Volume,
            "destroy",
            name.as_str(),
            [("driver", "local".to_owned())],
        );
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    pub(crate) async fn prune_volumes(&self, query: &Query) -> Result<Reply, Failure> {
        let filters = Filters::from_query(query, &["label", "label!", "all", "until"])?;
        let pruned = self.volumes().prune(&filters);
        let mut deleted = Vec::new();
        for name in pruned {
            self.pod
                .remove_volume(name.as_str())
                .await
                .map_err(|error| Failure::internal(told(&error)))?;
            deleted.push(name.to_string());
        }
        Ok(reply::json(
            StatusCode::OK,
            &json!({ "VolumesDeleted": deleted, "SpaceReclaimed": 0 }),
        ))
    }
}
