//! `--progress=rawjson`: one JSON object in each line, shaped as BuildKit's `client.SolveStatus`, for programs that read it.
//!
//! Times are RFC 3339 in UTC; `data` and `short` are base64; a vertex is named by a digest that no other vertex of the build has.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shipway_build::lint::Finding;
use shipway_container::OutputStream;
use shipway_oci::Digest;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Display, End, Status, Vertex};
use crate::screen;

/// The display.
pub(super) struct RawJson;

impl Display for RawJson {
    fn started(&mut self, vertex: &Vertex) {
        tell(&json!({ "vertexes": [described(vertex)] }));
    }

    fn output(&mut self, vertex: &Vertex, stream: OutputStream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        tell(&json!({ "logs": [{
            "vertex": digest(vertex),
            "stream": stream as usize + 1,
            "data": STANDARD.encode(bytes),
            "timestamp": timestamp(SystemTime::now()),
        }] }));
    }

    fn fetched(&mut self, vertex: &Vertex, status: &Status<'_>) {
        let now = timestamp(SystemTime::now());
        let mut told = json!({
            "id": status.id,
            "vertex": digest(vertex),
            "total": status.total,
            "current": status.current,
            "timestamp": now,
            "started": timestamp(vertex.began),
        });
        if status.is_done {
            told["completed"] = Value::String(now);
        }
        tell(&json!({ "statuses": [told] }));
    }

    fn ended(&mut self, vertex: &Vertex, end: End<'_>) {
        let mut told = described(vertex);
        told["completed"] = Value::String(timestamp(SystemTime::now()));
        match end {
            End::Done => {}
            End::Cached => told["cached"] = Value::Bool(true),
            End::Failed(why) => told["error"] = Value::String(why.to_owned()),
            End::Canceled => told["error"] = Value::String("context canceled".to_owned()),
        }
        tell(&json!({ "vertexes": [told] }));
    }

    fn remark(&mut self, vertex: &Vertex, text: &str) {
        let now = timestamp(SystemTime::now());
        tell(&json!({ "statuses": [{
            "id": text,
            "vertex": digest(vertex),
            "current": 0,
            "timestamp": now,
            "started": now,
            "completed": now,
        }] }));
    }

    fn warning(&mut self, text: &str) {
        tell(&json!({ "warnings": [{ "level": 1, "short": STANDARD.encode(text) }] }));
    }

    fn findings(&mut self, findings: &[Finding]) {
        let warnings: Vec<Value> = findings
            .iter()
            .map(|finding| {
                let (rule, line) = (&finding.rule, finding.lines.first);
                let short = format!("{rule}: {} (line {line})", finding.detail);
                json!({ "level": 1, "short": STANDARD.encode(short) })
            })
            .collect();
        tell(&json!({ "warnings": warnings }));
    }
}

fn described(vertex: &Vertex) -> Value {
    json!({
        "digest": digest(vertex),
        "name": vertex.name,
        "started": timestamp(vertex.began),
    })
}

fn digest(vertex: &Vertex) -> String {
    Digest::sha256(format!("{:?} {}", vertex.key, vertex.name).as_bytes()).to_string()
}

fn timestamp(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

fn tell(status: &Value) {
    screen::error_document(&status.to_string());
}
