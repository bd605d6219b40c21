//! HMAC-SHA-256 (RFC 2104), which is all that signing our own tokens takes.

use sha2::{Digest, Sha256};

const BLOCK: usize = 64;

/// The authentication code of a message under a key of the hash's own length.
pub(crate) fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |mask: u8| {
        let mut block = [mask; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> [u8; 32] {
        // RFC 2104 fills shorter keys with zeros, so these are the keys of RFC 4231's cases.
        let mut key = [0; 32];
        key[..bytes.len()].copy_from_slice(bytes);
        key
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_cases_of_rfc_4231() {
        let cases: [(&[u8], &[u8], &str); 3] = [
            (
                &[0x0b; 20],
                b"Hi There",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
        ];
        for (secret, message, expected) in cases {
            assert_eq!(hex(&hmac_sha256(&key(secret), message)), expected);
        }
    }
}
