//! `POST /containers/create`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use shipway_container::{Container, ContainerOptions, CreateError, Network, VolumeMount};
use shipway_sandbox::{Mount, MountSource};
use shipway_store::Scope;

use super::record::{MountShown, NewRecord, Record};
use crate::dispatch::Call;
use crate::engine::{HostPaths, Inner};
use crate::event::EventKind;
use crate::failure::{Failure, told};
use crate::image::Origin;
use crate::intake;
use crate::model::create::CreateBody;
use crate::name::{ResourceName, identifier};
use crate::plan::{self, Exposed, HostTarget, MountPlan, MountSourcePlan, NetworkPlan, Plan};
use crate::reply::{self, Reply};

/// Labels that come to more bytes are left out of events, of which many are kept.
const MOST_TOLD_LABELS: usize = 16 << 10;

/// The mounts of one container, sorted by who makes them.
#[derive(Default)]
struct Mounts {
    mounts: Vec<Mount>,
    volumes: Vec<VolumeMount>,
    /// Volumes that go with the container.
    anonymous: Vec<ResourceName>,
    named: Vec<ResourceName>,
    shown: Vec<MountShown>,
}

impl Inner {
    pub(crate) async fn create_container(self: &Arc<Inner>, call: Call) -> Result<Reply, Failure> {
        let asked_name = plan::name(call.query.get("name"))?;
        let raw: Value = intake::json(call.request.into_body()).await?;
        let body: CreateBody = serde_json::from_value(raw.clone()).map_err(|error| {
            Failure::bad_request(format!("the request body is not what it should be: {error}"))
        })?;
        let host_config = raw.get("HostConfig").cloned().unwrap_or(Value::Null);
        let (image, origin) = self.find_with_origin(&body.image).await?;
        let config = &image.config.config;
        let exposed: Vec<Exposed> = config
            .exposed_ports
            .iter()
            .filter_map(|port| port.parse().ok())
            .collect();
        let volumes: Vec<String> = config.volumes.iter().cloned().collect();
        let plan = Plan::new(&body, &volumes, &exposed)?;
        let other = Failure::about_something_else_than_the_image;
        let networks = self.networks_of(&plan).map_err(other)?;
        let mounts = self.mounts(&plan).map_err(other)?;
        let hosts = self.hosts(&plan).map_err(other)?;

        let size = json_size(&raw) + json_size(&image.config);
        let reservation = self.containers.reserve(asked_name, size)?;
        let Some(name) = reservation.name().cloned() else {
            return Err(Failure::internal("a reserved name was lost"));
        };
        let mut options = ContainerOptions::new(image.clone());
        options.entrypoint = body.entrypoint.clone().map(Vec::from);
        options.command = body.cmd.clone().map(Vec::from);
        options.env.clone_from(&body.env);
        options.cwd = Some(body.working_dir.clone())
            .filter(|cwd| !cwd.is_empty())
            .map(PathBuf::from);
        options.user = Some(body.user.clone()).filter(|user| !user.is_empty());
        options.mounts = mounts.mounts;
        options.volumes = mounts.volumes;
        options.hostname = Some(body.hostname.clone()).filter(|hostname| !hostname.is_empty());
        options.names = names(&name, &networks);
        options.extra_hosts = hosts;
        options.network = match plan.network {
            NetworkPlan::None => Network::None,
            _ => Network::Pod,
        };
        options.stdin_open = body.open_stdin;
        // Whoever leaves a terminal may come back to it.
        options.stdin_stays_open = !body.stdin_once || body.tty;
        options.terminal = body.tty;

        let borrowed = match origin {
            Origin::Scope => self.pod.borrow_image(&self.scope, &image.manifest).await,
            Origin::Import => self.pod.borrow_image(&Scope::imported(), &image.manifest).await,
        };
        borrowed.map_err(|error| Failure::internal(told(&error)))?;
        let container = match self.pod.create(options).await {
            Ok(container) => container,
            Err(error) => {
                self.pod.give_back_image(&image.manifest).await;
                return Err(create_failure(&error));
            }
        };
        let short = container.id().short().to_owned();
        self.pod_name(&container, &short);
        let record = Arc::new(Record::new(NewRecord {
            size,
            name: name.clone(),
            image,
            body,
            host_config,
            mounts: mounts.shown,
            ports: plan.ports,
            networks: networks.clone(),
            container,
        }));
        if let Err(failure) = self.enlist(&record, &mounts.anonymous, &mounts.named, &networks) {
            self.volumes().forget_container(&record.id);
            self.networks().forget_container(&record.id);
            let removed = record.container.remove(true).await;
            removed.map_err(|error| Failure::internal(told(&error)))?;
            self.pod.give_back_image(&record.image.manifest).await;
            return Err(failure);
        }
        reservation.fill(Arc::clone(&record));
        self.tell(&record, "create", []);
        let mut warnings = plan.warnings;
        if origin == Origin::Import {
            let name = &record.body.image;
            warnings.push(format!(
                "{name} is the imported image: `docker pull {name}` asks its registry"
            ));
        }
        Ok(reply::json(
            StatusCode::CREATED,
            &json!({ "Id": record.id, "Warnings": warnings }),
        ))
    }

