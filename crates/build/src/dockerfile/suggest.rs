//! What a misspelt word probably means, for messages.
//!
//! Bounded: only words of a reasonable length are compared, and only with names of the file itself.

/// Words further apart than this have nothing to do with each other.
const FURTHEST: usize = 2;
/// Nobody misspells a longer name in a way that a machine can guess.
const LONGEST: usize = 64;

/// ` (did you mean …?)` with the nearest of the names, or nothing.
pub(crate) fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, names).map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

/// The nearest of the names: of several the one that has two letters swapped, else the first. Nothing if none is near, or if
/// the word is itself one of them.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(LONGEST + 1).collect();
    let mut found = None;
    let mut least = (FURTHEST + 1, false);
    for name in names {
        let letters: Vec<char> = name.chars().take(LONGEST + 1).collect();
        if word.len().max(letters.len()) > LONGEST || word.len().abs_diff(letters.len()) > FURTHEST {
            continue;
        }
        let near = distance(&word, &letters);
        if near == 0 {
            return None;
        }
        let rank = (near, !is_swapped(&word, &letters));
        if rank < least {
            (found, least) = (Some(name), rank);
        }
    }
    found
}

fn is_swapped(from: &[char], to: &[char]) -> bool {
    let differing: Vec<_> = from
        .iter()
        .zip(to)
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .collect();
    match differing[..] {
        [(first, (a, b)), (second, (c, d))] => {
            from.len() == to.len() && second == first + 1 && a == d && b == c
        }
        _ => false,
    }
}

/// Letters to insert, drop or replace.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_at_most_two_letters_away() {
        assert_eq!(nearest("PAHT", ["HOME", "PATH"]), Some("PATH"));
        assert_eq!(
            nearest("DIR_ASSET", ["DIR_BINARIES", "DIR_ASSETS"]),
            Some("DIR_ASSETS")
        );
        assert_eq!(nearest("aa", ["ab", "ac"]), Some("ab"));
        assert_eq!(nearest("RNU", ["ENV", "RUN"]), Some("RUN"));
        assert_eq!(nearest("PATH", ["PATHS", "PATH"]), None);
        assert_eq!(nearest("foo", ["quux"]), None);
        assert_eq!(nearest(&"x".repeat(65), [&*"x".repeat(64)]), None);
        assert_eq!(did_you_mean("FORM", ["FROM"]), " (did you mean FROM?)");
        assert_eq!(did_you_mean("FROM", ["FROM"]), "");
    }
}
