//! The life of a container, who waits for its end, and what does not fit its state.

use futures::FutureExt;

use super::*;

fn id() -> ContainerId {
    ContainerId::random()
}

#[test]
fn a_life_goes_round_and_refuses_what_does_not_fit() {
    let life = Life::new();
    life.begin(&id()).unwrap();
    assert!(matches!(life.begin(&id()), Err(StartError::Running { .. })));
    assert!(!life.remove(), "a starting container stays");
    life.exited(ExitStatus::Code(127), Some("not found".into()));
    life.begin(&id()).unwrap();
    life.exited(ExitStatus::Code(3), None);
    assert_eq!(life.last_status(), ExitStatus::Code(3));
    assert!(life.remove());
    assert!(matches!(life.begin(&id()), Err(StartError::Removed { .. })));
}

#[test]
fn the_end_of_a_pod_ends_every_wait() {
    let never_started = Life::new();
    let waiting = never_started.subscribe().stopped();
    never_started.doom();
    assert_eq!(waiting.now_or_never(), Some(ExitStatus::Code(0)));

    let starting = Life::new();
    starting.begin(&id()).unwrap();
    let (settled, removed) = (starting.subscribe().settled(), starting.subscribe().removed());
    starting.doom();
    assert!(settled.now_or_never().is_none());
    starting.exited(ExitStatus::Signal(9), None);
    assert_eq!(removed.now_or_never(), Some(ExitStatus::Signal(9)));
    assert!(matches!(starting.begin(&id()), Err(StartError::Removed { .. })));
}

#[test]
fn waiting_for_the_next_exit_is_not_satisfied_by_the_last() {
    let life = Life::new();
    let first = life.subscribe().next_exit();
    life.begin(&id()).unwrap();
    life.exited(ExitStatus::Code(1), None);
    assert_eq!(
        first.now_or_never(),
        Some(ExitStatus::Code(1)),
        "a run that is over is not missed"
    );
    assert_eq!(
        life.subscribe().stopped().now_or_never(),
        Some(ExitStatus::Code(1))
    );
    let second = life.subscribe();
    assert_eq!(life.subscribe().next_exit().now_or_never(), None);
    life.begin(&id()).unwrap();
    assert_eq!(life.subscribe().stopped().now_or_never(), None);
    life.exited(ExitStatus::Signal(9), None);
    assert_eq!(second.next_exit().now_or_never(), Some(ExitStatus::Signal(9)));
    assert_eq!(life.subscribe().removed().now_or_never(), None);
    assert!(life.remove());
    assert_eq!(
        life.subscribe().removed().now_or_never(),
        Some(ExitStatus::Signal(9))
    );
}
