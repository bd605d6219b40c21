//! `shipway build` and what it is given: contexts by standard input, by address and from a repository, and what it answers
//! instead of building.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Result, ensure};
use serde_json::Value;
use shipway_testkit::{Account, GitServer, GitServerOptions, Peer, git};

use crate::harness::{User, finish, finish_fed, succeed, succeed_fed, text};

const DOCKERFILE: &str = "FROM scratch\nCOPY a /\n";

/// A tar of a context, as `tar` makes it.
fn archive(directory: &Path, name: &str) -> Result<std::path::PathBuf> {
    let files = directory.join("files");
    std::fs::create_dir_all(&files)?;
    std::fs::write(files.join("Dockerfile"), DOCKERFILE)?;
    std::fs::write(files.join("a"), "in a tar\n")?;
    let archive = directory.join(name);
    succeed(
        Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(&files)
            .arg("."),
    )?;
    Ok(archive)
}

/// One answer for everybody who asks, until the process ends.
fn serve(bytes: Vec<u8>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let asked = stream.try_clone().map(BufReader::new);
            let lines = asked.into_iter().flat_map(BufReader::lines).map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                bytes.len()
            );
            // Who asked may be gone.
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&bytes));
        }
    });
    Ok(address)
}

/// Builds into a directory, and gives what the image has as `/a`.
fn built(user: &User, arguments: &[&str], input: impl Into<Stdio>) -> Result<String> {
    let out = user.home.work().join("out");
    let mut command = user.shipway(&["build", "--output"]);
    command.arg(&out).args(arguments);
    succeed_fed(&mut command, input)?;
    let found = std::fs::read_to_string(out.join("a"))?;
    std::fs::remove_dir_all(&out)?;
    Ok(found)
}

/// Bytes as the standard input of a program.
fn input(directory: &Path, bytes: &str) -> Result<File> {
    let file = directory.join("input");
    std::fs::write(&file, bytes)?;
    Ok(File::open(file)?)
}

#[test]
fn a_context_comes_by_standard_input() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let folder = tempfile::tempdir()?;
    let tar = archive(folder.path(), "context.tar.gz")?;
    ensure!(built(&user, &["-"], File::open(&tar)?)? == "in a tar\n");

    let dockerfile = "FROM scratch\nCOPY <<a /a\nin a Dockerfile\na\n";
    ensure!(built(&user, &["-"], input(folder.path(), dockerfile)?)? == "in a Dockerfile\n");
    let files = folder.path().join("files").display().to_string();
    let renamed = "FROM scratch\nCOPY Dockerfile /a\n";
    ensure!(built(&user, &["-f", "-", &files], input(folder.path(), renamed)?)? == DOCKERFILE);

    let mut both = user.shipway(&["build", "-f", "-", "-"]);
    let refused = finish_fed(&mut both, input(folder.path(), dockerfile)?)?;
    ensure!(refused.status.code() == Some(2), "{}", text(&refused));
    let empty = finish(&mut user.shipway(&["build", "-"]))?;
    ensure!(
        empty.status.code() == Some(2) && text(&empty).contains("is empty"),
        "{}",
        text(&empty)
    );
    Ok(())
}

#[test]
fn a_context_comes_from_an_address_and_from_a_repository() -> Result<()> {
    if Peer::find("git").is_none() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let tar = serve(std::fs::read(archive(folder.path(), "context.tar.gz")?)?)?;
    let alone = serve(b"FROM scratch\nCOPY <<a /a\nfetched\na\n".to_vec())?;
    let repository = folder.path().join("app.git");
    std::fs::create_dir_all(repository.join("sub"))?;
    git(&repository, &["init", "--quiet"])?;
    std::fs::write(repository.join("sub/Dockerfile"), DOCKERFILE)?;
    std::fs::write(repository.join("sub/a"), "of a commit\n")?;
    git(&repository, &["add", "--all"])?;
    git(&repository, &["commit", "--quiet", "--message", "A test"])?;
    let commit = git(&repository, &["rev-parse", "HEAD"])?;
    let server = GitServer::start(folder.path(), GitServerOptions::default())?;

    let user = User::new(Account::Caller)?.with_settings("[egress]\nallow = [\"127.0.0.1\"]\n")?;
    let build = |address: &str| built(&user, &[address], Stdio::null());
    ensure!(build(&format!("http://{tar}/context.tar.gz"))? == "in a tar\n");
    ensure!(build(&format!("http://{alone}/Dockerfile"))? == "fetched\n");
    for selector in ["#main:sub", &format!("#{commit}:sub"), "?branch=main&subdir=sub"] {
        let address = format!("{}{selector}", server.url("app.git"));
        ensure!(build(&address)? == "of a commit\n", "{address}");
    }

    // Where nobody permits it a build reaches nothing of this machine.
    let other = User::new(Account::Caller)?;
    let refused = finish(&mut other.shipway(&["build", &format!("http://{tar}/context.tar.gz")]))?;
    ensure!(refused.status.code() == Some(1), "{}", text(&refused));
    Ok(())
}

#[test]
fn a_dockerfile_is_asked_instead_of_built() -> Result<()> {
    let user = User::new(Account::Caller)?;
    let context = user.home.work().join("context");
    std::fs::create_dir(&context)?;
    user.home.account().own(&context)?;
    let dockerfile = |text: &str| std::fs::write(context.join("Dockerfile"), text);
    let asked = |arguments: &[&str]| -> Result<(Option<i32>, String)> {
        let output: Output = finish(user.shipway(&["build"]).args(arguments).arg(&context))?;
        Ok((
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        ))
    };
    dockerfile("FROM scratch\nMAINTAINER me\nRUN false\n")?;
    let (code, said) = asked(&["--check"])?;
    ensure!(
        code == Some(1) && said.contains("WARNING: MaintainerDeprecated - https://"),
        "{said}"
    );
    let (code, said) = asked(&["--call=check,format=json,ignorestatus=true"])?;
    let found: Value = serde_json::from_str(&said)?;
    ensure!(
        code == Some(0) && found["warnings"][0]["ruleName"] == "MaintainerDeprecated",
        "{said}"
    );

    dockerfile(
        "# WHO is greeted\nARG WHO=world\n# base has the tools\nFROM scratch AS base\nARG WHO\n\
         FROM base\nRUN --mount=type=secret,id=token,required false\n",
    )?;
    let (code, said) = asked(&["--call=targets"])?;
    ensure!(code == Some(0), "{said}");
    ensure!(
        said == "TARGET    DESCRIPTION\nbase      has the tools\n(default) \n",
        "{said}"
    );
    let (code, said) = asked(&["--call=outline", "--build-arg", "WHO=you"])?;
    let expected =
        "BUILD ARG   VALUE   DESCRIPTION\nWHO         you     \n\nSECRET   REQUIRED\ntoken    true\n\n";
    ensure!(code == Some(0) && said == expected, "{said}");
    let (_, said) = asked(&["--call=outline,format=json", "--target=base"])?;
    let found: Value = serde_json::from_str(&said)?;
    ensure!(
        found["name"] == "base" && found["args"][0]["value"] == "world",
        "{said}"
    );
    ensure!(
        found["args"][0]["location"]["ranges"][0]["start"]["line"] == 2,
        "{said}"
    );
    Ok(())
}
