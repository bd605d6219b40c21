//! What a verb works with: the data directory opened, the registry's authority over it, and a client that knows it.
//!
//! Opening is cheap and starts nothing: a verb that needs processes asks for the container runtime itself, so that
//! `serve`, `user` and `image ls` work in places that have no isolation to offer.

mod listener;

use std::error::Error;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_access::Access;
use shipway_container::{Egress, Images, Leftovers, Runtime, RuntimeOptions};
use shipway_engine::certificates::CertificateAuthority;
use shipway_oci::{Digest, Reference, RegistryName};
use shipway_registry::authority::{Authority, PushObserver};
use shipway_registry::client::{
    AllowAll, Client, ClientOptions, EgressPolicy, Mirror, PushProgress, RegistryCredentials,
};
use shipway_runner::JobMarks;
use shipway_sandbox::{IdMap, Isolation, Place};
use shipway_store::{OpenError, Store};

use crate::arguments::GlobalArguments;
use crate::credentials::UserCredentials;
use crate::failure::{Failure, FailureKind};
use crate::screen;
use crate::settings::{self, Settings, TierChoice};

const WHAT_THIS_PLACE_CAN_DO: &str = "`shipway doctor` says what this place can do";

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
    /// All names under which it is reached without a network. Whose address it listens on is asked once.
    names: Vec<RegistryName>,
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
            .map_err(|error| Failure::caused(FailureKind::Internal, "opening the accounts", &error))?
            .with_witness(Arc::new(JobMarks::of(&data)));
        let authority = Authority::new(store.clone(), access.clone());
        let registry_name: RegistryName = settings
            .registry
            .name
            .parse()
            .map_err(|error| Failure::caused(FailureKind::Use, "the setting `registry.name`", &error))?;
        let egress = Egress::detect(settings.egress.allow.iter().copied())
            .map_err(|error| Failure::caused(FailureKind::Place, "reading this host's addresses", &error))?;
        let names = names(&settings, &registry_name, &access);
        let client = client(&settings, &authority, &names, Arc::new(AllowAll))?;
        Ok(Self {
            data,
            settings,
            store,
            access,
            authority,
            registry_name,
            names,
            client,
            egress,
        })
    }

    /// The same installation, with somebody told of every push into its registry.
    pub(crate) fn observed(&self, observer: Arc<dyn PushObserver>) -> Result<Self, Failure> {
        let authority = self.authority.clone().with_observer(observer);
        let client = client(&self.settings, &authority, &self.names, Arc::new(AllowAll))?;
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
            &self.names,
            Arc::new(self.egress.clone()),
        )
    }

    /// The container runtime over this installation for jobs, fetching with the given client.
    pub(crate) async fn runtime(&self, client: Client) -> Result<Runtime, Failure> {
        let runtime = self.build_runtime(client).await?;
        let failure = match (runtime.isolation(), IdMap::detect()) {
            (Isolation::Namespaces, _) => return Ok(runtime),
            (Isolation::OneId, Err(error)) => Failure::caused(
                FailureKind::Place,
                "running containers: this user has one id, and with it only `shipway build` works",
                &error,
            ),
            (Isolation::OneId, Ok(_)) => Failure::new(
                FailureKind::Place,
                "running containers: this is tier B, and in it only `shipway build` works",
            ),
            (Isolation::NoMounts, _) => Failure::new(
                FailureKind::Place,
                "running containers: nothing can be mounted here (tier B'), and without mounts only `shipway build` works",
            ),
            (Isolation::Chroot | Isolation::Bare, _) => Failure::new(
                FailureKind::Place,
                "running containers: this place gives no namespaces, and without them only `shipway build` works",
            ),
        };
        Err(failure.hint(WHAT_THIS_PLACE_CAN_DO))
    }

    /// The same for builds, which work in more places.
    pub(crate) async fn build_runtime(&self, client: Client) -> Result<Runtime, Failure> {
        self.find_runtime(client, Leftovers::Sweep)
            .await
            .map_err(|error| {
                Failure::caused(FailureKind::Place, "running containers", &*error)
                    .hint(WHAT_THIS_PLACE_CAN_DO)
            })
    }

    /// The same for who can do without.
    pub(crate) async fn find_runtime(
        &self,
        client: Client,
        leftovers: Leftovers,
    ) -> Result<Runtime, Box<dyn Error + Send + Sync>> {
        let wanted = self.settings.tier.map(|TierChoice(isolation)| isolation);
        let Place { isolation, id_map } = Place::detect(wanted, &self.data.join("keeper/probe"))?;
        let mut options = RuntimeOptions::new(self.data.clone(), self.store.clone(), client, id_map);
        options.isolation = isolation;
        options.limits = self.settings.limits.pod();
        options.leftovers = leftovers;
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

    /// Pushes an image of the store, and gives the digest that the registry has it under.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub(crate) async fn push(
        &self,
        manifest: &Digest,
        reference: &Reference,
        progress: &dyn PushProgress,
    ) -> Result<Digest, Failure> {
        let credentials = self.credentials(reference);
        let pushed = self
            .client
            .push(&self.store, manifest, reference, Some(&credentials), progress)
            .await;
        pushed.map_err(|error| {
            let doing = format!("pushing {}", reference.familiar());
            Failure::caused(FailureKind::Work, &doing, &error)
        })
    }

    /// The credentials for a reference: the user's own; at this installation's registry else the owner's right, since whoever
    /// may open the store needs no password to write into it.
    pub(crate) fn credentials(&self, reference: &Reference) -> RegistryCredentials {
        UserCredentials::of_this_process()
            .find(&reference.registry)
            .unwrap_or_else(RegistryCredentials::of_the_owner)
    }
}

/// The settings, and the data directory that flags, environment, settings or the defaults name.
pub(crate) fn data_directory(global: &GlobalArguments) -> Result<(Settings, PathBuf), Failure> {
    let mut settings = Settings::read(global.config.as_deref())?;
    settings.tier = global.tier.or(settings.tier);
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
    names: &[RegistryName],
    egress: Arc<dyn EgressPolicy>,
) -> Result<Client, Failure> {
    let authorities = names.iter().map(|name| (name.clone(), authority.clone()));
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
    let usual = ClientOptions::default();
    let environment = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    // As OpenSSL's programs take it: in place of the system's bundle. What GitLab gives a job comes on top.
    let bundle = environment("SSL_CERT_FILE").map(PathBuf::from);
    let mut system_roots = bundle.map_or(usual.system_roots, |bundle| vec![bundle]);
    system_roots.extend(environment("CI_SERVER_TLS_CA_FILE").map(PathBuf::from));
    Client::new(ClientOptions {
        system_roots,
        authorities: authorities.collect(),
        insecure: insecure.cloned().collect(),
        mirrors: mirrors.collect(),
        warn: Arc::new(screen::warning),
        egress,
        ..ClientOptions::default()
    })
    .map_err(|error| Failure::caused(FailureKind::Place, "preparing to speak to registries", &error))
}

/// The registry's name inside jobs, and those that people give it from outside if its address is not somebody else's.
fn names(settings: &Settings, inside: &RegistryName, access: &Access) -> Vec<RegistryName> {
    let listen = settings.registry.listen;
    let outside = [listen.to_string(), format!("localhost:{}", listen.port())];
    let outside = outside.iter().filter_map(|name| name.parse().ok());
    let mut names = vec![inside.clone()];
    if listener::is_ours(listen, access) {
        names.extend(outside);
    }
    names
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
    use super::check_owner;

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