    pub(crate) fn tell<const N: usize>(
        &self,
        record: &Record,
        action: &'static str,
        more: [(&str, String); N],
    ) {
        let size: usize = record
            .labels
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        let labels = record.labels.iter().filter(|_| size <= MOST_TOLD_LABELS);
        let labels = labels.map(|(key, value)| (key.as_str(), value.clone()));
        let own = [
            ("image", record.body.image.clone()),
            ("name", record.name().to_string()),
        ];
        self.events.tell(
            EventKind::Container,
            action,
            &record.id,
            labels.chain(own).chain(more),
        );
    }

    fn pod_name(&self, container: &Container, name: &str) {
        if let Some(address) = container.address() {
            self.pod.add_name(name, address);
        }
    }

    fn enlist(
        &self,
        record: &Record,
        anonymous: &[ResourceName],
        named: &[ResourceName],
        networks: &BTreeMap<String, Vec<String>>,
    ) -> Result<(), Failure> {
        {
            let mut volumes = self.volumes();
            for volume in anonymous {
                volumes.use_by(volume, true, &record.id)?;
            }
            for volume in named {
                volumes.use_by(volume, false, &record.id)?;
            }
        }
        let mut known = self.networks();
        for network in networks.keys() {
            known.join(network, &record.id)?;
        }
        Ok(())
    }

