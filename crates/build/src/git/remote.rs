//! One conversation with a git server: what names stand for, and one commit without its history.

use std::borrow::Cow;

use gix_hash::ObjectId;
use gix_protocol::fetch::{Arguments, Response};
use gix_protocol::handshake::Ref;
use gix_protocol::ls_refs::RefPrefixes;
use gix_protocol::{Command, Handshake, LsRefsCommand};
use gix_transport::bstr::{BString, ByteSlice};
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::blocking_io::http;
use gix_transport::client::git::ConnectMode;
use gix_transport::client::git::blocking_io::Connection;
use gix_transport::{Protocol, Service};
use gix_utils::progress::Discard;

use super::address::{GitScheme, Parted, without_login};
use super::connection::{Counted, Login, Passage};
use super::error::GitError;
use super::http::Requests;
use super::limits;
use super::objects::{Objects, Room};

/// What a name stands for on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The whole name, such as `refs/heads/main`; none for a commit that was named by its id.
    pub(super) name: Option<String>,
    /// What it points at: a commit, or a tag that says more about one.
    pub(super) object: ObjectId,
    /// The commit behind such a tag, if the server told it.
    pub(super) peeled: Option<ObjectId>,
}

/// A server that was greeted.
pub(super) struct Remote {
    transport: Box<dyn Transport>,
    handshake: Handshake,
    passage: Passage,
}

impl Remote {
    /// Connects and greets.
    pub(super) fn greet(
        scheme: GitScheme,
        remote: &str,
        passage: &Passage,
        login: Option<Login>,
    ) -> Result<Self, GitError> {
        passage.allow(limits::TALK_BYTES);
        let mut transport = connect(scheme, remote, passage, login)?;
        let handshake = gix_protocol::handshake(
            &mut transport,
            Service::UploadPack,
            // Whoever may log in has said so in the first request.
            |_| Ok(None),
            Vec::new(),
            &mut Discard,
        )
        .map_err(|error| passage.failure(&error))?;
        Ok(Self {
            transport,
            handshake,
            passage: passage.clone(),
        })
    }

    fn agent() -> (&'static str, Option<String>) {
        let agent = concat!("shipway/", env!("CARGO_PKG_VERSION"));
        ("agent", Some(agent.to_owned()))
    }

    fn references(&mut self, prefixes: &[String]) -> Result<Cow<'_, [Ref]>, GitError> {
        if self.handshake.refs.is_some() {
            return Ok(Cow::Borrowed(self.handshake.refs.as_deref().unwrap_or_default()));
        }
        self.passage.allow(limits::TALK_BYTES);
        let mut wanted = RefPrefixes::new();
        wanted.extend(prefixes.iter().map(|prefix| BString::from(prefix.as_str())));
        let command = LsRefsCommand::new(Some(wanted), &self.handshake.capabilities, Self::agent());
        let found = command.invoke_blocking(&mut self.transport, &mut Discard, false);
        found
            .map(Cow::Owned)
            .map_err(|error| self.passage.failure(&error))
    }

    /// What a name stands for: a whole ref, a branch, a tag, in this order; without a name the default branch. An id stands for
    /// itself.
    pub(super) fn resolve(&mut self, name: Option<&str>) -> Result<Resolved, GitError> {
        if let Some(object) = name.and_then(whole_id) {
            return Ok(Resolved {
                name: None,
                object,
                peeled: None,
            });
        }
        let candidates: Vec<String> = match name {
            None => vec!["HEAD".to_owned()],
            Some(name) => {
                let without = |prefix: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
                vec![
                    format!("refs/{}", without("refs/")),
                    format!("refs/heads/{}", without("refs/heads/")),
                    format!("refs/tags/{}", without("refs/tags/")),
                ]
            }
        };
        let references = self.references(&candidates)?;
        let found = candidates.iter().find_map(|candidate| {
            references
                .iter()
                .find_map(|reference| pointed_at(reference, candidate))
        });
        found.ok_or_else(|| GitError::NoReference {
            reference: name.unwrap_or("HEAD").to_owned(),
        })
    }

    /// Takes a commit or tag without history.
    pub(super) fn fetch(mut self, wanted: ObjectId, room: &Room) -> Result<Objects, GitError> {
        self.take(&[wanted], Depth::One, room)
    }

    /// Takes all branches and tags with their history: for a commit that a server does not give by its id.
    pub(super) fn fetch_all(mut self, room: &Room) -> Result<Objects, GitError> {
        let prefixes = ["refs/heads/".to_owned(), "refs/tags/".to_owned()];
        let mut wanted: Vec<ObjectId> = self
            .references(&prefixes)?
            .iter()
            .filter_map(|reference| match reference {
                Ref::Direct {
                    full_ref_name,
                    object,
                } => Some((full_ref_name, *object)),
                Ref::Peeled {
                    full_ref_name, tag, ..
                } => Some((full_ref_name, *tag)),
                _ => None,
            })
            .filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix.as_bytes())))
            .map(|(_, object)| object)
            .collect();
        wanted.sort();
        wanted.dedup();
        self.take(&wanted, Depth::All, room)
    }

    fn take(&mut self, wanted: &[ObjectId], depth: Depth, room: &Room) -> Result<Objects, GitError> {
        let passage = self.passage.clone();
        passage.allow(limits::TALK_BYTES);
        let version = self.handshake.server_protocol_version;
        let mut features = Command::Fetch.default_features(version, &self.handshake.capabilities);
        features.push(Self::agent());
        Response::check_required_features(version, &features).map_err(|error| passage.failure(&error))?;
        let mut arguments = Arguments::new(version, features, false);
        if matches!(depth, Depth::One) && arguments.can_use_deepen() {
            arguments.deepen(1);
        }
        let Some(hash) = wanted.first().map(ObjectId::kind) else {
            return Err(GitError::NoReference {
                reference: "HEAD".to_owned(),
            });
        };
        for id in wanted {
            arguments.want(id);
        }
        let mut reader = arguments
            .send(&mut self.transport, true)
            .map_err(|error| passage.failure(&error))?;
        let response = Response::from_line_reader(version, &mut reader, true, false);
        if !response.map_err(|error| passage.failure(&error))?.has_pack() {
            return Err(GitError::Protocol {
                problem: "it sends no pack".to_owned(),
            });
        }
        reader.set_progress_handler(Some(Box::new(|_, _| std::ops::ControlFlow::Continue(()))));
        Objects::read(&mut reader, hash, room, &passage)
    }
}

