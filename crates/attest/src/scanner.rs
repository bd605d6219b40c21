//! Looking at a layer while it is written or read.

use sha1::Digest as _;

use crate::catalog::Format;
use crate::scan::{LayerScan, ScannedFile};
use crate::tar::{Entry, Kind, Reader, Visitor};

/// Of one layer. A distribution with everything has some ten thousand.
const MOST_PACKAGES: usize = 200_000;
/// Files that list packages, of one layer.
const MOST_FILES: usize = 100_000;
/// Whiteouts and links, of one layer: what is beyond hides nothing.
const MOST_CHANGES: usize = 200_000;
/// Files that the document says were not read.
const MOST_PASSED_OVER: usize = 1000;

/// What begins the name of a whiteout.
const WHITEOUT: &str = ".wh.";
/// What empties a directory of what is below.
const OPAQUE: &str = ".wh..wh..opq";

/// Takes the tar of a layer in pieces of any size, in any thread, and holds at most one file that lists packages, and what was listed.
#[derive(Debug)]
pub struct LayerScanner {
    reader: Reader,
    gathering: Gathering,
}

impl Default for LayerScanner {
    fn default() -> Self {
        Self {
            reader: Reader::new(),
            gathering: Gathering {
                scan: LayerScan::new(),
                current: None,
                packages: 0,
            },
        }
    }
}

impl LayerScanner {
    /// Takes the next bytes of the uncompressed tar.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes, &mut self.gathering);
    }

    /// What the layer says. A tar that broke off says what it said until there, and that it broke off.
    pub fn finish(mut self) -> LayerScan {
        if !self.reader.is_whole() {
            self.gathering
                .pass_over(String::new(), "its tar cannot be read to the end".to_owned());
        }
        self.gathering.scan
    }
}

#[derive(Debug)]
struct Gathering {
    scan: LayerScan,
    /// The file whose content is arriving.
    current: Option<(String, Format, Vec<u8>)>,
    packages: usize,
}

impl Gathering {
    fn pass_over(&mut self, path: String, reason: String) {
        if self.scan.passed_over.len() < MOST_PASSED_OVER {
            self.scan.passed_over.insert(path, reason);
        }
    }

    /// Whether it is a file whose content is wanted.
    fn file(&mut self, path: String, size: u64) -> bool {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == OPAQUE {
            if self.scan.changes() < MOST_CHANGES {
                self.scan.make_opaque(directory.to_owned());
            }
            return false;
        }
        if let Some(gone) = name.strip_prefix(WHITEOUT) {
            let gone = if directory.is_empty() {
                gone.to_owned()
            } else {
                format!("{directory}/{gone}")
            };
            self.hide(gone);
            return false;
        }
        let Some(format) = Format::of(&path) else {
            return false;
        };
        if size > format.most_bytes() {
            let reason = format!("it has {size} bytes, at most {} are read", format.most_bytes());
            self.hide(path.clone());
            self.pass_over(path, reason);
            return false;
        }
        if self.scan.files.len() >= MOST_FILES {
            self.pass_over(path, format!("the layer has more than {MOST_FILES} such files"));
            return false;
        }
        self.current = Some((path, format, Vec::new()));
        true
    }

    fn hide(&mut self, path: String) {
        if self.scan.changes() < MOST_CHANGES {
            self.scan.remove(path);
        }
    }

    fn list(&mut self, path: String, format: Format, bytes: &[u8]) {
        let listing = match format.read(bytes) {
            Ok(listing) => listing,
            Err(error) => {
                self.hide(path.clone());
                return self.pass_over(path, error.to_string());
            }
        };
        let mut packages = listing.packages;
        let room = MOST_PACKAGES - self.packages;
        if packages.len() > room {
            packages.truncate(room);
            self.pass_over(
                path.clone(),
                format!("the layer lists more than {MOST_PACKAGES} packages"),
            );
        }
        self.packages += packages.len();
        let file = ScannedFile {
            sha1: hex(&sha1::Sha1::digest(bytes)),
            sha256: hex(&sha2::Sha256::digest(bytes)),
            packages,
            release: listing.release,
        };
        self.scan.files.insert(path, file);
    }
}

impl Visitor for Gathering {
    fn begin(&mut self, entry: Entry) -> bool {
        let Some(path) = clean(&entry.name) else {
            return false;
        };
        match entry.kind {
            Kind::File => return self.file(path, entry.size),
            // What a link took the place of is not seen any more.
            Kind::SymbolicLink => self.hide(path),
            Kind::HardLink => {
                let same = clean(&entry.link).and_then(|link| self.scan.files.get(&link).cloned());
                if let Some(file) =
                    same.filter(|_| Format::of(&path).is_some() && self.scan.files.len() < MOST_FILES)
                    && self.packages + file.packages.len() <= MOST_PACKAGES
                {
                    self.packages += file.packages.len();
                    self.scan.files.insert(path, file);
                }
            }
            Kind::Directory | Kind::Other => {}
        }
        false
    }

    fn content(&mut self, bytes: &[u8]) {
        if let Some((_, _, content)) = &mut self.current {
            content.extend_from_slice(bytes);
        }
    }

    fn end(&mut self) {
        if let Some((path, format, content)) = self.current.take() {
            self.list(path, format, &content);
        }
    }
}

/// The path from the root; none for one that leads out of it, which whoever unpacks the layer refuses.
fn clean(name: &str) -> Option<String> {
    let mut path = String::new();
    for part in name.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            return None;
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    Some(path)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests;
