//! A bound on the work that expressions ask for.
//!
//! Each pattern takes time that is linear in the text and in its own size, but a file may hold thousands of them, for
//! hundreds of jobs, about a variable of any length. So the steps of one compilation are counted, by a measure that is the
//! same on every machine: who goes too far learns it everywhere, and not only where it is slow.

use std::cell::Cell;

use regex_syntax::hir::{Hir, HirKind};

/// Enough for thousands of conditions about the longest commit message that GitLab keeps.
const USUAL: u64 = 20_000_000_000;

/// What building a pattern takes for each of its parts, in steps of matching.
const BUILDING: u64 = 64;

/// Steps that are left.
#[derive(Debug)]
pub struct Effort(Cell<u64>);

impl Default for Effort {
    /// What all expressions of one pipeline may take together.
    fn default() -> Self {
        Self::new(USUAL)
    }
}

impl Effort {
    /// So many steps.
    pub fn new(steps: u64) -> Self {
        Self(Cell::new(steps))
    }

    /// Whether nothing is left: what was asked since then has no answer.
    pub fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    /// Takes the steps of looking at a text with something of this size; false when there are not so many.
    pub(super) fn take(&self, size: u64, text: &str) -> bool {
        let wanted = size.saturating_mul(text.len() as u64 + 1);
        let left = self.0.get().saturating_sub(wanted);
        self.0.set(left);
        left > 0
    }

    /// Takes what building patterns of this size took.
    pub(crate) fn take_building(&self, size: u64) {
        self.take(size.saturating_mul(BUILDING), "");
    }
}

/// How many parts a pattern has once its repetitions are written out.
pub(super) fn size(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        // A class of Unicode is a small automaton of its own.
        HirKind::Class(class) => match class {
            regex_syntax::hir::Class::Unicode(class) => 1 + class.ranges().len() as u64 / 4,
            regex_syntax::hir::Class::Bytes(_) => 1,
        },
        HirKind::Repetition(repetition) => {
            let times = repetition
                .max
                .unwrap_or(repetition.min)
                .max(repetition.min)
                .max(1);
            size(&repetition.sub).saturating_mul(u64::from(times))
        }
        HirKind::Capture(capture) => size(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(size).fold(1, u64::saturating_add)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_count_as_often_as_they_repeat() {
        let size = |pattern: &str| size(&regex_syntax::parse(pattern).unwrap());
        assert_eq!(size("abc"), 3);
        assert_eq!(size("(?:abc)*"), 3);
        assert_eq!(size("(?:abc){2,10}"), 30);
        assert_eq!(size("((?:[ab]{10}){20})?"), 200);
        assert!(size(r"\w") < 400);
    }

    #[test]
    fn what_is_left_never_grows_again() {
        let effort = Effort::new(10);
        assert!(effort.take(2, "abc"));
        assert!(!effort.take(2, "abc") && effort.is_spent());
        assert!(!effort.take(0, ""));
    }
}