enum Depth {
    One,
    All,
}

/// What a reference of this name points at.
fn pointed_at(reference: &Ref, name: &str) -> Option<Resolved> {
    let resolved = |whole: &BString, object, peeled| {
        (whole.as_bytes() == name.as_bytes()).then(|| Resolved {
            name: Some(name.to_owned()),
            object,
            peeled,
        })
    };
    match reference {
        Ref::Direct {
            full_ref_name,
            object,
        } => resolved(full_ref_name, *object, None),
        Ref::Peeled {
            full_ref_name,
            tag,
            object,
        } => resolved(full_ref_name, *tag, Some(*object)),
        Ref::Symbolic {
            full_ref_name,
            target,
            tag,
            object,
        } => {
            let found = resolved(full_ref_name, tag.unwrap_or(*object), tag.map(|_| *object))?;
            // The branch behind HEAD is what people call it.
            let name = target.to_str().ok().map(str::to_owned).or(found.name);
            Some(Resolved { name, ..found })
        }
        Ref::Unborn { .. } => None,
    }
}

/// The id of an object, if a text is all of one.
pub(super) fn whole_id(text: &str) -> Option<ObjectId> {
    ObjectId::from_hex(text.as_bytes()).ok()
}

fn connect(
    scheme: GitScheme,
    remote: &str,
    passage: &Passage,
    login: Option<Login>,
) -> Result<Box<dyn Transport>, GitError> {
    let wrong = |error: &(dyn std::error::Error + 'static)| GitError::Unsupported {
        what: format!("{}: {error}", without_login(remote)),
    };
    match scheme {
        GitScheme::Http | GitScheme::Https => {
            // Who logs in is said by us, so that it is said to nobody else.
            let asked = Parted::of(remote).map_or_else(|| remote.to_owned(), Parted::without_user);
            let url = gix_url::parse(asked.as_bytes().as_bstr()).map_err(|error| wrong(&error))?;
            let requests = Requests::new(passage.clone(), login);
            Ok(Box::new(http::Transport::new_http(
                requests,
                url,
                Protocol::V2,
                false,
            )))
        }
        GitScheme::Git => {
            let url = gix_url::parse(remote.as_bytes().as_bstr()).map_err(|error| wrong(&error))?;
            let host = url.host().unwrap_or_default().to_owned();
            let port = url.port;
            let stream = passage.connect(&host, port.unwrap_or(9418))?;
            let writer = stream.try_clone().map_err(|source| GitError::Stream {
                host: host.clone(),
                source,
            })?;
            let counted = |stream| Counted {
                stream,
                passage: passage.clone(),
            };
            Ok(Box::new(Connection::new(
                counted(stream),
                counted(writer),
                Protocol::V2,
                url.path,
                Some((host, port)),
                ConnectMode::Daemon,
                false,
            )))
        }
        GitScheme::Ssh => Err(GitError::Unsupported {
            what: format!(
                "{} is reached by ssh, which is not supported: write the https address, and for a private repository give the secret GIT_AUTH_TOKEN",
                without_login(remote)
            ),
        }),
    }
}
