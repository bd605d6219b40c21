//! One script in the job's container, from its first byte on stdin to the last byte of its output.

use crate::Trace;
use crate::outcome::{Doing, JobError};
use shipway_container::{AttachFrom, Container, ControlError, Signal};
use shipway_sandbox::ExitStatus;
use tokio::io::AsyncWriteExt;

/// What a shell adds to a signal's number when it reports a process that was killed.
const SIGNAL_CODE: i32 = 128;

/// Starts the job's container, hands it a script, and brings its output into the trace until it ends.
///
/// When `stop` returns first, everything in the container is killed and what `stop` says is the error. Either way
/// the container has ended and all its output is in the trace when this returns; it may be started again.
pub(crate) async fn run_script(
    container: &Container,
    script: String,
    trace: &Trace,
    stop: impl Future<Output = JobError>,
) -> Result<(), JobError> {
    const DOING: &str = "running the script";
    // Both before the start, so that neither a byte nor the end is missed; the script before this one is over.
    let attachment = container.attach(AttachFrom::Now, true);
    let (mut output, stdin, exit) = (attachment.output, attachment.stdin, container.next_exit());
    container.start().await.doing("starting the job's container")?;
    let writer = tokio::spawn(async move {
        if let Some(mut stdin) = stdin {
            // A shell that ends early closes its stdin; its exit code tells more than this write's error.
            let _ = stdin.write_all(script.as_bytes()).await;
            let _ = stdin.shutdown().await;
        }
    });
    let mut script_ended = std::pin::pin!(async {
        while let Some(chunk) = output.chunk().await.doing(DOING)? {
            trace.output(&chunk.bytes);
        }
        Ok(exit.await)
    });
    let verdict = tokio::select! {
        ended = &mut script_ended => ended.and_then(judge),
        stopped = stop => {
            match container.kill(Signal::KILL).await {
                Ok(()) | Err(ControlError::NotRunning { .. }) => {}
                Err(error) => return Err(error).doing("stopping the script"),
            }
            script_ended.await?;
            Err(stopped)
        }
    };
    writer.abort();
    verdict
}

fn judge(status: ExitStatus) -> Result<(), JobError> {
    match status {
        ExitStatus::Code(0) => Ok(()),
        ExitStatus::Code(exit_code) => Err(JobError::Script { exit_code }),
        ExitStatus::Signal(signal) => Err(JobError::Script {
            exit_code: SIGNAL_CODE + signal,
        }),
    }
}
