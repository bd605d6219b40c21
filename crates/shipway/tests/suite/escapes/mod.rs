//! Hostile jobs, with the real docker CLI: what they try against the machine, other jobs and other projects, and what they get.
//!
//! An attack that was not made at all fails its test as well, and so does a control that does not get through: what any job
//! may do, in the same words.

mod archives;
mod attacks;
mod exhaustion;
mod hunger;
mod keyring;
mod machine;
mod neighbours;
mod projects;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, git_repository};

use self::attacks::{ATTACKS, Attack, CONTROLS, Proof};
use self::machine::{Machine, PUBLIC, on_a_machine};
use crate::harness::{SUITES, User, assert_nothing_left, finish, text};

/// The engine behind a socket and on a port without TLS, so that a script can speak to it without a client.
const PIPELINE: &str = "\
attack:
  image: docker:24.0.5-cli
  services:
    - docker:24.0.5-dind
  variables:
    DOCKER_TLS_CERTDIR: ''
    DOCKER_HOST: unix:///var/run/docker.sock
  script:
    - sh attacks/all
";

/// The files of a repository are copied by the account that runs the test's programs.
fn let_everybody_read(files: &Path) -> Result<()> {
    std::fs::set_permissions(files, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[test]
fn a_hostile_job_reaches_nothing_of_the_machine() -> Result<()> {
    let names: Vec<&str> = attacks().chain(CONTROLS).map(|attack| attack.name).collect();
    on_a_machine(&names, |machine| {
        for account in Account::all() {
            attack(machine, account).with_context(|| format!("as {}", account.name()))?;
        }
        Ok(())
    })
}

fn attacks() -> impl Iterator<Item = &'static Attack> {
    ATTACKS.iter().chain(archives::ATTACKS)
}

fn attack(machine: &Machine, account: Account) -> Result<()> {
    let user = User::with_base_images(account, SUITES[0])?;
    // Where everybody may read it who gets there.
    let directory = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()?;
    let marker = directory.path().join("marker");
    std::fs::write(&marker, "of the machine")?;
    std::fs::set_permissions(&marker, std::fs::Permissions::from_mode(0o644))?;

    let drop = directory.path().join("drop");
    std::fs::create_dir(&drop)?;
    std::fs::set_permissions(&drop, std::fs::Permissions::from_mode(0o777))?;
    // The kernel lets somebody link a file of another who may write it.
    let writable = drop.join("writable");
    std::fs::write(&writable, "of the machine")?;
    std::fs::set_permissions(&writable, std::fs::Permissions::from_mode(0o666))?;

    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join(".gitlab-ci.yml"), PIPELINE)?;
    std::fs::create_dir(files.path().join("attacks"))?;
    let mut all =
        machine.settings() + &format!("export MARKER={} DROP={}\n", marker.display(), drop.display());
    for Attack { name, script, .. } in archives::ATTACKS {
        if let Some(archive) = archives::archive(name, &drop, &marker)? {
            std::fs::write(files.path().join(format!("attacks/{name}.tar")), archive)?;
        }
        ensure!(
            !script.contains(".tar") || files.path().join(format!("attacks/{name}.tar")).exists(),
            "{name} has no archive"
        );
    }
    for Attack { name, script, .. } in attacks().chain(CONTROLS) {
        std::fs::write(files.path().join("attacks").join(name), script)?;
        writeln!(
            all,
            "export PORT={}\nif sh attacks/{name} >/tmp/said 2>&1; then echo '{name}: ESCAPED'; cat /tmp/said; \
             else echo '{name}: kept in'; fi",
            machine.port(name)
        )?;
    }
    std::fs::write(files.path().join("attacks/all"), all + "echo all was tried\n")?;
    let_everybody_read(files.path())?;
    let repository = git_repository(&user.home, files.path(), "group/hostile", "main")?;
    let mut run = user.shipway(&["run"]);
    run.env("ONLY_THE_RUNNER_HAS", "runner-only-word");
    let asked_before = machine.asked_again();
    let trace = text(&finish(run.current_dir(&repository))?);

    ensure!(
        trace.contains("all was tried"),
        "the attacks were not made:\n{trace}"
    );
    let callers = machine.take_callers();
    let reached = |attack: &Attack| callers.get(attack.name).map_or(&[][..], Vec::as_slice);
    let mut wrong = String::new();
    for attack in attacks() {
        let forbidden: Vec<&IpAddr> = reached(attack)
            .iter()
            .filter(|at| **at != IpAddr::V4(PUBLIC))
            .collect();
        let got_out = match attack.proof {
            Proof::Success => !trace
                .lines()
                .any(|line| line.ends_with(&format!(" {}: kept in", attack.name))),
            Proof::Dropped => drop.join(attack.name).exists(),
            Proof::Caller | Proof::CallerFromTheWorld => !forbidden.is_empty(),
        };
        if got_out {
            writeln!(
                wrong,
                "{} got out (reached {forbidden:?}); it should be held because {}",
                attack.name, attack.held_by
            )?;
        }
    }
    for control in CONTROLS.iter().filter(|_| machine.has_a_world()) {
        if reached(control).is_empty() {
            writeln!(
                wrong,
                "{} did not get through: the other attacks prove nothing",
                control.name
            )?;
        }
    }
    for (before, after) in asked_before.iter().zip(machine.asked_again()) {
        if machine.has_a_world() && after < before + 2 {
            writeln!(
                wrong,
                "a name that changes was asked for {} times only",
                after - before
            )?;
        }
    }
    ensure!(wrong.is_empty(), "{wrong}\n{trace}");
    let marker = std::fs::metadata(&marker).context("the marker")?;
    ensure!(
        marker.permissions().mode() & 0o7777 == 0o644,
        "the marker has mode {:o}",
        marker.permissions().mode()
    );
    assert_nothing_left(&user.home)
}
