//! People who may log in: added by scripts, and told of where their password cannot be checked.

use std::fs::File;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use shipway_store::{Store, UserRecord};
use shipway_testkit::{Account, Peer};

use crate::harness::{Ending, Registry, User, finish, succeed, text};

/// Starts the registry with its log in a file.
fn serve(user: &User, log: &std::path::Path) -> Result<Registry> {
    let mut serve = user.shipway(&["serve", "--listen", "127.0.0.1:0"]);
    let (process, address) = Ending::start(serve.stderr(File::create(log)?), "://")?;
    Ok(Registry { process, address })
}

fn login(user: &User, registry: &Registry, pair: &str) -> Result<u16> {
    let answer = registry.curl(&user.home, &["--user", pair], "/v2/token")?;
    Ok(answer.context("curl is here")?.status)
}

#[test]
fn a_script_gives_the_password_in_a_file() -> Result<()> {
    if Peer::find("curl").is_none() {
        return Ok(());
    }
    let user = User::new(Account::Caller)?;
    let secret = user.home.work().join("secret");
    let add = |password: &str| {
        std::fs::write(&secret, password)?;
        finish(
            user.shipway(&["user", "add", "ann", "--password-file"])
                .arg(&secret),
        )
    };
    let longest = "x".repeat(4096);
    let refused = [
        (add("\n")?, "the password is empty"),
        (add(&format!("{longest}y"))?, "longer than 4096 bytes"),
        (
            finish(&mut user.shipway(&["user", "add", "ann", "--password-file", "missing"]))?,
            "`missing`",
        ),
        (
            finish(&mut user.shipway(&["user", "add", "ann"]))?,
            "--password-stdin",
        ),
    ];
    for (output, words) in &refused {
        ensure!(
            output.status.code() == Some(2) && text(output).contains(words),
            "{words}: {}",
            text(output)
        );
    }
    ensure!(text(&succeed(&mut user.shipway(&["user", "ls"]))?).is_empty());

    // Given twice, the second one counts; what a script does again does not fail.
    for password in ["first", &format!("{longest}\r\n")] {
        let output = add(password)?;
        ensure!(output.status.success(), "{}", text(&output));
    }
    let registry = serve(&user, &user.home.work().join("log"))?;
    ensure!(login(&user, &registry, &format!("ann:{longest}"))? == 200);
    ensure!(login(&user, &registry, "ann:first")? == 401);

    // One line break is the editor's; the others are the password's, as they are for the docker CLI.
    ensure!(add("two\n\n")?.status.success());
    let two = "ann:two\n";
    ensure!(login(&user, &registry, two)? == 200 && login(&user, &registry, two.trim())? == 401);
    Ok(())
}

#[test]
fn of_those_who_are_added_at_once_the_first_alone_is_called_administrator() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let secret = user.home.work().join("secret");
    std::fs::write(&secret, "correct horse")?;
    let mut adding = Vec::new();
    for name in ["ann", "ben", "cleo", "dan", "eve"] {
        let mut add = user.shipway(&["user", "add", name, "--password-file"]);
        add.arg(&secret).stdout(Stdio::piped()).stderr(Stdio::piped());
        adding.push((name, add.spawn()?));
    }
    let mut told = Vec::new();
    for (name, process) in adding {
        let output = process.wait_with_output()?;
        ensure!(output.status.success(), "{}", text(&output));
        if text(&output).contains(&format!("{name} (administrator)")) {
            told.push(name);
        }
    }
    let listed = text(&succeed(&mut user.shipway(&["user", "ls"]))?);
    let marked = listed
        .lines()
        .filter_map(|line| line.strip_suffix("  administrator"));
    ensure!(
        told.len() == 1 && marked.eq(told.iter().copied()),
        "{told:?} were told, the store has: {listed}"
    );
    Ok(())
}

#[test]
fn a_password_hash_that_cannot_be_read_is_told_of_by_the_users_name() -> Result<()> {
    if Peer::find("curl").is_none() {
        return Ok(());
    }
    let user = User::new(Account::Caller)?;
    user.add_tester()?;
    let log = user.home.work().join("log");
    let registry = serve(&user, &log)?;
    let store = Store::open(&user.home.data().join("store"))?;
    store.put_user(&UserRecord {
        name: "ann".to_owned(),
        password_hash: "$2y$10$of.another.registry".to_owned(),
        administrator: false,
    })?;
    for _ in 0..3 {
        ensure!(login(&user, &registry, "ann:any")? == 401);
    }
    ensure!(login(&user, &registry, "tester:wrong")? == 401);
    let said = std::fs::read_to_string(&log)?;
    let lines: Vec<_> = said.lines().filter(|line| line.contains("WARN")).collect();
    ensure!(
        lines.len() == 1 && lines[0].contains("cannot be read") && lines[0].contains("ann"),
        "{said}"
    );
    ensure!(!said.contains("$2y$") && !said.contains("tester"), "{said}");
    Ok(())
}

#[test]
fn there_is_an_administrator_as_long_as_there_is_anybody() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let secret = user.home.work().join("secret");
    std::fs::write(&secret, "word")?;
    let add = |arguments: &[&str]| {
        let mut add = user.shipway(&["user", "add", "--password-file"]);
        succeed(add.arg(&secret).args(arguments)).map(|output| text(&output))
    };
    let remove = |name: &str| finish(&mut user.shipway(&["user", "rm", name]));
    ensure!(add(&["me"])?.contains("administrator"));
    add(&["ann"])?;
    let refused = remove("me")?;
    ensure!(
        refused.status.code() == Some(2)
            && text(&refused).contains("the last administrator")
            && text(&refused).contains("shipway user add NAME --administrator"),
        "{}",
        text(&refused)
    );

    // As the hint says, with somebody who is there.
    ensure!(add(&["ann", "--administrator"])?.contains("ann (administrator)"));
    ensure!(remove("me")?.status.success());
    let listed = text(&succeed(&mut user.shipway(&["user", "ls"]))?);
    ensure!(listed == "ann  administrator\n", "{listed}");
    ensure!(remove("ann")?.status.success(), "the last of all may go");
    Ok(())
}

#[test]
fn where_nobody_is_administrator_who_adds_users_is_told() -> Result<()> {
    let user = User::new(Account::Caller)?;
    user.add_tester()?;
    let store = Store::open(&user.home.data().join("store"))?;
    let tester = store.user("tester")?.context("the tester")?;
    store.put_user(&UserRecord {
        administrator: false,
        ..tester
    })?;
    let secret = user.home.work().join("secret");
    std::fs::write(&secret, "word")?;
    let add = |more: &[&str]| {
        let mut add = user.shipway(&["user", "add", "ann", "--password-file"]);
        succeed(add.arg(&secret).args(more)).map(|output| text(&output))
    };
    let said = add(&[])?;
    ensure!(
        said.contains("there is no administrator: make one with"),
        "{said}"
    );
    let said = add(&["--administrator"])?;
    ensure!(!said.contains("warning"), "{said}");
    Ok(())
}
