//! Caches of builds between machines: through registries, ours and Debian's docker-registry, and within one data directory between
//! processes.

mod mounts;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, Peer, wait_for};

use crate::harness::{CREDENTIALS, User, finish};

/// A registry of other people's. Its log is the evidence of what was asked of it.
struct Foreign {
    registry: Child,
    address: String,
    log: PathBuf,
    _files: tempfile::TempDir,
}

impl Foreign {
    fn start(program: &Peer) -> Result<Self> {
        let files = tempfile::tempdir()?;
        let root = files.path();
        let settings = serde_json::json!({
            "version": "0.1",
            "storage": { "filesystem": { "rootdirectory": root.join("data") } },
            "http": { "addr": "127.0.0.1:0" },
        });
        // JSON is YAML.
        std::fs::write(root.join("config.yml"), settings.to_string())?;
        let log = root.join("log");
        let output = std::fs::File::create(&log)?;
        let registry = Command::new(program.path())
            .arg("serve")
            .arg(root.join("config.yml"))
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .spawn()?;
        let mut foreign = Self {
            registry,
            address: String::new(),
            log,
            _files: files,
        };
        wait_for(Duration::from_secs(20), || {
            let said = foreign.said().map_err(|error| error.to_string())?;
            let port = said.split("listening on 127.0.0.1:").nth(1);
            let port = port.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
            match port {
                Some(port) => {
                    foreign.address = format!("127.0.0.1:{port}");
                    Ok(())
                }
                None => Err(format!("the registry does not listen:\n{said}")),
            }
        })?;
        Ok(foreign)
    }

