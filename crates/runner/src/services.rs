//! Containers beside the job: databases, caches, anything but a Docker daemon (that is `engine`'s business).
//!
//! They are started in the order of the file and found by their aliases; the first one to claim a name has it. The
//! job waits until each accepts a connection on any of its ports. One that never does, or that
//! ends at any time before the job, is a warning with its log, and the job goes on: GitLab decides so too, because many
//! services never listen where their image says.

mod alias;
mod watch;

pub(crate) use alias::aliases;

use crate::Trace;
use crate::outcome::{Doing, JobError};
use crate::variables::Variables;
use shipway_container::{Container, ContainerOptions, ContainerState, Image, Network, Pod, VolumeMount};
use shipway_pipeline::job::JobService;
use shipway_sandbox::{ExitStatus, Mount};
use std::collections::HashSet;
use std::net::SocketAddrV4;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use watch::{Shown, Watch};

/// How long services may take until the job starts without them.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a longer patience is taken for: no clock counts seconds without an end.
const LONGEST_PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a port is tried.
const INTERVAL: Duration = Duration::from_millis(50);
/// Ports that are tried of one service, lowest first.
const PORTS: usize = 20;

/// What the containers of a job and its services have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) volumes: Vec<VolumeMount>,
    pub(crate) network: Network,
    /// Whether the `entrypoint` of a job or service is passed over.
    pub(crate) disable_entrypoint_overwrite: bool,
}

/// A service that was started.
pub(crate) struct Service {
    image: String,
    container: Container,
    ports: Vec<u16>,
    shown: Shown,
    watch: Watch,
}

/// Names that are taken, so that a second service with the same alias does not silently replace the first.
#[derive(Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    /// The names of a service that are still free; the others are said.
    pub(crate) fn claim(
        &mut self,
        service: &JobService,
        image: &str,
        variables: &Variables,
        trace: &Trace,
    ) -> Vec<String> {
        let mut names = aliases(image, Some(&variables.expand(&service.alias)));
        names.retain(|name| {
            let free = self.0.insert(name.clone());
            if !free {
                trace.warn(format!(
                    "the name {name} belongs to an earlier service: {image} is not found under it"
                ));
            }
            free
        });
        names
    }
}

impl Service {
    /// Starts a service's container.
    pub(crate) async fn start(
        pod: &Pod,
        definition: &JobService,
        image: Image,
        names: Vec<String>,
        variables: &Variables,
        shared: Shared,
        trace: &Trace,
    ) -> Result<Self, JobError> {
        let name = variables.expand(&definition.name);
        let doing = format!("starting the service {name}");
        let environment = environment(definition, variables);
        let exposed = image.config.config.exposed_ports.iter().map(String::as_str);
        let ports = ports(&environment, exposed);
        let mut options = ContainerOptions::new(image);
        let entrypoint = definition.entrypoint.clone().map(effective_entrypoint);
        options.entrypoint = entrypoint.filter(|_| !shared.disable_entrypoint_overwrite);
        options.command = definition.command.clone();
        options.env = environment.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        let user = definition.executor_opts.docker.user.as_deref();
        options.user = user
            .map(|user| variables.expand(user))
            .filter(|user| !user.is_empty());
        options.hostname = names.first().map(|name| name.replace('_', "-"));
        let shown = Shown::new(variables.is_true("CI_DEBUG_SERVICES"), &names);
        options.names = names;
        options.mounts = shared.mounts;
        options.volumes = shared.volumes;
        options.network = shared.network;
        let container = pod.create(options).await.doing(&doing)?;
        container.start().await.doing(&doing)?;
        Ok(Self {
            image: name,
            watch: Watch::new(&container, &shown, trace),
            container,
            ports,
            shown,
        })
    }

    /// Returns when the service accepts connections, or says what is wrong and returns too. From then on its end is said,
    /// whether anybody waits for its ports or not.
    async fn wait_until_up(&mut self, pod: &Pod, deadline: Instant, patience: Duration, trace: &Trace) {
        if patience.is_zero() || self.is_there(pod, deadline, patience, trace).await {
            let (image, shown) = (self.image.clone(), self.shown.clone());
            self.watch.tell_its_end(image, &self.container, shown, trace);
        }
    }

    /// Tries its ports until the deadline; whether its end is still to come.
    async fn is_there(&self, pod: &Pod, deadline: Instant, patience: Duration, trace: &Trace) -> bool {
        let Some(address) = self.container.address().filter(|_| !self.ports.is_empty()) else {
            return true;
        };
        let up = timeout_at(deadline, async {
            loop {
                for port in &self.ports {
                    if pod.connect(SocketAddrV4::new(address, *port)).await.is_ok() {
                        return Health::Up;
                    }
                }
                if !matches!(self.container.state(), ContainerState::Running { .. }) {
                    return Health::Ended(self.container.wait().await);
                }
                sleep(INTERVAL).await;
            }
        })
        .await;
        let problem = match up {
            Ok(Health::Up) => return true,
            Ok(Health::Ended(status)) => format!(
                "ended before it accepted a connection: it {}",
                watch::describe(status)
            ),
            Err(_) => format!(
                "accepts no connection on {} after {} seconds",
                listed(&self.ports),
                patience.as_secs()
            ),
        };
        watch::tell(&self.image, &self.container, &self.shown, &problem, trace).await;
        !matches!(up, Ok(Health::Ended(_)))
    }

    /// The job is over: what has ended before is said, and nothing of what ends now.
    async fn close(self) {
        self.watch.close(&self.container).await;
    }
}

/// What is known of a service whose ports are tried.
enum Health {
    Up,
    Ended(ExitStatus),
}

