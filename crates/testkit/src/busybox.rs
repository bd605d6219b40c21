//! Root file systems made on the spot: a tar under construction, and one with the machine's static busybox.

use tar::{Builder, EntryType, Header};

/// Every entry's time: before the years that builds clamp to, so that a test sees a time that was kept.
const MODIFIED: u64 = 300_000_000;

/// The applets that scripts of tests use.
const APPLETS: &[&str] = &[
    "cat", "chmod", "chown", "dd", "echo", "env", "false", "find", "head", "hostname", "id", "ip", "kill",
    "ln", "ls", "mkdir", "mount", "mv", "nc", "nslookup", "printf", "ps", "pwd", "rm", "seq", "sh", "sleep",
    "sort", "stat", "stty", "tar", "test", "touch", "true", "tty", "wc", "wget", "yes",
];

/// A tar under construction.
///
/// Its methods panic where an entry cannot be written, as a path of more than 255 bytes.
pub struct Tar {
    builder: Builder<Vec<u8>>,
}

impl Default for Tar {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(
    clippy::expect_used,
    reason = "a fixture that cannot be written ends its test"
)]
impl Tar {
    /// One without entries.
    #[must_use]
    pub fn new() -> Self {
        Self {
            builder: Builder::new(Vec::new()),
        }
    }

    /// A directory; `owner` is a user id and a group id.
    #[must_use]
    pub fn directory(mut self, path: &str, mode: u32, owner: (u64, u64)) -> Self {
        let mut header = header(EntryType::Directory, mode, owner, 0);
        self.builder
            .append_data(&mut header, path, std::io::empty())
            .expect("a directory in a tar");
        self
    }

    /// A file of root's that everybody may read.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_of(path, 0o644, (0, 0), content)
    }

    /// A file; `owner` is a user id and a group id.
    #[must_use]
    pub fn file_of(mut self, path: &str, mode: u32, owner: (u64, u64), content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut header = header(EntryType::Regular, mode, owner, content.len() as u64);
        self.builder
            .append_data(&mut header, path, content)
            .expect("a file in a tar");
        self
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        let mut header = header(EntryType::Symlink, 0o777, (0, 0), 0);
        self.builder
            .append_link(&mut header, path, target)
            .expect("a link in a tar");
        self
    }

    /// The whole tar, with its end mark.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        self.builder.into_inner().expect("the end of a tar")
    }
}

fn header(kind: EntryType, mode: u32, owner: (u64, u64), size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.0);
    header.set_gid(owner.1);
    header.set_size(size);
    header.set_mtime(MODIFIED);
    header
}

/// A root file system with the machine's static busybox, its applets in `/bin`, and the users `root` and `ann` (1000:1001);
/// tests may add to it.
///
/// # Panics
/// When the machine has no `/bin/busybox`.
#[must_use]
#[expect(clippy::expect_used, reason = "a test without its programs ends there")]
pub fn busybox_root() -> Tar {
    let busybox = std::fs::read("/bin/busybox").expect("the package busybox-static");
    let root = Tar::new()
        .directory("bin", 0o755, (0, 0))
        .directory("etc", 0o755, (0, 0))
        .directory("root", 0o700, (0, 0))
        .directory("tmp", 0o1777, (0, 0))
        .file(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n",
        )
        .file("etc/group", "root:x:0:\nann:x:1001:\n")
        .file_of("bin/busybox", 0o755, (0, 0), busybox);
    APPLETS.iter().fold(root, |root, applet| {
        root.link(&format!("bin/{applet}"), "busybox")
    })
}
