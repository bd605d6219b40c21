//! The fields of a flag that is written as a line of CSV: `type=image,"name=a,b"`.
//!
//! Why not a split at commas: a name in quotes may hold one, and docker's documentation writes lists of names so. Flags of Dockerfiles
//! and of command lines are read by this alone, so that what is quoted in one place can be quoted in each.

/// Cuts a line into its fields; nothing when a quote does not end, or something follows its end. Two quotes in quotes are one.
pub fn csv_fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let field;
        (field, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

/// A field behind its opening quote, and what follows its closing one. Two quotes are one.
fn quoted_field(mut rest: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                field.push('"');
                rest = more;
            }
            None => return Some((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_do_not_cut() {
        let cut = |line| csv_fields(line).map(|fields| fields.join("|"));
        assert_eq!(
            cut("type=image,push=true").as_deref(),
            Some("type=image|push=true")
        );
        assert_eq!(
            cut(r#""name=a,b",push=true"#).as_deref(),
            Some("name=a,b|push=true")
        );
        assert_eq!(cut(r#"a,"x""y""#).as_deref(), Some(r#"a|x"y"#));
        assert_eq!(cut("out").as_deref(), Some("out"));
        assert_eq!(cut(r#""open"#), None);
        assert_eq!(cut(r#""a"b"#), None);
        assert_eq!(cut(r#"a"b,c"#).as_deref(), Some(r#"a"b|c"#));
    }
}
