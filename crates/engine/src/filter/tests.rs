//! Both spellings of filters, what is refused, and what they leave.

use super::*;

fn filters(text: &str, known: &[&str]) -> Result<Filters, Failure> {
    let mut escaped = String::from("filters=");
    for byte in text.bytes() {
        escaped.push_str(&format!("%{byte:02x}"));
    }
    Filters::from_query(&Query::parse(&escaped), known)
}

#[test]
fn both_spellings_mean_the_same() {
    let set = filters(r#"{"name":{"web":true,"db":false}}"#, &["name"]).unwrap();
    let list = filters(r#"{"name":["web"]}"#, &["name"]).unwrap();
    assert_eq!(set, list);
    assert!(set.admits("name", |wanted| wanted == "web"));
    assert!(!set.admits("name", |wanted| wanted == "db"));
    assert!(set.admits("status", |_| false));
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = filters(r#"{"color":["red"]}"#, &["name", "id"]).unwrap_err();
    assert_eq!(
        error.message(),
        "invalid filter 'color': this engine filters by name, id"
    );
    assert!(filters("{", &[]).is_err());
    assert!(filters(r#"{"name":3}"#, &["name"]).is_err());
}

#[test]
fn a_value_that_means_nothing_is_refused() {
    let known = &["dangling", "until"];
    for text in [
        r#"{"dangling":["perhaps"]}"#,
        r#"{"until":["soon"]}"#,
        r#"{"until":["2023-11-14"]}"#,
        r#"{"until":["1h","2h"]}"#,
    ] {
        assert_eq!(filters(text, known).unwrap_err().status(), 400, "{text}");
    }
    let found = filters(r#"{"dangling":["0"]}"#, known).unwrap();
    assert_eq!(found.truth("dangling"), Some(false));
}

#[test]
fn until_leaves_what_came_later() {
    let now = OffsetDateTime::now_utc();
    let found = filters(r#"{"until":["1h"]}"#, &["until"]).unwrap();
    assert!(found.admits_moment(now - time::Duration::hours(2)));
    assert!(!found.admits_moment(now));
    assert!(Filters::default().admits_moment(now));
}

#[test]
fn labels_are_joined_by_and() {
    let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())]);
    assert!(
        filters(r#"{"label":["a=1","b"]}"#, &["label"])
            .unwrap()
            .admits_labels(&labels)
    );
    assert!(
        !filters(r#"{"label":["a=2"]}"#, &["label"])
            .unwrap()
            .admits_labels(&labels)
    );
    assert!(
        !filters(r#"{"label!":["b"]}"#, &["label!"])
            .unwrap()
            .admits_labels(&labels)
    );
}

/// What is taken has only known keys, and truths that are some.
#[test]
fn foreign_filters() {
    let seeds = [
        r#"{"label":{"a=b":true},"dangling":{"true":true}}"#,
        r#"{"label":["a=b","c"],"until":["24h"],"label!":["d"]}"#,
        r#"{"until":{"2024-01-02T03:04:05Z":true},"all":["1"]}"#,
    ];
    let known = ["label", "label!", "dangling", "until", "all"];
    shipway_testkit::Foreign::near(seeds).check_text(|text| {
        let Ok(filters) = filters(text, &known) else {
            return;
        };
        assert!(filters.wanted.keys().all(|key| known.contains(&key.as_str())));
        for key in ["dangling", "all"] {
            assert!(filters.values(key).is_empty() || filters.truth(key).is_some());
        }
        assert_eq!(filters.until.is_some(), !filters.values("until").is_empty());
        let _ = filters.admits_labels(&BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    });
}
