//! The spellings of a variable in a text, and variables in one another.

use super::*;

fn set(pairs: &[(&str, &str)]) -> Vec<Variable> {
    pairs
        .iter()
        .map(|(key, value)| Variable::public(*key, *value))
        .collect()
}

fn value(variables: &[Variable], key: &str) -> String {
    find(variables, key).unwrap().value.clone()
}

#[test]
fn one_pass_expansion_knows_three_spellings() {
    let variables = set(&[("A", "1"), ("B", "$A")]);
    for (text, all, existing) in [
        ("$A-${A}-%A%", "1-1-1", "1-1-1"),
        ("$B", "$A", "$A"),
        ("key$MISSING", "key", "key$MISSING"),
        ("$1 ${} 100%", "$1 ${} 100%", "$1 ${} 100%"),
    ] {
        assert_eq!(expand(text, &variables), all, "{text}");
        assert_eq!(expand_existing(text, &variables), existing, "{text}");
    }
}

#[test]
fn variables_expand_in_one_another_in_any_order() {
    let mut variables = set(&[("A", "$B/a"), ("B", "${C}/b"), ("C", "c"), ("D", "$$C $MISSING")]);
    variables.push(Variable {
        raw: true,
        ..Variable::public("R", "$C")
    });
    variables.push(Variable::public("E", "$R"));
    variables.push(Variable {
        file: true,
        ..Variable::public("F", "content")
    });
    variables.push(Variable::public("G", "$F"));
    let expanded = sort_and_expand_all(&variables).unwrap();
    for (key, expected) in [
        ("A", "c/b/a"),
        ("B", "c/b"),
        ("D", "$$C $MISSING"),
        ("R", "$C"),
        ("E", "$R"),
        ("G", "$F"),
    ] {
        assert_eq!(value(&expanded, key), expected, "{key}");
    }
}

#[test]
fn a_later_variable_overrides_and_may_build_on_the_earlier() {
    let expanded = sort_and_expand_all(&set(&[("A", "one"), ("B", "$A"), ("A", "$A-two")])).unwrap();
    assert_eq!(value(&expanded, "A"), "one-two");
    assert_eq!(value(&expanded, "B"), "one-two");
    assert_eq!(expanded.iter().filter(|variable| variable.key == "A").count(), 1);
}

#[test]
fn a_circle_is_named() {
    let error = sort_and_expand_all(&set(&[("A", "$B"), ("B", "$A"), ("C", "x")])).unwrap_err();
    assert_eq!(error.to_string(), "circular variable reference detected: A, B");
}

#[test]
fn doubling_is_bounded() {
    let mut variables = vec![Variable::public("V0", "x".repeat(1024))];
    for level in 1..40 {
        let below = level - 1;
        variables.push(Variable::public(
            format!("V{level}"),
            format!("$V{below}$V{below}"),
        ));
    }
    assert!(matches!(
        sort_and_expand_all(&variables),
        Err(ExpandError::TooLarge { .. })
    ));
}

#[test]
fn the_runner_expands_as_go_does() {
    let mut variables = set(&[("A", "1"), ("B", "$A")]);
    variables.push(Variable {
        file: true,
        ..Variable::public("F", "content")
    });
    for (text, expected) in [
        ("$A ${A}", "1 1"),
        ("$$A", "$A"),
        ("$$$A", "$1"),
        ("$B", "$A"),
        ("$MISSING.", "."),
        ("$1$@$*", ""),
        ("a$", "a$"),
        ("$/x", "$/x"),
        ("${}x", "x"),
        ("${A", "A"),
        ("%A%", "%A%"),
        ("$F", "/builds/p.tmp/F"),
    ] {
        assert_eq!(
            expand_for_runner(text, &variables, "/builds/p.tmp"),
            expected,
            "{text}"
        );
    }
}
