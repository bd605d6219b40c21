//! How an installation is known again by its own processes.
//!
//! Whoever can read the store has its secrets. So a process that wants to know whether a registry on this machine is a
//! registry over its own store sends random bytes, and the registry answers with their code under a key that follows from
//! such a secret. The id of a store proves nothing: everybody may know it, and say it.
//!
//! Somebody in the middle may pass question and answer on, and so look like us. That gains nothing where a registry
//! that is known again is used through the store, without the network; no password is sent on the strength of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::access::Access;
use crate::hmac::hmac_sha256;
use crate::secret::same;

/// Random bytes, to be asked once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityChallenge([u8; 32]);

/// What only a process of the same installation can answer.
#[derive(Debug, Clone)]
pub struct IdentityProof([u8; 32]);

/// A text that is no challenge or no proof: these are 32 bytes in URL-safe base64, without padding.
#[derive(Debug, thiserror::Error)]
#[error("not 32 bytes in URL-safe base64")]
pub struct InvalidIdentityText;

impl IdentityChallenge {
    /// One that was never asked before.
    pub fn fresh() -> Self {
        Self(rand::random())
    }
}

impl Access {
    /// The answer to a challenge.
    pub fn prove(&self, challenge: &IdentityChallenge) -> IdentityProof {
        IdentityProof(hmac_sha256(&self.identity, &challenge.0))
    }

    /// Whether a challenge was answered by a process of this installation.
    pub fn is_proof(&self, challenge: &IdentityChallenge, answer: &IdentityProof) -> bool {
        same(&self.prove(challenge).0, &answer.0)
    }
}

/// The key of proofs, which signs nothing else.
pub(crate) fn key(secret: &[u8; 32]) -> [u8; 32] {
    hmac_sha256(secret, b"identity of the installation")
}

fn bytes(text: &str) -> Result<[u8; 32], InvalidIdentityText> {
    let mut bytes = [0; 32];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(32) => Ok(bytes),
        _ => Err(InvalidIdentityText),
    }
}

impl std::str::FromStr for IdentityChallenge {
    type Err = InvalidIdentityText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        bytes(text).map(Self)
    }
}

impl std::str::FromStr for IdentityProof {
    type Err = InvalidIdentityText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        bytes(text).map(Self)
    }
}

impl fmt::Display for IdentityChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Display for IdentityProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use shipway_store::Store;

    use super::*;

    #[test]
    fn only_who_reads_the_store_can_answer_and_only_what_was_asked() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open =
            |at: &tempfile::TempDir| Access::new(Store::open(&at.path().join("store")).unwrap()).unwrap();
        let (here, there, stranger) = (open(&ours), open(&ours), open(&theirs));
        let challenge = IdentityChallenge::fresh();
        let received = challenge.to_string().parse().unwrap();
        let answer: IdentityProof = there.prove(&received).to_string().parse().unwrap();
        assert!(here.is_proof(&challenge, &answer));
        assert!(
            !here.is_proof(&IdentityChallenge::fresh(), &answer),
            "an old answer"
        );
        assert!(!here.is_proof(&challenge, &stranger.prove(&challenge)));
    }

    #[test]
    fn anything_else_is_no_challenge() {
        let good = IdentityChallenge::fresh().to_string();
        for text in [
            "",
            "x",
            &good[1..],
            &format!("{good}A"),
            &format!("{good}="),
            &"é".repeat(43),
        ] {
            assert!(text.parse::<IdentityChallenge>().is_err(), "{text}");
        }
    }
}
