//! What a token stands for, until when, and that no other text does.

use proptest::prelude::*;
use shipway_store::Store;

use super::*;
use crate::Secret;

struct Place {
    access: Access,
    store: Store,
    token: Secret,
    _directory: tempfile::TempDir,
}

/// With a job that runs.
fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap();
    let access = Access::new(store.clone()).unwrap();
    let token = access
        .issue_job_token(&"group/app".parse().unwrap(), 7, Duration::from_secs(3600))
        .unwrap();
    Place {
        access,
        store,
        token,
        _directory: directory,
    }
}

fn scopes(text: &str) -> Vec<AccessScope> {
    AccessScope::parse_list(text)
}

fn job() -> Principal {
    Principal::Job {
        project: "group/app".parse().unwrap(),
        job: 7,
    }
}

#[test]
fn a_token_stands_for_what_may_be_had_of_what_was_asked() {
    let place = place();
    let asked = scopes(
        "repository:group/app:pull,push repository:group/other:pull repository:group/app/x:delete,push",
    );
    let token = place.access.issue(&job(), &asked).unwrap();
    assert!(token.expires_in >= 60);
    assert!(
        token.issued_at.ends_with('Z') && token.issued_at.len() == 20,
        "{}",
        token.issued_at
    );
    let grant = place.access.verify(&token.token).unwrap();
    assert_eq!(grant.principal, job());
    assert_eq!(
        grant.scopes,
        scopes("repository:group/app:pull,push repository:group/app/x:push,delete")
    );
    assert!(grant.allows(&"group/app".parse().unwrap(), Action::Push));
    assert!(!grant.allows(&"group/app".parse().unwrap(), Action::Delete));
    assert!(!grant.allows(&"group/other".parse().unwrap(), Action::Pull));
}

#[test]
fn the_catalog_is_given_to_who_asked_for_it_and_may_see_it() {
    let place = place();
    let root = Principal::User {
        name: "root".parse().unwrap(),
        administrator: true,
    };
    place
        .access
        .add_user(&"root".parse().unwrap(), &Secret::from("pw"), true)
        .unwrap();
    for (who, asked, given) in [
        (&root, "registry:catalog:* repository:a:pull", true),
        (&root, "repository:a:pull repository:catalog:pull", false),
        (&job(), "registry:catalog:* repository:a:pull", false),
    ] {
        let token = place.access.issue(who, &scopes(asked)).unwrap().token;
        assert_eq!(
            place.access.verify(&token).unwrap().lists(),
            given,
            "{who} {asked}"
        );
    }
}

#[test]
fn it_ends() {
    let place = place();
    let then = SystemTime::now() - LIFETIME;
    let token = place.access.issue_at(&job(), &[], then).unwrap().token;
    assert!(matches!(
        place.access.verify(&token),
        Err(VerifyTokenError::Expired)
    ));
    let almost = then + LIFETIME - Duration::from_secs(2);
    assert!(place.access.verify_at(&token, almost).is_ok());
}

#[test]
fn other_installations_and_forgers_are_refused() {
    let (ours, theirs) = (place(), place());
    let token = theirs.access.issue(&Principal::Anonymous, &[]).unwrap().token;
    assert!(matches!(
        ours.access.verify(&token),
        Err(VerifyTokenError::ForeignKey)
    ));

    let token = ours.access.issue(&job(), &[]).unwrap().token;
    let parts: Vec<&str> = token.split('.').collect();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let root = URL_SAFE_NO_PAD.encode(r#"{"sub":"user:root"}"#);
    for forged in [
        format!("{none}.{}.", parts[1]),
        format!("{none}.{}.{}", parts[1], parts[2]),
        format!("{}.{root}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.{}", parts[2]),
        String::new(),
        "..".to_owned(),
        "x".repeat(LONGEST + 1),
    ] {
        assert!(
            matches!(ours.access.verify(&forged), Err(VerifyTokenError::Invalid)),
            "{forged}"
        );
    }
}

#[test]
fn the_rights_are_those_of_now() {
    let place = place();
    let name: crate::UserName = "ann".parse().unwrap();
    place.access.add_user(&name, &Secret::from("pw"), false).unwrap();
    let principal = Principal::User {
        name: name.clone(),
        administrator: true,
    };
    let token = place
        .access
        .issue(&principal, &scopes("repository:x:push"))
        .unwrap()
        .token;
    assert_eq!(place.access.verify(&token).unwrap().principal, principal);

    let mut record = place.store.user("ann").unwrap().unwrap();
    record.administrator = false;
    place.store.put_user(&record).unwrap();
    let grant = place.access.verify(&token).unwrap();
    assert_eq!(
        grant.principal,
        Principal::User {
            name,
            administrator: false
        }
    );
    assert!(
        !place
            .access
            .allows(&grant.principal, &"x".parse().unwrap(), Action::Push)
    );

    place.store.delete_user("ann").unwrap();
    assert!(matches!(
        place.access.verify(&token),
        Err(VerifyTokenError::OwnerGone)
    ));
}

#[test]
fn a_job_s_tokens_end_with_the_job() {
    let place = place();
    let token = place.access.issue(&job(), &[]).unwrap().token;
    assert!(place.access.verify(&token).is_ok());
    place.access.revoke_job_token(&place.token).unwrap();
    assert!(matches!(
        place.access.verify(&token),
        Err(VerifyTokenError::OwnerGone)
    ));
}

#[test]
fn processes_of_one_installation_trust_each_other() {
    let place = place();
    let other = Access::new(Store::open(place.store.directory()).unwrap()).unwrap();
    let token = other.issue(&job(), &[]).unwrap().token;
    assert_eq!(place.access.verify(&token).unwrap().principal, job());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn any_change_spoils_a_token(at: prop::sample::Index, with in "[A-Za-z0-9_-]", garbage in "\\PC{0,100}") {
        let place = place();
        let token = place.access.issue(&job(), &scopes("repository:group/app:pull")).unwrap().token;
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &with);
        // The last sign of a signature has two bits that say nothing; strict decoding refuses them all the same.
        if changed != token {
            prop_assert!(place.access.verify(&changed).is_err());
        }
        prop_assert!(place.access.verify(&garbage).is_err());
    }
}
