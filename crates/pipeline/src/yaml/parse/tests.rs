//! The tree that YAML comes to: merge keys, equal keys, scalars of YAML 1.1, bounds.

use super::*;
use crate::diagnostic::Reports;

fn read(text: &str) -> Result<Documents, YamlError> {
    let mut reports = Reports::default();
    let file = reports.add_file("test.yml", text.into());
    parse(file, text)
}

fn show(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => format!("{:?}", scalar.text()),
        Value::Sequence(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Mapping(mapping) => format!(
            "{{{}}}",
            mapping
                .iter()
                .map(|entry| format!("{}={}", entry.key, show(&entry.value)))
                .collect::<Vec<_>>()
                .join(" ")
        ),
        Value::Reference(path) => format!("!{}", path.join(".")),
    }
}

fn tree(text: &str) -> String {
    show(&read(text).unwrap().documents[0])
}

#[test]
fn a_merge_key_acts_where_it_stands() {
    assert_eq!(
        tree("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}"),
        r#"{a={x="1" y="2"} b={x="3" y="2"}}"#
    );
    let late = read("a: &a {x: 1}\nb: {x: 3, <<: *a}").unwrap();
    assert_eq!(show(&late.documents[0]), r#"{a={x="1"} b={x="1"}}"#);
    assert!(late.warnings[0].1.contains("`<<` replaces `x`"));
}

#[test]
fn the_first_parent_of_a_merge_list_wins() {
    assert_eq!(
        tree("[&a {x: 1}, &b {x: 2, y: 2}, {<<: [*a, *b]}]"),
        r#"[{x="1"} {x="2" y="2"} {x="1" y="2"}]"#
    );
}

#[test]
fn the_last_of_two_equal_keys_counts_and_is_warned_of() {
    let documents = read("a: 1\nb: 2\na: 3").unwrap();
    assert_eq!(show(&documents.documents[0]), r#"{a="3" b="2"}"#);
    assert_eq!(documents.warnings.len(), 1);
    assert_eq!(
        (documents.warnings[0].0.line, documents.warnings[0].0.column),
        (3, 1)
    );
}

#[test]
fn references_keep_their_path() {
    assert_eq!(
        tree("a: [!reference [.setup, script], x]"),
        r#"{a=[!.setup.script "x"]}"#
    );
    assert!(read("a: !reference .setup").is_err());
}

#[test]
fn tags_and_quotes_make_text() {
    assert_eq!(
        tree(r#"[!!str 010, "yes", 'no', 010, yes]"#),
        r#"["010" "yes" "no" "8" "true"]"#
    );
}

#[test]
fn every_node_knows_its_place() {
    let documents = read("a:\n  b: value\n").unwrap();
    let node = documents.documents[0].get("a").unwrap().get("b").unwrap();
    assert_eq!((node.span.line, node.span.column), (2, 6));
}

#[test]
fn a_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(read(&text).unwrap_err().message.contains("aliases written out"));
}

#[test]
fn a_merge_bomb_is_refused() {
    let keys: String = (0..5000).map(|number| format!("k{number}: 1, ")).collect();
    let users: String = (0..500)
        .map(|number| format!("u{number}: {{<<: *big}}\n"))
        .collect();
    assert!(read(&format!("big: &big {{{keys}}}\n{users}")).is_err());
}

#[test]
fn depth_and_size_are_bounded() {
    let deep: String = (0..150)
        .map(|level| format!("{}a:\n", " ".repeat(level)))
        .collect();
    assert!(read(&deep).unwrap_err().message.contains("deeper"));
    assert!(read(&"[".repeat(100_000)).is_err());
    assert!(
        read(&"a: b\n".repeat(300_000))
            .unwrap_err()
            .message
            .contains("limit")
    );
}

#[test]
fn broken_yaml_points_at_its_place() {
    let error = read("a: b\nc: d: e\n").unwrap_err();
    assert_eq!((error.span.line, error.span.column), (2, 5));
}
