//! What this place allows: asked of the kernel by doing it.
//!
//! A mount that works says little (overlayfs mounts and then fails at removing directories), so each question does
//! what containers will do. The questions are answered by workers of a keeper that is started for them.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;
use rustix::mount::MountAttrFlags;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::client::Keeper;
use crate::error::{Doing as _, KeeperError, Result};
use crate::id_map::IdMap;
use crate::keeper::Workplace;
use crate::launch::LaunchOptions;
use crate::limits;
use crate::net;
use crate::overlay::{self, Access};
use crate::spec::{NetworkPlan, RootSpec};
use crate::start::file_system;
use crate::sys;

/// Something that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What would make it work, if it does not.
    pub remedy: Option<String>,
}

/// How strongly steps can be isolated here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// User namespace with a range of ids, mounts, a fresh `/proc`, an own network.
    A,
    /// As `A`, but `/proc` is masked, so the masked one is shown.
    APrime,
    /// No containers here.
    Unsupported,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A (user namespace with a range of ids, overlay mounts, fresh /proc)",
            Self::APrime => {
                "A' (user namespace with a range of ids, overlay mounts, the masked /proc of this place)"
            }
            Self::Unsupported => "unsupported (no containers here)",
        })
    }
}

/// What this place allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// The result.
    pub tier: Tier,
    /// What it rests on.
    pub findings: Vec<Finding>,
}

/// What a worker tries.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Question {
    Overlay,
    Proc,
    Bridge,
    Redirect,
    Processes,
}

impl Question {
    fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay mounts",
            Self::Proc => "fresh /proc",
            Self::Bridge => "network of a pod",
            Self::Redirect => "outgoing connections of a pod",
            Self::Processes => "processes of a pod are bounded together",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Overlay => {
                "use Linux 5.11 or newer, put the data directory on a file system with extended attributes that is \
                 no overlay itself (a volume, /builds), and let the security module allow mounts"
            }
            Self::Proc => {
                "in a container: unmask /proc (Docker: --security-opt systempaths=unconfined, Kubernetes: procMount: \
                 Unmasked); without it steps see the masked /proc"
            }
            Self::Bridge => "load the modules `bridge` and `veth`",
            Self::Processes => {
                "use Linux 6.14 or newer with a writable /proc/sys; without it every user id of a pod is bounded by itself"
            }
            Self::Redirect => "load the modules `nf_tables`, `nft_redir` and `nft_chain_nat`",
        }
    }
}

/// Tries what containers need, in a temporary directory.
pub fn probe() -> ProbeReport {
    let place = std::env::temp_dir().join(format!("shipway-probe-{}", std::process::id()));
    let report = probe_in(&place);
    // Empty but for what the keeper makes for itself; a leftover in the temporary directory does no harm.
    let _ = std::fs::remove_dir_all(&place);
    report
}

/// Tries what containers need, in the directory that keepers are to use: its file system matters.
pub fn probe_in(directory: &Path) -> ProbeReport {
    let mut findings = Vec::new();
    let tier = examine_place(directory, &mut findings);
    ProbeReport { tier, findings }
}

fn examine_place(directory: &Path, findings: &mut Vec<Finding>) -> Tier {
    let id_map = match IdMap::detect() {
        Ok(id_map) => id_map,
        Err(error) => {
            // The message says what to do.
            findings.push(Finding {
                name: "range of ids".into(),
                ok: false,
                detail: chain(&error),
                remedy: None,
            });
            return Tier::Unsupported;
        }
    };
    findings.push(worked("range of ids", id_map.class()));
    let keeper = match Keeper::launch(&LaunchOptions::new(id_map, directory, "probe")) {
        Ok(keeper) => keeper,
        Err(error) => {
            let remedy = "allow user namespaces: sysctl user.max_user_namespaces above 0, \
                          kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a \
                          container: --security-opt seccomp=unconfined or a profile that allows unshare; in a plain \
                          chroot the kernel allows none: enter the tree with pivot_root, as containers do";
            findings.push(failed("user namespace", chain(&error), remedy));
            return Tier::Unsupported;
        }
    };
    findings.push(worked("user namespace", "the keeper starts".into()));
    let mut ask = |question: Question| {
        let finding = keeper
            .probe(question)
            .unwrap_or_else(|error| failed(question.name(), chain(&error), question.remedy()));
        let ok = finding.ok;
        findings.push(finding);
        ok
    };
    let overlay = ask(Question::Overlay);
    let proc = ask(Question::Proc);
    // Containers without network, and builds, do without these.
    ask(Question::Bridge);
    ask(Question::Redirect);
    // Without it there is a weaker bound.
    ask(Question::Processes);
    keeper.close();
    match (overlay, proc) {
        (true, true) => Tier::A,
        (true, false) => Tier::APrime,
        (false, _) => Tier::Unsupported,
    }
}

