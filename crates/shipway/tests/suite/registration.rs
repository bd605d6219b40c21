//! Runners registered by the scripts of GitLab's documentation, with a listener in GitLab's place that speaks real HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::thread::JoinHandle;

use shipway_testkit::workspace;

/// What GitLab says with its 403.
const UNKNOWN: &str = r#"{"message":"403 Forbidden"}"#;

/// Answers one question and gives back its first line and its body.
fn gitlab(status: &'static str, answer: &'static str) -> (String, JoinHandle<(String, serde_json::Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
            answer.len()
        );
        reader.get_mut().write_all(text.as_bytes()).unwrap();
        (first.trim().to_owned(), serde_json::from_slice(&body).unwrap())
    });
    (url, served)
}

/// Runs a script in which `gitlab-runner` is Shipway and `sudo` does nothing, writing `file`.
fn run(script: &str, directory: &Path, file: &Path) -> Output {
    let programs = directory.join("bin");
    if !programs.exists() {
        std::fs::create_dir(&programs).unwrap();
        symlink(env!("CARGO_BIN_EXE_shipway"), programs.join("gitlab-runner")).unwrap();
        // Written by another process: one that this process has open for writing while a test forks would be busy.
        let sudo = programs.join("sudo");
        let made = Command::new("sh")
            .args([
                "-c",
                "printf '#!/bin/sh\\nexec \"$@\"\\n' > \"$0\" && chmod 755 \"$0\"",
            ])
            .arg(&sudo)
            .status()
            .unwrap();
        assert!(made.success());
    }
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    Command::new("sh")
        .args(["-c", script])
        .env_clear()
        .env("PATH", path)
        .env("HOME", directory)
        .env("CONFIG_FILE", file)
        .output()
        .unwrap()
}

#[test]
fn the_scripts_of_the_documentation_register_runners_where_they_are_at_hand() {
    let shared = workspace().join("../shared/runner-configs");
    if !shared.is_dir() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let table = [
        (
            "register-dind-tls.sh",
            "tls-docker-runner",
            "volumes = [\"/certs/client\", \"/cache\"]",
        ),
        (
            "register-dind-plain.sh",
            "no-tls-docker-runner",
            "privileged = true",
        ),
        (
            "register-socket.sh",
            "socket-binding-docker-runner",
            "volumes = [\"/var/run/docker.sock:/var/run/docker.sock\", \"/cache\"]",
        ),
        ("register-shell.sh", "", "executor = \"shell\""),
    ];
    for (number, (script, tags, expected)) in table.into_iter().enumerate() {
        let (url, served) = gitlab(
            "201 Created",
            r#"{"id": 7, "token": "kept-token", "token_expires_at": null}"#,
        );
        let text = std::fs::read_to_string(shared.join(script)).unwrap();
        let output = run(
            &text.replace("https://gitlab.com/", &url),
            directory.path(),
            &file,
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}: {said}");
        let (first, body) = served.join().unwrap();
        assert_eq!(first, "POST /api/v4/runners HTTP/1.1");
        assert_eq!(body["token"], "REGISTRATION_TOKEN");
        assert_eq!(body["tag_list"], tags);
        assert_eq!(body["run_untagged"], tags.is_empty());
        let written = std::fs::read_to_string(&file).unwrap();
        assert!(written.contains(expected), "{script}: {written}");
        assert_eq!(written.matches("[[runners]]").count(), number + 1);
        assert!(!written.contains("REGISTRATION_TOKEN") && written.contains("kept-token"));
        assert!(!said.contains("warning"), "{script}: {said}");
    }
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_that_cannot_be_written_is_found_before_gitlab_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let script = format!(
        "gitlab-runner register -n --url http://{} -r once --executor shell",
        listener.local_addr().unwrap()
    );
    std::fs::write(&file, "[[runners]]\n  token = \"glrt-secret\" oops\n").unwrap();
    let output = run(&script, directory.path(), &file);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("is not TOML and is left as it is: line 2") && !said.contains("glrt-secret"),
        "{said}"
    );
    let asked = listener.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn only_a_registration_token_makes_a_runner() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let table = [
        (
            "--token a-token --tag-list a",
            "POST /api/v4/runners/verify HTTP/1.1",
            "warning",
        ),
        (
            "-r glrt-token --tag-list a",
            "POST /api/v4/runners/verify HTTP/1.1",
            "no effect",
        ),
        ("-r a-token --tag-list a", "POST /api/v4/runners HTTP/1.1", ""),
    ];
    for (tokens, expected, warned) in table {
        let (url, served) = gitlab("200 OK", r#"{"id": 9, "token": "kept"}"#);
        let script = format!("gitlab-runner register -n --url {url} --executor shell {tokens}");
        let output = run(&script, directory.path(), &file);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && said.contains(warned),
            "{tokens}: {said}"
        );
        let (first, body) = served.join().unwrap();
        assert_eq!(first, expected, "{tokens}");
        assert_eq!(body.get("tag_list").is_some(), warned.is_empty(), "{tokens}");
    }
}

