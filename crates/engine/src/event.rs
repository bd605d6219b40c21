//! What happened to containers and images, told to whoever listens on `GET /events`.
//!
//! The last events are kept so that `--since` works, bounded in number. A listener too slow for the stream loses the
//! oldest and is not told: events are a view, no record.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::broadcast;

use crate::clock::parse_moment;
use crate::failure::Failure;
use crate::filter::Filters;
use crate::query::Query;
use crate::reply::{self, JSON, Reply};

const KEPT: usize = 512;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EventKind {
    Container,
    Image,
    Network,
    Volume,
}

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            EventKind::Container => "container",
            EventKind::Image => "image",
            EventKind::Network => "network",
            EventKind::Volume => "volume",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    /// The three fields before 1.22 that clients still print.
    status: &'static str,
    id: String,
    from: String,
    #[serde(rename = "Type")]
    kind: EventKind,
    #[serde(rename = "Action")]
    action: &'static str,
    #[serde(rename = "Actor")]
    actor: Actor,
    scope: &'static str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i128,
}

#[derive(Debug, Clone, Serialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

/// Where events are told and heard.
#[derive(Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Event>,
    kept: Mutex<VecDeque<Event>>,
}

impl Events {
    pub(crate) fn new() -> Events {
        Events {
            sender: broadcast::channel(KEPT).0,
            kept: Mutex::new(VecDeque::new()),
        }
    }

    pub(crate) fn tell<'a>(
        &self,
        kind: EventKind,
        action: &'static str,
        id: &str,
        attributes: impl IntoIterator<Item = (&'a str, String)>,
    ) {
        let now = OffsetDateTime::now_utc();
        let attributes: BTreeMap<_, _> = attributes
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        let event = Event {
            status: action,
            id: id.to_owned(),
            from: attributes.get("image").cloned().unwrap_or_default(),
            kind,
            action,
            actor: Actor {
                id: id.to_owned(),
                attributes,
            },
            scope: "local",
            time: now.unix_timestamp(),
            time_nano: now.unix_timestamp_nanos(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(event.clone());
        // Sent under the lock: a listener takes the kept ones and the subscription together and misses nothing.
        let _ = self.sender.send(event);
    }

    /// `GET /events`.
    pub(crate) fn listen(&self, query: &Query) -> Result<Reply, Failure> {
        let filters = Filters::from_query(
            query,
            &[
                "type",
                "event",
                "container",
                "image",
                "label",
                "network",
                "volume",
                "scope",
            ],
        )?;
        let moment = |key: &str| {
            query
                .get(key)
                .map(|text| {
                    parse_moment(text)
                        .ok_or_else(|| Failure::bad_request(format!("{key}={text:?} is no point in time")))
                })
                .transpose()
        };
        let (since, until) = (moment("since")?, moment("until")?);
        let (past, live) = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let past: Vec<Event> = kept
                .iter()
                .filter(|event| since.is_some_and(|since| event.time_nano >= since.unix_timestamp_nanos()))
                .filter(|event| until.is_none_or(|until| event.time_nano <= until.unix_timestamp_nanos()))
                .cloned()
                .collect();
            (past, self.sender.subscribe())
        };
        let live = futures::stream::unfold(live, |mut live| async {
            loop {
                match live.recv().await {
                    Ok(event) => return Some((event, live)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let end = async move {
            match until {
                Some(until) => {
                    let left = until - OffsetDateTime::now_utc();
                    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
                }
                None => std::future::pending().await,
            }
        };
        let lines = futures::stream::iter(past)
            .chain(live.take_until(end))
            .filter(move |event| std::future::ready(wanted(&filters, event)))
            .map(|event| {
                let mut line = serde_json::to_vec(&event)?;
                line.push(b'\n');
                Ok(Bytes::from(line))
            });
        Ok(reply::stream(JSON, lines))
    }
}

fn wanted(filters: &Filters, event: &Event) -> bool {
    let attribute = |key: &str, wanted: &str| {
        event
            .actor
            .attributes
            .get(key)
            .is_some_and(|value| value == wanted)
    };
    let actor = |kind: EventKind, key: &'static str| {
        filters.admits(key, |wanted| {
            event.kind == kind && (event.id.starts_with(wanted.as_str()) || attribute("name", wanted))
                || key == "image" && attribute("image", wanted)
        })
    };
    filters.admits("type", |kind| kind == event.kind.as_str())
        && filters.admits("event", |action| action == event.action)
        && filters.admits_labels(&event.actor.attributes)
        && actor(EventKind::Container, "container")
        && actor(EventKind::Image, "image")
        && actor(EventKind::Network, "network")
        && actor(EventKind::Volume, "volume")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn past_and_future_events_arrive_once_and_filtered() {
        let events = Events::new();
        events.tell(
            EventKind::Container,
            "create",
            "abc",
            [("name", "web".to_owned())],
        );
        let query = Query::parse(
            "since=0&filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22container%22%3A%5B%22web%22%5D%7D",
        );
        let mut body = events.listen(&query).unwrap().into_body();
        events.tell(EventKind::Image, "pull", "img", []);
        events.tell(
            EventKind::Container,
            "die",
            "abc",
            [("name", "web".to_owned()), ("exitCode", "3".to_owned())],
        );
        let mut actions = Vec::new();
        for _ in 0..2 {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let event: serde_json::Value = serde_json::from_slice(&frame).unwrap();
            assert_eq!(event["Type"], "container");
            actions.push(event["Action"].as_str().unwrap().to_owned());
        }
        assert_eq!(actions, ["create", "die"]);
    }

    #[tokio::test]
    async fn a_stream_with_an_end_ends() {
        let events = Events::new();
        events.tell(EventKind::Volume, "create", "v", []);
        let heard = async |until: i128| {
            let query = Query::parse(&format!(
                "since=0&until={}.{:09}",
                until / 1_000_000_000,
                until % 1_000_000_000
            ));
            let body = events.listen(&query).unwrap().into_body();
            body.collect().await.unwrap().to_bytes().len()
        };
        assert!(heard(OffsetDateTime::now_utc().unix_timestamp_nanos()).await > 0);
        assert_eq!(heard(1).await, 0);
        assert!(events.listen(&Query::parse("since=never")).is_err());
    }
}