    /// The networks by their true names, each with the container's aliases there.
    fn networks_of(&self, plan: &Plan) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        match &plan.network {
            NetworkPlan::None => Ok(BTreeMap::from([("none".to_owned(), Vec::new())])),
            NetworkPlan::Container { container } => {
                self.containers.find(container)?;
                Err(Failure::bad_request(format!(
                    "--network=container:{container} is not possible here: containers reach each other by name"
                )))
            }
            NetworkPlan::Bridge { networks } => {
                let known = self.networks();
                networks
                    .iter()
                    .map(|(asked, aliases)| {
                        known
                            .find(asked)
                            .map(|network| (network.name.clone(), aliases.clone()))
                    })
                    .collect()
            }
        }
    }

    fn hosts(&self, plan: &Plan) -> Result<Vec<(String, IpAddr)>, Failure> {
        let mut hosts = Vec::new();
        for (name, target) in &plan.hosts {
            let address = match target {
                HostTarget::Address(address) => *address,
                HostTarget::Gateway => IpAddr::V4(self.published_address()),
            };
            hosts.push((name.clone(), address));
        }
        for (asked, alias) in &plan.links {
            let linked = self.containers.find(asked)?;
            let address = linked
                .container
                .address()
                .ok_or_else(|| Failure::bad_request(format!("cannot link to {asked}: it has no network")))?;
            hosts.push((alias.clone(), IpAddr::V4(address)));
        }
        Ok(hosts)
    }

    /// Where published ports of a job listen, which is what `host-gateway` means.
    pub(crate) fn published_address(&self) -> std::net::Ipv4Addr {
        self.address.unwrap_or(shipway_container::Pod::GATEWAY)
    }

    fn mounts(&self, plan: &Plan) -> Result<Mounts, Failure> {
        let mut mounts = Mounts::default();
        for mount in &plan.mounts {
            self.mount(mount, &mut mounts)?;
        }
        for from in &plan.volumes_from {
            let record = self.containers.find(&from.container)?;
            for shown in &record.mounts {
                let taken = mounts.shown.iter().any(|mount| mount.target == shown.target);
                let source = match (shown.kind, &shown.name) {
                    ("volume", Some(name)) => name
                        .parse()
                        .ok()
                        .map(|name| MountSourcePlan::Volume { name, copy: false }),
                    ("bind", _) => Some(MountSourcePlan::View {
                        path: PathBuf::from(&shown.source),
                        create: false,
                    }),
                    _ => None,
                };
                if let Some(source) = source.filter(|_| !taken) {
                    let target = PathBuf::from(&shown.target);
                    let read_only = from.read_only || shown.read_only;
                    self.mount(
                        &MountPlan {
                            target,
                            source,
                            read_only,
                        },
                        &mut mounts,
                    )?;
                }
            }
        }
        Ok(mounts)
    }

    fn mount(&self, plan: &MountPlan, mounts: &mut Mounts) -> Result<(), Failure> {
        let (target, read_only) = (plan.target.clone(), plan.read_only);
        let shown = |kind, name: Option<&ResourceName>, source: String| MountShown {
            kind,
            name: name.map(ResourceName::to_string),
            source,
            target: plan.target.to_string_lossy().into_owned(),
            read_only,
        };
        let volume = |name: &ResourceName| VolumeMount {
            name: name.to_string(),
            target: plan.target.clone(),
            read_only,
        };
        match &plan.source {
            MountSourcePlan::View { path, create } => {
                let source = self.view_path(path, *create)?;
                mounts.mounts.push(Mount {
                    target,
                    source,
                    read_only,
                });
                mounts
                    .shown
                    .push(shown("bind", None, path.to_string_lossy().into_owned()));
            }
            MountSourcePlan::Volume { name, .. } => {
                mounts.volumes.push(volume(name));
                mounts.named.push(name.clone());
                mounts
                    .shown
                    .push(shown("volume", Some(name), format!("/volumes/{name}")));
            }
            MountSourcePlan::Anonymous { .. } => {
                let name: ResourceName = identifier()
                    .parse()
                    .map_err(|_| Failure::internal("an identifier is no name of a volume"))?;
                mounts.volumes.push(volume(&name));
                mounts
                    .shown
                    .push(shown("volume", Some(&name), format!("/volumes/{name}")));
                mounts.anonymous.push(name);
            }
            MountSourcePlan::Temporary { size, mode } => {
                let source = MountSource::Temporary {
                    size: *size,
                    mode: *mode,
                };
                mounts.mounts.push(Mount {
                    target,
                    source,
                    read_only,
                });
                mounts.shown.push(shown("tmpfs", None, String::new()));
            }
        }
        Ok(())
    }

    /// A path as the engine's view sees it.
    fn view_path(&self, path: &std::path::Path, create: bool) -> Result<MountSource, Failure> {
        match self.view() {
            HostPaths::Unset => Err(Failure::bad_request(format!(
                "cannot mount {}: this engine has no files of its own yet, use a volume instead of a path",
                path.display()
            ))),
            HostPaths::Container(view) => {
                let container = view.running_id().ok_or_else(|| {
                    Failure::bad_request(format!(
                        "cannot mount {}: the container whose path it is has ended",
                        path.display()
                    ))
                })?;
                Ok(MountSource::Container {
                    container,
                    path: path.to_owned(),
                })
            }
            HostPaths::Machine => {
                if !path.exists() {
                    if !create {
                        return Err(Failure::bad_request(format!(
                            "invalid mount config for type \"bind\": bind source path does not exist: {}",
                            path.display()
                        )));
                    }
                    std::fs::create_dir_all(path).map_err(|error| {
                        Failure::bad_request(format!("cannot make {}: {error}", path.display()))
                    })?;
                }
                Ok(MountSource::Host(path.to_owned()))
            }
        }
    }
}

fn create_failure(error: &CreateError) -> Failure {
    match error {
        CreateError::NoCommand { .. } => Failure::bad_request(told(error)),
        error => Failure::internal(told(error)),
    }
}

/// The names under which others reach the container.
fn names(name: &ResourceName, networks: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut names = vec![name.to_string()];
    for alias in networks.values().flatten() {
        if !names.contains(alias) {
            names.push(alias.clone());
        }
    }
    names
}

/// How long a value is as JSON; what cannot be written is too long for everything.
fn json_size(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX >> 2, |text| text.len())
}
