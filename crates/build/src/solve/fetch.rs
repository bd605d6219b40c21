//! `ADD http(s)://…`: one file, under the egress policy, hashed while it arrives.

use std::io::Write;
use std::path::Path;

use futures::StreamExt;
use shipway_oci::{Algorithm, Digest, Hasher};
use shipway_registry::Client;
use shipway_store::{Meter, MeteredFile};

use crate::error::StepError;

/// A file that has arrived.
pub(super) struct FetchedFile {
    pub(super) file: MeteredFile,
    pub(super) size: u64,
    pub(super) hash: [u8; 32],
    /// By the algorithm that the author chose, else SHA-256.
    pub(super) digest: Digest,
    /// The last part of the address, for a destination that is a directory.
    pub(super) name: String,
}

/// Whether a source of ADD is an address.
pub(super) fn is_url(source: &str) -> bool {
    let lower = source.get(..8).unwrap_or(source).to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}

/// No file that belongs into an image is larger, and a body without an end must not fill the disk.
const MOST_FETCHED: u64 = 32 << 30;

/// Fetches into an unnamed file in `spool`, which counts for `written` while it is there.
pub(super) async fn fetch(
    client: &Client,
    url: &str,
    checksum: Option<&str>,
    spool: &Path,
    written: &Meter,
) -> Result<FetchedFile, StepError> {
    let failed = |source| StepError::Fetch {
        url: url.to_owned(),
        source,
    };
    let expected = checksum
        .map(|text| {
            text.parse::<Digest>().map_err(|_| StepError::Unsupported {
                what: format!("--checksum={text} (write sha256:…)"),
            })
        })
        .transpose()?;
    let mut fetched = client.fetch(url).await.map_err(failed)?;
    let mut file = MeteredFile::new(tempfile::tempfile_in(spool)?, written);
    let mut content = blake3::Hasher::new();
    let mut digest = Hasher::new(expected.as_ref().map_or(Algorithm::Sha256, Digest::algorithm));
    let mut size = 0;
    while let Some(chunk) = fetched.body.next().await {
        let chunk = chunk.map_err(failed)?;
        if size + chunk.len() as u64 > MOST_FETCHED {
            return Err(StepError::TooLarge {
                url: url.to_owned(),
                limit: MOST_FETCHED,
            });
        }
        file.write_all(&chunk)?;
        content.update(&chunk);
        digest.update(&chunk);
        size += chunk.len() as u64;
    }
    let actual = digest.finish();
    if let Some(expected) = expected.filter(|expected| *expected != actual) {
        return Err(StepError::Checksum {
            url: url.to_owned(),
            expected: expected.to_string(),
            actual,
        });
    }
    Ok(FetchedFile {
        file,
        size,
        hash: *content.finalize().as_bytes(),
        digest: actual,
        name: file_name(url),
    })
}

/// The last part of the path of an address, decoded; empty where that is no name for a file.
fn file_name(url: &str) -> String {
    let address = url.split(['?', '#']).next().unwrap_or(url);
    let path = address.splitn(4, '/').nth(3).unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    match decoded.rsplit('/').next().unwrap_or_default() {
        "." | ".." => String::new(),
        name if name.contains('\0') => String::new(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_file_is_called_as_the_end_of_its_address() {
        for (url, name) in [
            ("https://example.com/a/b.tar.gz", "b.tar.gz"),
            ("http://example.com/a%20b?x=/y#/z", "a b"),
            ("http://example.com/a/..%2fetc", "etc"),
            ("http://example.com/a%2f%2e%2e", ""),
            ("http://example.com/%00", ""),
            ("http://example.com/a/", ""),
            ("http://example.com", ""),
        ] {
            assert_eq!(file_name(url), name, "{url}");
        }
    }
}