#[test]
fn a_token_of_gitlabs_pages_is_verified_and_a_refusal_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let script = |url: &str, more: &str| {
        format!(
            "gitlab-runner register -n --url {url} --token glrt-secret --executor docker --docker-image alpine:3 {more}"
        )
    };
    let (url, served) = gitlab("403 Forbidden", UNKNOWN);
    let output = run(&script(&url, ""), directory.path(), &file);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("does not accept the token (403)") && !said.contains("glrt-secret"),
        "{said}"
    );
    assert!(!file.exists());
    assert_eq!(served.join().unwrap().0, "POST /api/v4/runners/verify HTTP/1.1");

    // The listener of before is gone.
    let output = run(&script(&url, ""), directory.path(), &file);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && said.contains("cannot be reached"),
        "{said}"
    );

    let output = run(&script(&url, "--tag-list a"), directory.path(), &file);
    assert_eq!(
        output.status.code(),
        Some(2),
        "what GitLab's pages hold is not a flag"
    );

    let (url, served) = gitlab("200 OK", r#"{"id": 8, "token": "glrt-secret"}"#);
    std::fs::write(directory.path().join("ca.pem"), "").unwrap();
    let script = format!(
        "cd {} && {}",
        directory.path().display(),
        script(&url, "--tls-ca-file ca.pem")
    );
    let output = run(&script, directory.path(), &file);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (_, body) = served.join().unwrap();
    assert!(
        body.get("tag_list").is_none() && body["info"]["name"] == "shipway",
        "{body}"
    );
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("token = \"glrt-secret\""), "{written}");
    let ca_file = format!("tls-ca-file = \"{}\"", directory.path().join("ca.pem").display());
    assert!(written.contains(&ca_file), "{written}");
}

