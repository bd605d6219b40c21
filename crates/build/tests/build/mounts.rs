//! `RUN --mount` with all that can be said of a mount, against what BuildKit makes of it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use shipway_build::{BuildRequest, Context, SecretBytes};
use shipway_oci::with_causes;
use shipway_testkit::{succeed, wait_for};

use crate::house::{House, context, request};

shipway_testkit::tests!(
    a_secret_is_in_one_step_and_nowhere_else,
    a_secret_that_is_missing_or_no_text,
    an_agent_lists_and_signs,
    a_cache_begins_with_what_a_stage_has,
    caches_of_other_owners_are_others,
    private_caches_do_not_wait,
    memory_has_a_size,
    what_nobody_allowed_is_refused,
    what_the_caller_puts_around_steps,
);

fn with_secret(mut request: BuildRequest, id: &str, bytes: &[u8]) -> BuildRequest {
    let secret = SecretBytes::new(bytes.to_vec());
    request.secrets.insert(id.to_owned(), secret);
    request
}

/// The files below a directory that hold some bytes.
fn holding(directory: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(holding(&path, needle));
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|at| at == needle)) {
            found.push(path);
        }
    }
    found
}

async fn a_secret_is_in_one_step_and_nowhere_else() {
    let house = House::new().await;
    let text = "FROM busybox\n\
        ENV SECRET_ENV=foo\n\
        RUN --mount=type=secret,required=false,mode=741,uid=100,gid=102,target=/token \
            [ \"$(stat -c '%u %g %f' /token)\" = '100 102 81e1' ] && ! echo x > /token\n\
        RUN [ ! -e /token ] && [ ! -e /run/secrets ]\n\
        RUN --mount=type=secret,id=token,env=SECRET_ENV [ ${#SECRET_ENV} = 12 ] && [ ! -e /run/secrets/token ]\n\
        RUN --mount=type=secret,id=token,target=/run/secrets/other,env=SECRET_ENV \
            [ ${#SECRET_ENV} = 12 ] && [ -f /run/secrets/other ]\n\
        RUN --mount=type=secret,source=token,env= [ ${#token} = 12 ]\n\
        RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /size; mount | grep 'secrets/token'\n\
        RUN --mount=type=tmpfs,target=/t --mount=type=secret,id=token,target=/t/in cat /t/in | wc -c\n";
    let request = with_secret(request(Context::Empty, text), "token", b"swordfish-42");
    let (built, witness) = house.built(request).await;
    assert!(
        witness.output(8).contains("tmpfs") && witness.output(8).contains("ro,"),
        "{}",
        witness.output(8)
    );
    assert_eq!(witness.output(9), "12\n");
    let image = house.image(&built);
    assert_eq!(house.file(&image, "size").unwrap(), b"12\n");
    assert!(
        !image
            .config
            .to_json()
            .unwrap()
            .windows(9)
            .any(|at| at == b"swordfish")
    );
    for layer in &image.layers[1..] {
        let names = house.layer(&layer.digest);
        assert!(names.iter().all(|line| !line.contains("token")), "{names:?}");
    }
    assert_eq!(
        holding(house.directory.path(), b"swordfish-42"),
        Vec::<PathBuf>::new()
    );
}

async fn a_secret_that_is_missing_or_no_text() {
    let house = House::new().await;
    for (text, secret, expected) in [
        ("id=token,required", None, "the secret `token` was not given"),
        (
            "id=token,env=T",
            Some(&b"swordfish\0"[..]),
            "cannot be the variable `T`",
        ),
        (
            "id=token,env=T",
            Some(&b"swordfish\xff"[..]),
            "cannot be the variable `T`",
        ),
    ] {
        let text = format!("FROM busybox\nRUN --mount=type=secret,{text} true\n");
        let mut wanted = request(Context::Empty, &text);
        if let Some(secret) = secret {
            wanted = with_secret(wanted, "token", secret);
        }
        let (result, _) = house.build(wanted).await;
        let said = with_causes(&result.unwrap_err());
        assert!(said.contains(expected) && !said.contains("swordfish"), "{said}");
    }
    let text = "FROM busybox\nRUN --mount=type=secret,id=token [ ! -e /run/secrets/token ]\n\
                RUN --mount=type=ssh [ -z \"$SSH_AUTH_SOCK\" ]\n";
    house.built(request(Context::Empty, text)).await;
}

/// OpenSSH's agent with one key.
struct Agent {
    process: Child,
    directory: tempfile::TempDir,
}

