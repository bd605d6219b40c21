//! Matching one component of a path as Go's `filepath.Match` does, which is what Dockerfiles mean.

/// Whether a pattern can match anything but itself.
pub(crate) fn has_wildcard(pattern: &str) -> bool {
    let mut escaped = false;
    pattern.bytes().any(|byte| {
        let is_wildcard = !escaped && matches!(byte, b'*' | b'?' | b'[');
        escaped = !escaped && byte == b'\\';
        is_wildcard
    })
}

/// The one name that a pattern without wildcards matches.
pub(crate) fn unescaped(pattern: &str) -> String {
    let mut name = String::with_capacity(pattern.len());
    let mut escaped = false;
    for character in pattern.chars() {
        escaped = !escaped && character == '\\';
        if !escaped {
            name.push(character);
        }
    }
    name
}

/// Whether `name` matches. A malformed pattern matches nothing. Takes time in proportion to the product of both.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut retry = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            retry = Some((at + 1, here));
            at += 1;
            continue;
        }
        if at == pattern.len() && here == name.len() {
            return true;
        }
        match name.get(here).and_then(|byte| single(&pattern[at..], *byte)) {
            Some(length) => {
                at += length;
                here += 1;
            }
            // The last star takes one more.
            None => match retry {
                Some((after, taken)) if taken < name.len() => {
                    (at, here) = (after, taken + 1);
                    retry = Some((after, here));
                }
                _ => return false,
            },
        }
    }
}

/// How much of the pattern one byte used up; none if it does not fit.
fn single(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'\\' => (*pattern.get(1)? == byte).then_some(2),
        b'[' => class(pattern, byte),
        literal => (literal == byte).then_some(1),
    }
}

fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut hit = false;
    let mut first = true;
    loop {
        if pattern.get(at)? == &b']' && !first {
            return (hit != negated).then_some(at + 1);
        }
        first = false;
        let low = member(pattern, &mut at)?;
        let high = if pattern.get(at) == Some(&b'-') {
            at += 1;
            member(pattern, &mut at)?
        } else {
            low
        };
        hit |= (low..=high).contains(&byte);
    }
}

fn member(pattern: &[u8], at: &mut usize) -> Option<u8> {
    let mut byte = *pattern.get(*at)?;
    if byte == b'\\' {
        *at += 1;
        byte = *pattern.get(*at)?;
    }
    *at += 1;
    Some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*b*c*d", "axbxcxd", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("[\\]a]", "]", true),
            ("[", "a", false),
            ("[a", "a", false),
            ("?", "", false),
            ("", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
        assert!(!has_wildcard("a\\*b") && has_wildcard("a\\\\*"));
        assert_eq!(unescaped("a\\*b\\\\"), "a*b\\");
    }

    /// Patterns are a Dockerfile's. One without wildcards means one name, and every pattern comes to an end.
    #[test]
    fn foreign_patterns() {
        let seeds = ["a*b?c*x", "ab[^e-g]", "a\\*b", "[\\]a]", "plain"];
        shipway_testkit::Foreign::near(seeds)
            .up_to(300)
            .check_text(|pattern| {
                for name in ["", "abc", "a*b", pattern] {
                    matches(pattern.as_bytes(), name.as_bytes());
                }
                let escapes = pattern.bytes().rev().take_while(|byte| *byte == b'\\').count();
                if !has_wildcard(pattern) && escapes % 2 == 0 {
                    let name = unescaped(pattern);
                    assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern}");
                }
            });
    }
}
