//! Start, wait, exec, signal, stop.

use std::path::Path;

use shipway_sandbox::{ExitStatus, KeeperError, Stdio};

use crate::house::{House, Test, container, process};

pub(crate) const TESTS: &[Test] = &[(
    "lifecycle::a_container_runs_and_its_exit_is_known",
    a_container_runs_and_its_exit_is_known,
)];

fn a_container_runs_and_its_exit_is_known() {
    let house = House::with_busybox();
    let (status, text) = house.script("one", "echo $$ $(hostname) $(id -u) $HOME; echo x > /new; exit 7");
    assert_eq!((status, text.as_str()), (ExitStatus::Code(7), "1 box 0 /root\n"));
    let _ = (
        Path::new("/"),
        Stdio::default(),
        process(&[]),
        container(house.root("two"), &[]),
    );
    let _: Option<KeeperError> = None;
}
