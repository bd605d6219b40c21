//! What a verb works with: the data directory opened, the registry's authority over it, and a client that knows it.
//!
//! Opening is cheap and starts nothing: a verb that needs processes asks for the container runtime itself, so that
//! `serve`, `user` and `image ls` work in places that have no isolation to offer.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shipway_access::{Access, IdentityChallenge, IdentityProof, JOB_TOKEN_USER};
use shipway_container::{Egress, Images, Runtime, RuntimeOptions};
use shipway_engine::certificates::CertificateAuthority;
use shipway_oci::{Reference, RegistryName, RepositoryName};
use shipway_registry::authority::{Authority, PushObserver};
use shipway_registry::client::{AllowAll, Client, ClientOptions, EgressPolicy, Mirror, RegistryCredentials};
use shipway_registry::wire::{SHIPWAY_CHALLENGE, SHIPWAY_PROOF};
use shipway_sandbox::IdMap;
use shipway_store::{OpenError, Store};

use crate::arguments::GlobalArguments;
use crate::credentials::DockerCredentials;
use crate::failure::{Failure, FailureKind};
use crate::screen;
use crate::settings::{self, Settings};

/// How long a push that this process makes for its own user may take.
const OWN_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// How long an address of this machine may take to say whose registry it is, all of its answer together.
const PATIENCE: Duration = Duration::from_millis(300);

/// One installation, opened.
#[derive(Clone)]
pub(crate) struct Installation {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// What `shipway.toml` says.
    pub(crate) settings: Settings,
    /// Bytes and names.
    pub(crate) store: Store,
    /// Who may do what.
    pub(crate) access: Access,
    /// The registry's operations over store and access.
    pub(crate) authority: Authority,
    /// The registry's name inside jobs.
    pub(crate) registry_name: RegistryName,
    /// Reaches registries for the user at the keyboard, and our own without a network.
    pub(crate) client: Client,
    /// What jobs, and whatever is fetched for them, may reach.
    pub(crate) egress: Egress,
}

impl Installation {
    /// Opens the data directory that flags, environment, configuration or the defaults name.
    pub(crate) fn open(global: &GlobalArguments) -> Result<Self, Failure> {
        Self::open_by(global, Store::open)
    }

    /// The same for a verb that frees space or only looks, which works on a full disk, too.
    pub(crate) fn open_to_free(global: &GlobalArguments) -> Result<Self, Failure> {
        Self::open_by(global, Store::open_to_free)
    }

    fn open_by(
        global: &GlobalArguments,
        open: impl FnOnce(&Path) -> Result<Store, OpenError>,
    ) -> Result<Self, Failure> {
        let (settings, data) = data_directory(global)?;
        check_owner(&data)?;
        let store = open(&data.join("store")).map_err(|error| match error {
            OpenError::ForeignOwner { .. } => {
                Failure::caused(FailureKind::Place, "opening the store", &error)
                    .hint("run as the owner, or name another directory with --data")
            }
            other => Failure::caused(FailureKind::Place, "opening the store", &other),
        })?;
        let access = Access::new(store.clone())
            .map_err(|error| Failure::caused(FailureKind::Internal, "opening the accounts", &error))?;
        let authority = Authority::new(store.clone(), access.clone());
        let registry_name: RegistryName = settings
            .registry
            .name
            .parse()
            .map_err(|error| Failure::caused(FailureKind::Use, "the setting `registry.name`", &error))?;
        let egress = Egress::detect(settings.egress.allow.iter().copied())
            .map_err(|error| Failure::caused(FailureKind::Place, "reading this host's addresses", &error))?;
        let client = client(&settings, &authority, &registry_name, Arc::new(AllowAll))?;
        Ok(Self {
            data,
            settings,
            store,
            access,
            authority,
            registry_name,
            client,
            egress,
        })
    }

    /// The same installation, with somebody told of every push into its registry.
    pub(crate) fn observed(&self, observer: Arc<dyn PushObserver>) -> Result<Self, Failure> {
        let authority = self.authority.clone().with_observer(observer);
        let client = client(
            &self.settings,
            &authority,
            &self.registry_name,
            Arc::new(AllowAll),
        )?;
        Ok(Self {
            authority,
            client,
            ..self.clone()
        })
    }

