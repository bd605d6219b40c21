//! Fetching a repository: the one way by which contexts and ADD get at git.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gix_hash::ObjectId;
use gix_object::tree::EntryKind;
use http::HeaderValue;
use shipway_registry::Client;
use shipway_store::Meter;
use tokio::runtime::Handle;

use super::address::{GitAddress, GitScheme, Parted, without_login};
use super::checkout::{self, Checkout, Found};
use super::connection::{Login, Passage};
use super::directory;
use super::error::GitError;
use super::limits;
use super::objects::{Objects, Room};
use super::remote::{Remote, Resolved, whole_id};
use super::submodule::{self, Submodule};
use crate::context::{Context, Spooler};
use crate::plan::join_path;
use crate::request::SecretBytes;

/// Fetches repositories under the rules of its client. Clones are the same.
#[derive(Clone)]
pub(crate) struct Fetcher {
    client: Client,
    room: Room,
    secrets: Arc<BTreeMap<String, SecretBytes>>,
}

/// The commit that an address stands for, known without the commit itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    resolved: Resolved,
    /// What stands for its files in a cache key.
    pub(crate) id: String,
    /// What stands for its files and its `.git`: the reference, too.
    pub(crate) whole: String,
}

/// A repository as a context.
pub(crate) struct Repository {
    pub(crate) context: Context,
    /// When the commit was made.
    pub(crate) time: i64,
}

impl Fetcher {
    /// `client` reaches what the build may reach; files wait in `spool` and count for `written`. Of `secrets` those are used
    /// that have the names by which BuildKit knows them: `GIT_AUTH_TOKEN` and `GIT_AUTH_HEADER`, for one host with `.HOST`.
    pub(crate) fn new(
        client: Client,
        spool: &Path,
        written: &Meter,
        secrets: &BTreeMap<String, SecretBytes>,
    ) -> Self {
        let wanted = secrets.iter().filter(|(name, _)| name.starts_with("GIT_AUTH_"));
        Self {
            client,
            room: Room {
                spool: spool.to_owned(),
                written: written.clone(),
            },
            secrets: Arc::new(
                wanted
                    .map(|(name, bytes)| (name.clone(), bytes.clone()))
                    .collect(),
            ),
        }
    }

    /// Finds out which commit an address stands for, now.
    pub(crate) async fn resolve(&self, address: &GitAddress) -> Result<Commit, GitError> {
        let named = address.remote.clone();
        let address = address.clone();
        self.blocking(named, move |fetch| {
            let resolved = fetch.resolve(&address)?;
            let id = resolved.peeled.unwrap_or(resolved.object).to_string();
            let name = resolved.name.as_deref().unwrap_or_default();
            let whole = format!("{} {name} {}", resolved.object, address.shown());
            Ok(Commit { resolved, id, whole })
        })
        .await
    }

    /// Fetches what an address stands for, as the commit that it was found to be.
    pub(crate) async fn fetch(
        &self,
        address: &GitAddress,
        commit: Commit,
        keep_git_dir: bool,
    ) -> Result<Repository, GitError> {
        let named = address.remote.clone();
        let address = address.clone();
        self.blocking(named, move |fetch| {
            fetch.repository(&address, &commit.resolved, keep_git_dir)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        named: String,
        work: impl FnOnce(&Fetch) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let dropped = Arc::new(AtomicBool::new(false));
        let _guard = Dropped(Arc::clone(&dropped));
        let fetch = Fetch {
            passage: Passage::new(self.client.clone(), Handle::current(), dropped),
            fetcher: self.clone(),
            named,
        };
        // The library is known to panic over some of what a server may say.
        let done = tokio::task::spawn_blocking(move || work(&fetch)).await;
        done.unwrap_or_else(|error| match error.is_panic() {
            true => Err(GitError::Protocol {
                problem: "what it sends makes no sense".to_owned(),
            }),
            false => Err(GitError::Interrupted),
        })
    }
}

/// Tells the thread of a fetch that nobody waits for it any more.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One fetch, on a thread of its own.
struct Fetch {
    passage: Passage,
    fetcher: Fetcher,
    /// The address that the build names; submodules are at addresses that a repository names.
    named: String,
}

/// Where a repository's files go in the context, and how deep it lies in others.
struct Place<'a> {
    to: &'a Path,
    depth: usize,
}

impl Fetch {
    fn resolve(&self, address: &GitAddress) -> Result<Resolved, GitError> {
        let checksum = address.checksum.as_deref();
        if address.fetch_by_commit {
            let whole = checksum.or(address.reference.as_deref()).and_then(whole_id);
            return Ok(Resolved {
                name: address
                    .reference
                    .clone()
                    .filter(|name| whole_id(name).is_none())
                    .map(|name| match name.starts_with("refs/") {
                        true => name,
                        false => format!("refs/heads/{name}"),
                    }),
                object: whole.ok_or(GitError::WholeCommit)?,
                peeled: None,
            });
        }
        let reference = address.reference.as_deref();
        let resolved = match reference.and_then(whole_id) {
            Some(object) => Resolved {
                name: None,
                object,
                peeled: None,
            },
            None => self.greet(address.scheme, &address.remote)?.resolve(reference)?,
        };
        let ids = [Some(resolved.object), resolved.peeled];
        let is = |expected: &str| {
            ids.iter()
                .flatten()
                .any(|id| id.to_string().starts_with(expected))
        };
        match checksum {
            Some(expected) if !is(expected) => Err(GitError::Checksum {
                reference: reference.unwrap_or("HEAD").to_owned(),
                expected: expected.to_owned(),
                actual: resolved.peeled.unwrap_or(resolved.object).to_string(),
            }),
            _ => Ok(resolved),
        }
    }

