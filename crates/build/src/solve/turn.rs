//! Single flight: of builds that need the same step at the same time, whichever process they are of, one carries it out, and the
//! others find its result.
//!
//! A turn is a lock on a file that the step's key names. The kernel lets go of it when its process dies, and then the next one
//! who waits has it. It is held until the result is a record, by whatever keeps that, and given back as well when the step
//! fails: the next one then tries by itself.
//!
//! Nobody waits while holding what another's step needs: a turn is taken before the pod, the locks of cache mounts and room for a
//! layer. Should somebody hold one for longer than [`LONGEST`] all the same, the step is carried out twice, which is as right.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use shipway_container::LifeLock;
use shipway_store::Scope;

use super::site::blocking;
use crate::error::StepError;
use crate::mounted::{UPKEEP, locks};
use crate::plan::{CacheKey, Inputs};

/// What the names of their files begin with, among the locks of cache mounts.
const PREFIX: &str = "step.";
/// How long somebody else's step is waited for.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// How often it is looked at: a lock can be waited for by the kernel only on a thread that nothing can call back.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// The right to carry out a step, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<LifeLock>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(LifeLock::remove) {
            tracing::debug!(%error, "the file of a step's lock stays");
        }
    }
}

/// How a turn was come by.
#[derive(Debug)]
pub(super) enum Taken {
    /// Nobody had it.
    AtOnce(Turn),
    /// Somebody had it, who may have left a result.
    AfterOthers(Turn),
    /// Somebody has it for too long.
    TooLate,
}

/// Where the lock of a step is.
pub(super) fn place(data: &Path, scope: &Scope, key: &CacheKey) -> PathBuf {
    let mut name = blake3::Hasher::new();
    name.update(key.as_bytes());
    name.update(scope.as_str().as_bytes());
    locks(data).join(format!("{PREFIX}{}", name.finalize().to_hex()))
}

/// Waits for the turn of a step. `waits` hears of it once, if that is not at once.
pub(super) async fn take(path: PathBuf, waits: impl FnOnce() + Send) -> Result<Taken, StepError> {
    take_within(path, LONGEST, waits).await
}

async fn take_within(
    path: PathBuf,
    longest: Duration,
    waits: impl FnOnce() + Send,
) -> Result<Taken, StepError> {
    let begun = Instant::now();
    let mut pause = SHORTEST_PAUSE;
    let mut waits = Some(waits);
    loop {
        let trying = path.clone();
        if let Some(lock) = blocking(move || Ok(lock(&trying)?)).await? {
            let turn = Turn(Some(lock));
            return Ok(if waits.is_some() {
                Taken::AtOnce(turn)
            } else {
                Taken::AfterOthers(turn)
            });
        }
        if let Some(waits) = waits.take() {
            waits();
        }
        if begun.elapsed() >= longest {
            return Ok(Taken::TooLate);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Removes the locks that killed processes left; gives how many. What cannot be looked at stays.
pub fn sweep_turns(data: &Path) -> usize {
    let entries = std::fs::read_dir(locks(data));
    let turns = entries.into_iter().flatten().flatten();
    turns
        .filter(|entry| {
            let name = entry.file_name();
            [PREFIX, UPKEEP]
                .iter()
                .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
        })
        .filter_map(|entry| LifeLock::take_over(&entry.path()).ok().flatten())
        .filter_map(|lock| lock.remove().ok())
        .count()
}

fn lock(path: &Path) -> io::Result<Option<LifeLock>> {
    match LifeLock::take_if_free(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            LifeLock::take_if_free(path)
        }
        taken => taken,
    }
}

/// The steps of a build that are being carried out: their inputs for the record, and their turns.
#[derive(Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashMap<CacheKey, Step>>>);

/// What a step depended on, and the turn of who carries it out, if it has one.
pub(super) type Step = (Inputs, Option<Turn>);

impl UnderWay {
    pub(super) fn add(&self, key: CacheKey, inputs: Inputs, turn: Option<Turn>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, (inputs, turn));
    }

    /// The step ends here, well or not; its turn ends with what this gives.
    pub(super) fn end(&self, key: &CacheKey) -> Option<Step> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_has_it_and_the_next_comes_after() {
        let directory = tempfile::tempdir().unwrap();
        let key: CacheKey = "ab".repeat(32).parse().unwrap();
        let path = place(directory.path(), &Scope::user(), &key);
        assert_ne!(path, place(directory.path(), &Scope::imported(), &key));
        let Taken::AtOnce(first) = take(path.clone(), || panic!("nobody has it")).await.unwrap() else {
            panic!("nobody has it");
        };
        let late = take_within(path.clone(), Duration::ZERO, || {}).await.unwrap();
        assert!(matches!(late, Taken::TooLate));
        let (told, waits) = tokio::sync::oneshot::channel();
        let second = tokio::spawn(take(path.clone(), move || told.send(()).unwrap()));
        waits.await.unwrap();
        drop(first);
        assert!(matches!(second.await.unwrap().unwrap(), Taken::AfterOthers(_)));
        assert!(!path.exists(), "what was let go of leaves nothing");
        std::fs::write(&path, "").unwrap();
        let Taken::AtOnce(held) = take(place(directory.path(), &Scope::imported(), &key), || {})
            .await
            .unwrap()
        else {
            panic!("nobody has it");
        };
        std::fs::write(directory.path().join("cache-locks/0123"), "of a mount").unwrap();
        assert_eq!(sweep_turns(directory.path()), 1, "the one that nobody holds");
        drop(held);
    }
}
