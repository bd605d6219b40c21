//! Start, stop, restart, kill, wait, resize, rename.
//!
//! A container's transitions are serialised by its own lock; its end is observed by a task of its own, which alone
//! announces exits and removes what asked to be removed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::StatusCode;
use serde_json::json;
use shipway_container::{Signal, StartError};
use shipway_sandbox::ExitStatus;

use super::life::{Phase, WaitCondition};
use super::publish::{self, Outside};
use super::record::Record;
use super::removal::VolumesToo;
use crate::engine::{HostPaths, Inner};
use crate::failure::{Failure, told};
use crate::query::Query;
use crate::reply::{self, JSON, Reply};

/// Containers of one engine that run at the same time.
const MOST_RUNNING: usize = 256;
/// How long a container has after its stop signal when nobody says.
const STOP_TIMEOUT: i64 = 10;
/// How long the end of a killed container may take before the client is told so.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

impl Inner {
    pub(crate) async fn start_container(self: &Arc<Inner>, record: &Arc<Record>) -> Result<Reply, Failure> {
        let started = self.start(record).await?;
        Ok(reply::empty(if started {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::NOT_MODIFIED
        }))
    }

    /// Starts it; false when it was running already.
    async fn start(self: &Arc<Inner>, record: &Arc<Record>) -> Result<bool, Failure> {
        let transition = record.transition.lock().await;
        match record.life.now().phase {
            Phase::Running { .. } => return Ok(false),
            Phase::Removed => return Err(Failure::no_such_container(&record.id)),
            Phase::Created | Phase::Exited { .. } => {}
        }
        if self.containers.running() >= MOST_RUNNING {
            return Err(Failure::conflict(format!(
                "{MOST_RUNNING} containers are running already: stop some"
            )));
        }
        if self.closed.is_cancelled() {
            return Err(Failure::unavailable("the engine is being closed"));
        }
        match self.start_and_publish(record).await {
            Ok(()) => Ok(true),
            Err((code, failure)) => {
                record.life.failed_to_start(code, failure.message());
                drop(transition);
                if record.body.host_config.auto_remove {
                    self.remove(record, VolumesToo::Yes).await?;
                }
                Err(failure)
            }
        }
    }

    async fn start_and_publish(self: &Arc<Inner>, record: &Arc<Record>) -> Result<(), (i64, Failure)> {
        let exit = record.container.next_exit();
        record
            .container
            .start()
            .await
            .map_err(|error| start_failure(record, &error))?;
        if !record.ports.is_empty() {
            let Some(address) = record.container.address() else {
                return Err(self
                    .undo_start(record, exit, "it has no network to publish ports of")
                    .await);
            };
            match publish::publish(&self.pod, self.outside(), address, &record.ports).await {
                Ok(published) => *record.published() = published,
                Err(failure) => return Err(self.undo_start(record, exit, failure.message()).await),
            }
        }
        record.life.started();
        self.watch_health(record, record.life.wait(WaitCondition::NextExit));
        self.tell(record, "start", []);
        let (engine, record) = (Arc::clone(self), Arc::clone(record));
        tokio::spawn(async move {
            let code = exit_code(exit.await);
            let ports = std::mem::take(&mut *record.published());
            publish::close(ports).await;
            record.life.exited(code);
            engine.tell(&record, "die", [("exitCode", code.to_string())]);
            if record.body.host_config.auto_remove
                && let Err(failure) = engine.revive_and_remove(&record).await
            {
                tracing::warn!(
                    error = failure.message(),
                    container = record.id,
                    "cannot remove a container that has ended"
                );
            }
        });
        Ok(())
    }

    /// Removes a container that has ended, perhaps because its keeper did.
    async fn revive_and_remove(self: &Arc<Inner>, record: &Arc<Record>) -> Result<(), Failure> {
        self.revive().await?;
        self.remove(record, VolumesToo::Yes).await
    }

    fn outside(&self) -> Outside {
        match self.view() {
            HostPaths::Machine => Outside::Machine,
            HostPaths::Container(_) | HostPaths::Unset => Outside::Pod(self.published_address()),
        }
    }

    /// Ends a container that runs but cannot be what was asked for, and waits until it has: what still ends cannot be removed.
    async fn undo_start<T>(
        &self,
        record: &Record,
        exit: impl Future<Output = T>,
        why: &str,
    ) -> (i64, Failure) {
        match record.container.kill(Signal::KILL).await {
            Ok(()) => drop(exit.await),
            Err(error) => tracing::debug!(
                error = told(&error),
                container = record.id,
                "a container ended before it was stopped"
            ),
        }
        (
            125,
            Failure::internal(format!("cannot start container {}: {why}", record.name())),
        )
    }

    pub(crate) async fn stop_container(
        self: &Arc<Inner>,
        record: &Arc<Record>,
        query: &Query,
    ) -> Result<Reply, Failure> {
        let stopped = self.stop(record, query).await?;
        Ok(reply::empty(if stopped {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::NOT_MODIFIED
        }))
    }

