//! The forms, as buildx prints them.

use shipway_build::OutlinedArgument;
use shipway_build::lint::Lines;

use super::*;

const LINES: Lines = Lines { first: 3, last: 4 };

fn target(name: Option<&str>, is_default: bool, description: Option<&str>) -> Target {
    Target {
        name: name.map(str::to_owned),
        is_default,
        description: description.map(str::to_owned),
        base: "scratch".to_owned(),
        platform: None,
        lines: LINES,
    }
}

#[test]
fn targets_are_a_table_and_a_document() {
    let targets = [
        target(Some("base"), false, Some("is where it begins")),
        target(Some("last"), true, None),
    ];
    assert_eq!(
        targets_text(&targets),
        "TARGET         DESCRIPTION\nbase           is where it begins\nlast (default) \n"
    );
    assert_eq!(
        targets_text(&[target(None, true, None)]),
        "TARGET    DESCRIPTION\n(default) \n"
    );
    let ranges = json!({"ranges": [{"start": {"line": 3}, "end": {"line": 3}}, {"start": {"line": 4}, "end": {"line": 4}}]});
    assert_eq!(
        targets_document(&targets[1..], b"FROM"),
        json!({
            "targets": [{"name": "last", "default": true, "base": "scratch", "location": ranges}],
            "sources": ["RlJPTQ=="],
        })
    );
}

#[test]
fn an_outline_has_a_table_for_each_kind() {
    let mount = |id: &str, required| OutlinedMount {
        id: id.to_owned(),
        required,
        lines: LINES,
    };
    let outline = Outline {
        name: Some("last".to_owned()),
        description: Some("does all".to_owned()),
        arguments: vec![OutlinedArgument {
            name: "LONGNAME".to_owned(),
            value: "x\u{1b}[2J".to_owned(),
            description: None,
            lines: LINES,
        }],
        secrets: vec![mount("token", true), mount("other", false)],
        ssh: Vec::new(),
    };
    assert_eq!(
        outline_text(&outline),
        "TARGET:      last\nDESCRIPTION: does all\n\nBUILD ARG   VALUE   DESCRIPTION\nLONGNAME    x       \n\n\
         SECRET   REQUIRED\ntoken    true\nother    \n\n"
    );
    let document = outline_document(&outline, b"FROM");
    assert_eq!(document["secrets"][0]["required"], true);
    assert_eq!(document["secrets"][1].get("required"), None);
    assert_eq!(
        (document.get("ssh"), document["args"][0]["name"].as_str()),
        (None, Some("LONGNAME"))
    );
    assert_eq!(outline_text(&Outline::default()), "");
}
