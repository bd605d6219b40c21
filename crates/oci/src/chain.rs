//! Chain ids: the name of a stack of layers, which is the name under which an unpacked tree can be kept.

use crate::{Digest, Hasher};

/// The chain id of every prefix of a stack of layers, bottom first: the n-th names layers 0 to n applied in order.
///
/// The first is the diff id itself; each next one is the SHA-256 of "previous chain id, space, diff id".
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = chain_id_over(chain.last(), diff_id);
        chain.push(next);
    }
    chain
}

/// The chain id of a layer over a stack of that chain id, or over nothing.
pub fn chain_id_over(below: Option<&Digest>, diff_id: &Digest) -> Digest {
    let Some(below) = below else {
        return diff_id.clone();
    };
    let mut hasher = Hasher::new(crate::Algorithm::Sha256);
    hasher.update(below.as_str().as_bytes());
    hasher.update(b" ");
    hasher.update(diff_id.as_str().as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_names_the_stack_below_it() {
        let ids = [Digest::sha256(b"a"), Digest::sha256(b"b"), Digest::sha256(b"c")];
        let chain = chain_ids(&ids);
        assert_eq!(chain[0], ids[0]);
        assert_eq!(
            chain[1],
            Digest::sha256(format!("{} {}", ids[0], ids[1]).as_bytes())
        );
        assert_eq!(
            chain[2],
            Digest::sha256(format!("{} {}", chain[1], ids[2]).as_bytes())
        );
        assert!(chain_ids(&[]).is_empty());
    }
}
