//! What the states of a stage are called: a name for its base, and from there one for each step, made of the name before it and of
//! what the step says of itself.
//!
//! The configuration with all its history grows with every step, so an id of the whole after each of them takes a time that grows
//! with their square. Only the last state becomes an image, and only that one gets an image's id.

use shipway_oci::{Algorithm, Digest, Hasher, ImageConfig};

/// The name of a state.
pub(super) struct StateName(Digest);

impl StateName {
    /// That of what a stage begins with: the id of its configuration.
    pub(super) fn of(base: &ImageConfig) -> Self {
        Self(Digest::sha256(&base.to_json().unwrap_or_default()))
    }

    /// A step was done: what the history says of it, which names every value that it set, and the layer that it made.
    pub(super) fn follow(&mut self, created_by: &str, layer: Option<&Digest>) {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for part in [self.0.as_str(), layer.map_or("", Digest::as_str), created_by] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        self.0 = hasher.finish();
    }

    pub(super) fn as_digest(&self) -> &Digest {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use shipway_oci::Platform;

    use super::*;

    #[test]
    fn a_state_is_named_by_its_base_and_all_that_was_done_to_it() {
        let layer = Digest::sha256(b"a layer");
        let after = |user: &str, steps: &[(&str, Option<&Digest>)]| {
            let mut base = ImageConfig::new(&Platform::host());
            base.config.user = user.to_owned();
            let mut name = StateName::of(&base);
            for (text, layer) in steps {
                name.follow(text, *layer);
            }
            name.as_digest().clone()
        };
        let base = ImageConfig::new(&Platform::host()).to_json().unwrap();
        assert_eq!(after("", &[]), Digest::sha256(&base));
        let mut names = vec![
            after("", &[]),
            after("ann", &[]),
            after("", &[("RUN a", None)]),
            after("", &[("RUN a", Some(&layer))]),
            after("ann", &[("RUN a", Some(&layer))]),
            after("", &[("RUN a", None), ("RUN b", None)]),
            after("", &[("RUN b", None), ("RUN a", None)]),
            after("", &[("RUN aRUN b", None)]),
        ];
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(after("", &[("RUN a", None)]), after("", &[("RUN a", None)]));
    }
}