    pub(crate) async fn restart_container(
        self: &Arc<Inner>,
        record: &Arc<Record>,
        query: &Query,
    ) -> Result<Reply, Failure> {
        self.stop(record, query).await?;
        self.start(record).await?;
        self.tell(record, "restart", []);
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    /// Asks it to end, then ends it; false when it was not running.
    async fn stop(&self, record: &Arc<Record>, query: &Query) -> Result<bool, Failure> {
        if !record.life.is_running() {
            return Ok(false);
        }
        let seconds = query
            .number::<i64>("t")?
            .or(record.body.stop_timeout)
            .unwrap_or(STOP_TIMEOUT);
        let signal = match query.get("signal") {
            Some(signal) => parse_signal(signal)?,
            None => self.stop_signal(record),
        };
        let ended = record.life.wait(WaitCondition::NotRunning);
        if let Err(error) = record.container.kill(signal).await {
            // It may have ended by itself, and nobody may have noted that yet.
            let ending = record.container.running_id().is_none();
            if !ending && record.life.is_running() {
                return Err(Failure::internal(told(&error)));
            }
        }
        tokio::pin!(ended);
        let asked = async {
            match u64::try_from(seconds) {
                Ok(seconds) => tokio::time::timeout(Duration::from_secs(seconds), &mut ended)
                    .await
                    .is_ok(),
                // A negative time means: as long as it takes.
                Err(_) => {
                    (&mut ended).await;
                    true
                }
            }
        };
        if !asked.await {
            self.kill_and_wait(record).await?;
        }
        self.tell(record, "stop", []);
        Ok(true)
    }

    fn stop_signal(&self, record: &Record) -> Signal {
        let asked = Some(record.body.stop_signal.as_str()).filter(|signal| !signal.is_empty());
        let image = record.image.config.config.stop_signal.as_deref();
        asked
            .or(image)
            .and_then(|signal| signal.parse().ok())
            .unwrap_or(Signal::TERM)
    }

    pub(super) async fn kill_and_wait(&self, record: &Arc<Record>) -> Result<(), Failure> {
        let ended = record.life.wait(WaitCondition::NotRunning);
        if let Err(error) = record.container.kill(Signal::KILL).await
            && record.life.is_running()
        {
            return Err(Failure::internal(told(&error)));
        }
        tokio::time::timeout(KILL_PATIENCE, ended)
            .await
            .map(|_| ())
            .map_err(|_| {
                Failure::internal(format!("container {} was killed but does not end", record.name()))
            })
    }

    pub(crate) async fn kill_container(&self, record: &Arc<Record>, query: &Query) -> Result<Reply, Failure> {
        let signal = query.get("signal").map_or(Ok(Signal::KILL), parse_signal)?;
        if !record.life.is_running() {
            return Err(Failure::conflict(format!(
                "cannot kill container: {}: container {} is not running",
                record.name(),
                record.id
            )));
        }
        if signal == Signal::KILL {
            self.kill_and_wait(record).await?;
        } else {
            record
                .container
                .kill(signal)
                .await
                .map_err(|error| Failure::internal(told(&error)))?;
        }
        self.tell(record, "kill", [("signal", signal.number().to_string())]);
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    /// The head goes out at once: clients start the container only after it.
    pub(crate) fn wait(&self, record: &Arc<Record>, query: &Query) -> Result<Reply, Failure> {
        let condition = match query.get("condition") {
            None | Some("not-running") => WaitCondition::NotRunning,
            Some("next-exit") => WaitCondition::NextExit,
            Some("removed") => WaitCondition::Removed,
            Some(other) => return Err(Failure::bad_request(format!("invalid condition: {other:?}"))),
        };
        let ended = record.life.wait(condition);
        let body = futures::stream::once(ended)
            .map(|code| Ok(Bytes::from(format!("{}\n", json!({ "StatusCode": code })))));
        Ok(reply::stream(JSON, body))
    }

    pub(crate) async fn resize_container(&self, record: &Record, query: &Query) -> Result<Reply, Failure> {
        let (rows, columns) = size(query)?;
        record
            .container
            .resize(rows, columns)
            .await
            .map_err(|error| Failure::conflict(told(&error)))?;
        Ok(reply::empty(StatusCode::OK))
    }

    pub(crate) fn rename_container(&self, record: &Record, query: &Query) -> Result<Reply, Failure> {
        let name = crate::plan::name(query.get("name"))?
            .ok_or_else(|| Failure::bad_request("neither old nor new names may be empty"))?;
        let old = self.containers.rename(record, name.clone())?;
        if let Some(address) = record.container.address() {
            self.pod.remove_name(old.as_str());
            self.pod.add_name(name.as_str(), address);
        }
        self.tell(record, "rename", [("oldName", format!("/{old}"))]);
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }
}

/// The two numbers of a resize request.
pub(super) fn size(query: &Query) -> Result<(u16, u16), Failure> {
    let (rows, columns) = (query.number::<u16>("h")?, query.number::<u16>("w")?);
    match (rows, columns) {
        (Some(rows), Some(columns)) => Ok((rows, columns)),
        _ => Err(Failure::bad_request("a resize needs h and w")),
    }
}

fn parse_signal(text: &str) -> Result<Signal, Failure> {
    text.parse()
        .map_err(|_| Failure::bad_request(format!("Invalid signal: {text}")))
}

/// As a shell says it.
pub(super) fn exit_code(status: ExitStatus) -> i64 {
    match status {
        ExitStatus::Code(code) => code.into(),
        ExitStatus::Signal(signal) => i64::from(signal) + 128,
    }
}

/// Clients find out from the words which exit code they are to have: 127, 126 or 125.
fn start_failure(record: &Record, error: &StartError) -> (i64, Failure) {
    let program = record
        .container
        .argv()
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    let code = error.exit_code();
    let why = match code {
        127 if program.contains('/') => {
            format!("exec: {program:?}: stat {program}: no such file or directory")
        }
        127 => format!("exec: {program:?}: executable file not found in $PATH"),
        126 => format!("exec: {program:?}: permission denied"),
        _ => told(error),
    };
    (
        code.into(),
        Failure::bad_request(format!(
            "failed to create task for container {}: {why}",
            record.name()
        )),
    )
}
