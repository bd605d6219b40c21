//! Archives that lead out: what a hostile job gives the engine to unpack, and what holds it.
//!
//! Each attack has an archive of its own name, with names, links and devices that mean something on the machine: the directory
//! `$DROP`, where everybody may write, and the file `$MARKER`, which everybody may read.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tar::{Builder, EntryType, Header};

use super::attacks::{Attack, Proof};

use Proof::{Dropped, Success};

const NO_EXTRACTION: &str =
    "the engine keeps a context as an index and one unnamed file, and unpacks nothing";
const NO_DEVICES: &str = "a context has no devices, and none is unpacked (as root)";
const NAMES_AND_ROOT: &str = "names that lead out are refused, and the worker's root is where it unpacks";
const ROOT: &str = "the worker's root is where it unpacks";

/// None was made for the outside: each is what the docker CLI sends by itself.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "context-dot-dot",
        held_by: NO_EXTRACTION,
        proof: Dropped,
        script: "docker build - < attacks/context-dot-dot.tar",
    },
    Attack {
        name: "context-link",
        held_by: NO_EXTRACTION,
        proof: Dropped,
        script: "docker build - < attacks/context-link.tar",
    },
    Attack {
        name: "context-link-read",
        held_by: NO_EXTRACTION,
        proof: Success,
        script: "docker build - < attacks/context-link-read.tar",
    },
    Attack {
        name: "context-hard-link",
        held_by: NO_EXTRACTION,
        proof: Success,
        script: "docker build - < attacks/context-hard-link.tar",
    },
    Attack {
        name: "context-device",
        held_by: NO_DEVICES,
        proof: Success,
        script: "docker build - < attacks/context-device.tar",
    },
    Attack {
        name: "add-dot-dot",
        held_by: NAMES_AND_ROOT,
        proof: Dropped,
        script: "cp attacks/add-dot-dot.tar in.tar && printf 'FROM busybox:1.36\nADD in.tar /in/\n' | docker build -f - .",
    },
    Attack {
        name: "add-link",
        held_by: ROOT,
        proof: Dropped,
        script: "cp attacks/add-link.tar in.tar && printf 'FROM busybox:1.36\nADD in.tar /in/\n' | docker build -f - .",
    },
    Attack {
        name: "add-hard-link",
        held_by: "the worker's root is where it unpacks, and the kernel links nothing across mounts",
        proof: Success,
        script: r#"cp attacks/add-hard-link.tar in.tar
          printf 'FROM busybox:1.36\nADD in.tar /in/\nRUN grep "of the machine" /in/got\n' | docker build -f - ."#,
    },
    Attack {
        name: "add-device",
        held_by: "devices are passed over, and the kernel makes none in a user namespace (as root)",
        proof: Success,
        script: r"cp attacks/add-device.tar in.tar
          printf 'FROM busybox:1.36\nADD in.tar /in/\nRUN head -c 1 /in/zero | grep -q .\n' | docker build -f - .",
    },
    Attack {
        name: "import-dot-dot",
        held_by: NAMES_AND_ROOT,
        proof: Dropped,
        script: r"docker import attacks/import-dot-dot.tar evil:1
          printf 'FROM evil:1 AS evil\nFROM busybox:1.36\nCOPY --from=evil / /in/\n' | docker build -",
    },
    Attack {
        name: "import-link",
        held_by: ROOT,
        proof: Dropped,
        script: r"docker import attacks/import-link.tar evil:2
          printf 'FROM evil:2 AS evil\nFROM busybox:1.36\nCOPY --from=evil / /in/\n' | docker build -",
    },
    Attack {
        name: "import-hard-link",
        held_by: ROOT,
        proof: Success,
        script: r#"docker import attacks/import-hard-link.tar evil:3
          printf 'FROM evil:3 AS evil\nFROM busybox:1.36\nCOPY --from=evil /got /got\nRUN grep "of the machine" /got\n' | docker build -"#,
    },
    Attack {
        name: "load-dot-dot",
        held_by: "what is loaded is read and not unpacked",
        proof: Dropped,
        script: "docker load < attacks/load-dot-dot.tar",
    },
    Attack {
        name: "load-link",
        held_by: "what is loaded is read and not unpacked",
        proof: Dropped,
        script: "docker load < attacks/load-link.tar",
    },
    Attack {
        name: "cp-in-dot-dot",
        held_by: NAMES_AND_ROOT,
        proof: Dropped,
        script: r#"container=$(docker create busybox:1.36 true) && docker cp - "$container:/tmp" < attacks/cp-in-dot-dot.tar"#,
    },
    Attack {
        name: "cp-in-link",
        held_by: ROOT,
        proof: Dropped,
        script: r#"container=$(docker create busybox:1.36 true) && docker cp - "$container:/tmp" < attacks/cp-in-link.tar"#,
    },
    Attack {
        name: "cp-in-running",
        held_by: "the worker enters the container before it looks at a path",
        proof: Dropped,
        // The client itself follows a link at the end of the path; one on the way is the engine's to follow.
        script: r#"container=$(docker run -d busybox:1.36 sh -c \
            "mkdir -p '$DROP'; ln -s '$(dirname "$DROP")' /up; echo up; exec sleep 1000")
          until docker logs "$container" 2>&1 | grep -q up; do sleep 0.1; done
          echo dropped > cp-in-running && docker cp cp-in-running "$container:/up/$(basename "$DROP")/""#,
    },
    Attack {
        name: "cp-out-link",
        held_by: "paths are looked up with the container's root as the worker's own",
        proof: Success,
        script: r#"container=$(docker create busybox:1.36 true) && docker cp - "$container:/tmp" < attacks/cp-out-link.tar
          docker cp -L "$container:/tmp/link" - | grep -a "of the machine" ||
            docker cp "$container:/tmp/directory/$(basename "$MARKER")" - | grep -a "of the machine""#,
    },
];

