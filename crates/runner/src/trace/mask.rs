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
mod tests;
