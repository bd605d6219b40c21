//! What a repository can make of a build: it reaches no other place, learns no secret, and fills no memory.

use std::path::Path;

use shipway_build::SecretBytes;
use shipway_testkit::{GitServerOptions, git, git_object};

use super::{Forge, dockerfile, failure};
use crate::house::House;

shipway_testkit::tests!(
    submodules_come_from_servers_only,
    who_asks_is_told_to_the_server_alone,
    a_secret_goes_to_no_server_that_a_repository_names,
    repositories_that_are_traps_are_refused,
);

async fn submodules_come_from_servers_only() {
    let house = House::new().await;
    let forge = Forge::new(GitServerOptions::default());
    let inner = forge.repository("inner.git", &[("i", "inner")]);
    let outer = forge.repository("outer.git", &[("o", "outer")]);
    forge.link("outer.git", "deep/inner", &inner, "../inner.git");
    forge.repository("app.git", &[("a", "app")]);
    forge.link("app.git", "lib/outer", &outer, &forge.url("outer.git"));
    let url = forge.url("app.git");
    let (built, _) = house
        .built(dockerfile(&format!("FROM scratch\nADD {url} /\n")))
        .await;
    let image = house.image(&built);
    for (path, content) in [
        ("a", "app"),
        ("lib/outer/o", "outer"),
        ("lib/outer/deep/inner/i", "inner"),
    ] {
        assert_eq!(
            house.file(&image, path).as_deref(),
            Some(content.as_bytes()),
            "{path}"
        );
    }
    let text = format!("FROM scratch\nADD {url}?submodules=false /\nADD {url}#:lib /lib/\n");
    let (built, _) = house.built(dockerfile(&text)).await;
    let image = house.image(&built);
    assert_eq!(house.file(&image, "lib/outer/o").as_deref(), Some(&b"outer"[..]));
    assert!(
        house
            .layer(&image.layers[0].digest)
            .iter()
            .all(|line| !line.ends_with(" lib/outer/o"))
    );

    let secret = tempfile::tempdir().unwrap();
    std::fs::create_dir(secret.path().join("repository")).unwrap();
    let secret = secret.path().join("repository");
    git(&secret, &["init", "--quiet"]).unwrap();
    git(
        &secret,
        &["commit", "--quiet", "--allow-empty", "--message", "A secret"],
    )
    .unwrap();
    for (number, url) in [
        format!("file://{}", secret.display()),
        secret.display().to_string(),
        "ext::sh -c 'touch /tmp/escaped'".to_owned(),
        "-u./payload".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("trap{number}.git");
        forge.repository(&name, &[]);
        forge.link(&name, "sub", &inner, &url);
        let said = failure(
            &house,
            dockerfile(&format!("FROM scratch\nADD {} /\n", forge.url(&name))),
        )
        .await;
        assert!(
            said.contains("the submodule sub") && said.contains("no address of a git server"),
            "{url}: {said}"
        );
    }
    // Every connection of a submodule asks the policy, too.
    forge.repository("far.git", &[]);
    forge.link("far.git", "sub", &inner, "http://169.254.169.254/inner.git");
    let said = failure(
        &house,
        dockerfile(&format!("FROM scratch\nADD {} /\n", forge.url("far.git"))),
    )
    .await;
    assert!(
        said.contains("169.254.169.254") && said.contains("not permitted"),
        "{said}"
    );
    // A repository inside itself ends.
    let path = forge.repository("self.git", &[]);
    forge.link("self.git", "again", &path, "../self.git");
    let (built, _) = house
        .built(dockerfile(&format!(
            "FROM scratch\nADD {} /\n",
            forge.url("self.git")
        )))
        .await;
    assert_eq!(house.image(&built).layers.len(), 1);
}

async fn who_asks_is_told_to_the_server_alone() {
    let house = House::new().await;
    // `x-access-token:s3cret`
    let expected = "Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0";
    let elsewhere = Forge::new(GitServerOptions::default());
    elsewhere.repository("public.git", &[("p", "public")]);
    let forge = Forge::new(GitServerOptions {
        authorization: Some(expected.to_owned()),
        redirects: [(
            "/moved.git/info/refs".to_owned(),
            elsewhere.url("public.git/info/refs"),
        )]
        .into(),
        ..GitServerOptions::default()
    });
    forge.repository("private.git", &[("f", "private")]);
    let url = forge.url("private.git");
    let host = url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let text = format!("FROM scratch\nADD {url} /\n");
    let said = failure(&house, dockerfile(&text)).await;
    assert!(said.contains("GIT_AUTH_TOKEN") && said.contains("401"), "{said}");
    let with = |name: &str, value: &str, text: &str| {
        let mut wanted = dockerfile(text);
        let secret = SecretBytes::new(value.as_bytes().to_vec());
        wanted.secrets.insert(name.to_owned(), secret);
        wanted
    };
    for (name, value) in [
        ("GIT_AUTH_TOKEN".to_owned(), "s3cret\n"),
        (format!("GIT_AUTH_TOKEN.{host}"), "s3cret"),
        ("GIT_AUTH_HEADER".to_owned(), expected),
    ] {
        let mut wanted = with(&name, value, &text);
        wanted.no_cache = true;
        let (built, _) = house.built(wanted).await;
        assert_eq!(
            house.file(&house.image(&built), "f").as_deref(),
            Some(&b"private"[..]),
            "{name}"
        );
    }
    let said = failure(&house, with("GIT_AUTH_TOKEN.other.test", "s3cret", &text)).await;
    assert!(said.contains("401"), "{said}");
    let in_address = text.replace("http://", "http://x-access-token:s3cret@");
    let (built, _) = house.built(dockerfile(&in_address)).await;
    assert_eq!(house.image(&built).layers.len(), 1);
    // A redirect to somewhere else, and who is there learns nothing.
    let moved = format!("FROM scratch\nADD {} /\n", forge.url("moved.git"));
    let (built, _) = house.built(with("GIT_AUTH_TOKEN", "s3cret", &moved)).await;
    assert_eq!(
        house.file(&house.image(&built), "p").as_deref(),
        Some(&b"public"[..])
    );
    let heard = elsewhere.server.heard();
    assert!(
        !heard.is_empty() && heard.iter().all(|line| !line.contains("Basic")),
        "{heard:?}"
    );
}