/// The archive of an attack.
pub(super) fn archive(attack: &str, drop: &Path, marker: &Path) -> Result<Option<Vec<u8>>> {
    let dropped = drop.join(attack);
    let mut tar = Archive(Builder::new(Vec::new()));
    let beside = marker.parent().context("the directory of the marker")?;
    let (what, _) = attack.split_once('-').context("an attack with a plan")?;
    let of_kind = |kind| attack.ends_with(kind);
    if of_kind("-dot-dot") {
        tar.file(&outside(&dropped), b"dropped")?;
    } else if of_kind("-hard-link") {
        tar.link("out", EntryType::Symlink, &drop.to_string_lossy())?;
        tar.link("got", EntryType::Link, "out/writable")?;
    } else if of_kind("-link-read") || of_kind("-out-link") {
        tar.link("link", EntryType::Symlink, &marker.to_string_lossy())?;
        tar.link("directory", EntryType::Symlink, &beside.to_string_lossy())?;
    } else if of_kind("-link") {
        tar.link("out", EntryType::Symlink, &drop.to_string_lossy())?;
        tar.file(&format!("out/{attack}"), b"dropped")?;
    } else if of_kind("-device") {
        tar.device("zero")?;
    } else {
        return Ok(None);
    }
    if what == "context" {
        let rest = match attack {
            "context-link-read" => {
                "COPY directory/ /got/\nCOPY link /got/link\nRUN grep -r 'of the machine' /got\n"
            }
            "context-hard-link" => "COPY got /got\nRUN grep 'of the machine' /got\n",
            "context-device" => "COPY zero /zero\nRUN head -c 1 /zero | grep -q .\n",
            _ => "COPY . /all/\n",
        };
        tar.file("Dockerfile", format!("FROM busybox:1.36\n{rest}").as_bytes())?;
    }
    Ok(Some(tar.0.into_inner()?))
}

/// A name that means a path of the machine, from any directory that something is unpacked in.
fn outside(path: &Path) -> String {
    format!(
        "{}{}",
        "../".repeat(12),
        path.to_string_lossy().trim_start_matches('/')
    )
}

/// An archive with entries that no honest program writes.
struct Archive(Builder<Vec<u8>>);

impl Archive {
    fn file(&mut self, name: &str, contents: &[u8]) -> Result<()> {
        let mut header = header(name, EntryType::Regular)?;
        header.set_size(contents.len() as u64);
        self.append(header, contents)
    }

    fn link(&mut self, name: &str, kind: EntryType, target: &str) -> Result<()> {
        let mut header = header(name, kind)?;
        header.set_link_name_literal(target)?;
        self.append(header, &[])
    }

    /// `/dev/zero`
    fn device(&mut self, name: &str) -> Result<()> {
        let mut header = header(name, EntryType::Char)?;
        header.set_device_major(1)?;
        header.set_device_minor(5)?;
        self.append(header, &[])
    }

    fn append(&mut self, mut header: Header, contents: &[u8]) -> Result<()> {
        header.set_cksum();
        Ok(self.0.append(&header, contents)?)
    }
}

/// With the name as it is: the library itself writes none with `..`.
fn header(name: &str, kind: EntryType) -> Result<Header> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o666);
    header.set_size(0);
    let field = &mut header.as_old_mut().name;
    ensure!(
        name.len() < field.len(),
        "`{name}` is too long for an archive's entry"
    );
    field[..name.len()].copy_from_slice(name.as_bytes());
    Ok(header)
}
