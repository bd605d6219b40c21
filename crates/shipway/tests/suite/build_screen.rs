//! What `shipway build` shows, in each of its modes, and that Ctrl-C in it leaves nothing.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use shipway_testkit::{Account, wait_for};

use crate::harness::{User, assert_nothing_left};
use crate::terminal::terminal;

/// A user with a context whose Dockerfile begins with busybox.
fn user(account: Account, steps: &str) -> Result<(User, PathBuf)> {
    let user = User::new(account)?;
    let context = user.busybox_context("context")?;
    let begin = "FROM scratch AS base\nCOPY busybox /bin/\nSHELL [\"/bin/busybox\", \"sh\", \"-ec\"]\n";
    std::fs::write(context.join("Dockerfile"), format!("{begin}{steps}"))?;
    Ok((user, context))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn plain_lines_say_which_step_they_are_of() -> Result<()> {
    let steps = "FROM base AS left\nRUN echo from the l''eft\nENV A=1\nFROM base\nCOPY --from=left /bin/busybox /x\n\
                 RUN echo \"a token: swo\"rdfish-42; printf 'open end'\n";
    let (user, context) = user(Account::Caller, steps)?;
    std::fs::write(context.join("token"), "swordfish-42\n")?;
    let build = |arguments: &[&str]| -> Result<String> {
        let secret = format!("id=token,src={}", context.join("token").display());
        let mut command = user.shipway(&["build", "--secret", &secret]);
        let output = command.args(arguments).arg(&context).output()?;
        ensure!(output.status.success(), "{}", stderr(&output));
        Ok(stderr(&output))
    };
    let said = build(&["--progress=plain"])?;
    for line in [
        "#1 [base 1/1] COPY busybox /bin/\n#1 DONE ",
        " [left 1/1] RUN echo from the l''eft\n",
        " from the left\n",
        " [stage-2 1/2] COPY --from=left /bin/busybox /x\n",
        " a token: [MASKED]\n",
        " open end\n",
    ] {
        ensure!(said.contains(line), "{line:?} is not in\n{said}");
    }
    ensure!(!said.contains("ENV A") && !said.contains("swordfish"), "{said}");
    let again = build(&["--progress=plain"])?;
    ensure!(again.matches(" CACHED\n").count() == 4, "{again}");
    // Nobody looks at a pipe.
    ensure!(build(&[])?.contains(" CACHED\n"), "auto");
    ensure!(
        build(&["--quiet"])?.is_empty() && build(&["--progress=quiet"])?.is_empty(),
        "quiet"
    );
    Ok(())
}

#[test]
fn a_failure_shows_its_last_lines_and_where_it_is() -> Result<()> {
    let steps = "RUN echo the last words \\\n  && false\nRUN true\n";
    let (user, context) = user(Account::Caller, steps)?;
    for mode in ["--progress=plain", "--quiet"] {
        let output = user.shipway(&["build", mode]).arg(&context).output()?;
        let said = stderr(&output);
        for piece in [
            "------\n > [2/3] RUN echo the last words   && false:\n0.",
            " the last words\n------\nDockerfile:4\n--------------------\n",
            "   3 |     SHELL",
            "   4 | >>> RUN echo the last words \\\n   5 | >>>   && false\n   6 |     RUN true\n--------------------\n",
            "error: the build failed: Dockerfile:4: ",
        ] {
            ensure!(said.contains(piece), "{mode}: {piece:?} is not in\n{said}");
        }
        ensure!(output.status.code() == Some(1), "{:?}", output.status);
        ensure!(
            said.contains("#2 ERROR: process \"/bin/busybox sh -ec ") == (mode == "--progress=plain"),
            "{said}"
        );
    }
    Ok(())
}

#[test]
fn exports_and_pushes_are_shown_as_buildkit_shows_them() -> Result<()> {
    let (user, context) = user(Account::Caller, "")?;
    let name = "registry.shipway.internal/group/shown:1";
    let tar = format!("type=oci,dest={}", user.home.work().join("shown.tar").display());
    let files = format!("type=local,dest={}", user.home.work().join("files").display());
    let mut command = user.shipway(&["build", "--progress=plain", "--push", "--tag", name]);
    command.args(["--output", &tar, "--output", &files, "--output", "type=image"]);
    let output = command.arg(&context).output()?;
    ensure!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    for line in [
        "#2 exporting to oci image format\n#2 exporting layers\n",
        " exporting config sha256:",
        " sending tarball\n",
        " exporting to image\n",
        " naming to registry.shipway.internal/group/shown:1 done\n",
        " pushing layers\n",
        " pushing manifest for registry.shipway.internal/group/shown:1@sha256:",
        " exporting to client directory\n",
        " copying files\n",
    ] {
        ensure!(said.contains(line), "{line:?} is not in\n{said}");
    }
    let digest = said
        .split("pushing manifest for ")
        .nth(1)
        .and_then(|rest| rest.split(['@', ' ', '\n']).nth(1));
    let digest = digest.context("a digest")?;
    ensure!(said.contains(&format!(" exporting manifest {digest}")), "{said}");
    Ok(())
}

#[test]
fn what_a_step_floods_is_clipped() -> Result<()> {
    let steps = "RUN busybox seq 1 20000; echo >&2 a word of the other; echo the l''ast line\n";
    let (user, context) = user(Account::Caller, steps)?;
    let build = |environment: &[(&str, &str)], arguments: &[&str]| -> Result<String> {
        let mut command = user.shipway(&["build", "--progress=plain", "--no-cache"]);
        command.envs(environment.iter().copied()).args(arguments);
        let output = command.arg(&context).output()?;
        ensure!(output.status.success(), "{}", stderr(&output));
        Ok(stderr(&output))
    };
    let clipped = "[output clipped, log limit 1KiB reached]";
    let speed = ("BUILDKIT_STEP_LOG_MAX_SPEED", "-1");
    let said = build(&[("BUILDKIT_STEP_LOG_MAX_SIZE", "1024"), speed], &[])?;
    let (first, rest) = said.split_once(clipped).with_context(|| said.clone())?;
    ensure!(first.contains(" 200\n") && !first.contains(" 300\n"), "{said}");
    ensure!(
        rest.contains(" 20000\n") && rest.contains(" the last line\n"),
        "{said}"
    );
    ensure!(
        said.matches("output clipped").count() == 1 && said.contains(" a word of the other\n"),
        "{said}"
    );
    let all = build(&[speed], &["--step-log-max-size=-1"])?;
    ensure!(!all.contains("clipped") && all.contains(" 10000\n"), "{all}");
    Ok(())
}

#[test]
fn programs_read_it_as_buildkit_s_status() -> Result<()> {
    let (user, context) = user(Account::Caller, "RUN echo out; echo err >&2\n")?;
    let mut command = user.shipway(&["build"]);
    command.env("BUILDKIT_PROGRESS", "rawjson").arg(&context);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    let all: Vec<Value> = said
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| said.clone())?;
    let listed = |key: &str| -> Vec<Value> {
        let lists = all.iter().filter_map(|status| status[key].as_array());
        lists.flatten().cloned().collect()
    };
    let ended: Vec<Value> = listed("vertexes")
        .into_iter()
        .filter(|vertex| vertex["completed"].is_string())
        .collect();
    ensure!(
        ended.len() == 3
            && ended[1]["name"] == "[2/2] RUN echo out; echo err >&2"
            && ended[2]["name"] == "exporting to image",
        "{said}"
    );
    let digest = &ended[1]["digest"];
    ensure!(
        digest
            .as_str()
            .is_some_and(|digest| digest.starts_with("sha256:")),
        "{said}"
    );
    let mut logs: Vec<(u64, String)> = Vec::new();
    for log in listed("logs") {
        ensure!(&log["vertex"] == digest && log["timestamp"].is_string(), "{said}");
        let data = base64::engine::general_purpose::STANDARD.decode(log["data"].as_str().context("data")?)?;
        logs.push((
            log["stream"].as_u64().context("stream")?,
            String::from_utf8(data)?,
        ));
    }
    logs.sort();
    ensure!(
        logs == [(1, "out\n".to_owned()), (2, "err\n".to_owned())],
        "{logs:?}"
    );
    Ok(())
}