async fn a_secret_goes_to_no_server_that_a_repository_names() {
    let house = House::new().await;
    let elsewhere = Forge::new(GitServerOptions::default());
    let other = elsewhere.repository("other.git", &[("o", "other")]);
    let forge = Forge::new(GitServerOptions {
        // `x-access-token:s3cret`
        authorization: Some("Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0".to_owned()),
        ..GitServerOptions::default()
    });
    let own = forge.repository("own.git", &[("f", "own")]);
    for (name, to, url) in [
        ("near.git", &own, "../own.git".to_owned()),
        ("far.git", &other, elsewhere.url("other.git")),
    ] {
        forge.repository(name, &[("f", name)]);
        forge.link(name, "sub", to, &url);
        let mut wanted = dockerfile(&format!("FROM scratch\nADD {} /\n", forge.url(name)));
        let secret = SecretBytes::new(b"s3cret".to_vec());
        wanted.secrets.insert("GIT_AUTH_TOKEN".to_owned(), secret);
        let (built, _) = house.built(wanted).await;
        assert_eq!(house.image(&built).layers.len(), 1, "{name}");
    }
    let heard = elsewhere.server.heard();
    assert!(
        !heard.is_empty() && heard.iter().all(|line| !line.contains("Basic")),
        "{heard:?}"
    );
}

/// A commit of a tree, as the branch `main`.
fn commit_tree(path: &Path, tree: &str) {
    let commit = git(path, &["commit-tree", "-m", "A trap", tree]).unwrap();
    git(path, &["update-ref", "refs/heads/main", &commit]).unwrap();
}

fn entry(mode: &str, name: &str, id: &str) -> Vec<u8> {
    let mut bytes = format!("{mode} {name}\0").into_bytes();
    bytes.extend(
        (0..id.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()),
    );
    bytes
}

async fn trapped(house: &House, forge: &Forge, name: &str) -> String {
    let text = format!("FROM scratch\nADD {} /\n", forge.url(name));
    failure(house, dockerfile(&text)).await
}

async fn repositories_that_are_traps_are_refused() {
    let house = House::new().await;
    let forge = Forge::new(GitServerOptions::default());
    // Twelve levels of ten times the same: a kilobyte that is a million million files.
    let path = forge.repository("bomb.git", &[]);
    let mut id = git_object(&path, "blob", b"x").unwrap();
    for level in 0..12 {
        let mode = if level == 0 { "100644" } else { "40000" };
        let tree: Vec<u8> = (0..10)
            .flat_map(|name| entry(mode, &name.to_string(), &id))
            .collect();
        id = git_object(&path, "tree", &tree).unwrap();
    }
    commit_tree(&path, &id);
    let error = trapped(&house, &forge, "bomb.git").await;
    assert!(error.contains("too large"), "{error}");

    let path = forge.repository("deep.git", &[]);
    let mut id = git_object(&path, "blob", b"x").unwrap();
    for level in 0..400 {
        let mode = if level == 0 { "100644" } else { "40000" };
        id = git_object(&path, "tree", &entry(mode, "d", &id)).unwrap();
    }
    commit_tree(&path, &id);
    let error = trapped(&house, &forge, "deep.git").await;
    assert!(error.contains("too large"), "{error}");

    for (number, (name, mode, words)) in [
        ("..", "40000", "no name for a file"),
        (".GIT", "100644", "called `.git`"),
        ("a/b", "100644", "no name for a file"),
    ]
    .into_iter()
    .enumerate()
    {
        let repository = format!("name{number}.git");
        let path = forge.repository(&repository, &[]);
        let blob = git_object(&path, "blob", b"x").unwrap();
        let empty = git_object(&path, "tree", b"").unwrap();
        let id = if mode == "40000" { empty } else { blob };
        let tree = git_object(&path, "tree", &entry(mode, name, &id)).unwrap();
        commit_tree(&path, &tree);
        let error = trapped(&house, &forge, &repository).await;
        assert!(error.contains(words), "{name}: {error}");
    }
    // A file and a folder of one name: the first is a link out of the context.
    let path = forge.repository("twice.git", &[]);
    let link = git_object(&path, "blob", b"/etc").unwrap();
    let file = git_object(&path, "blob", b"x").unwrap();
    let folder = git_object(&path, "tree", &entry("100644", "passwd", &file)).unwrap();
    let both = [entry("120000", "d", &link), entry("40000", "d", &folder)].concat();
    let tree = git_object(&path, "tree", &both).unwrap();
    commit_tree(&path, &tree);
    let error = trapped(&house, &forge, "twice.git").await;
    assert!(error.contains("there twice"), "{error}");
}