    fn repository(
        &self,
        address: &GitAddress,
        resolved: &Resolved,
        keep_git_dir: bool,
    ) -> Result<Repository, GitError> {
        let room = &self.fetcher.room;
        let (mut objects, shallow) = self.objects(address.scheme, &address.remote, resolved.object)?;
        let (commit, root, time) = objects.commit(&resolved.object)?;
        let cleaned = join_path("/", address.folder.as_deref().unwrap_or_default());
        let folder = Path::new(cleaned.trim_start_matches('/'));
        let tree = checkout::folder(&mut objects, root, folder)?;
        let files = Spooler::new(&room.spool, &room.written)?;
        let mut checkout = Checkout::new(files, self.passage.clone());
        let whole = folder.as_os_str().is_empty();
        let mut found = Found {
            staged: (keep_git_dir && whole).then(Vec::new),
            ..Found::default()
        };
        checkout.tree(&mut objects, &tree, folder, Path::new(""), &mut found)?;
        if let Some(staged) = &mut found.staged {
            let repository = directory::Repository {
                origin: &address.shown(),
                resolved,
                commit,
                shallow,
                staged,
            };
            repository.write(&mut checkout, &mut objects, room)?;
        }
        if address.submodules != Some(false) {
            let place = Place {
                to: Path::new(""),
                depth: 0,
            };
            let mut left = limits::SUBMODULES;
            let remote = &address.remote;
            self.submodules(
                &mut checkout,
                &mut objects,
                root,
                remote,
                folder,
                &found,
                &place,
                &mut left,
            )?;
        }
        Ok(Repository {
            context: Context::Spooled(Arc::new(checkout.files.finish(Vec::new())?)),
            time,
        })
    }