/// All that a build writes to a terminal of 80 columns.
fn session(steps: &str, environment: &[(&str, &str)]) -> Result<String> {
    let (user, context) = user(Account::Caller, steps)?;
    let (master, terminal) = terminal();
    let mut command = user.shipway(&["build"]);
    command
        .envs(environment.iter().copied())
        .arg(&context)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(terminal);
    let mut process = command.spawn()?;
    // The command has the terminal's other end open.
    drop(command);
    let mut bytes = Vec::new();
    // When nobody has it open any more, the end is an error.
    let _ = File::from(master).read_to_end(&mut bytes);
    process.wait()?;
    Ok(String::from_utf8(bytes)?)
}

/// Wide letters, colours, a cleared screen, a line that is drawn again, and one that is longer than the terminal.
const NOISE: &str = "RUN printf '\\033[31m日本語\\033[2J\\r%080d\\n' 7; printf '日本語の%060d\\n' 8; busybox sleep 0.5; echo end\n";

#[test]
fn a_terminal_shows_what_runs_and_keeps_a_line_for_each_step() -> Result<()> {
    let said = session(NOISE, &[("TERM", "xterm-256color"), ("NO_COLOR", "1")])?;
    for piece in [
        " => [1/2] COPY busybox /bin/ ",
        "s (1/2)",
        " => => # 日本語の0000",
        " => exporting to image ",
        "(3/3) FINISHED\r\n",
    ] {
        ensure!(said.contains(piece), "{piece:?} is not in\n{said:?}");
    }
    ensure!(
        !said.contains("\u{1b}[2J") && !said.contains("\u{1b}[31m"),
        "{said:?}"
    );
    // Between the movements of the cursor stand lines that fill the terminal, or one that does not.
    for lines in said.split(['\r', '\n', '\u{1b}']) {
        let shown = lines.strip_prefix('[').map_or(lines, |rest| {
            rest.trim_start_matches(|letter: char| letter.is_ascii_digit())
                .trim_start_matches(['K', 'A', 'B'])
        });
        let shown = if lines.starts_with("[+]") { lines } else { shown };
        let width: usize = shown
            .chars()
            .map(|letter| if letter > '\u{2e80}' { 2 } else { 1 })
            .sum();
        ensure!(width <= 80 || width.is_multiple_of(80), "{width}: {shown:?}");
    }
    Ok(())
}