/// Waits for all services at once.
pub(crate) async fn wait_for_all(
    services: &mut [Service],
    pod: &Pod,
    patience: Option<Duration>,
    trace: &Trace,
) {
    let patience = patience.unwrap_or(PATIENCE).min(LONGEST_PATIENCE);
    if !patience.is_zero() && services.iter().any(|service| !service.ports.is_empty()) {
        trace.say(format!(
            "Waiting for services to be up and running (timeout {} seconds)...",
            patience.as_secs()
        ));
    }
    let deadline = Instant::now() + patience;
    futures::future::join_all(
        services
            .iter_mut()
            .map(|service| service.wait_until_up(pod, deadline, patience, trace)),
    )
    .await;
}

/// Has the last words about all services said before the job's pod ends them.
pub(crate) async fn close_all(services: Vec<Service>) {
    futures::future::join_all(services.into_iter().map(Service::close)).await;
}

/// `entrypoint: [""]` means none.
pub(crate) fn effective_entrypoint(entrypoint: Vec<String>) -> Vec<String> {
    if entrypoint.iter().all(String::is_empty) {
        Vec::new()
    } else {
        entrypoint
    }
}

/// What a service finds in its environment: what is public of the job, then its own.
pub(crate) fn environment(definition: &JobService, variables: &Variables) -> Vec<(String, String)> {
    let mut environment = variables.service_environment();
    for own in &definition.variables {
        let value = if own.raw {
            own.value.clone()
        } else {
            variables.expand(&own.value)
        };
        environment.retain(|(name, _)| *name != own.key);
        environment.push((own.key.clone(), value));
    }
    environment
}

/// The port that a variable of the service names, else those that its image exposes.
fn ports<'a>(environment: &[(String, String)], exposed: impl Iterator<Item = &'a str>) -> Vec<u16> {
    let mut variables = environment.iter().rev();
    let named = variables.find(|(name, _)| name.eq_ignore_ascii_case("HEALTHCHECK_TCP_PORT"));
    match named.and_then(|(_, value)| value.trim().parse().ok()) {
        Some(port) => vec![port],
        None => tcp_ports(exposed),
    }
}

/// `5432/tcp`, `5432`, `8000-8002/tcp`; never UDP.
fn tcp_ports<'a>(exposed: impl Iterator<Item = &'a str>) -> Vec<u16> {
    let mut ports: Vec<u16> = exposed
        .filter_map(|text| match text.split_once('/') {
            None => Some(text),
            Some((range, protocol)) => protocol.eq_ignore_ascii_case("tcp").then_some(range),
        })
        .filter_map(|range| match range.split_once('-') {
            None => range.parse().ok().map(|port: u16| port..=port),
            Some((first, last)) => Some(first.parse().ok()?..=last.parse().ok()?),
        })
        .flat_map(|range| range.take(PORTS))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports.truncate(PORTS);
    ports
}

fn listed(ports: &[u16]) -> String {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!("port {}", ports.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::{Names, Variables, effective_entrypoint, environment, ports, tcp_ports};
    use crate::Trace;
    use shipway_pipeline::job::JobService;
    use shipway_pipeline::variables::Variable;

    #[test]
    fn only_tcp_ports_are_tried() {
        assert_eq!(
            tcp_ports(["5432/tcp", "53/udp", "80", "8001-8000/tcp", "9000-9001/TCP"].into_iter()),
            [80, 5432, 9000, 9001]
        );
        assert_eq!(tcp_ports(["1-65535/tcp"].into_iter()).len(), 20);
    }

    #[test]
    fn the_first_service_keeps_its_name() {
        let (mut names, trace) = (Names::default(), Trace::new(std::io::sink(), Vec::new()));
        let variables = Variables::new(vec![], &[Variable::public("ALIAS", "db second")], vec![], "/tmp");
        let service = JobService {
            alias: "$ALIAS".into(),
            ..Default::default()
        };
        let mut claim = |image: &str| names.claim(&service, image, &variables, &trace);
        assert_eq!(claim("postgres:16"), ["postgres", "db", "second"]);
        assert_eq!(claim("mysql:8"), ["mysql"]);
    }

    #[test]
    fn a_variable_of_the_service_or_the_job_names_its_port() {
        let job = [
            Variable::public("PORT", "8080"),
            Variable::public("healthcheck_tcp_port", "1"),
        ];
        let variables = Variables::new(vec![], &job, vec![], "/tmp");
        let exposed = || ["80/tcp"].into_iter();
        let mut service = JobService::default();
        assert_eq!(ports(&environment(&service, &variables), exposed()), [1]);
        service.variables = vec![Variable::public("HEALTHCHECK_TCP_PORT", "$PORT")];
        assert_eq!(ports(&environment(&service, &variables), exposed()), [8080]);
        service.variables = vec![Variable::public("HEALTHCHECK_TCP_PORT", "none")];
        assert_eq!(ports(&environment(&service, &variables), exposed()), [80]);
    }

    #[test]
    fn a_service_sees_its_own_variables_last() {
        let job = [
            Variable::public("A", "1"),
            Variable::public("B", "2"),
            Variable::secret("SECRET", "3"),
        ];
        let variables = Variables::new(vec![], &job, vec![], "/tmp");
        let own = vec![Variable::public("B", "own-$A")];
        let service = JobService {
            variables: own,
            ..Default::default()
        };
        let expected = [
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "own-1".to_owned()),
        ];
        assert_eq!(environment(&service, &variables), expected);
    }

    #[test]
    fn an_empty_entrypoint_is_none() {
        assert!(effective_entrypoint(vec![String::new()]).is_empty());
        assert_eq!(effective_entrypoint(vec!["sh".into(), String::new()]).len(), 2);
    }
}
