//! Every text is some query; what is wrong in it is refused by its name.

use proptest::prelude::*;

use super::*;

#[test]
fn values_are_decoded_and_repeated_keys_kept_in_order() {
    let query = Query::parse("t=a%2Fb%3A1&t=c&q=1&nocache=0&rm=&x=a+b&y=%zz%4");
    assert_eq!(query.all("t").collect::<Vec<_>>(), ["a/b:1", "c"]);
    assert!(query.flag("q"));
    assert!(!query.flag("nocache"));
    assert!(!query.flag("rm"));
    assert_eq!(query.get("x"), Some("a b"));
    assert_eq!(query.get("y"), Some("%zz%4"));
    assert_eq!(query.get("absent"), None);
}

#[test]
fn build_arguments_may_be_null() {
    let query = Query::parse("buildargs=%7B%22A%22%3A%221%22%2C%22B%22%3Anull%7D");
    let arguments: std::collections::BTreeMap<String, Option<String>> =
        query.json("buildargs").unwrap().unwrap();
    assert_eq!(arguments["A"], Some("1".to_owned()));
    assert_eq!(arguments["B"], None);
    assert!(
        Query::parse("buildargs=%7B")
            .json::<serde_json::Value>("buildargs")
            .is_err()
    );
}

#[test]
fn numbers_of_the_wrong_size_are_refused_by_name() {
    let error = Query::parse("h=70000").number::<u16>("h").unwrap_err();
    assert!(error.message().contains("h=\"70000\""));
    assert_eq!(Query::parse("h=24").number::<u16>("h").unwrap(), Some(24));
}

proptest! {
    #[test]
    fn any_text_is_some_query(text in "\\PC{0,200}") {
        let query = Query::parse(&text);
        let _ = (query.get("a"), query.flag("a"), query.number::<u16>("a").is_ok());
    }

    #[test]
    fn what_was_escaped_comes_back(value in "\\PC{0,40}") {
        let escaped: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let query = Query::parse(&format!("key={escaped}"));
        prop_assert_eq!(query.all("key").next(), Some(value.as_str()));
    }
}

/// Any query is one; keys are found that were put there.
#[test]
fn foreign_queries() {
    let seeds = [
        "filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D&all=1",
        "t=a%2Fb:c&t=d&buildargs=%7B%22A%22%3Anull%7D&rm=True&memory=-1",
    ];
    shipway_testkit::Foreign::near(seeds).check_text(|text| {
        let query = Query::parse(&format!("first=1&{text}"));
        assert_eq!(query.get("first"), Some("1"));
        assert!(query.pairs.len() <= MOST_PAIRS);
        let _ = (
            query.flag("all"),
            query.number::<i64>("memory"),
            query.all("t").count(),
        );
    });
}