#[test]
fn a_terminal_without_a_cursor_gets_plain_lines() -> Result<()> {
    let said = session(NOISE, &[("TERM", "dumb")])?;
    ensure!(
        said.contains("#1 [1/2] COPY busybox /bin/\r\n") && said.contains(" end\r\n#2 DONE "),
        "{said:?}"
    );
    ensure!(!said.contains('\u{1b}'), "{said:?}");
    Ok(())
}

#[test]
fn control_c_ends_a_build_and_leaves_nothing() -> Result<()> {
    for account in Account::all() {
        let steps = "RUN --mount=type=cache,target=/c,sharing=locked trap '' TERM INT; echo the step r''uns; \
                     while true; do busybox sleep 1000; done\n";
        let (user, context) = user(account, steps)?;
        let mut command = user.shipway(&["build", "--progress=plain"]);
        let mut process = command
            .arg(&context)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut lines = BufReader::new(process.stderr.take().context("standard error")?).lines();
        loop {
            let line = lines.next().context("the build ended before its step ran")??;
            if line.ends_with("the step runs") {
                break;
            }
        }
        let pid = Pid::from_raw(i32::try_from(process.id())?).context("a process id")?;
        kill_process_group(pid, Signal::INT)?;
        let said: Vec<String> = lines.map_while(Result::ok).collect();
        let code = wait_for(Duration::from_secs(30), || match process.try_wait() {
            Ok(Some(status)) => Ok(status.code()),
            Ok(None) => Err("still running".to_owned()),
            Err(error) => Err(error.to_string()),
        })?;
        ensure!(code == Some(130), "as {}: {code:?}", account.name());
        ensure!(said.iter().any(|line| line == "#2 CANCELED"), "{said:?}");
        assert_nothing_left(&user.home)?;
        let locks = std::fs::read_dir(user.home.data().join("locks"))?;
        let left: Vec<_> = locks
            .flatten()
            .map(|entry| entry.file_name())
            .filter(|name| !name.to_string_lossy().starts_with("layers."))
            .collect();
        ensure!(left.is_empty(), "as {}: {left:?}", account.name());
    }
    Ok(())
}
