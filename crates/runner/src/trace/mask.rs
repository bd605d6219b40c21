//! Secrets out of a stream, whatever the writes are.
//!
//! Every byte that belongs to an occurrence of a secret is replaced; occurrences that overlap become one `[MASKED]`.
//! So the longest secret wins where one contains another, and no part of a secret survives because another one
//! overlapped it.
//!
//! Only bytes that may still become a secret are held back (fewer than the longest secret has), so a prompt without
//! a newline appears at once.

/// What stands for a secret in the trace.
pub(super) const MASK: &[u8] = b"[MASKED]";

/// A streaming masker.
#[derive(Clone, Debug, Default)]
pub struct Masker {
    /// Longest first: the order in which an occurrence is looked for.
    secrets: Vec<Vec<u8>>,
    /// Bytes not decided yet.
    pending: Vec<u8>,
    /// How many bytes at the start of `pending` belong to an occurrence whose `[MASKED]` is already out.
    covered: usize,
}

impl Masker {
    /// A masker of these values. Empty ones mask nothing.
    pub fn new<S: Into<Vec<u8>>>(secrets: impl IntoIterator<Item = S>) -> Self {
        let mut secrets: Vec<Vec<u8>> = secrets
            .into_iter()
            .map(Into::into)
            .filter(|s: &Vec<u8>| !s.is_empty())
            .collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self {
            secrets,
            pending: Vec::new(),
            covered: 0,
        }
    }

    /// Adds bytes to the stream; what is decided is appended to `out`.
    pub fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.secrets.is_empty() {
            out.extend_from_slice(bytes);
            return;
        }
        self.pending.extend_from_slice(bytes);
        let undecided = self.undecided_from();
        self.decide(undecided, out);
    }

    /// The end of the stream: what was held back comes out.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.decide(self.pending.len(), out);
    }

    /// The first position whose rest is the beginning of a secret, and not a whole one.
    fn undecided_from(&self) -> usize {
        let longest = self.secrets.first().map_or(0, Vec::len);
        let from = self.pending.len().saturating_sub(longest.saturating_sub(1));
        (from..self.pending.len())
            .find(|&at| {
                let rest = &self.pending[at..];
                self.secrets
                    .iter()
                    .any(|secret| secret.len() > rest.len() && secret.starts_with(rest))
            })
            .unwrap_or(self.pending.len())
    }

    /// Decides every byte before `end`. Occurrences that start before `end` are whole in `pending`.
    fn decide(&mut self, end: usize, out: &mut Vec<u8>) {
        let mut covered = self.covered;
        for at in 0..end {
            if let Some(secret) = self
                .secrets
                .iter()
                .find(|secret| self.pending[at..].starts_with(secret))
            {
                if at >= covered {
                    out.extend_from_slice(MASK);
                }
                covered = covered.max(at + secret.len());
            } else if at >= covered {
                out.push(self.pending[at]);
            }
        }
        self.pending.drain(..end);
        self.covered = covered.saturating_sub(end);
    }
}

#[cfg(test)]
mod tests {
    use super::{MASK, Masker};
    use proptest::prelude::*;

    fn masked(secrets: &[&str], writes: &[&str]) -> String {
        let mut masker = Masker::new(secrets.iter().map(|s| s.as_bytes().to_vec()));
        let mut out = Vec::new();
        for write in writes {
            masker.write(write.as_bytes(), &mut out);
        }
        masker.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_secret_cut_in_two_is_masked() {
        assert_eq!(
            masked(&["hunter2222"], &["user hun", "ter", "2222\n"]),
            "user [MASKED]\n"
        );
    }

    #[test]
    fn the_longest_secret_wins() {
        assert_eq!(
            masked(&["pass", "password"], &["password pass"]),
            "[MASKED] [MASKED]"
        );
    }

    #[test]
    fn overlapping_secrets_leave_no_part() {
        assert_eq!(masked(&["abcd", "cdef"], &["xabc", "defy"]), "x[MASKED]y");
    }

    #[test]
    fn a_beginning_that_is_no_secret_comes_out() {
        assert_eq!(masked(&["secret"], &["sec", "ond", " secre"]), "second secre");
    }

    #[test]
    fn output_that_begins_no_secret_is_not_held_back() {
        let mut masker = Masker::new([b"secret".to_vec()]);
        let mut out = Vec::new();
        masker.write(b"Password: ", &mut out);
        assert_eq!(out, b"Password: ");
    }

    #[test]
    fn an_endless_overlap_holds_back_less_than_a_secret() {
        let mut masker = Masker::new([b"aaaaaaaa".to_vec()]);
        let mut out = Vec::new();
        for _ in 0..1000 {
            masker.write(b"aaaaaaaaaa", &mut out);
            assert!(masker.pending.len() < 8, "{}", masker.pending.len());
        }
        masker.finish(&mut out);
        assert_eq!(out, MASK);
    }

    /// The definition, without a stream: which bytes belong to an occurrence, and where occurrences begin anew.
    fn reference(secrets: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
        let (mut out, mut covered) = (Vec::new(), 0);
        for at in 0..text.len() {
            let longest = secrets
                .iter()
                .filter(|s| !s.is_empty() && text[at..].starts_with(s))
                .map(Vec::len)
                .max();
            match longest {
                Some(length) => {
                    if at >= covered {
                        out.extend_from_slice(MASK);
                    }
                    covered = covered.max(at + length);
                }
                None if at >= covered => out.push(text[at]),
                None => {}
            }
        }
        out
    }

    proptest! {
        #[test]
        fn any_split_of_the_stream_is_masked_alike(
            secrets in prop::collection::vec("[abc]{0,5}", 0..4),
            writes in prop::collection::vec("[abcd]{0,7}", 0..12),
        ) {
            let secrets: Vec<Vec<u8>> = secrets.into_iter().map(String::into_bytes).collect();
            let mut masker = Masker::new(secrets.clone());
            let mut out = Vec::new();
            for write in &writes {
                masker.write(write.as_bytes(), &mut out);
            }
            masker.finish(&mut out);
            prop_assert_eq!(out, reference(&secrets, writes.concat().as_bytes()));
        }
    }
}