fn worked(name: &str, detail: String) -> Finding {
    Finding {
        name: name.into(),
        ok: true,
        detail,
        remedy: None,
    }
}

fn failed(name: &str, detail: String, remedy: &str) -> Finding {
    Finding {
        name: name.into(),
        ok: false,
        detail,
        remedy: Some(remedy.into()),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// A worker's part: tries one thing in namespaces that end with it.
pub(crate) fn examine(place: &Workplace<'_>, question: Question) -> Finding {
    let tried = match question {
        Question::Processes => limits::examine(),
        Question::Overlay => try_overlay(place).map(str::to_owned),
        Question::Proc => try_proc().map(str::to_owned),
        Question::Bridge => try_network(None).map(str::to_owned),
        Question::Redirect => try_network(Some(1)).map(str::to_owned),
    };
    match tried {
        Ok(detail) => worked(question.name(), detail),
        Err(error) => failed(question.name(), chain(&error), question.remedy()),
    }
}

/// Removes a directory of a lower layer and makes it anew: the step that fails without `userxattr`.
fn try_overlay(place: &Workplace<'_>) -> Result<&'static str> {
    use rustix::fs::{Mode, mkdirat};
    let mode = Mode::from_raw_mode(0o755);
    // Not the process's number, which is the same in every pod: another probe may be here, or what a killed one left.
    let mut unique = [0; 8];
    rustix::rand::getrandom(&mut unique, rustix::rand::GetRandomFlags::empty())
        .doing(|| "get a random number".into())?;
    let home = PathBuf::from(".keeper").join(format!("probe-{:016x}", u64::from_ne_bytes(unique)));
    let lower = home.join("lower");
    for path in [&home, &lower, &lower.join("directory")] {
        mkdirat(place.directory, path, mode).doing(|| "make directories to try overlayfs with".into())?;
    }
    let spec = RootSpec {
        layers: vec![lower],
        upper: Some(home.clone()),
    };
    let directory =
        rustix::io::fcntl_dupfd_cloexec(place.directory, 3).doing(|| "keep a directory".into())?;
    let tried = overlay::own_mounts(place.directory).and_then(|mounted| {
        let root = overlay::mount(&mounted, &spec, Access::AsSpecified)?;
        let action = || "remove a directory of a lower layer and make it anew".to_owned();
        rustix::fs::unlinkat(&root, "directory", AtFlags::REMOVEDIR).doing(action)?;
        mkdirat(&root, "directory", mode).doing(action)?;
        Ok("a directory of a lower layer was replaced")
    });
    crate::tree::remove(&directory, &home)?;
    tried
}

/// Only the first process of a pid namespace's own mounts show its processes, hence the fork.
fn try_proc() -> Result<&'static str> {
    sys::unshare(UnshareFlags::NEWPID | UnshareFlags::NEWNS).doing(|| "make a pid namespace".into())?;
    match sys::fork().doing(|| "fork".into())? {
        sys::Fork::Child => {
            let code = match file_system("proc", &[], MountAttrFlags::empty()) {
                Ok(_) => 0,
                Err(errno) => errno.raw_os_error(),
            };
            sys::exit(code);
        }
        sys::Fork::Parent(pid) => {
            let waited = rustix::io::retry_on_intr(|| {
                rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
            })
            .doing(|| "wait for a child".into())?;
            match waited.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok("mounted in a new pid namespace"),
                Some(errno) => {
                    Err(rustix::io::Errno::from_raw_os_error(errno)).doing(|| "mount a fresh /proc".into())
                }
                None => Err(KeeperError::Worker {
                    how: "killed while it mounted /proc".into(),
                }),
            }
        }
    }
}

fn try_network(redirect_tcp: Option<u16>) -> Result<&'static str> {
    sys::unshare(UnshareFlags::NEWNET).doing(|| "make a network namespace".into())?;
    net::configure(&NetworkPlan {
        address: std::net::Ipv4Addr::new(198, 18, 0, 1),
        prefix: 16,
        redirect_tcp,
    })?;
    Ok(if redirect_tcp.is_some() {
        "a redirect was added"
    } else {
        "a bridge was made"
    })
}
