//! `docker exec`: more processes in a running container.
//!
//! The process is started by `start`, not by `create`. Clients ask for the exit code as soon as the stream ends, so a
//! stream ends only once the code is known. Finished ones are kept for their code, bounded in number.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{FutureExt as _, StreamExt as _};
use http::StatusCode;
use serde_json::json;
use shipway_container::{Exec, ExecOptions};

use super::attach::{Wanted, wanted_output};
use super::lifecycle::{exit_code, size};
use super::record::Record;
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::failure::{Failure, told};
use crate::hijack::{Framing, Hijack};
use crate::intake;
use crate::model::Words;
use crate::model::create::{ExecBody, ExecStartBody};
use crate::name::identifier;
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::version::ApiVersion;

/// Execs that are remembered, of all containers.
const MOST_EXECS: usize = 512;

/// Bytes of the commands and environments that are remembered with them.
const MOST_KEPT: usize = 16 << 20;

/// The execs of one engine.
pub(crate) struct Execs {
    by_id: Mutex<BTreeMap<String, Arc<ExecRecord>>>,
}

struct ExecRecord {
    id: String,
    /// The bytes of what the client sent.
    size: usize,
    container: Arc<Record>,
    body: ExecBody,
    phase: Mutex<ExecPhase>,
}

/// Where an exec is.
///
/// ## Created => Starting => Started
/// ## Starting => Failed
#[derive(Clone)]
enum ExecPhase {
    Created,
    Starting,
    Started(Exec),
    Failed { code: i64 },
}

impl Execs {
    pub(crate) fn new() -> Execs {
        Execs {
            by_id: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<ExecRecord>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Result<Arc<ExecRecord>, Failure> {
        self.lock()
            .get(id)
            .cloned()
            .ok_or_else(|| Failure::not_found(format!("No such exec instance: {id}")))
    }

    fn add(&self, record: Arc<ExecRecord>) -> Result<(), Failure> {
        let mut by_id = self.lock();
        let fits = |by_id: &BTreeMap<String, Arc<ExecRecord>>| {
            let kept: usize = by_id.values().map(|record| record.size).sum();
            by_id.len() < MOST_EXECS && kept + record.size <= MOST_KEPT
        };
        if !fits(&by_id) {
            by_id.retain(|_, record| record.is_live());
        }
        if !fits(&by_id) {
            return Err(Failure::conflict(format!(
                "there are {MOST_EXECS} processes of docker exec already, or {} MiB of their commands",
                MOST_KEPT >> 20
            )));
        }
        by_id.insert(record.id.clone(), record);
        Ok(())
    }

    pub(crate) fn forget_container(&self, container: &str) {
        self.lock().retain(|_, record| record.container.id != container);
    }

    /// The ids of a container's execs that run or may run.
    pub(crate) fn of_container(&self, container: &str) -> Option<Vec<String>> {
        let live: Vec<String> = self
            .lock()
            .values()
            .filter(|record| record.container.id == container && record.is_live())
            .map(|record| record.id.clone())
            .collect();
        Some(live).filter(|live| !live.is_empty())
    }
}

impl ExecRecord {
    fn phase(&self) -> MutexGuard<'_, ExecPhase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_live(&self) -> bool {
        match &*self.phase() {
            ExecPhase::Created | ExecPhase::Starting => true,
            ExecPhase::Started(exec) => exec.status().is_none(),
            ExecPhase::Failed { .. } => false,
        }
    }
}

impl Inner {
    pub(crate) async fn create_exec(
        self: &Arc<Inner>,
        record: &Arc<Record>,
        call: Call,
    ) -> Result<Reply, Failure> {
        let body: ExecBody = intake::json(call.request.into_body()).await?;
        if !record.life.is_running() {
            return Err(Failure::conflict(format!(
                "container {} is not running",
                record.id
            )));
        }
        if body
            .cmd
            .clone()
            .map(Vec::from)
            .is_none_or(|words: Vec<String>| words.is_empty())
        {
            return Err(Failure::bad_request("No exec command specified"));
        }
        let id = identifier();
        let exec = ExecRecord {
            id: id.clone(),
            size: size_of_body(&body),
            container: Arc::clone(record),
            body,
            phase: Mutex::new(ExecPhase::Created),
        };
        self.execs.add(Arc::new(exec))?;
        self.tell(record, "exec_create", [("execID", id.clone())]);
        Ok(reply::json(StatusCode::CREATED, &json!({ "Id": id })))
    }

