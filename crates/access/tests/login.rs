//! Logging in, over a real store.

#![expect(clippy::unwrap_used, reason = "a test fails where it is")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use shipway_access::{
    Access, Added, AuthenticateError, Credentials, JOB_TOKEN_USER, JobWitness, NO_JOB, Principal, Secret,
    VerifyTokenError,
};
use shipway_store::Store;

struct Place {
    access: Access,
    store: Store,
    _directory: tempfile::TempDir,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    Place {
        access: Access::new(store.clone()).unwrap(),
        store,
        _directory: directory,
    }
}

fn login(access: &Access, username: &str, password: &str) -> Result<Principal, AuthenticateError> {
    access.authenticate(&Credentials {
        username: username.to_owned(),
        password: Secret::from(password),
    })
}

fn user(name: &str, administrator: bool) -> Principal {
    Principal::User {
        name: name.parse().unwrap(),
        administrator,
    }
}

#[test]
fn people_log_in_with_their_password_and_no_other() {
    let place = place();
    let access = &place.access;
    access
        .add_user(&"root".parse().unwrap(), &Secret::from("first"), false)
        .unwrap();
    access
        .add_user(&"ann".parse().unwrap(), &Secret::from("second"), false)
        .unwrap();
    assert_eq!(
        login(access, "root", "first").unwrap(),
        user("root", true),
        "the first one is an administrator"
    );
    assert_eq!(login(access, "ann", "second").unwrap(), user("ann", false));
    for (name, password) in [
        ("ann", "first"),
        ("ann", ""),
        ("bob", "second"),
        ("ANN", "second"),
        ("", ""),
        ("a/b", "x"),
    ] {
        let error = login(access, name, password).unwrap_err();
        assert!(matches!(error, AuthenticateError::Refused), "{name} {password}");
    }
    let hash = place.store.user("ann").unwrap().unwrap().password_hash;
    assert!(hash.starts_with("$argon2id$") && !hash.contains("second"));
}

#[test]
fn a_new_password_counts_at_once_and_keeps_the_rights() {
    let place = place();
    let access = &place.access;
    let name = "root".parse().unwrap();
    let added = access.add_user(&name, &Secret::from("old"), false).unwrap();
    assert_eq!(added, Added::New { administrator: true });
    login(access, "root", "old").unwrap();
    let added = access.add_user(&name, &Secret::from("new"), false).unwrap();
    assert_eq!(added, Added::Known { promoted: false });
    assert!(login(access, "root", "old").is_err(), "it is still remembered");
    assert_eq!(login(access, "root", "new").unwrap(), user("root", true));
    place.store.delete_user("root").unwrap();
    assert!(login(access, "root", "new").is_err());
}

#[test]
fn jobs_log_in_with_their_token_until_it_ends() {
    let place = place();
    let access = &place.access;
    let project = "group/app".parse().unwrap();
    let token = access
        .issue_job_token(&project, 7, Duration::from_secs(60))
        .unwrap();
    let principal = login(access, JOB_TOKEN_USER, token.expose()).unwrap();
    assert_eq!(
        principal,
        Principal::Job {
            project: project.clone(),
            job: 7
        }
    );
    let as_user = login(access, "root", token.expose());
    assert!(as_user.is_err(), "a job's token is one under its own name only");

    assert!(access.revoke_job_token(&token).unwrap());
    assert!(!access.revoke_job_token(&token).unwrap());
    let revoked = login(access, JOB_TOKEN_USER, token.expose()).unwrap_err();
    assert!(matches!(revoked, AuthenticateError::JobTokenRefused));
    let ended = access.issue_job_token(&project, 8, Duration::ZERO).unwrap();
    assert!(login(access, JOB_TOKEN_USER, ended.expose()).is_err());
    assert!(login(access, JOB_TOKEN_USER, "").is_err());
}

/// Says of one job that it lives, of another that it cannot be seen, and of all others that they are dead.
struct Said {
    lives: u64,
    hidden: u64,
}

impl JobWitness for Said {
    fn lives(&self, job: u64) -> io::Result<bool> {
        if job == self.hidden {
            return Err(io::Error::other("hidden"));
        }
        Ok(job == self.lives)
    }
}

#[test]
fn what_a_dead_job_left_is_worth_nothing_though_nobody_has_swept_up() {
    let place = place();
    let project = "group/app".parse().unwrap();
    let [alive, dead, hidden, none] = [7, 8, 9, NO_JOB].map(|job| {
        let token = place
            .access
            .issue_job_token(&project, job, Duration::from_secs(60));
        let principal = Principal::Job {
            project: project.clone(),
            job,
        };
        (token.unwrap(), place.access.issue(&principal, &[]).unwrap().token)
    });
    let access = place.access.with_witness(Arc::new(Said { lives: 7, hidden: 9 }));
    let shown = |(password, _): &(Secret, String)| login(&access, JOB_TOKEN_USER, password.expose());
    for known in [&alive, &none] {
        assert!(shown(known).is_ok() && access.verify(&known.1).is_ok());
    }
    assert!(matches!(shown(&dead), Err(AuthenticateError::JobTokenRefused)));
    assert!(matches!(access.verify(&dead.1), Err(VerifyTokenError::OwnerGone)));
    // Neither taken nor called worthless.
    assert!(matches!(shown(&hidden), Err(AuthenticateError::LookUp { .. })));
    assert!(matches!(
        access.verify(&hidden.1),
        Err(VerifyTokenError::LookUp { .. })
    ));
}

#[test]
fn a_job_s_token_is_kept_nowhere() {
    let place = place();
    let project = "group/app".parse().unwrap();
    let token = place
        .access
        .issue_job_token(&project, 7, Duration::from_secs(60))
        .unwrap();
    for name in ["store.sqlite", "store.sqlite-wal"] {
        let bytes = std::fs::read(place.store.directory().join(name)).unwrap();
        let found = bytes
            .windows(token.expose().len())
            .any(|window| window == token.expose().as_bytes());
        assert!(!found, "the token is in {name}");
    }
}

#[test]
fn strangers_do_what_the_installation_lets_them() {
    use shipway_access::Action;
    let Place {
        access, _directory, ..
    } = place();
    let repository = "a/b".parse().unwrap();
    assert!(!access.allows(&Principal::Anonymous, &repository, Action::Pull));
    assert!(!access.may_list(&Principal::Anonymous));
    let open = access.with_anonymous_pull();
    assert!(open.allows(&Principal::Anonymous, &repository, Action::Pull));
    assert!(!open.allows(&Principal::Anonymous, &repository, Action::Push));
}
