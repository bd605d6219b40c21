//! Defaults, limits, and errors that name the key.

use super::*;

fn read(text: &str) -> Result<Settings, Failure> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shipway.toml");
    std::fs::write(&path, text).unwrap();
    Settings::read(Some(&path))
}

#[test]
fn an_empty_file_is_the_defaults() {
    let settings = read("").unwrap();
    assert_eq!(settings.registry.name, "registry.shipway.internal");
    assert_eq!(settings.registry.listen.port(), 5000);
}

#[test]
fn mirrors_and_insecure_registries_are_read() {
    let settings = read(
        "[registry]\ninsecure = [\"a.example:5000\"]\n[registry.mirrors]\n\"docker.io\" = [\"m.example\", \"http://n.example:5000/\"]\n",
    );
    let registry = settings.unwrap().registry;
    assert_eq!(registry.insecure, ["a.example:5000".parse().unwrap()]);
    let mirrors = &registry.mirrors[&"docker.io".parse().unwrap()];
    let mirror = |name: &str, plain| MirrorAddress {
        at: name.parse().unwrap(),
        plain,
    };
    assert_eq!(
        mirrors[..],
        [mirror("m.example", false), mirror("n.example:5000", true)]
    );

    let flag: MirrorFlag = "https://m.example".parse().unwrap();
    assert_eq!(
        (flag.of.as_str(), flag.address),
        ("docker.io", mirror("m.example", false))
    );
    let flag: MirrorFlag = "q.example=m.example".parse().unwrap();
    assert_eq!(flag.of.as_str(), "q.example");
    for wrong in ["ftp://m.example", "https://m.example/path", "", "=m"] {
        assert!(wrong.parse::<MirrorFlag>().is_err(), "{wrong}");
    }
    assert!(read("[registry]\ninsecure = [\"a b\"]\n").is_err());
}

#[test]
fn limits_are_read_and_bounded() {
    assert_eq!(read("").unwrap().limits.processes.get(), 8192);
    assert_eq!(
        read("[limits]\nprocesses = 600\n")
            .unwrap()
            .limits
            .processes
            .get(),
        600
    );
    let limits = read("[limits]\nmemory = \"4GiB\"\ndisk_reserve = \"0\"\n")
        .unwrap()
        .limits
        .pod();
    assert_eq!(limits.memory, Some(ByteSize::new(4 << 30)));
    assert_eq!(limits.disk_reserve, DiskReserve::Of(ByteSize::new(0)));
    let failure = read("[limits]\nmemory = \"much\"\n").unwrap_err();
    assert!(format!("{failure:?}").contains("no amount of bytes"));
    let failure = read("[limits]\nprocesses = 5\n").unwrap_err();
    assert!(format!("{failure:?}").contains("choose between 512"));
}

#[test]
fn places_of_the_registry_are_read_and_shared_out() {
    let places = |text: &str| {
        let server = read(text).unwrap().registry.limits.server();
        [
            server.max_connections,
            server.max_connections_each,
            server.max_streams,
            server.max_streams_each,
        ]
    };
    assert_eq!(places(""), [4096, 2048, 256, 32]);
    assert_eq!(
        places("[registry.limits]\nconnections = 100\nuploads = 4\n"),
        [100, 50, 4, 1]
    );
    assert_eq!(
        places("[registry.limits]\nconnections_per_address = 4000\nuploads_per_user = 200\n"),
        [4096, 4000, 256, 200]
    );
    let refused = |line: &str| format!("{:?}", read(&format!("[registry.limits]\n{line}\n")).unwrap_err());
    assert!(refused("uploads = 449").contains("choose between 1 and 448"));
    for line in ["connections = 0", "connections = -1", "connection = 1"] {
        assert!(refused(line).contains(line.split(' ').next().unwrap()), "{line}");
    }
}

#[test]
fn a_misspelt_key_is_an_error_that_names_it() {
    let failure = read("[registry]\nlisten_on = \"127.0.0.1:1\"\n").unwrap_err();
    assert!(format!("{failure:?}").contains("listen_on"));
}

/// An empty one would have the files of whatever directory this is run in taken for the user's own.
#[test]
fn a_home_without_a_name_is_the_root() {
    assert_eq!(named_home(None), Path::new("/"));
    assert_eq!(named_home(Some("".into())), Path::new("/"));
    assert_eq!(named_home(Some("/home/me".into())), Path::new("/home/me"));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    assert!(Settings::read(Some(Path::new("/nonexistent/shipway.toml"))).is_err());
}