    /// Fetches what other repositories give to one.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call for each level, and all of it changes with the level"
    )]
    fn submodules(
        &self,
        checkout: &mut Checkout,
        objects: &mut Objects,
        root: ObjectId,
        remote: &str,
        folder: &Path,
        found: &Found,
        place: &Place<'_>,
        left: &mut usize,
    ) -> Result<(), GitError> {
        if found.links.is_empty() {
            return Ok(());
        }
        let known = known_submodules(objects, root)?;
        for (path, commit) in &found.links {
            let at = path.to_string_lossy();
            let Some(submodule) = known.get(&*at) else {
                return Err(GitError::SubmoduleAddress {
                    path: path.clone(),
                    reason: "`.gitmodules` does not name it".to_owned(),
                });
            };
            if submodule.is_left_out() {
                continue;
            }
            let (scheme, address) = submodule.remote(remote)?;
            let too_much = |what, most: usize| GitError::TooMuch {
                what,
                most: most as u64,
            };
            if place.depth == limits::SUBMODULE_DEPTH {
                return Err(too_much("submodules inside each other", limits::SUBMODULE_DEPTH));
            }
            *left = left
                .checked_sub(1)
                .ok_or_else(|| too_much("submodules", limits::SUBMODULES))?;
            let to = place.to.join(path.strip_prefix(folder).unwrap_or(path));
            let place = Place {
                to: &to,
                depth: place.depth + 1,
            };
            self.submodule(checkout, scheme, &address, *commit, &place, left)
                .map_err(|source| GitError::Submodule {
                    path: path.clone(),
                    url: without_login(&address),
                    source: Box::new(source),
                })?;
        }
        Ok(())
    }

    fn submodule(
        &self,
        checkout: &mut Checkout,
        scheme: GitScheme,
        remote: &str,
        commit: ObjectId,
        place: &Place<'_>,
        left: &mut usize,
    ) -> Result<(), GitError> {
        let (mut objects, _) = self.objects(scheme, remote, commit)?;
        let (_, root, _) = objects.commit(&commit)?;
        let mut found = Found::default();
        checkout.tree(&mut objects, &root, Path::new(""), place.to, &mut found)?;
        self.submodules(
            checkout,
            &mut objects,
            root,
            remote,
            Path::new(""),
            &found,
            place,
            left,
        )
    }

    /// A commit without its history; with it where the server gives no commit by its id. Whether the history is missing is said.
    fn objects(
        &self,
        scheme: GitScheme,
        remote: &str,
        wanted: ObjectId,
    ) -> Result<(Objects, bool), GitError> {
        let room = &self.fetcher.room;
        match self.greet(scheme, remote)?.fetch(wanted, room) {
            Ok(objects) => Ok((objects, true)),
            Err(GitError::Protocol { problem }) if is_refusal(&problem) => {
                let objects = self.greet(scheme, remote)?.fetch_all(room)?;
                Ok((objects, false))
            }
            Err(error) => Err(error),
        }
    }

    fn greet(&self, scheme: GitScheme, remote: &str) -> Result<Remote, GitError> {
        Remote::greet(scheme, remote, &self.passage, self.login(scheme, remote)?)
    }

    /// Who asks: whom the address names, else a secret of the build that is meant for this server.
    fn login(&self, scheme: GitScheme, remote: &str) -> Result<Option<Login>, GitError> {
        if !matches!(scheme, GitScheme::Http | GitScheme::Https) {
            return Ok(None);
        }
        let (Some(asked), Some(named)) = (Parted::of(remote), Parted::of(&self.named)) else {
            return Ok(None);
        };
        if let Some(user) = asked.user {
            let decoded = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
            let pair = match decoded.contains(':') {
                true => decoded.into_owned(),
                false => format!("{decoded}:"),
            };
            let text = format!("Basic {}", STANDARD.encode(pair));
            return Ok(Some(Login {
                header: header("in the address", &text)?,
                scope: asked.without_user(),
            }));
        }
        // Where a submodule lies is for its repository to say, and who gets the secret is not: one for no host in particular is for the
        // server that the build names, and one for a host does not go there in the clear because a repository would have it so.
        let is_named = asked.is_beside(named);
        let is_in_the_clear = !is_named && scheme == GitScheme::Http;
        let host = asked.host;
        let usable = [
            (format!("GIT_AUTH_HEADER.{host}"), false, !is_in_the_clear),
            (format!("GIT_AUTH_TOKEN.{host}"), true, !is_in_the_clear),
            ("GIT_AUTH_HEADER".to_owned(), false, is_named),
            ("GIT_AUTH_TOKEN".to_owned(), true, is_named),
        ];
        for (name, is_token, _) in usable.iter().filter(|(.., is_meant)| *is_meant) {
            if let Some(secret) = self.fetcher.secrets.get(name) {
                let text = String::from_utf8_lossy(secret.expose());
                let text = match is_token {
                    true => format!(
                        "Basic {}",
                        STANDARD.encode(format!("x-access-token:{}", text.trim_end()))
                    ),
                    false => text.trim_end().to_owned(),
                };
                return Ok(Some(Login {
                    header: header(name, &text)?,
                    scope: remote.to_owned(),
                }));
            }
        }
        Ok(None)
    }
}

fn header(name: &str, text: &str) -> Result<HeaderValue, GitError> {
    let mut header = HeaderValue::from_str(text).map_err(|_| GitError::Secret {
        name: name.to_owned(),
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// Whether a server does not give a commit that no branch and no tag ends with.
fn is_refusal(problem: &str) -> bool {
    ["not our ref", "unadvertised object", "not advertised"]
        .iter()
        .any(|words| problem.contains(words))
}

/// What `.gitmodules` says, by folder.
fn known_submodules(objects: &mut Objects, root: ObjectId) -> Result<HashMap<String, Submodule>, GitError> {
    let file = checkout::entry(objects, &root, ".gitmodules".as_ref())?;
    let Some((EntryKind::Blob | EntryKind::BlobExecutable, id)) = file else {
        return Ok(HashMap::new());
    };
    let mut buffer = Vec::new();
    let bytes = objects.get(&id, gix_object::Kind::Blob, &mut buffer)?;
    if bytes.len() > submodule::MOST_BYTES {
        return Err(GitError::SubmoduleAddress {
            path: PathBuf::from(".gitmodules"),
            reason: format!("it has more than {} bytes", submodule::MOST_BYTES),
        });
    }
    let submodules = submodule::parse(&String::from_utf8_lossy(bytes));
    Ok(submodules
        .into_iter()
        .map(|submodule| (submodule.path.clone(), submodule))
        .collect())
}
