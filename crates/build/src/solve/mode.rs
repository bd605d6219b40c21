//! `--chmod`: octal, or symbolic as chmod(1) has it.

use crate::error::StepError;

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ModeChange {
    /// These bits.
    Set(u32),
    /// One after the other.
    Symbolic(Vec<Clause>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    /// The bits of the classes named: u, g, o.
    classes: u32,
    operator: char,
    permissions: u32,
    /// `X`: execution where a directory or an executable file is.
    conditional: bool,
}

impl ModeChange {
    pub(super) fn parse(text: &str) -> Result<Self, StepError> {
        let malformed = || StepError::Chmod {
            mode: text.to_owned(),
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777)
                .ok_or_else(malformed)?;
            return Ok(Self::Set(mode));
        }
        text.split(',')
            .map(|part| clause(part).ok_or_else(malformed))
            .collect::<Result<_, _>>()
            .map(Self::Symbolic)
    }

    pub(super) fn apply(&self, mode: u32, directory: bool) -> u32 {
        let clauses = match self {
            Self::Set(mode) => return *mode,
            Self::Symbolic(clauses) => clauses,
        };
        clauses.iter().fold(mode, |mode, clause| {
            let mut bits = clause.permissions & clause.classes;
            if clause.conditional && (directory || mode & 0o111 != 0) {
                bits |= 0o111 & clause.classes;
            }
            match clause.operator {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => mode & !clause.classes | bits,
            }
        })
    }
}

fn clause(text: &str) -> Option<Clause> {
    let at = text.find(['+', '-', '='])?;
    let (who, rest) = text.split_at(at);
    let mut classes = 0;
    for c in who.chars() {
        classes |= match c {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    if who.is_empty() {
        classes = 0o7777;
    }
    let mut rest = rest.chars();
    let operator = rest.next()?;
    let (mut permissions, mut conditional) = (0, false);
    for c in rest {
        permissions |= match c {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            's' => 0o6000,
            't' => 0o1000,
            'X' => {
                conditional = true;
                0
            }
            _ => return None,
        };
    }
    Some(Clause {
        classes,
        operator,
        permissions,
        conditional,
    })
}

#[cfg(test)]
mod tests {
    use super::ModeChange;

    #[test]
    fn changes() {
        let table = [
            ("0755", 0o600, false, 0o755),
            ("u+x", 0o644, false, 0o744),
            ("a+rX", 0o600, false, 0o644),
            ("a+rX", 0o700, false, 0o755),
            ("a+rX", 0o600, true, 0o755),
            ("go-w,u=rw", 0o777, false, 0o655),
            ("+t", 0o777, true, 0o1777),
            ("g+s", 0o755, true, 0o2755),
            ("=r", 0o777, false, 0o444),
        ];
        for (text, mode, directory, wanted) in table {
            let change = ModeChange::parse(text).expect(text);
            assert_eq!(change.apply(mode, directory), wanted, "{text} {mode:o}");
        }
        for bad in ["", "99", "77777", "u", "z+x", "u+q"] {
            assert!(ModeChange::parse(bad).is_err(), "{bad}");
        }
    }
}