    /// The images of this machine.
    pub(crate) fn images(&self) -> Images {
        Images::new(self.store.clone(), self.client.clone())
    }

    /// A client that reaches for jobs only what they may reach themselves.
    pub(crate) fn job_client(&self) -> Result<Client, Failure> {
        client(
            &self.settings,
            &self.authority,
            &self.registry_name,
            Arc::new(self.egress.clone()),
        )
    }

    /// The container runtime over this installation, fetching with the given client.
    pub(crate) async fn runtime(&self, client: Client) -> Result<Runtime, Failure> {
        self.find_runtime(client).await.map_err(|error| {
            Failure::caused(FailureKind::Place, "running containers", &*error)
                .hint("`shipway doctor` says what this place can do")
        })
    }

    /// The same for who can do without.
    pub(crate) async fn find_runtime(&self, client: Client) -> Result<Runtime, Box<dyn Error + Send + Sync>> {
        let id_map = IdMap::detect()?;
        let mut options = RuntimeOptions::new(self.data.clone(), self.store.clone(), client, id_map);
        options.limits = self.settings.limits.pod();
        Ok(Runtime::open(options).await?)
    }

    /// The installation's certificate authority, made at first use.
    pub(crate) fn certificate_authority(&self) -> Result<CertificateAuthority, Failure> {
        CertificateAuthority::load_or_create(&self.data.join("ca")).map_err(|error| {
            Failure::caused(
                FailureKind::Place,
                "the installation's certificate authority",
                &error,
            )
        })
    }

    /// The credentials for a reference: the user's own; for this installation's registry a token good for just that
    /// repository, since whoever may open the store needs no password to write into it.
    pub(crate) fn credentials(&self, reference: &Reference) -> Result<Option<RegistryCredentials>, Failure> {
        self.credentials_for(&reference.registry, Some(&reference.repository))
    }

    /// As [`Self::credentials`], for a registry where the repository may not be known.
    pub(crate) fn credentials_for(
        &self,
        registry: &RegistryName,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<RegistryCredentials>, Failure> {
        if let Some(found) = DockerCredentials::of_this_user().find(registry) {
            return Ok(Some(found));
        }
        // Whether an address of this machine is ours, the client alone decides; this login goes nowhere else.
        let own = self.client.is_own(registry) || registry.is_loopback();
        let Some(repository) = repository.filter(|_| own) else {
            return Ok(None);
        };
        let token = self
            .access
            .issue_job_token(repository, 0, OWN_TOKEN_LIFETIME)
            .map_err(|error| {
                Failure::caused(FailureKind::Internal, "a token for the own registry", &error)
            })?;
        Ok(Some(
            RegistryCredentials::new(JOB_TOKEN_USER, token).for_ourselves_only(),
        ))
    }
}

/// The settings, and the data directory that flags, environment, settings or the defaults name.
pub(crate) fn data_directory(global: &GlobalArguments) -> Result<(Settings, PathBuf), Failure> {
    let mut settings = Settings::read(global.config.as_deref())?;
    let registry = &mut settings.registry;
    registry.insecure.extend(global.insecure_registry.iter().cloned());
    for flag in global.registry_mirror.iter().rev() {
        let mirrors = registry.mirrors.entry(flag.of.clone()).or_default();
        mirrors.insert(0, flag.address.clone());
    }
    let data = global
        .data
        .clone()
        .or_else(|| settings.data.clone())
        .unwrap_or_else(default_data);
    Ok((settings, data))
}

fn client(
    settings: &Settings,
    authority: &Authority,
    registry_name: &RegistryName,
    egress: Arc<dyn EgressPolicy>,
) -> Result<Client, Failure> {
    let mut authorities = vec![(registry_name.clone(), authority.clone())];
    if is_ours(settings.registry.listen, authority.access()) {
        let names = outside_names(settings.registry.listen).into_iter();
        authorities.extend(
            names
                .filter_map(|name| name.parse().ok())
                .map(|name| (name, authority.clone())),
        );
    }
    let configured = &settings.registry;
    let plain = configured
        .mirrors
        .values()
        .flatten()
        .filter(|mirror| mirror.plain);
    let insecure = configured.insecure.iter().chain(plain.map(|mirror| &mirror.at));
    let mirrors = configured.mirrors.iter().flat_map(|(of, mirrors)| {
        mirrors.iter().map(|mirror| Mirror {
            of: of.clone(),
            at: mirror.at.clone(),
        })
    });
    Client::new(ClientOptions {
        authorities,
        insecure: insecure.cloned().collect(),
        mirrors: mirrors.collect(),
        warn: Arc::new(screen::warning),
        egress,
        ..ClientOptions::default()
    })
    .map_err(|error| Failure::caused(FailureKind::Place, "preparing to speak to registries", &error))
}

/// The names that people give the registry from outside.
fn outside_names(listen: SocketAddr) -> [String; 2] {
    [listen.to_string(), format!("localhost:{}", listen.port())]
}

/// Whether the address is this installation's registry: nobody listens there, or whoever does proves to be it.
fn is_ours(listen: SocketAddr, access: &Access) -> bool {
    match TcpStream::connect_timeout(&listen, PATIENCE) {
        Err(_) => true,
        Ok(stream) => {
            let challenge = IdentityChallenge::fresh();
            answer_to(&challenge, stream, listen).is_some_and(|proof| access.is_proof(&challenge, &proof))
        }
    }
}

/// What the registry at the other end answers to a challenge.
fn answer_to(challenge: &IdentityChallenge, stream: TcpStream, host: SocketAddr) -> Option<IdentityProof> {
    /// An answer to a ping is a few hundred bytes.
    const LONGEST_ANSWER: u64 = 16 << 10;
    let deadline = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    (&stream)
        .write_all(
            format!("GET /v2/ HTTP/1.0\r\nHost: {host}\r\n{SHIPWAY_CHALLENGE}: {challenge}\r\n\r\n")
                .as_bytes(),
        )
        .ok()?;
    let mut answer = Vec::new();
    let until = Until { stream, deadline };
    until.take(LONGEST_ANSWER).read_to_end(&mut answer).ok()?;
    String::from_utf8_lossy(&answer).lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_proof = SHIPWAY_PROOF.as_str().eq_ignore_ascii_case(name);
        is_proof.then(|| value.trim().parse().ok())?
    })
}

