//! The registry's protocol, request by request with curl, so that a test knows which answer came before the crash.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use shipway_oci::{Descriptor, Digest, ImageManifest, Manifest, media_type};

use crate::harness::{CREDENTIALS, User};

/// An image of one layer.
pub(super) struct Image {
    pub(super) layer: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) manifest: Vec<u8>,
}

impl Image {
    /// A different one for each name.
    pub(super) fn new(name: &str) -> Result<Self> {
        // Larger than a pipe and a page, so that its bytes arrive in several writes.
        let layer = format!("layer of {name}\n").repeat(8192).into_bytes();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","author":"{name}","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            Digest::sha256(&layer)
        )
        .into_bytes();
        let manifest = Manifest::Image(ImageManifest::new(
            Descriptor::of(media_type::OCI_CONFIG, &config),
            vec![Descriptor::of(media_type::OCI_LAYER_TAR, &layer)],
        ));
        let manifest = manifest.to_json().context("a manifest")?;
        Ok(Self {
            layer,
            config,
            manifest,
        })
    }

    pub(super) fn digest(&self) -> String {
        Digest::sha256(&self.manifest).to_string()
    }
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A client of the server at an address.
pub(super) struct Http<'a> {
    pub(super) user: &'a User,
    pub(super) address: &'a str,
}

impl Http<'_> {
    /// One request; nothing when the server died instead of answering.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: Option<&[u8]>,
    ) -> Result<Option<Answer>> {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("http://{}{path}", self.address)
        };
        let mut command = self.user.home.command("curl");
        command
            .args(["--silent", "--max-time", "60", "--user", CREDENTIALS])
            .args(["--request", method, "--header", &format!("Content-Type: {kind}")])
            .args([
                "--header",
                "Expect:",
                "--dump-header",
                "-",
                "--output",
                "/dev/null",
            ]);
        if body.is_some() {
            command.args(["--data-binary", "@-"]);
        }
        let mut process = command
            .arg(&url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        // A client that has heard of the end reads no more.
        let _ = process
            .stdin
            .take()
            .context("standard input")?
            .write_all(body.unwrap_or_default());
        let output = process.wait_with_output()?;
        let headers = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = headers
            .lines()
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        match (output.status.success(), status) {
            (true, Some(status)) => Ok(Some(Answer { status, headers })),
            // Empty answer, refused connection, reset.
            (false, _) if matches!(output.status.code(), Some(7 | 52 | 55 | 56 | 18)) => Ok(None),
            _ => bail!("{method} {url}: curl ended with {}:\n{headers}", output.status),
        }
    }

    /// A request that is answered as it should be, or not at all.
    fn expect(
        &self,
        status: u16,
        method: &str,
        path: &str,
        kind: &str,
        body: Option<&[u8]>,
    ) -> Result<Option<Answer>> {
        let answer = self.ask(method, path, kind, body)?;
        if let Some(answer) = &answer {
            ensure!(
                answer.status == status,
                "{method} {path} was answered with {}:\n{}",
                answer.status,
                answer.headers
            );
        }
        Ok(answer)
    }

    /// Begins an upload and gives where it goes on.
    pub(super) fn begin(&self, repository: &str) -> Result<Option<String>> {
        let path = format!("/v2/{repository}/blobs/uploads/");
        let answer = self.expect(202, "POST", &path, "application/octet-stream", Some(b""))?;
        answer.map(|answer| location(&answer)).transpose()
    }

    /// Sends a part of an upload and gives where it goes on.
    pub(super) fn patch(&self, upload: &str, part: &[u8]) -> Result<Option<String>> {
        let answer = self.expect(202, "PATCH", upload, "application/octet-stream", Some(part))?;
        answer.map(|answer| location(&answer)).transpose()
    }

    /// How many bytes of an upload the server has.
    pub(super) fn kept(&self, upload: &str) -> Result<usize> {
        let answer = self.expect(204, "GET", upload, "", None)?.context("no server")?;
        // `0-0` is also the answer for nothing at all.
        let last = answer.header("Range").and_then(|range| range.strip_prefix("0-"));
        let last: usize = last.context("a range")?.parse()?;
        Ok(if last == 0 { 0 } else { last + 1 })
    }

    /// Ends an upload with its last part.
    pub(super) fn finish(&self, upload: &str, part: &[u8], digest: &Digest) -> Result<Option<()>> {
        let separator = if upload.contains('?') { '&' } else { '?' };
        let path = format!("{upload}{separator}digest={digest}");
        Ok(self
            .expect(201, "PUT", &path, "application/octet-stream", Some(part))?
            .map(drop))
    }

    /// Puts a manifest under a tag.
    pub(super) fn tag(&self, repository: &str, tag: &str, manifest: &[u8]) -> Result<Option<()>> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        Ok(self
            .expect(201, "PUT", &path, media_type::OCI_MANIFEST, Some(manifest))?
            .map(drop))
    }

    /// Deletes a manifest.
    pub(super) fn delete(&self, repository: &str, digest: &str) -> Result<Option<()>> {
        let path = format!("/v2/{repository}/manifests/{digest}");
        Ok(self.expect(202, "DELETE", &path, "", None)?.map(drop))
    }

    /// Pushes an image whole.
    pub(super) fn push(&self, repository: &str, tag: &str, image: &Image) -> Result<Option<()>> {
        for blob in [&image.layer, &image.config] {
            let Some(upload) = self.begin(repository)? else {
                return Ok(None);
            };
            if self.finish(&upload, blob, &Digest::sha256(blob))?.is_none() {
                return Ok(None);
            }
        }
        self.tag(repository, tag, &image.manifest)
    }
}

fn location(answer: &Answer) -> Result<String> {
    Ok(answer.header("Location").context("a location")?.to_owned())
}