#[test]
fn runners_are_listed_and_those_that_gitlab_does_not_know_are_removed_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let section = |name: &str, url: &str| {
        let url = url.replace("http://", "http://me:word@");
        format!(
            "[[runners]]\n  name = \"{name}\"\n  url = \"{url}\"\n  token = \"glrt-0123456789abcdef-{name}\"\n"
        )
    };
    let (gone, served) = gitlab("500 Internal Server Error", "");
    let (portal, passed) = gitlab("403 Forbidden", "<html><title>403 Forbidden</title></html>");
    let write = |alive: &str, removed: &str| {
        let sections = [
            section("alive", alive),
            section("removed", removed),
            section("gone", &gone),
            section("portal", &portal),
        ];
        std::fs::write(&file, format!("# ours\n{}", sections.concat())).unwrap();
    };
    let run = |command: &str| {
        let output = run(&format!("gitlab-runner {command}"), directory.path(), &file);
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(
            !said.contains("0123456789abcdef") && !said.contains("word"),
            "{said}"
        );
        (output.status.code(), said)
    };
    write("http://alive.example/", "http://removed.example/");
    let (code, said) = run("list");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.lines().count(), 4, "{said}");
    assert!(said.contains("URL=http://removed.example"), "{said}");
    assert_eq!(run("verify --name nobody").0, Some(2));

    for (command, code) in [("verify --name removed", 1), ("verify --delete", 1)] {
        let (alive, asked) = gitlab("200 OK", r#"{"id": 1, "token": "t"}"#);
        let (removed, refused) = gitlab("403 Forbidden", UNKNOWN);
        write(&alive, &removed);
        let before = std::fs::read_to_string(&file).unwrap();
        let (found, said) = run(command);
        assert_eq!(found, Some(code), "{said}");
        assert!(
            said.contains("`removed` at http://127.0.0.1") && said.contains("is removed"),
            "{said}"
        );
        assert_eq!(refused.join().unwrap().0, "POST /api/v4/runners/verify HTTP/1.1");
        let after = std::fs::read_to_string(&file).unwrap();
        if command.ends_with("--delete") {
            assert!(
                said.contains("is alive")
                    && said.contains("`gone` cannot be verified")
                    && said.contains("`portal` cannot be verified"),
                "{said}"
            );
            let (first, body) = asked.join().unwrap();
            assert_eq!(first, "POST /api/v4/runners/verify HTTP/1.1");
            assert_eq!(body["token"], "glrt-0123456789abcdef-alive");
            let names = |text: &str| text.matches("name = ").count();
            assert!(
                names(&after) == 3 && after.starts_with("# ours\n") && !after.contains("\"removed\""),
                "{after}"
            );
        } else {
            assert_eq!(after, before);
        }
    }
    served.join().unwrap();
    passed.join().unwrap();
}

#[test]
fn the_list_reads_what_a_run_reads_and_shows_no_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let listed = |arguments: &str, file: &Path| {
        let output = run(&format!("gitlab-runner list {arguments}"), directory.path(), file);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let missing = directory.path().join("none.toml");
    let (code, _, said) = listed("", &missing);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("none.toml") && said.contains("`shipway runner register` makes one"),
        "{said}"
    );

    let text = "[[runners]]\n  name = \"a\"\n  url = \"me:word@gitlab.example.com\"\n  token = TOKEN\n  executor = \"docker\"\n";
    std::fs::write(&file, text).unwrap();
    let (code, shown, said) = listed("", &file);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("config.toml:4:11: the value is not in quotes"),
        "{said}"
    );
    assert!(
        shown.contains("Executor=docker Token=TO URL=gitlab.example.com") && !shown.contains("word"),
        "{shown}"
    );
    let (_, shown, _) = listed("--json", &file);
    let row: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let expected =
        serde_json::json!({"name": "a", "executor": "docker", "token": "TO", "url": "gitlab.example.com"});
    assert_eq!(row, expected);

    std::fs::write(&file, format!("{text}oops\n")).unwrap();
    let (code, _, said) = listed("", &file);
    assert!(
        code == Some(2) && said.contains("config.toml:6:5: not TOML"),
        "{said}"
    );
}

#[test]
fn an_executor_that_nobody_has_is_refused_before_gitlab_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let gitlab = TcpListener::bind("127.0.0.1:0").unwrap();
    gitlab.set_nonblocking(true).unwrap();
    let script = format!(
        "gitlab-runner register --url http://{} --token t --executor dokcer --docker-image busybox:1.36",
        gitlab.local_addr().unwrap()
    );
    let output = run(&script, directory.path(), &file);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("a similar value exists: 'docker'") && said.contains("shell, kubernetes"),
        "{said}"
    );
    let asked = gitlab.accept().unwrap_err();
    assert_eq!(asked.kind(), std::io::ErrorKind::WouldBlock, "GitLab was asked");
    assert!(!file.exists());
}