impl Agent {
    fn start() -> Self {
        // An address has room for 108 bytes.
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let process = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(directory.path().join("agent"))
            .stdout(Stdio::null())
            .spawn()
            .expect("install the package openssh-client");
        let agent = Self { process, directory };
        wait_for(Duration::from_secs(30), || match agent.socket().exists() {
            true => Ok(()),
            false => Err("the agent does not listen".to_owned()),
        })
        .unwrap();
        let key = agent.directory.path().join("key");
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-C", "of the test", "-f"]);
        succeed(make.arg(&key)).unwrap();
        let mut add = Command::new("ssh-add");
        succeed(add.arg("-q").arg(&key).env("SSH_AUTH_SOCK", agent.socket())).unwrap();
        agent
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A program of this machine with its libraries, where they belong.
fn program(name: &str, into: &Path) {
    let listed = Command::new("ldd").arg(name).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let libraries = listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    for file in libraries.chain([name]) {
        let to = into.join(file.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(file, to).unwrap();
    }
}

async fn an_agent_lists_and_signs() {
    let house = House::new().await;
    let agent = Agent::start();
    let (folder, files) = context(&[("text", "to be signed")]);
    for name in ["/usr/bin/ssh-add", "/usr/bin/ssh-keygen"] {
        program(name, &folder.path().join("root"));
    }
    let key = agent.directory.path().join("key.pub");
    std::fs::copy(key, folder.path().join("key.pub")).unwrap();
    let text = "FROM busybox\n\
        COPY root /\n\
        COPY text key.pub /\n\
        RUN --mount=type=ssh,required ssh-add -l && ! ssh-add -D && ssh-add -l | wc -l\n\
        RUN --mount=type=ssh ssh-keygen -q -Y sign -n file -f /key.pub /text && head -1 /text.sig\n\
        RUN --mount=type=ssh,mode=741,uid=100,gid=102 \
            [ \"$(stat -c '%u %g %f' $SSH_AUTH_SOCK)\" = '100 102 c1e1' ]\n\
        RUN --mount=type=ssh,uid=1000,target=/agent --mount=type=ssh,id=default \
            echo $SSH_AUTH_SOCK; ls /run/buildkit\n\
        USER ann\n\
        RUN --mount=type=ssh,uid=1000 ssh-add -l\n\
        RUN --mount=type=ssh ! ssh-add -l 2>&1\n\
        RUN [ ! -e /run/buildkit ] && [ -z \"$SSH_AUTH_SOCK\" ]\n";
    let mut wanted = request(files, text);
    wanted.ssh.insert("default".to_owned(), agent.socket());
    let (built, witness) = house.built(wanted).await;
    let listed = witness.output(4);
    assert!(
        listed.contains("of the test (ED25519)") && listed.ends_with("1\n"),
        "{listed}"
    );
    assert!(
        witness.output(5).contains("BEGIN SSH SIGNATURE"),
        "{}",
        witness.output(5)
    );
    assert_eq!(witness.output(7), "/agent\nssh_agent.1\n");
    assert!(witness.output(9).contains("of the test"), "{}", witness.output(9));
    assert!(
        witness.output(10).contains("Permission denied"),
        "{}",
        witness.output(10)
    );
    let image = house.image(&built);
    for layer in &image.layers[1..] {
        let names = house.layer(&layer.digest);
        assert!(names.iter().all(|line| !line.contains("agent")), "{names:?}");
    }
    let text = "FROM busybox\nRUN --mount=type=ssh,id=git,required true\n";
    let (result, _) = house.build(request(Context::Empty, text)).await;
    let said = with_causes(&result.unwrap_err());
    assert!(said.contains("no ssh agent was given for `git`"), "{said}");
}

async fn a_cache_begins_with_what_a_stage_has() {
    let house = House::new().await;
    let text = "FROM busybox AS other\n\
        RUN mkdir -p /d/e && echo seed > /d/e/f\n\
        FROM busybox\n\
        RUN --mount=type=cache,target=/c,from=other,source=/d cat /c/e/f; echo more >> /c/e/f\n\
        RUN --mount=type=cache,target=/c,from=other,source=/d cat /c/e/f; echo again\n\
        RUN --mount=type=cache,target=/c ls /c | wc -l\n\
        RUN --mount=type=cache,target=/c,from=other,source=/d,uid=7,mode=0700 stat -c '%u %a' /c; cat /c/e/f\n\
        RUN --mount=type=cache,target=/c --mount=type=cache,id=/c,target=/d,sharing=locked touch /c/x && ls /d\n";
    let (_, witness) = house.built(request(Context::Empty, text)).await;
    assert_eq!(witness.output(4), "seed\n");
    assert_eq!(witness.output(5), "seed\nmore\nagain\n");
    assert_eq!(witness.output(6), "0\n");
    assert_eq!(witness.output(7), "7 700\nseed\n");
    assert_eq!(witness.output(8), "x\n");
    for (mount, expected) in [
        ("target=/c,source=/d", "needs from="),
        ("target=/c,from=busybox,source=/bin/busybox", "is a file"),
        ("target=/c,from=busybox,source=/nowhere", "not found"),
    ] {
        let text = format!("FROM busybox\nRUN --mount=type=cache,{mount} true\n");
        let (result, _) = house.build(request(Context::Empty, &text)).await;
        let said = with_causes(&result.unwrap_err());
        assert!(said.contains(expected), "{mount}: {said}");
    }
}

async fn caches_of_other_owners_are_others() {
    let house = House::new().await;
    let text = "FROM busybox\n\
        RUN --mount=type=cache,target=/c touch /c/of-root\n\
        RUN --mount=type=cache,target=/c,uid=1001,gid=1002,mode=0751 \
            [ \"$(stat -c '%u %g %f' /c)\" = '1001 1002 41e9' ] && [ ! -e /c/of-root ]\n\
        RUN --mount=type=cache,target=/c [ -e /c/of-root ]\n\
        RUN --mount=type=cache,target=/c,ro ! touch /c/x\n";
    house.built(request(Context::Empty, text)).await;
}

async fn private_caches_do_not_wait() {
    let house = House::new().await;
    // Both have the cache at the same time, as the shared one where they meet shows, and neither sees the other's mark.
    let meet = |mine: &str, other: &str| {
        format!(
            "FROM busybox AS {mine}\nRUN --mount=type=cache,target=/c,sharing=private --mount=type=cache,target=/meet \\\n\
             touch /c/{mine} /meet/{mine}; while test ! -e /meet/{other}; do sleep 0.01; done; ls /c > /{mine}\n"
        )
    };
    let text = meet("left", "right")
        + &meet("right", "left")
        + "FROM scratch\nCOPY --from=left /left /\nCOPY --from=right /right /\n";
    let mut both = request(Context::Empty, &text);
    both.parallel_stages = 2;
    let (built, _) = tokio::time::timeout(Duration::from_secs(60), house.built(both))
        .await
        .expect("they meet");
    let image = house.image(&built);
    assert_eq!(house.file(&image, "left").unwrap(), b"left\n");
    assert_eq!(house.file(&image, "right").unwrap(), b"right\n");
}

async fn memory_has_a_size() {
    let house = House::new().await;
    let text = "FROM busybox\n\
        RUN --mount=type=tmpfs,target=/dev/shm,size=128m mount | grep /dev/shm\n\
        RUN --mount=type=tmpfs,target=/t,size=64k ! dd if=/dev/zero of=/t/x bs=1k count=128\n\
        RUN [ ! -e /t ]\n";
    let (_, witness) = house.built(request(Context::Empty, text)).await;
    assert!(
        witness.output(2).contains("size=131072k"),
        "{}",
        witness.output(2)
    );
}

async fn what_nobody_allowed_is_refused() {
    let house = House::new().await;
    for (flag, entitlement) in [
        ("--network=host", "network.host"),
        ("--security=insecure", "security.insecure"),
    ] {
        let text = format!("FROM busybox\nRUN {flag} true\n");
        let (result, _) = house.build(request(Context::Empty, &text)).await;
        let said = with_causes(&result.unwrap_err());
        assert!(said.contains(&format!("{entitlement} is not allowed")), "{said}");
        let mut allowed = request(Context::Empty, &text);
        allowed.entitlements.network_host = true;
        allowed.entitlements.security_insecure = true;
        house.built(allowed).await;
    }
}

async fn what_the_caller_puts_around_steps() {
    let house = House::new().await;
    let text = "FROM busybox AS one\n\
        RUN grep -w db /etc/hosts && mount | grep /dev/shm\n\
        FROM one AS two\nRUN true\n";
    let plain = || request(Context::Empty, text);
    let mut asked = plain();
    asked.extra_hosts = vec![("db".to_owned(), "10.0.0.7".parse().unwrap())];
    asked.shm_size = Some(8 << 20);
    let (_, witness) = house.built(asked.clone()).await;
    let said = witness.output(2);
    assert!(
        said.contains("10.0.0.7\tdb") && said.contains("size=8192k"),
        "{said}"
    );
    asked.no_cache_stages = ["two".to_owned()].into();
    let (_, witness) = house.built(asked).await;
    assert_eq!(witness.cached(), 1, "{:?}", witness.log());
    let (result, _) = house.build(plain()).await;
    result.expect_err("without the host grep fails, and nothing of the others is taken for it");
}
