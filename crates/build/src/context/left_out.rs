//! What of a context no image can hold, told to whoever builds.
//!
//! Apart because every kind of context meets pipes and devices, and none of them may fill memory or the screen with their names.

use std::path::Path;

/// Entries that are told by name.
const MOST_NAMED: usize = 20;

/// Sentences about entries that were left out: at most one more than [`MOST_NAMED`].
#[derive(Debug, Default)]
pub(super) struct LeftOut(Vec<String>);

impl LeftOut {
    /// The first ones are told by name.
    pub(super) fn add(&mut self, path: &Path) {
        match self.0.len() {
            0..MOST_NAMED => self.0.push(format!(
                "{} is no regular file and is left out of the context",
                path.display()
            )),
            MOST_NAMED => self.0.push("so are others".to_owned()),
            _ => {}
        }
    }

    pub(super) fn sentences(self) -> Vec<String> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_pipes_are_few_sentences() {
        let mut left_out = LeftOut::default();
        (0..1_000_000).for_each(|number| left_out.add(Path::new(&format!("pipe{number}"))));
        let told = left_out.sentences();
        assert_eq!(told.len(), MOST_NAMED + 1);
        assert!(told[0].starts_with("pipe0 is no regular file"), "{}", told[0]);
    }
}