/// A stream that is read until some time, however slowly it is fed.
struct Until {
    stream: TcpStream,
    deadline: Instant,
}

impl io::Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

/// Refuses a data directory of somebody else, who could put links in our way. What root made is root's to give; one that
/// is not there yet will be ours.
fn check_owner(data: &Path) -> Result<(), Failure> {
    let Ok(metadata) = std::fs::metadata(data) else {
        return Ok(());
    };
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user || owner == 0 {
        return Ok(());
    }
    let message = format!(
        "the data directory `{}` belongs to user id {owner}, and this is user id {user}",
        data.display()
    );
    Err(Failure::new(FailureKind::Place, message)
        .hint("run as the owner, or name another directory with --data"))
}

fn default_data() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/shipway");
    }
    match std::env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()) {
        Some(home) => PathBuf::from(home).join("shipway"),
        None => settings::home().join(".local/share/shipway"),
    }
}

#[cfg(test)]
mod tests {
    use super::{IdentityChallenge, PATIENCE, answer_to, check_owner};
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;

    #[test]
    fn a_byte_now_and_then_does_not_hold_the_question_whose_registry_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (given_up, hears) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // Each byte comes well within the patience; as many as are read at most would take minutes.
                let mut bytes = (0..2000).take_while(|_| hears.recv_timeout(PATIENCE / 10).is_err());
                assert!(!bytes.all(|_| stream.write_all(b"x").is_ok()), "it read on");
            });
            let stream = TcpStream::connect(address).unwrap();
            assert!(answer_to(&IdentityChallenge::fresh(), stream, address).is_none());
            drop(given_up);
        });
    }

    #[test]
    fn a_data_directory_of_somebody_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        check_owner(directory.path()).unwrap();
        check_owner(&directory.path().join("missing")).unwrap();
        // Only root can give a directory away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(directory.path(), Some(12345), None).unwrap();
            let said = format!("{:?}", check_owner(directory.path()).unwrap_err());
            assert!(said.contains("Place") && said.contains("12345"), "{said}");
        }
    }
}
