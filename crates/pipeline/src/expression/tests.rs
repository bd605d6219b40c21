//! The values of expressions: cases of our own, and the reference's where they are beside the workspace.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use super::*;

fn vectors(name: &str) -> Option<String> {
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "../../../shared/vectors/gitlab-expression",
        name,
    ]
    .iter()
    .collect();
    std::fs::read_to_string(path).ok()
}

fn rows(text: &str) -> Vec<[&str; 3]> {
    text.lines()
        .filter(|line| !line.starts_with("# ") && !line.is_empty())
        .map(|line| line.split('\t').collect::<Vec<_>>().try_into().unwrap())
        .collect()
}

fn value(expected: &str) -> Value {
    match serde_json::from_str(expected).unwrap() {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::String(text) => Value::Text(text),
        other => panic!("unexpected {other}"),
    }
}

#[test]
fn statements_have_gitlabs_values() {
    let Some(text) = vectors("statement.tsv") else {
        return;
    };
    let inputs = BTreeMap::new();
    for [expression, expected, variables] in rows(&text) {
        let variables: HashMap<String, String> = serde_json::from_str(variables).unwrap();
        let parsed = Expression::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        let actual = parsed.evaluate(Scope {
            variables: &variables,
            inputs: &inputs,
            effort: &Effort::default(),
        });
        assert_eq!(actual, value(expected), "{expression}");
    }
}

#[test]
fn statements_decide_as_gitlab_does() {
    let Some(text) = vectors("truthful.tsv") else {
        return;
    };
    let inputs = BTreeMap::new();
    for [expression, expected, variables] in rows(&text) {
        let variables: HashMap<String, String> = serde_json::from_str(variables).unwrap();
        let actual = Expression::parse(expression).is_ok_and(|parsed| {
            parsed.is_true(Scope {
                variables: &variables,
                inputs: &inputs,
                effort: &Effort::default(),
            })
        });
        assert_eq!(actual, expected == "true", "{expression}");
    }
}

#[test]
fn inputs_are_values() {
    let Some(text) = vectors("inputs.tsv") else { return };
    let variables = HashMap::new();
    for [expression, expected, inputs] in rows(&text) {
        let inputs: BTreeMap<String, String> = serde_json::from_str(inputs).unwrap();
        let actual = Expression::parse(expression).unwrap().evaluate(Scope {
            variables: &variables,
            inputs: &inputs,
            effort: &Effort::default(),
        });
        assert_eq!(actual, value(expected), "{expression}");
    }
}

#[test]
fn errors_say_where_and_what_instead() {
    for (text, offset, help) in [
        ("${CI_COMMIT_TAG}", 0, Some("`$CI_COMMIT_TAG`")),
        ("$A = 1", 3, Some("`==`")),
        ("$A == main", 6, Some("quoted")),
        ("$A == \"main", 6, Some("not closed")),
        ("($A", 0, None),
        ("$A)", 2, None),
        ("$A $B", 3, None),
        ("$A ==", 5, None),
        ("", 0, None),
        ("$A =~ /(?=x)y/", 6, Some("RE2")),
    ] {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!(error.offset, offset, "{text}");
        assert_eq!(error.help.is_some(), help.is_some(), "{text}");
        if let (Some(found), Some(expected)) = (&error.help, help) {
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
    assert!(Expression::parse(&"!".repeat(101)).is_err());
}

#[test]
fn a_contained_left_side_matches_a_plain_string() {
    let variables = HashMap::new();
    let inputs = BTreeMap::new();
    let effort = Effort::default();
    let scope = Scope {
        variables: &variables,
        inputs: &inputs,
        effort: &effort,
    };
    assert!(Expression::parse(r#""23" =~ "1234""#).unwrap().is_true(scope));
    assert!(!Expression::parse(r#""1234" =~ "23""#).unwrap().is_true(scope));
}

#[test]
fn an_effort_ends_what_would_take_too_long() {
    let variables = HashMap::from([("TEXT".to_owned(), "a".repeat(1000))]);
    let inputs = BTreeMap::new();
    let expression = Expression::parse("$TEXT =~ /^a+$/").unwrap();
    let effort = Effort::new(10_000);
    let matched = (0..100).take_while(|_| {
        expression.is_true(Scope {
            variables: &variables,
            inputs: &inputs,
            effort: &effort,
        })
    });
    let matched = matched.count();
    assert!((1..10).contains(&matched) && effort.is_spent(), "{matched}");
}
