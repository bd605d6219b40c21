//! Git's smart protocol over HTTP: gitoxide's transport on our client, with its egress policy, roots and redirects.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use shipway_registry::{Answer, Exchange};

use super::connection::{Login, Passage};
use super::error::GitError;

/// The requests of one conversation.
pub(super) struct Requests {
    passage: Passage,
    login: Option<Login>,
    /// Where the server is, when it said that it is elsewhere.
    redirected: Option<String>,
}

impl Requests {
    pub(super) fn new(passage: Passage, login: Option<Login>) -> Self {
        Self {
            passage,
            login,
            redirected: None,
        }
    }

    fn exchange(&self, method: Method, url: &str, headers: &[String]) -> Exchange {
        let mut map = HeaderMap::new();
        for line in headers {
            if let Some((name, value)) = line.split_once(": ")
                && let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value))
            {
                map.insert(name, value);
            }
        }
        if let Some(login) = self.login.as_ref().filter(|login| url.starts_with(&login.scope)) {
            map.insert(AUTHORIZATION, login.header.clone());
        }
        Exchange {
            method,
            url: url.to_owned(),
            headers: map,
            body: Bytes::new(),
        }
    }
}

fn lines(headers: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    headers.into_iter().map(|line| line.as_ref().to_owned()).collect()
}

impl Http for Requests {
    type Headers = Box<dyn BufRead + Unpin>;
    type ResponseBody = Box<dyn BufRead + Unpin>;
    type PostBody = Collected;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix_error::Result<GetResponse<Self::Headers, Self::ResponseBody>> {
        let asked = self.exchange(Method::GET, url, &lines(headers));
        let answer = send(&self.passage, asked).map_err(gix_error::Error::from_error)?;
        let tail = url.strip_prefix(base_url).unwrap_or_default();
        if answer.url != url {
            match answer.url.strip_suffix(tail) {
                Some(base) => self.redirected = Some(base.to_owned()),
                None => {
                    let problem = format!("it redirects to {}, which is no repository", answer.url);
                    let error = self.passage.fail(GitError::Protocol { problem });
                    return Err(gix_error::Error::from_error(error));
                }
            }
        }
        let headers = Cursor::new(told(&answer.headers));
        let body = BufReader::with_capacity(1 << 16, Body::new(self.passage.clone(), answer));
        Ok(GetResponse {
            headers: Box::new(headers),
            body: Box::new(body),
        })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix_error::Result<PostResponse<Self::Headers, Self::ResponseBody, Self::PostBody>> {
        let collected = Collected(Arc::default());
        let pending = Pending {
            passage: self.passage.clone(),
            state: State::Collecting {
                asked: Box::new(self.exchange(Method::POST, url, &lines(headers))),
                body: collected.clone(),
            },
        };
        let pending = Arc::new(Mutex::new(pending));
        let headers = PostHeaders {
            pending: Arc::clone(&pending),
            text: None,
        };
        Ok(PostResponse {
            post_body: collected,
            headers: Box::new(BufReader::new(headers)),
            body: Box::new(BufReader::with_capacity(1 << 16, PostAnswer { pending })),
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix_error::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.clone()
    }
}

/// Sends a request and judges its status.
fn send(passage: &Passage, asked: Exchange) -> io::Result<Answer> {
    let answer = passage.runtime.block_on(passage.client.exchange(asked));
    let answer = answer.map_err(|source| {
        passage.fail(GitError::Connect {
            source: Box::new(source),
        })
    })?;
    let status = answer.status.as_u16();
    match status {
        200..=299 => Ok(answer),
        401 | 403 => Err(passage.fail(GitError::Login { status })),
        _ => Err(passage.fail(GitError::Status { status })),
    }
}

/// Headers as the library reads them.
fn told(headers: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.push(b'\n');
    }
    text
}

/// What is sent, which fits into memory: a few names and ids.
#[derive(Clone)]
pub(super) struct Collected(Arc<Mutex<Vec<u8>>>);

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        collected.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A request that goes out when its answer is read for the first time.
struct Pending {
    passage: Passage,
    state: State,
}

enum State {
    Collecting { asked: Box<Exchange>, body: Collected },
    Answered { headers: Vec<u8>, body: Box<Body> },
    Failed,
}

impl Pending {
    fn answered(&mut self) -> io::Result<(&[u8], &mut Body)> {
        if let State::Collecting { .. } = self.state
            && let State::Collecting { mut asked, body } = std::mem::replace(&mut self.state, State::Failed)
        {
            let mut collected = body.0.lock().unwrap_or_else(PoisonError::into_inner);
            asked.body = Bytes::from(std::mem::take(&mut *collected));
            drop(collected);
            let answer = send(&self.passage, *asked)?;
            self.state = State::Answered {
                headers: told(&answer.headers),
                body: Box::new(Body::new(self.passage.clone(), answer)),
            };
        }
        match &mut self.state {
            State::Answered { headers, body } => Ok((headers, body)),
            _ => Err(io::Error::other("the request failed before")),
        }
    }
}

struct PostHeaders {
    pending: Arc<Mutex<Pending>>,
    text: Option<Cursor<Vec<u8>>>,
}

impl Read for PostHeaders {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let text = match &mut self.text {
            Some(text) => text,
            None => {
                let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
                let headers = pending.answered()?.0.to_vec();
                self.text.insert(Cursor::new(headers))
            }
        };
        text.read(buffer)
    }
}

struct PostAnswer {
    pending: Arc<Mutex<Pending>>,
}

impl Read for PostAnswer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.answered()?.1.read(buffer)
    }
}

/// A body as it arrives.
struct Body {
    passage: Passage,
    answer: Answer,
    chunk: Bytes,
}

impl Body {
    fn new(passage: Passage, answer: Answer) -> Self {
        Self {
            passage,
            answer,
            chunk: Bytes::new(),
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.passage.runtime.block_on(self.answer.body.next()) {
                None => return Ok(0),
                Some(Ok(chunk)) => {
                    self.passage.count(chunk.len())?;
                    self.chunk = chunk;
                }
                Some(Err(source)) => {
                    return Err(self.passage.fail(GitError::Connect {
                        source: Box::new(source),
                    }));
                }
            }
        }
        let most = self.chunk.len().min(buffer.len());
        buffer[..most].copy_from_slice(&self.chunk.split_to(most));
        Ok(most)
    }
}
