//! A socket is taken from the dead only, has its mode from the start, and is removed by its owner only.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[tokio::test]
async fn a_socket_is_replaced_only_when_nobody_answers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let first = bind_unix(&path, 0o600).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let refused = bind_unix(&path, 0o600).err().unwrap();
    assert!(refused.to_string().contains("already answers"), "{refused}");
    UnixStream::connect(&path).unwrap();
    drop(first);
    assert!(!path.exists());
    // The standard library leaves its socket behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let second = bind_unix(&path, 0o600).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(second);
    std::fs::write(&path, "a file").unwrap();
    assert!(matches!(
        bind_unix(&path, 0o600),
        Err(ServeError::InTheWay { .. })
    ));
}

#[tokio::test]
async fn a_socket_has_its_mode_and_leaves_no_other_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    // The umask of tests takes some of these.
    for mode in [0o666, 0o660, 0o600] {
        let socket = bind_unix(&path, mode).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode);
        let names = std::fs::read_dir(directory.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["engine.sock"]);
        drop(socket);
    }
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert!(matches!(
        bind_unix(&path, 0o600),
        Err(ServeError::InTheWay { .. })
    ));
}

#[tokio::test]
async fn somebody_else_s_socket_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let first = bind_unix(&path, 0o600).unwrap();
    // Moved and not removed, so that its inode's number is not given to the next.
    std::fs::rename(&path, directory.path().join("old")).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(first);
    UnixStream::connect(&path).unwrap();
    drop(other);
}
