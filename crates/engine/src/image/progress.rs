//! Pulls and pushes as lines of JSON: what each layer is doing.
//!
//! Bytes are reported at most a few times a second for each layer; changes of state always. The configuration blob is
//! not shown, as no client expects it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use shipway_oci::{Descriptor, Digest, media_type};
use shipway_registry::{BlobProgress, PullProgress, PushProgress};
use tokio::sync::Notify;

use crate::reply::StreamWriter;

/// Between two reports of one layer's bytes.
const PAUSE: Duration = Duration::from_millis(100);

/// The words of one direction.
struct Words {
    waiting: &'static str,
    moving: &'static str,
    present: &'static str,
    done: &'static str,
}

const PULL: Words = Words {
    waiting: "Pulling fs layer",
    moving: "Downloading",
    present: "Already exists",
    done: "Pull complete",
};

const PUSH: Words = Words {
    waiting: "Preparing",
    moving: "Pushing",
    present: "Layer already exists",
    done: "Pushed",
};

/// Writes a transfer's progress into an answer.
pub(crate) struct Progress {
    writer: StreamWriter,
    words: Words,
    reported: Mutex<HashMap<Digest, Instant>>,
    /// Told once the name is known to stand for something.
    pub(super) began: Notify,
}

impl Progress {
    pub(crate) fn pull(writer: StreamWriter) -> Progress {
        Progress {
            writer,
            words: PULL,
            reported: Mutex::default(),
            began: Notify::new(),
        }
    }

    pub(super) fn push(writer: StreamWriter) -> Progress {
        Progress {
            writer,
            words: PUSH,
            reported: Mutex::default(),
            began: Notify::new(),
        }
    }

    fn report(&self, blob: &Descriptor, progress: BlobProgress) {
        if matches!(
            blob.media_type.as_str(),
            media_type::OCI_CONFIG | media_type::DOCKER_CONFIG
        ) {
            return;
        }
        let id = blob.digest.short();
        match progress {
            BlobProgress::Waiting => self.writer.status_of(id, self.words.waiting),
            BlobProgress::Present => self.writer.status_of(id, self.words.present),
            BlobProgress::Retrying => self.writer.status_of(id, "Retrying"),
            BlobProgress::Done => self.writer.status_of(id, self.words.done),
            BlobProgress::Moving { done } => {
                let now = Instant::now();
                let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
                let due = reported
                    .get(&blob.digest)
                    .is_none_or(|last| now.duration_since(*last) >= PAUSE);
                if due {
                    reported.insert(blob.digest.clone(), now);
                    self.writer.object(&json!({
                        "status": self.words.moving,
                        "progressDetail": { "current": done, "total": blob.size },
                        "progress": format!("{done}B/{}B", blob.size),
                        "id": id,
                    }));
                }
            }
        }
    }
}

impl PullProgress for Progress {
    fn resolved(&self, _digest: &Digest) {
        self.began.notify_one();
    }

    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        self.report(blob, progress);
    }
}

impl PushProgress for Progress {
    fn blob(&self, blob: &Descriptor, progress: BlobProgress) {
        self.began.notify_one();
        self.report(blob, progress);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::reply;

    #[tokio::test]
    async fn states_are_told_and_bytes_now_and_then() {
        let (writer, answer) = reply::channel(reply::JSON);
        let progress = Progress::pull(writer);
        let layer = Descriptor::of(media_type::OCI_LAYER_GZIP, b"layer");
        let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
        PullProgress::blob(&progress, &config, BlobProgress::Done);
        PullProgress::blob(&progress, &layer, BlobProgress::Waiting);
        for done in 0..100 {
            PullProgress::blob(&progress, &layer, BlobProgress::Moving { done });
        }
        PullProgress::blob(&progress, &layer, BlobProgress::Done);
        drop(progress);
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        let statuses: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .collect();
        assert!(statuses.len() < 20, "{text}");
        assert_eq!(statuses[0]["status"], "Pulling fs layer");
        assert_eq!(statuses[1]["progressDetail"]["total"], 5);
        assert_eq!(statuses.last().unwrap()["status"], "Pull complete");
        assert!(statuses.iter().all(|status| status["id"] == layer.digest.short()));
    }
}
