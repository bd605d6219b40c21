//! `serve` is killed while a client uploads, pushes, tags and deletes.

use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Context as _, Result, ensure};
use shipway_oci::Digest;

use super::http::{Http, Image};
use super::killer::{Calls, Injection};
use super::rounds::{Outcome, play};
use crate::harness::{Ledger, User};

/// The calls by which a commit reaches the disk and its answer the client.
const COMMIT: &[Calls] = &[
    ("fsync", 1, 1),
    ("pwrite64", 1, 3),
    ("link", 1, 1),
    ("unlink", 1, 1),
    ("writev", 1, 1),
    ("write", 1, 2),
];

/// What a client does; it writes down what was acknowledged. Nothing when the server died meanwhile.
type Act = fn(&Http<'_>, &mut Ledger, &Image, &str) -> Result<Option<()>>;

fn kill_while(point: &str, prepare: Act, act: Act) -> Result<()> {
    let new_user = |account| {
        let user = User::new(account)?;
        user.add_tester()?;
        Ok(user)
    };
    play(point, COMMIT, new_user, |stage| {
        let image = Image::new(&stage.name)?;
        let mut registry = stage.user.serve_again(&[])?;
        let address = registry.address.clone();
        let http = Http {
            user: stage.user,
            address: &address,
        };
        let prepared = prepare(&http, stage.ledger, &image, &stage.name)?;
        ensure!(prepared.is_some(), "the server died by itself");
        let process = registry.process.id();
        let watched = stage.strace.watch(process, stage.moment, Injection::OneKills)?;
        let done = act(&http, stage.ledger, &image, &stage.name)?;
        watched.end(done.is_some())?;
        if done.is_some() && registry.process.is_alive()? {
            return Ok(Outcome::Passed);
        }
        let status = registry.process.ended()?;
        ensure!(status.signal() == Some(9), "the server ended with {status}");
        Ok(Outcome::Killed)
    })
}

fn nothing(_: &Http<'_>, _: &mut Ledger, _: &Image, _: &str) -> Result<Option<()>> {
    Ok(Some(()))
}

fn push(http: &Http<'_>, ledger: &mut Ledger, image: &Image, name: &str) -> Result<Option<()>> {
    let pushed = http.push("crash/image", name, image)?;
    if pushed.is_some() {
        ledger.holds(&format!("crash/image:{name}"), &image.digest());
    }
    Ok(pushed)
}

#[test]
fn a_push_that_serve_acknowledged_survives() -> Result<()> {
    kill_while("push", nothing, push)
}

#[test]
fn a_tag_that_serve_acknowledged_survives() -> Result<()> {
    kill_while("tag", push, |http, ledger, image, name| {
        let again = format!("{name}-again");
        let tagged = http.tag("crash/image", &again, &image.manifest)?;
        if tagged.is_some() {
            ledger.holds(&format!("crash/image:{again}"), &image.digest());
        }
        Ok(tagged)
    })
}

#[test]
fn a_deletion_that_serve_acknowledged_survives() -> Result<()> {
    kill_while("delete", push, |http, ledger, image, name| {
        let name = format!("crash/image:{name}");
        ledger.doubts(&name);
        let deleted = http.delete("crash/image", &image.digest())?;
        if deleted.is_some() {
            ledger.lacks(&name);
        }
        Ok(deleted)
    })
}

/// Parts that were acknowledged need not be sent again by whoever asks where to go on.
#[test]
fn an_upload_goes_on_after_serve_was_killed() -> Result<()> {
    let new_user = |account| {
        let user = User::new(account)?;
        user.add_tester()?;
        Ok(user)
    };
    play("upload", COMMIT, new_user, |stage| {
        let image = Image::new(&stage.name)?;
        let (half, rest) = image.layer.split_at(image.layer.len() / 2);
        let mut registry = stage.user.serve_again(&[])?;
        let address = registry.address.clone();
        let http = Http {
            user: stage.user,
            address: &address,
        };
        let begun = http.begin("crash/upload")?.context("the server died by itself")?;
        let process = registry.process.id();
        let watched = stage.strace.watch(process, stage.moment, Injection::OneKills)?;
        let sent = http.patch(&begun, half)?;
        watched.end(sent.is_some())?;
        if sent.is_some() && registry.process.is_alive()? {
            return Ok(Outcome::Passed);
        }
        let status = registry.process.ended()?;
        ensure!(status.signal() == Some(9), "the server ended with {status}");

        let again = stage.user.serve_again(&[])?;
        let path = begun.split_once("/v2/").map_or(begun.as_str(), |(_, rest)| rest);
        let http = Http {
            user: stage.user,
            address: &again.address,
        };
        let kept = http.kept(&format!("/v2/{path}"))?;
        ensure!(
            sent.is_none() || kept == half.len(),
            "{} bytes were acknowledged, {kept} are kept",
            half.len()
        );
        ensure!(kept == 0 || kept == half.len(), "{kept} of {} bytes", half.len());
        let whole = [half, rest].concat();
        let digest = Digest::sha256(&whole);
        let finished = http.finish(&format!("/v2/{path}"), &whole[kept..], &digest)?;
        ensure!(finished.is_some(), "the server died by itself");
        Ok(Outcome::Killed)
    })
}
