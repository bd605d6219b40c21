//! Repositories as contexts and in ADD, from a server that is git's own.

pub(crate) mod trust;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use shipway_build::{BuildRequest, Context, DockerfileSource, RemoteContext, RunNetwork};
use shipway_container::{Egress, Image};
use shipway_oci::with_causes;
use shipway_testkit::{GitServer, GitServerOptions, git};

use crate::house::{House, request};

shipway_testkit::tests!(
    a_repository_is_a_context,
    a_repository_is_added_and_known_by_its_commit,
    a_kept_git_directory_is_one_to_git,
    servers_that_are_old_or_no_web_servers_are_understood,
);

/// Repositories and their server.
struct Forge {
    root: tempfile::TempDir,
    server: GitServer,
}

impl Forge {
    fn new(options: GitServerOptions) -> Self {
        let root = tempfile::tempdir().unwrap();
        let server = GitServer::start(root.path(), options).unwrap();
        Self { root, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A repository with one commit of these files.
    fn repository(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        git(&path, &["init", "--quiet"]).unwrap();
        self.commit(name, files);
        path
    }

    fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        let path = self.path(name);
        for (file, content) in files {
            let file = path.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        git(&path, &["add", "--all"]).unwrap();
        git(
            &path,
            &["commit", "--quiet", "--allow-empty", "--message", "A test"],
        )
        .unwrap();
        git(&path, &["rev-parse", "HEAD"]).unwrap()
    }

    /// A commit that has the repository `to` as a submodule, whose address is said to be `url`.
    fn link(&self, name: &str, at: &str, to: &Path, url: &str) {
        let commit = git(to, &["rev-parse", "HEAD"]).unwrap();
        let entry = format!("160000,{commit},{at}");
        let text = format!("[submodule \"{at}\"]\n\tpath = {at}\n\turl = {url}\n");
        let path = self.path(name);
        std::fs::write(path.join(".gitmodules"), text).unwrap();
        git(&path, &["add", ".gitmodules"]).unwrap();
        git(&path, &["update-index", "--add", "--cacheinfo", &entry]).unwrap();
        git(&path, &["commit", "--quiet", "--message", "A submodule"]).unwrap();
    }

    fn url(&self, name: &str) -> String {
        self.server.url(name)
    }
}

/// A build of a context that is fetched.
fn remote(url: &str) -> BuildRequest {
    let mut wanted = BuildRequest::new(RemoteContext::parse(url).unwrap().unwrap());
    wanted.network = RunNetwork::None;
    wanted.egress = Some(Egress::new([], ["127.0.0.1".parse().unwrap()]));
    wanted
}

/// A build without a context.
fn dockerfile(text: &str) -> BuildRequest {
    let mut wanted = request(Context::Empty, text);
    wanted.egress = Some(Egress::new([], ["127.0.0.1".parse().unwrap()]));
    wanted
}

async fn failure(house: &House, wanted: BuildRequest) -> String {
    let (result, _) = house.build(wanted).await;
    with_causes(&result.unwrap_err())
}

fn entries(house: &House, image: &Image) -> Vec<String> {
    let layers = image.layers.iter();
    layers.flat_map(|layer| house.layer(&layer.digest)).collect()
}

async fn a_repository_is_a_context() {
    let house = House::new().await;
    let forge = Forge::new(GitServerOptions::default());
    let path = forge.repository(
        "app.git",
        &[
            ("Dockerfile", "FROM scratch\nCOPY . /\n"),
            (".dockerignore", "left-out\n"),
            ("left-out", ""),
            ("run.sh", "true"),
            ("sub/Dockerfile", "FROM scratch\nCOPY f /sub\n"),
            ("sub/f", "first"),
        ],
    );
    std::os::unix::fs::symlink("sub/f", path.join("link")).unwrap();
    git(&path, &["update-index", "--chmod=+x", "run.sh"]).unwrap();
    std::fs::set_permissions(
        path.join("run.sh"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let first = forge.commit("app.git", &[]);
    git(&path, &["tag", "--annotate", "--message", "one", "v1"]).unwrap();
    let second = forge.commit("app.git", &[("sub/f", "second")]);
    git(&path, &["branch", "rel/2"]).unwrap();
    forge.commit("app.git", &[("sub/f", "third")]);

    let (built, _) = house.built(remote(&forge.url("app.git#v1"))).await;
    let image = house.image(&built);
    assert_eq!(
        entries(&house, &image),
        [
            "-0644 0:0   9 .dockerignore",
            "-0644 0:0  22 Dockerfile",
            "l0777 0:0   0 link -> sub/f",
            "-0755 0:0   4 run.sh",
            "d0755 0:0   0 sub/",
            "-0644 0:0  25 sub/Dockerfile",
            "-0644 0:0   5 sub/f",
        ]
    );
    // The image is as old as the commit.
    assert_eq!(image.config.created.as_deref(), Some("2001-09-09T01:46:40Z"));

    for (behind, content) in [
        ("#main:sub", "third"),
        ("#:sub", "third"),
        ("#rel/2:sub", "second"),
        ("?branch=rel/2&subdir=/sub/", "second"),
        ("?tag=v1&subdir=sub", "first"),
        (&format!("#{first}:sub"), "first"),
        (&format!("?subdir=sub&commit={}#rel/2", &second[..12]), "second"),
        (
            &format!("?subdir=sub&fetch-by-commit=1&commit={second}#refs/heads/gone"),
            "second",
        ),
    ] {
        let (built, _) = house.built(remote(&forge.url(&format!("app.git{behind}")))).await;
        let file = house.file(&house.image(&built), "sub");
        assert_eq!(file.as_deref(), Some(content.as_bytes()), "{behind}");
    }
    for (behind, words) in [
        ("#none", "no branch, tag or commit `none`"),
        ("#:none", "no folder `none`"),
        ("#:link", "no folder `link`"),
        ("?commit=0123456#main", "not 0123456"),
        (
            "#0123456789012345678901234567890123456789",
            "the server did not send it",
        ),
        ("?fetch-by-commit=1", "whole id of a commit"),
    ] {
        let said = failure(&house, remote(&forge.url(&format!("app.git{behind}")))).await;
        assert!(
            said.contains("cannot fetch the build context") && said.contains(words),
            "{behind}: {said}"
        );
    }
    let said = failure(&house, remote(&forge.url("none.git"))).await;
    assert!(said.contains("the server answered 404"), "{said}");
    let mut denied = remote(&forge.url("app.git"));
    denied.egress = Some(Egress::new([], []));
    let said = failure(&house, denied).await;
    assert!(
        said.contains("127.0.0.1") && said.contains("not permitted"),
        "{said}"
    );

    // The Dockerfile may come from elsewhere, and the time of the commit be that of everything.
    let mut wanted = remote(&forge.url("app.git#v1"));
    wanted.dockerfile = DockerfileSource::Path("sub/Dockerfile".into());
    let said = failure(&house, wanted).await;
    assert!(said.contains("sub/Dockerfile:2"), "{said}");
    let text = "FROM busybox\nCOPY --from=app sub/f /f\nCOPY --from=app /left-out /x\n";
    let mut wanted = dockerfile(text);
    let app = forge.url("app.git#v1").parse().unwrap();
    wanted.contexts.insert("app".parse().unwrap(), app);
    let said = failure(&house, wanted).await;
    assert!(
        said.contains("Dockerfile:3") && said.contains("left-out"),
        "{said}"
    );
}

async fn a_repository_is_added_and_known_by_its_commit() {
    let house = House::new().await;
    let forge = Forge::new(GitServerOptions::default());
    let path = forge.repository("lib.git", &[("a/x", "x"), ("a/y.md", "y"), ("b", "b")]);
    let commit = git(&path, &["rev-parse", "HEAD"]).unwrap();
    let url = forge.url("lib.git");
    let text = format!(
        "FROM scratch\nADD {url} /all/\nADD --chown=5:6 --exclude=*.md --checksum={commit} {url}#main:a /part\n"
    );
    let (built, _) = house.built(dockerfile(&text)).await;
    let image = house.image(&built);
    assert_eq!(
        entries(&house, &image),
        [
            "d0755 0:0   0 all/",
            "d0755 0:0   0 all/a/",
            "-0644 0:0   1 all/a/x",
            "-0644 0:0   1 all/a/y.md",
            "-0644 0:0   1 all/b",
            "d0755 5:6   0 part/",
            "-0644 5:6   1 part/x",
        ]
    );
    let fetched = |server: &GitServer| {
        server
            .heard()
            .iter()
            .filter(|line| line.starts_with("POST"))
            .count()
    };
    let before = fetched(&forge.server);
    let (again, witness) = house.built(dockerfile(&text)).await;
    assert_eq!((again.id, witness.cached()), (built.id, 2));
    // What the name stands for is asked, once for each; nothing is fetched.
    assert_eq!(fetched(&forge.server) - before, 2);
    forge.commit("lib.git", &[("b", "new")]);
    let (built, _) = house
        .built(dockerfile(&format!("FROM scratch\nADD {url} /\n")))
        .await;
    assert_eq!(
        house.file(&house.image(&built), "b").as_deref(),
        Some(&b"new"[..])
    );
    for (line, words) in [
        (
            format!("ADD --checksum={commit} {url} /x/"),
            format!("not {commit}"),
        ),
        (
            format!("ADD --checksum=sha256:abc {url} /x/"),
            "id of a commit".to_owned(),
        ),
        (format!("ADD {url}?ref=a#b /x/"), "ref conflicts".to_owned()),
        (format!("ADD {url}?nonsense=1 /x/"), "unexpected query".to_owned()),
    ] {
        let said = failure(&house, dockerfile(&format!("FROM scratch\n{line}\n"))).await;
        assert!(
            said.starts_with("Dockerfile:2") && said.contains(&words),
            "{line}: {said}"
        );
    }
}

/// Unpacks the files of an image's last layer.
fn unpacked(house: &House, image: &Image) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let layer = image.layers.last().unwrap();
    let mut bytes = Vec::new();
    let file = house.store.open_blob(&layer.digest).unwrap();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut bytes)
        .unwrap();
    tar::Archive::new(&bytes[..]).unpack(directory.path()).unwrap();
    directory
}

async fn a_kept_git_directory_is_one_to_git() {
    let house = House::new().await;
    let forge = Forge::new(GitServerOptions::default());
    let path = forge.repository("app.git", &[("sub/x", "x"), ("run.sh", "true"), ("ü", "ü")]);
    let commit = forge.commit("app.git", &[("y", "y")]);
    git(&path, &["tag", "--annotate", "--message", "one", "v1"]).unwrap();
    let url = forge.url("app.git");
    for (reference, name) in [("", "refs/heads/main"), ("#v1", "refs/tags/v1")] {
        let text = format!("FROM scratch\nADD --keep-git-dir=true {url}{reference} /\n");
        let (built, _) = house.built(dockerfile(&text)).await;
        let files = unpacked(&house, &house.image(&built));
        let at = files.path();
        git(at, &["fsck", "--full", "--strict"]).unwrap();
        assert_eq!(git(at, &["status", "--porcelain"]).unwrap(), "");
        assert_eq!(git(at, &["log", "--format=%H"]).unwrap(), commit);
        assert_eq!(
            git(at, &["rev-parse", &format!("{name}^{{commit}}")]).unwrap(),
            commit
        );
        assert_eq!(git(at, &["remote", "get-url", "origin"]).unwrap(), url);
        std::fs::write(at.join("y"), "changed").unwrap();
        assert_eq!(git(at, &["status", "--porcelain"]).unwrap(), " M y");
        // The same bits, though a server packs as it likes.
        git(&path, &["gc", "--quiet", "--prune=now", "--aggressive"]).unwrap();
        let mut again = dockerfile(&text);
        again.no_cache = true;
        assert_eq!(house.built(again).await.0.id, built.id);
    }
    let mut wanted = remote(&format!("{url}?keep-git-dir=1"));
    wanted.dockerfile = DockerfileSource::Bytes {
        bytes: b"FROM scratch\nCOPY .git/HEAD /\n".to_vec(),
        name: "Dockerfile".to_owned(),
        ignore: None,
    };
    let (built, _) = house.built(wanted).await;
    let head = house.file(&house.image(&built), "HEAD").unwrap();
    assert_eq!(String::from_utf8(head).unwrap(), format!("{commit}\n"));
}

async fn servers_that_are_old_or_no_web_servers_are_understood() {
    let house = House::new().await;
    let forge = Forge::new(GitServerOptions {
        oldest_protocol: true,
        ..GitServerOptions::default()
    });
    let path = forge.repository("old.git", &[("f", "old")]);
    let first = git(&path, &["rev-parse", "HEAD"]).unwrap();
    forge.commit("old.git", &[("f", "new")]);
    let url = forge.url("old.git");
    // A commit that no branch ends with is not given by its id there: it comes with the branches.
    for (behind, content) in [("", "new"), ("#main", "new"), (&format!("#{first}"), "old")] {
        let (built, _) = house
            .built(dockerfile(&format!("FROM scratch\nADD {url}{behind} /\n")))
            .await;
        assert_eq!(
            house.file(&house.image(&built), "f").as_deref(),
            Some(content.as_bytes()),
            "{behind}"
        );
    }

    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    // The program itself: `git daemon` leaves it behind when it is killed.
    let programs = git(forge.root.path(), &["--exec-path"]).unwrap();
    let mut daemon = std::process::Command::new(Path::new(&programs).join("git-daemon"))
        .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
        .envs([
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "*"),
        ])
        .arg(format!("--base-path={}", forge.root.path().display()))
        .arg(format!("--port={port}"))
        .spawn()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    shipway_testkit::wait_for(std::time::Duration::from_secs(20), || {
        std::net::TcpStream::connect(&address).map_err(|error| error.to_string())
    })
    .unwrap();
    let (result, _) = house
        .build(dockerfile(&format!(
            "FROM scratch\nADD git://{address}/old.git /\n"
        )))
        .await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let image = house.image(&result.unwrap());
    assert_eq!(house.file(&image, "f").as_deref(), Some(&b"new"[..]));
}
