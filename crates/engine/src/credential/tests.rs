//! Headers of docker in both alphabets, rubbish, and that no secret is shown.

use super::*;

fn headers(name: &'static str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().unwrap());
    headers
}

#[test]
fn both_alphabets_and_missing_padding_are_read() {
    let json = br#"{"username":"a","password":"??>>","serveraddress":"r.example","identitytoken":null}"#;
    for text in [
        URL_SAFE.encode(json),
        STANDARD.encode(json),
        URL_SAFE.encode(json).trim_end_matches('=').to_owned(),
    ] {
        let config = AuthConfig::from_headers(&headers("x-registry-auth", &text)).unwrap();
        assert_eq!(
            (config.username.as_str(), config.password.as_str()),
            ("a", "??>>")
        );
    }
}

#[test]
fn rubbish_and_empty_credentials_are_none() {
    for text in ["", "!", "e30=", &URL_SAFE.encode("null"), &URL_SAFE.encode("[1]")] {
        assert_eq!(
            AuthConfig::from_headers(&headers("x-registry-auth", text)),
            None,
            "{text}"
        );
    }
}

#[test]
fn a_build_has_credentials_by_registry() {
    let json = format!(
        r#"{{"https://index.docker.io/v1/":{{"auth":"{}"}},"r.example:5000":{{"username":"b","password":"c"}},"x":{{}}}}"#,
        STANDARD.encode("me:pass:word")
    );
    let map = AuthConfig::map_from_headers(&headers("x-registry-config", &URL_SAFE.encode(json)));
    assert_eq!(map.keys().collect::<Vec<_>>(), ["docker.io", "r.example:5000"]);
    assert_eq!(map["docker.io"].password, "pass:word");
}

#[test]
fn debug_shows_no_secret() {
    let config =
        AuthConfig::from_json(br#"{"username":"u","password":"hunter2","identitytoken":"tok"}"#).unwrap();
    let shown = format!("{config:?}");
    assert!(
        shown.contains("\"u\"") && !shown.contains("hunter2") && !shown.contains("tok\""),
        "{shown}"
    );
}

/// Whatever is read, no password is shown.
#[test]
fn foreign_credentials() {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
    let seeds = [
        r#"{"username":"ann","password":"hidden-word","serveraddress":"https://index.docker.io/v1/"}"#,
        r#"{"auth":"YW5uOmhpZGRlbi13b3Jk","identitytoken":"hidden-word"}"#,
        r#"{"r.example:5000":{"username":"ann","password":"hidden-word"},"https://index.docker.io/v1/":{"auth":null}}"#,
    ];
    shipway_testkit::Foreign::near(seeds).check(|bytes| {
        let mut values: Vec<Vec<u8>> = vec![bytes.to_vec()];
        values.extend([
            BASE64_STANDARD.encode(bytes).into(),
            BASE64_URL_SAFE.encode(bytes).into(),
        ]);
        for value in values {
            let Ok(value) = http::HeaderValue::from_bytes(&value) else {
                continue;
            };
            let headers = |name: &'static str| {
                HeaderMap::from_iter([(http::HeaderName::from_static(name), value.clone())])
            };
            if let Some(config) = AuthConfig::from_headers(&headers("x-registry-auth"))
                && !config.username.contains("hidden-word")
                && !config.serveraddress.contains("hidden-word")
            {
                assert!(!config.is_empty());
                assert!(!format!("{config:?}").contains("hidden-word"));
            }
            let map = AuthConfig::map_from_headers(&headers("x-registry-config"));
            assert!(map.values().all(|config| !config.is_empty()));
        }
        let _ = AuthConfig::from_json(bytes);
    });
}