    fn said(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// How often a request like this was made.
    fn asked(&self, like: &str) -> Result<usize> {
        Ok(self.said()?.matches(like).count())
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // Gone already is as good as ended.
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

/// A context with two stages, the second of which takes something of the first.
fn staged(user: &User) -> Result<PathBuf> {
    let context = user.busybox_context("staged")?;
    let dockerfile = "FROM scratch AS base\n\
        COPY busybox /bin/\n\
        RUN [\"/bin/busybox\", \"touch\", \"/made\"]\n\
        FROM base\n\
        COPY given /given\n\
        RUN [\"/bin/busybox\", \"cp\", \"/given\", \"/copied\"]\n";
    std::fs::write(context.join("Dockerfile"), dockerfile)?;
    std::fs::write(context.join("given"), "given\n")?;
    user.home.account().own(&context)?;
    Ok(context)
}

fn build(user: &User, context: &Path, arguments: &[&str]) -> Result<(String, String)> {
    let mut command = user.shipway(&["build"]);
    let output = finish(command.args(arguments).arg(context))?;
    let said = utf8(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok((utf8(&output.stdout).trim().to_owned(), said))
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn cached(said: &str) -> usize {
    let is_cached =
        |line: &&str| line.trim().to_ascii_lowercase().ends_with("cached") && !line.contains("not cached");
    said.lines().filter(is_cached).count()
}

fn login(user: &User, registry: &str) -> Result<()> {
    let (name, password) = CREDENTIALS.split_once(':').context("a name and a password")?;
    let mut login = user.shipway(&["login", "--username", name, "--password-stdin", registry]);
    let mut process = login.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut input = process.stdin.take().context("standard input")?;
    input.write_all(password.as_bytes())?;
    drop(input);
    ensure!(process.wait()?.success(), "`shipway login` failed");
    Ok(())
}

#[test]
fn another_machine_finds_every_step_in_a_registry() -> Result<()> {
    let Some(program) = Peer::find("docker-registry") else {
        return Ok(());
    };
    let registry = Foreign::start(&program)?;
    let cache = format!("{}/group/app:cache", registry.address);
    let image = format!("{}/group/app:1", registry.address);
    let (one, two) = (User::new(Account::Caller)?, User::new(Account::Caller)?);
    let contexts = [staged(&one)?, staged(&two)?];
    let to = format!("type=registry,ref={cache},mode=max");
    let (first, said) = build(
        &one,
        &contexts[0],
        &["--cache-to", &to, "--cache-from", &cache, "--push", "-t", &image],
    )?;
    ensure!(said.contains("there is none yet"), "{said}");
    ensure!(cached(&said) == 0, "{said}");
    // The image's layers are there when the cache is written: the log has an upload for each blob and no more.
    let uploads = registry.asked("PUT /v2/group/app/blobs/uploads/")?;
    ensure!(uploads > 0, "{}", registry.said()?);

    let (second, said) = build(&two, &contexts[1], &["--cache-from", &cache, "--cache-to", &to])?;
    ensure!(first == second, "{first} {second}");
    ensure!(cached(&said) == 4, "{said}");
    // What an import showed to be there is neither sent nor asked for.
    let again = registry.asked("PUT /v2/group/app/blobs/uploads/")?;
    ensure!(again == uploads, "{} blobs were sent again", again - uploads);
    let heads = registry.asked("HEAD /v2/group/app/blobs/")?;
    let (_, _) = build(&two, &contexts[1], &["--cache-from", &cache, "--cache-to", &to])?;
    ensure!(
        registry.asked("HEAD /v2/group/app/blobs/")? == heads,
        "a blob was asked for that is known"
    );

    // Into another repository of the registry layers are mounted.
    let other = format!(
        "type=registry,ref={}/group/other:cache,mode=max",
        registry.address
    );
    build(
        &two,
        &contexts[1],
        &["--cache-from", &cache, "--cache-to", &other],
    )?;
    ensure!(
        registry.asked("&from=group/app HTTP/1.1\" 201")? > 0,
        "{}",
        registry.said()?
    );
    Ok(())
}

#[test]
fn the_own_registry_takes_caches_and_a_failed_export_spares_the_image() -> Result<()> {
    let (one, two) = (User::new(Account::Caller)?, User::new(Account::Caller)?);
    let contexts = [staged(&one)?, staged(&two)?];
    let registry = one.serve()?;
    let cache = format!("{}/group/app:cache", registry.address);
    let inline = format!("{}/group/app:inline", registry.address);
    let all = format!("type=registry,ref={cache},mode=max");
    let (first, _) = build(&one, &contexts[0], &["--cache-to", &all])?;
    // Nobody is let in without a name.
    let denied = finish(
        two.shipway(&["build", "--cache-to"])
            .arg(format!("type=registry,ref={cache}"))
            .arg(&contexts[1]),
    )?;
    ensure!(denied.status.code() == Some(1), "{}", utf8(&denied.stderr));
    ensure!(
        utf8(&denied.stdout).trim() == first,
        "the image was built: {}",
        utf8(&denied.stdout)
    );
    let ignoring = format!("type=registry,ref={cache},ignore-error=true");
    let (_, said) = build(&two, &contexts[1], &["--cache-to", &ignoring])?;
    ensure!(said.contains("the cache was not exported"), "{said}");

    login(&two, &registry.address)?;
    let third = User::new(Account::Caller)?;
    let context = staged(&third)?;
    login(&third, &registry.address)?;
    let (again, said) = build(&third, &context, &["--cache-from", &cache])?;
    ensure!((again, cached(&said)) == (first, 4), "{said}");
    // An image that carries its own.
    build(
        &two,
        &contexts[1],
        &["--cache-to", "type=inline", "--push", "-t", &inline],
    )?;
    let fourth = User::new(Account::Caller)?;
    let context = staged(&fourth)?;
    login(&fourth, &registry.address)?;
    let (_, said) = build(&fourth, &context, &["--cache-from", &inline])?;
    ensure!(cached(&said) == 4, "{said}");
    Ok(())
}

/// A build whose RUN says `begun` and lasts as an argument says that is in no key.
fn slow(user: &User, lasts: &str) -> Result<Command> {
    let context = user.busybox_context("slow")?;
    let script = "echo beg''un; [ $HTTP_PROXY = go ] || /bin/busybox sleep $HTTP_PROXY; \
        /bin/busybox cat /proc/sys/kernel/random/uuid > /once";
    let command = serde_json::json!(["/bin/busybox", "sh", "-c", script]);
    let dockerfile = format!("FROM scratch\nCOPY busybox /bin/busybox\nRUN {command}\n");
    std::fs::write(context.join("Dockerfile"), dockerfile)?;
    let mut build = user.shipway(&["build", "--build-arg"]);
    build.arg(format!("HTTP_PROXY={lasts}")).arg(context);
    build.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(build)
}

/// Starts a build and reads on until it says that.
fn until(child: &mut Child, said: &mut String, mark: &str) -> Result<()> {
    let errors = child.stderr.as_mut().context("its errors")?;
    let mut buffer = [0; 4096];
    while !said.contains(mark) {
        let length = errors.read(&mut buffer)?;
        ensure!(length > 0, "it ended without saying `{mark}`:\n{said}");
        said.push_str(&utf8(&buffer[..length]));
    }
    Ok(())
}

/// What a build gave.
fn outcome(mut child: Child, said: &mut String) -> Result<String> {
    let mut errors = child.stderr.take().context("its errors")?;
    errors.read_to_string(said)?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{said}");
    Ok(utf8(&output.stdout).trim().to_owned())
}

#[test]
fn two_processes_carry_out_a_step_once() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let mut first = slow(&user, "2")?.spawn()?;
    let (mut said, mut heard) = (String::new(), String::new());
    until(&mut first, &mut said, "begun")?;
    let second = outcome(slow(&user, "go")?.spawn()?, &mut heard)?;
    ensure!(outcome(first, &mut said)? == second, "{said}\n{heard}");
    ensure!(!heard.contains("begun"), "{heard}");
    Ok(())
}

#[test]
fn the_death_of_a_build_frees_who_waits_for_its_step() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let mut first = slow(&user, "600")?.spawn()?;
    let (mut said, mut heard) = (String::new(), String::new());
    until(&mut first, &mut said, "begun")?;
    let mut second = slow(&user, "go")?.spawn()?;
    // It may have waited for the COPY as well.
    until(&mut second, &mut heard, "/once")?;
    let mut at_run = heard.rsplit("/once").next().unwrap_or_default().to_owned();
    until(&mut second, &mut at_run, "another build")?;
    heard.push_str(&at_run);
    ensure!(!heard.contains("begun"), "{heard}");
    first.kill()?;
    first.wait()?;
    outcome(second, &mut heard)?;
    ensure!(heard.contains("begun"), "{heard}");
    let locks = user.home.data().join("cache-locks");
    let left = std::fs::read_dir(locks)?.count();
    ensure!(left == 0, "{left} locks are left");
    Ok(())
}

#[test]
fn the_cache_is_shown_and_made_smaller() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let context = staged(&user)?;
    build(&user, &context, &[])?;
    let cache = |arguments: &[&str]| -> Result<String> {
        let output = finish(user.shipway(&["cache"]).args(arguments))?;
        ensure!(output.status.success(), "{}", utf8(&output.stderr));
        Ok(utf8(&output.stdout))
    };
    let listed: serde_json::Value = serde_json::from_str(&cache(&["ls", "--json"])?)?;
    let steps: Vec<&str> = listed
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|entry| entry["step"].as_str())
        .collect();
    ensure!(
        steps.len() == 4 && steps.contains(&"run") && steps.contains(&"copy"),
        "{listed}"
    );
    ensure!(
        cache(&["ls", "--filter", "step=run"])?.lines().count() == 3,
        "a head and two steps"
    );
    let used: serde_json::Value = serde_json::from_str(&cache(&["du", "--json"])?)?;
    ensure!(used["steps"] == 4 && used["bytes"].as_u64() > Some(0), "{used}");
    ensure!(
        cache(&["prune"])?.starts_with("0 steps removed"),
        "nothing is old"
    );
    ensure!(cache(&["prune", "--filter", "step=run", "--dry-run"])?.starts_with("2 steps could be removed"));
    ensure!(cache(&["prune", "--filter", "step=run"])?.starts_with("2 steps removed"));
    ensure!(cache(&["prune", "--max-used-space", "0"])?.starts_with("2 steps removed"));
    let (_, said) = build(&user, &context, &[])?;
    ensure!(cached(&said) == 0, "{said}");
    // The limits of the configuration hold at the end of each build.
    let user = user.with_settings("[cache]\nmax_used_space = \"0\"\n")?;
    let (_, said) = build(&user, &context, &[])?;
    ensure!(cached(&said) == 4, "{said}");
    let (_, said) = build(&user, &context, &[])?;
    ensure!(cached(&said) == 0, "{said}");
    Ok(())
}

#[test]
fn an_image_for_several_platforms_carries_the_cache_of_each() -> Result<()> {
    let Some(program) = Peer::find("docker-registry") else {
        return Ok(());
    };
    let registry = Foreign::start(&program)?;
    let image = format!("{}/group/app:several", registry.address);
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    let (one, two) = (User::new(Account::Caller)?, User::new(Account::Caller)?);
    let context = |user: &User| -> Result<PathBuf> {
        let context = user.busybox_context("several")?;
        let dockerfile =
            "FROM scratch\nARG TARGETARCH\nCOPY busybox /$TARGETARCH/\nWORKDIR /of/$TARGETARCH\n";
        std::fs::write(context.join("Dockerfile"), dockerfile)?;
        Ok(context)
    };
    let inline = [
        &platforms[..],
        &["--cache-to", "type=inline", "--push", "-t", &image],
    ]
    .concat();
    build(&one, &context(&one)?, &inline)?;
    let from = [&platforms[..], &["--cache-from", &image]].concat();
    let (_, said) = build(&two, &context(&two)?, &from)?;
    ensure!(cached(&said) == 4, "{said}");
    // One of them is enough for who builds for it alone.
    let three = User::new(Account::Caller)?;
    let from = ["--platform", "linux/arm64", "--cache-from", &image];
    let (_, said) = build(&three, &context(&three)?, &from)?;
    ensure!(cached(&said) == 2, "{said}");
    Ok(())
}