    /// The body comes first, then the connection is taken over: what the client sent already is kept by the server.
    pub(crate) async fn start_exec(self: &Arc<Inner>, id: &str, mut call: Call) -> Result<Reply, Failure> {
        let hijack = Hijack::take(&mut call.request);
        let start: ExecStartBody = intake::json(call.request.into_body()).await?;
        let record = self.execs.find(id)?;
        {
            let mut phase = record.phase();
            if !matches!(*phase, ExecPhase::Created) {
                return Err(Failure::conflict(format!("exec {id} has already run")));
            }
            *phase = ExecPhase::Starting;
        }
        let exec = match record.container.container.exec(options(&record.body)).await {
            Ok(exec) => exec,
            Err(error) => {
                let code = error.exit_code();
                *record.phase() = ExecPhase::Failed { code: code.into() };
                return failed(
                    code,
                    &record.body,
                    &told(&error),
                    hijack.filter(|_| !start.detach),
                    call.version,
                );
            }
        };
        *record.phase() = ExecPhase::Started(exec.clone());
        self.tell(&record.container, "exec_start", [("execID", record.id.clone())]);
        if start.detach {
            return Ok(reply::empty(StatusCode::OK));
        }
        let wanted = Wanted {
            stdout: record.body.attach_stdout,
            stderr: record.body.attach_stderr,
        };
        let attachment = exec.attach();
        let input = attachment.stdin.filter(|_| record.body.attach_stdin);
        let ended = async move { exec.wait().await }
            .into_stream()
            .filter_map(|_| std::future::ready(None));
        let output = wanted_output(attachment.output, wanted).chain(ended).boxed();
        let framing = Framing::of(record.body.tty);
        Ok(match hijack {
            Some(hijack) => hijack.converse(call.version, framing, output, input),
            None => reply::stream(
                framing.content_type(call.version),
                output.map(move |(stream, payload)| Ok(framing.encode(stream, payload))),
            ),
        })
    }

    pub(crate) async fn resize_exec(&self, id: &str, query: &Query) -> Result<Reply, Failure> {
        let record = self.execs.find(id)?;
        let (rows, columns) = size(query)?;
        let phase = record.phase().clone();
        match phase {
            ExecPhase::Started(exec) => {
                exec.resize(rows, columns)
                    .await
                    .map_err(|error| Failure::conflict(told(&error)))?;
                Ok(reply::empty(StatusCode::OK))
            }
            _ => Err(Failure::conflict(format!("exec {id} is not running"))),
        }
    }

    pub(crate) fn inspect_exec(&self, id: &str) -> Result<Reply, Failure> {
        let record = self.execs.find(id)?;
        let (running, code) = match &*record.phase() {
            ExecPhase::Created | ExecPhase::Starting => (false, None),
            ExecPhase::Started(exec) => match exec.status() {
                None => (true, None),
                Some(status) => (false, Some(exit_code(status))),
            },
            ExecPhase::Failed { code } => (false, Some(*code)),
        };
        let words = record
            .body
            .cmd
            .clone()
            .map(Vec::<String>::from)
            .unwrap_or_default();
        let shown = json!({
            "ID": record.id,
            "Running": running,
            "ExitCode": code,
            "ProcessConfig": {
                "tty": record.body.tty,
                "entrypoint": words.first(),
                "arguments": words.get(1..).unwrap_or_default(),
                "privileged": false,
                "user": record.body.user,
            },
            "OpenStdin": record.body.attach_stdin,
            "OpenStderr": record.body.attach_stderr,
            "OpenStdout": record.body.attach_stdout,
            "CanRemove": code.is_some(),
            "ContainerID": record.container.id,
            "DetachKeys": "",
            "Pid": i32::from(running),
        });
        Ok(reply::json(StatusCode::OK, &shown))
    }
}

fn size_of_body(body: &ExecBody) -> usize {
    let kept =
        |words: &[String]| -> usize { words.iter().map(|word| word.len() + size_of::<String>()).sum() };
    let words = match &body.cmd {
        None => 0,
        Some(Words::One(word)) => word.len(),
        Some(Words::Many(words)) => kept(words),
    };
    words + kept(&body.env) + body.user.len() + body.working_dir.len()
}

fn options(body: &ExecBody) -> ExecOptions {
    ExecOptions {
        argv: body.cmd.clone().map(Vec::from).unwrap_or_default(),
        env: body.env.clone(),
        cwd: Some(body.working_dir.as_str())
            .filter(|cwd| !cwd.is_empty())
            .map(PathBuf::from),
        user: Some(body.user.clone()).filter(|user| !user.is_empty()),
        stdin_open: body.attach_stdin,
        terminal: body.tty,
    }
}

/// A program that cannot be run is no failure of the request: the words come as output and the code is 126 or 127.
fn failed(
    code: i32,
    body: &ExecBody,
    why: &str,
    hijack: Option<Hijack>,
    version: ApiVersion,
) -> Result<Reply, Failure> {
    let program = body
        .cmd
        .clone()
        .map(Vec::<String>::from)
        .and_then(|words| words.first().cloned())
        .unwrap_or_default();
    let words = match code {
        127 => format!("OCI runtime exec failed: exec: {program:?}: executable file not found in $PATH"),
        126 => format!("OCI runtime exec failed: exec: {program:?}: permission denied"),
        _ => return Err(Failure::conflict(why.to_owned())),
    };
    let Some(hijack) = hijack else {
        return Err(Failure::bad_request(words));
    };
    let framing = Framing::of(body.tty);
    let piece = (
        crate::stdcopy::FrameStream::Stdout,
        bytes::Bytes::from(format!("{words}\r\n")),
    );
    let output = futures::stream::iter([piece]);
    Ok(hijack.converse(version, framing, output, None::<tokio::io::Sink>))
}
