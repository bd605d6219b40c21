//! A script that is dropped is silent, and proxies are inherited.

use super::{INHERITED, Shell};
use crate::{Trace, TraceEvent, TraceListener};
use rustix::process::{Pid, Signal, kill_process};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{sleep, timeout};

#[derive(Default)]
struct Said(Mutex<String>);

impl TraceListener for Said {
    fn event(&self, event: TraceEvent<'_>) {
        if let TraceEvent::Output(bytes) = event {
            self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        }
    }
}

#[tokio::test]
async fn a_script_that_is_dropped_is_not_listened_to_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let shell = Shell::find(None, directory.path().to_owned()).await.unwrap();
    let said = Arc::new(Said::default());
    let trace = Trace::new(std::io::sink(), vec![said.clone()]);
    // It has the output open, and nothing of the job ends it.
    let script = "setsid sh -c 'echo process $$.; exec sleep 300' & wait".to_owned();
    let outside = {
        let mut running = Box::pin(shell.run(script, &trace, pending()));
        let number = async {
            loop {
                let text = said.0.lock().unwrap().clone();
                if let Some((_, rest)) = text.split_once("process ")
                    && let Some((number, _)) = rest.split_once('.')
                {
                    return number.parse().unwrap();
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            ended = &mut running => panic!("{ended:?}"),
            number = timeout(Duration::from_secs(30), number) => Pid::from_raw(number.unwrap()).unwrap(),
        }
    };
    drop(trace);
    let forgotten = async {
        while Arc::strong_count(&said) > 1 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let forgotten = timeout(Duration::from_secs(30), forgotten).await;
    kill_process(outside, Signal::KILL).unwrap();
    forgotten.unwrap();
}

#[test]
fn proxies_are_inherited_by_both_their_names() {
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        let upper = name.to_ascii_uppercase();
        assert!(
            INHERITED.contains(&name) && INHERITED.contains(&upper.as_str()),
            "{name}"
        );
    }
}
