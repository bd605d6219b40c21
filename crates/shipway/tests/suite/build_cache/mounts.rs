//! Cache mounts between machines, as a CI job without a disk of its own has them; and how they are shown and removed.

use super::*;

/// A context whose RUN fetches what its cache mount does not have, as a package manager does.
fn fetching(user: &User, mark: &str) -> Result<PathBuf> {
    let context = user.busybox_context("fetching")?;
    let script = format!(
        "test -d /var/cache/packages/of || {{ /bin/busybox mkdir /var/cache/packages/of; \
         /bin/busybox dd if=/dev/urandom of=/var/cache/packages/of/large bs=1M count=20 2>/dev/null; echo fetch''ing; }}; \
         echo {mark} >> /var/cache/packages/builds; /bin/busybox cp /var/cache/packages/builds /builds; \
         /bin/busybox sha256sum /var/cache/packages/of/large; /bin/busybox cat /builds"
    );
    let command = serde_json::json!(["/bin/busybox", "sh", "-c", script]);
    let dockerfile = format!(
        "FROM scratch\nCOPY busybox /bin/busybox\nRUN --mount=type=cache,id=packages,target=/var/cache/packages {command}\n"
    );
    std::fs::write(context.join("Dockerfile"), dockerfile)?;
    user.home.account().own(&context)?;
    Ok(context)
}

/// The sum that a build printed.
fn sum(said: &str) -> Result<String> {
    let mut words = said.split_whitespace();
    let is_sum = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(words.find(is_sum).context("a sum")?.to_owned())
}

/// Builds one after the other on machines that have nothing, with a cache under this name.
fn through(cache: &str, machine: impl Fn() -> Result<User>) -> Result<()> {
    let to = format!("type=registry,ref={cache},mode=max");
    let both = ["--progress=plain", "--cache-from", cache, "--cache-to", &to];
    let one = machine()?;
    let (_, first) = build(&one, &fetching(&one, "first")?, &both)?;
    ensure!(first.contains("fetching"), "{first}");
    ensure!(first.contains("with 1 cache mount of 2"), "{first}");
    let two = machine()?;
    let (_, second) = build(&two, &fetching(&two, "second")?, &both)?;
    ensure!(
        second.contains("restoring the cache mount `packages`"),
        "{second}"
    );
    ensure!(!second.contains("fetching"), "{second}");
    ensure!(sum(&first)? == sum(&second)?, "{first}\n{second}");
    // What changed is a line: some kilobytes beside twenty megabytes.
    let new = second
        .split("cache mount of ")
        .nth(1)
        .context("what was exported")?;
    ensure!(new.contains(" kB of it new"), "{new}");
    let three = machine()?;
    let (_, third) = build(&three, &fetching(&three, "third")?, &both)?;
    ensure!(third.contains("first") && third.contains("second"), "{third}");
    ensure!(sum(&third)? == sum(&first)?, "{third}");
    // Where every step is known nothing is mounted, and the cache keeps what it has.
    let four = machine()?;
    let (_, fourth) = build(&four, &fetching(&four, "third")?, &both)?;
    ensure!(!fourth.contains("restoring"), "{fourth}");
    ensure!(fourth.contains("with 1 cache mount of 2"), "{fourth}");
    Ok(())
}

#[test]
fn a_cache_mount_goes_through_a_registry_of_others() -> Result<()> {
    let Some(program) = Peer::find("docker-registry") else {
        return Ok(());
    };
    let registry = Foreign::start(&program)?;
    through(&format!("{}/group/app:cache", registry.address), || {
        User::new(Account::Caller)
    })?;
    // The index and one pack of each of three builds, with the layers and the documents: few, and each once.
    let uploads = registry.asked("PUT /v2/group/app/blobs/uploads/")?;
    ensure!(uploads < 24, "{uploads}\n{}", registry.said()?);
    Ok(())
}

#[test]
fn a_cache_mount_goes_through_the_own_registry() -> Result<()> {
    let owner = User::new(Account::Caller)?;
    let registry = owner.serve()?;
    through(&format!("{}/group/app:cache", registry.address), || {
        let user = User::new(Account::Caller)?;
        login(&user, &registry.address)?;
        Ok(user)
    })
}

#[test]
fn cache_mounts_are_shown_and_removed() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let context = fetching(&user, "first")?;
    build(&user, &context, &[])?;
    let cache = |arguments: &[&str]| -> Result<String> {
        let output = finish(user.shipway(&["cache"]).args(arguments))?;
        ensure!(output.status.success(), "{}", utf8(&output.stderr));
        Ok(utf8(&output.stdout))
    };
    let listed: serde_json::Value =
        serde_json::from_str(&cache(&["ls", "--json", "--filter", "kind=mount"])?)?;
    let mount = &listed[0];
    ensure!(listed.as_array().map(Vec::len) == Some(1), "{listed}");
    ensure!(
        mount["mount"] == "packages" && mount["scope"] == "user",
        "{mount}"
    );
    ensure!(mount["bytes"].as_u64() >= Some(20 << 20), "{mount}");
    let shown = cache(&["ls"])?;
    ensure!(
        shown.contains("mount") && shown.contains("user  packages"),
        "{shown}"
    );
    let used: serde_json::Value = serde_json::from_str(&cache(&["du", "--json"])?)?;
    ensure!(
        used["mounts"] == 1 && used["mount_bytes"] == mount["bytes"] && used["scopes"]["user"]["mounts"] == 1,
        "{used}"
    );
    ensure!(!cache(&["prune"])?.contains("mount"), "nothing is old");
    let asked = cache(&["prune", "--max-used-space", "10MB", "--dry-run"])?;
    ensure!(asked.contains("1 cache mount with 2"), "{asked}");
    let asked = cache(&[
        "prune",
        "--filter",
        "type=exec.cachemount",
        "--filter",
        "scope=other",
    ])?;
    ensure!(!asked.contains("cache mount"), "{asked}");
    let removed = cache(&["prune", "--filter", "id=packages"])?;
    ensure!(
        removed.starts_with("0 steps removed\n1 cache mount with 2"),
        "{removed}"
    );
    ensure!(cache(&["ls", "--filter", "kind=mount"])?.lines().count() == 1);
    let left = std::fs::read_dir(user.home.data().join("cache-locks"))?.count();
    ensure!(left == 0, "{left} locks are left");
    // It begins anew, and the limits of the configuration hold for it as for steps.
    let user = user.with_settings("[cache]\nmax_used_space = \"10MB\"\n")?;
    let (_, said) = build(&user, &context, &["--no-cache", "--progress=plain"])?;
    ensure!(said.contains("fetching"), "{said}");
    let listed = finish(&mut user.shipway(&["cache", "ls", "--filter", "kind=mount"]))?;
    ensure!(
        utf8(&listed.stdout).lines().count() == 1,
        "{}",
        utf8(&listed.stdout)
    );
    // `prune --all` takes mounts along, and names them before.
    let user = user.with_settings("")?;
    build(&user, &context, &["--no-cache"])?;
    for (arguments, verb, left) in [
        (&["prune", "--all", "--dry-run"][..], "could be removed", 2),
        (&["prune", "--all"], "removed", 1),
    ] {
        let said = finish(&mut user.shipway(arguments))?;
        let said = utf8(&said.stdout);
        ensure!(
            said.contains(&format!("in 1 cache mount {verb}: packages\n")),
            "{said}"
        );
        let listed = finish(&mut user.shipway(&["cache", "ls", "--filter", "kind=mount"]))?;
        let lines = utf8(&listed.stdout).lines().count();
        ensure!(lines == left, "{lines} lines after {verb}");
    }
    Ok(())
}
