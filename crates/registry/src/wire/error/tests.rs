//! Every code is written and read alike, and strange answers still say something.

use super::*;

#[test]
fn every_code_survives_the_wire() {
    for code in ErrorCode::ALL {
        let sent = RegistryError::with_message(code, "why").with_detail(serde_json::json!({"name": "a/b"}));
        let body = serde_json::to_vec(&sent.to_body()).unwrap();
        assert!(
            code.status().is_client_error() || code.status().is_server_error(),
            "{code:?}"
        );
        let read = RegistryError::from_answer(sent.status, &body);
        if code != ErrorCode::Unknown {
            assert_eq!(read, sent);
        }
        assert_eq!(read.message, "why");
    }
}

#[test]
fn names_are_distinct() {
    let names: std::collections::BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(names.len(), ErrorCode::ALL.len());
}

#[test]
fn other_shapes_are_understood_too() {
    for body in [
        &br#"{"details":"incorrect username or password"}"#[..],
        br#"{"error":"unauthorized","error_description":"incorrect username or password"}"#,
        br#"{"errors":[],"message":"incorrect username or password"}"#,
    ] {
        let error = RegistryError::from_answer(StatusCode::UNAUTHORIZED, body);
        assert_eq!(
            (error.code, error.message.as_str()),
            (ErrorCode::Unauthorized, "incorrect username or password")
        );
    }
}

#[test]
fn an_unreadable_answer_still_says_something() {
    let error = RegistryError::from_answer(StatusCode::FORBIDDEN, b"<html>no</html>");
    assert_eq!(
        (error.code, error.status),
        (ErrorCode::Denied, StatusCode::FORBIDDEN)
    );
    let error = RegistryError::from_answer(StatusCode::IM_A_TEAPOT, b"");
    assert!(error.message.contains("418"), "{error}");
    let hostile = br#"{"errors":[{"code":"WEIRD","message":"no\n\u001b[2Jforged\u009b1A"}]}"#;
    let error = RegistryError::from_answer(StatusCode::BAD_REQUEST, hostile);
    assert_eq!(error.message, "no  [2Jforged 1A");
    let long = format!(
        r#"{{"errors":[{{"code":"WEIRD","message":"{}"}}]}}"#,
        "é".repeat(10_000)
    );
    assert!(
        RegistryError::from_answer(StatusCode::BAD_REQUEST, long.as_bytes())
            .message
            .len()
            < 5000
    );
}
