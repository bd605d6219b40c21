//! Real programs as helpers: tokens, refusals, silence and floods.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;

/// A helper that keeps one entry in a file beside it.
const KEEPS: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
case "$1" in
get) read -r server; if [ -f "kept" ] && [ "$server" = "a.example" ]; then cat kept; else echo "credentials not found in native keychain"; exit 1; fi ;;
store) cat > kept ;;
erase) rm kept 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
esac
"#;

fn helper(directory: &Path, script: &str) -> Helper {
    let program = directory.join("docker-credential-test");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    Helper {
        program,
        patience: Duration::from_secs(20),
    }
}

#[test]
fn what_it_keeps_it_gives_and_forgets() {
    let directory = tempfile::tempdir().unwrap();
    let helper = helper(directory.path(), KEEPS);
    assert!(helper.get("a.example").unwrap().is_none());
    let secret = Secret::from("pass\"word".to_owned());
    helper.store("a.example", "me", &secret).unwrap();
    let kept = std::fs::read_to_string(directory.path().join("kept")).unwrap();
    assert_eq!(
        kept,
        r#"{"ServerURL":"a.example","Username":"me","Secret":"pass\"word"}"#
    );
    let found = helper.get("a.example").unwrap().unwrap();
    assert_eq!(
        (found.username.as_str(), found.password.expose()),
        ("me", "pass\"word")
    );
    assert!(found.identity_token.is_none());
    assert!(helper.get("b.example").unwrap().is_none());
    helper.erase("a.example").unwrap();
    assert!(helper.get("a.example").unwrap().is_none());
    helper.erase("a.example").unwrap();
}

#[test]
fn a_refresh_token_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\necho '{\"ServerURL\":\"x\",\"Username\":\"<token>\",\"Secret\":\"t\"}'\n";
    let found = helper(directory.path(), script).get("x").unwrap().unwrap();
    assert_eq!(found.identity_token.unwrap().expose(), "t");
}

#[test]
fn a_refusal_is_told_in_its_words() {
    let directory = tempfile::tempdir().unwrap();
    let helper = helper(directory.path(), "#!/bin/sh\necho the store is locked\nexit 1\n");
    let error = helper.get("a").unwrap_err().to_string();
    assert!(error.ends_with("refused: the store is locked"), "{error}");
    assert!(helper.store("a", "b", &Secret::from("c".to_owned())).is_err());
    assert!(helper.erase("a").is_err());
}

#[test]
fn silence_and_floods_end() {
    let directory = tempfile::tempdir().unwrap();
    let patient = helper(directory.path(), "#!/bin/sh\nsleep 1000 & sleep 1000\n");
    let hasty = Helper {
        patience: Duration::from_millis(50),
        ..patient
    };
    assert!(matches!(hasty.get("a"), Err(HelperError::Silent { .. })));
    let flood = helper(directory.path(), "#!/bin/sh\ncat /dev/zero\n");
    assert!(matches!(flood.get("a"), Err(HelperError::TooMuch { .. })));
}

#[test]
fn names_lead_nowhere_else() {
    assert!(Helper::named("../../x").is_err());
    assert!(matches!(
        Helper::named("shipway-test-none").unwrap().get("a"),
        Err(HelperError::Run { .. })
    ));
}

/// An answer that is taken would be given again in the same words; a reason has a bound.
#[test]
fn foreign_answers() {
    let seeds = [
        r#"{"ServerURL":"https://a.example/v1/","Username":"me","Secret":"pass\"w\u00f6rd"}"#,
        r#"{"Username":"<token>","Secret":"t"}"#,
        NOT_FOUND,
    ];
    shipway_testkit::Foreign::near(seeds)
        .with_words(&["\"Username\":", "\"Secret\":", "<token>", "null", "\\u0000"])
        .check(|bytes| {
            // A byte that belongs to no character is shown as one of three bytes.
            assert!(reason(bytes).len() <= 3 * 512);
            let Some(found) = answered(bytes) else { return };
            assert_eq!(found.identity_token.is_some(), found.username == TOKEN_USER);
            let entry = Entry {
                server: "".into(),
                username: found.username.as_str().into(),
                secret: found.password.expose().into(),
            };
            let again = answered(&serde_json::to_vec(&entry).unwrap()).unwrap();
            assert_eq!(
                (again.username.as_str(), again.password.expose()),
                (found.username.as_str(), found.password.expose())
            );
        });
}
