//! Who waits for an exit gets that exit, also when the start fails.

use futures::FutureExt as _;

use super::*;

#[tokio::test]
async fn the_next_exit_is_not_the_one_before() {
    let life = Lifeline::new();
    life.started();
    life.exited(3);
    assert_eq!(life.wait(WaitCondition::NotRunning).now_or_never(), Some(3));
    let next = life.wait(WaitCondition::NextExit);
    life.started();
    assert_eq!(life.wait(WaitCondition::NotRunning).now_or_never(), None);
    life.exited(4);
    assert_eq!(next.now_or_never(), Some(4));
}

#[tokio::test]
async fn an_exit_between_the_call_and_the_first_poll_counts() {
    let life = Lifeline::new();
    let next = life.wait(WaitCondition::NextExit);
    let removed = life.wait(WaitCondition::Removed);
    life.started();
    life.exited(7);
    assert_eq!(next.await, 7);
    life.removed();
    assert_eq!(removed.await, 7);
}

#[tokio::test]
async fn a_failed_start_lets_go_of_who_attached() {
    let life = Lifeline::new();
    let (failed, removed) = (life.failed_start(), life.wait(WaitCondition::Removed));
    life.failed_to_start(127, "no such file");
    failed.await;
    assert_eq!(life.now().phase, Phase::Created);
    life.removed();
    assert_eq!(removed.await, 127);
}

#[tokio::test]
async fn an_end_is_no_failed_start() {
    let life = Lifeline::new();
    let failed = life.failed_start();
    life.started();
    life.exited(0);
    life.removed();
    drop(life);
    assert_eq!(failed.now_or_never(), None);
}

#[test]
fn phases_read_as_in_docker_ps() {
    let now = OffsetDateTime::now_utc();
    assert_eq!(Phase::Running { since: now }.sentence(), "Up Less than a second");
    let exited = Phase::Exited {
        code: 1,
        started: now,
        finished: now - time::Duration::minutes(5),
    };
    assert_eq!(exited.sentence(), "Exited (1) 5 minutes ago");
}
