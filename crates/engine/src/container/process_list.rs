//! `GET /containers/{id}/top`: the processes of a container, as its own `ps` lists them.
//!
//! Docker asks the machine's `ps`. Here nobody outside the container sees its processes, so the container's own is asked;
//! an image without one says so.

use std::sync::Arc;

use futures::StreamExt as _;
use http::StatusCode;
use serde_json::json;
use shipway_container::{ExecOptions, OutputStream};
use shipway_sandbox::ExitStatus;

use super::record::Record;
use crate::engine::Inner;
use crate::failure::{Failure, told};
use crate::query::Query;
use crate::reply::{self, Reply};

/// No list of processes is longer.
const MOST_OUTPUT: usize = 1 << 20;

impl Inner {
    pub(crate) async fn top(&self, record: &Arc<Record>, query: &Query) -> Result<Reply, Failure> {
        if !record.life.is_running() {
            return Err(Failure::conflict(format!(
                "container {} is not running",
                record.id
            )));
        }
        let mut argv = vec!["ps".to_owned()];
        argv.extend(
            query
                .get("ps_args")
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned),
        );
        let options = ExecOptions {
            argv,
            ..ExecOptions::default()
        };
        let none =
            |why: String| Failure::not_implemented(format!("docker top asks the image's own ps: {why}"));
        let exec = record
            .container
            .exec(options)
            .await
            .map_err(|error| none(told(&error)))?;
        let mut output = exec.attach().output;
        let mut text = Vec::new();
        while let Some(chunk) = output.next().await {
            let chunk = chunk.map_err(|error| Failure::internal(told(&error)))?;
            if chunk.stream == OutputStream::Stdout && text.len() < MOST_OUTPUT {
                text.extend_from_slice(&chunk.bytes);
            }
        }
        if exec.wait().await != ExitStatus::Code(0) {
            return Err(none("it failed; try without arguments".to_owned()));
        }
        let (titles, processes) = table(&String::from_utf8_lossy(&text));
        Ok(reply::json(
            StatusCode::OK,
            &json!({ "Titles": titles, "Processes": processes }),
        ))
    }
}

/// Lines of words; the last column holds what is left of the line.
fn table(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut lines = text.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let last = titles.len().saturating_sub(1);
    let processes = lines
        .map(|line| {
            let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let tail = words.split_off(last.min(words.len())).join(" ");
            words.push(tail);
            words
        })
        .collect();
    (titles, processes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_keeps_its_arguments() {
        let (titles, processes) = table("PID   USER     TIME  COMMAND\n    1 root      0:00 sh -c sleep 5\n");
        assert_eq!(titles, ["PID", "USER", "TIME", "COMMAND"]);
        assert_eq!(processes, [["1", "root", "0:00", "sh -c sleep 5"]]);
        assert_eq!(table(""), (Vec::new(), Vec::new()));
    }
}
