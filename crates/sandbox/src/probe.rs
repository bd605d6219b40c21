//! What this place allows: asked of the kernel by doing it.
//!
//! A mount that works says little (overlayfs mounts and then fails at removing directories), so each question does
//! what containers will do. The questions are answered by workers of a keeper that is started for them.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;
use rustix::mount::MountAttrFlags;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::chroot;
use crate::client::Keeper;
use crate::error::{Doing as _, KeeperError, Result};
use crate::id_map::IdMap;
use crate::isolation::Isolation;
use crate::keeper::Workplace;
use crate::launch::{LaunchError, LaunchOptions};
use crate::limits;
use crate::net;
use crate::overlay::{self, Access};
use crate::owners::{Owners, Ownership};
use crate::place::{
    are_namespaces_forbidden, is_of_one_id, may_lack_mounts, may_use_trees, what_lets_programs_run,
};
use crate::spec::{NetworkPlan, RootSpec};
use crate::start::file_system;
use crate::supervisor;
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
    /// As `A`, but with one id: a supervisor keeps whose files are and who processes are. Builds only.
    B,
    /// Root that may make no namespace: trees of files, `chroot`, Landlock. Builds only.
    C,
    /// A user who may make a user namespace and mount nothing in it: the means of `C` with the supervisor of `B`. Builds only.
    BPrime,
    /// Nobody that may do anything: trees of files, owners in records. Builds without RUN.
    D,
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
            Self::B => "B (user namespace with one id, whose owners a supervisor keeps; overlay mounts, fresh /proc; `shipway build` only)",
            Self::C => "C (no namespaces: plain files, chroot and Landlock; `shipway build` only)",
            Self::BPrime => {
                "B' (user namespace with one id, whose owners a supervisor keeps; no mounts: plain files, chroot and Landlock; \
                 `shipway build` only)"
            }
            Self::D => {
                "D (no namespaces, no chroot: plain files and recorded owners; `shipway build` without RUN)"
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
    Chroot,
    Tree,
    Landlock,
    Supervisor,
    Bare,
}

impl Question {
    fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay mounts",
            Self::Proc => "fresh /proc",
            Self::Bridge => "network of a pod",
            Self::Redirect => "outgoing connections of a pod",
            Self::Processes => "processes of a pod are bounded together",
            Self::Chroot | Self::Tree => "trees to build in",
            Self::Supervisor => "system calls answered by a supervisor",
            Self::Landlock => "Landlock",
            Self::Bare => "trees to copy in",
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
            Self::Chroot => {
                "run as root with the capabilities that container engines give by default (CHOWN, DAC_OVERRIDE, FOWNER, \
                 FSETID, MKNOD, SETFCAP, SETGID, SETPCAP, SETUID, SYS_CHROOT, KILL), and put the data directory on a file \
                 system with extended attributes"
            }
            Self::Tree => {
                "put the data directory on a file system with extended attributes, and let `chroot` be called in a user namespace"
            }
            Self::Supervisor => {
                "use Linux 5.14 or newer with seccomp notifications, let this process trace its own (kernel.yama.ptrace_scope \
                 below 3), and leave RLIMIT_LOCKS unlimited"
            }
            Self::Landlock => {
                "use Linux 5.19 or newer with Landlock among its security modules (lsm=landlock,…) and a container engine \
                 that allows its calls (Docker 23 or newer); without it a step is kept in its files by chroot and fewer \
                 capabilities alone"
            }
            Self::Bare => {
                "put the data directory on a file system with extended attributes, and use Linux 5.6 or newer with a container \
                 engine that allows its calls (Docker 20.10.10 or newer)"
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

/// Whether pods with these namespaces and an overlay can be had.
pub(crate) fn pods_work(options: &LaunchOptions) -> bool {
    let Ok(keeper) = Keeper::launch(options) else {
        return false;
    };
    let questions: &[Question] = match options.isolation {
        Isolation::Namespaces => &[Question::Overlay],
        Isolation::OneId => &[Question::Overlay, Question::Proc, Question::Supervisor],
        Isolation::NoMounts => &[Question::Tree, Question::Supervisor],
        Isolation::Chroot => &[Question::Chroot],
        Isolation::Bare => &[Question::Bare],
    };
    let holds = |question: Question| keeper.probe(question).is_ok_and(|finding| finding.ok);
    let works = questions.iter().copied().all(holds);
    keeper.close();
    works
}

fn examine_place(directory: &Path, findings: &mut Vec<Finding>) -> Tier {
    match examine_namespaces(directory, findings) {
        Tier::Unsupported if may_use_trees() => examine_trees(directory, findings),
        Tier::Unsupported if are_namespaces_forbidden() => examine_files(directory, findings),
        Tier::Unsupported if may_lack_mounts() => examine_no_mounts(directory, findings),
        tier => tier,
    }
}

/// What is left to who may do nothing.
fn examine_files(directory: &Path, findings: &mut Vec<Finding>) -> Tier {
    let question = Question::Bare;
    let finding = match Keeper::launch(&LaunchOptions::bare(directory, "probe")) {
        Ok(keeper) => {
            let found = keeper
                .probe(question)
                .unwrap_or_else(|error| failed(question.name(), chain(&error), question.remedy()));
            keeper.close();
            found
        }
        Err(error) => failed(question.name(), chain(&error), question.remedy()),
    };
    let ok = finding.ok;
    findings.push(finding);
    if !ok {
        return Tier::Unsupported;
    }
    findings.push(failed(
        "programs in an image",
        "none can be started, so RUN is refused; all else of a Dockerfile works".into(),
        &what_lets_programs_run(),
    ));
    Tier::D
}

/// What is left to root where namespaces are not to be had.
fn examine_trees(directory: &Path, findings: &mut Vec<Finding>) -> Tier {
    let keeper = match Keeper::launch(&LaunchOptions::chroot(directory, "probe")) {
        Ok(keeper) => keeper,
        Err(error) => {
            findings.push(failed(
                Question::Chroot.name(),
                chain(&error),
                Question::Chroot.remedy(),
            ));
            return Tier::Unsupported;
        }
    };
    let trees = ask(&keeper, Question::Chroot, findings);
    ask(&keeper, Question::Landlock, findings);
    keeper.close();
    if !trees {
        return Tier::Unsupported;
    }
    findings.push(network_of_the_place());
    Tier::C
}

fn network_of_the_place() -> Finding {
    failed(
        "network of a step",
        "a step has the network of this place, and what it may reach is not bounded; --network=none is none at all".into(),
        "give this place namespaces of its own, as above",
    )
}

/// What is left to a user who may make a user namespace and mount nothing in it.
fn examine_no_mounts(directory: &Path, findings: &mut Vec<Finding>) -> Tier {
    // Why there is none is among the findings already.
    let Ok(keeper) = Keeper::launch(&LaunchOptions::no_mounts(directory, "probe")) else {
        return Tier::Unsupported;
    };
    let mut all = true;
    for question in [Question::Tree, Question::Supervisor] {
        all &= ask(&keeper, question, findings);
    }
    ask(&keeper, Question::Landlock, findings);
    keeper.close();
    if !all {
        return Tier::Unsupported;
    }
    findings.push(network_of_the_place());
    Tier::BPrime
}

/// What is left to a user without further ids.
fn examine_one_id(directory: &Path, findings: &mut Vec<Finding>) -> Tier {
    let Ok(keeper) = launched(LaunchOptions::one_id(directory, "probe"), findings) else {
        return Tier::Unsupported;
    };
    let mut all = true;
    for question in [Question::Overlay, Question::Proc, Question::Supervisor] {
        all &= ask(&keeper, question, findings);
    }
    // Steps without network do without these.
    ask(&keeper, Question::Bridge, findings);
    ask(&keeper, Question::Redirect, findings);
    ask(&keeper, Question::Processes, findings);
    keeper.close();
    if all { Tier::B } else { Tier::Unsupported }
}

/// What is lacking where there is no keeper to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacking {
    /// A map of more ids than this user's own.
    Map,
    Another,
}

/// A keeper to ask, if one can be had.
fn launched(options: LaunchOptions, findings: &mut Vec<Finding>) -> std::result::Result<Keeper, Lacking> {
    match Keeper::launch(&options) {
        Ok(keeper) => {
            findings.push(worked("user namespace", "the keeper starts".into()));
            Ok(keeper)
        }
        Err(error @ LaunchError::Helper { .. }) => {
            let remedy = "let newuidmap gain the rights of its file (Docker: without --security-opt no-new-privileges; Kubernetes: \
                          allowPrivilegeEscalation: true)";
            findings.push(failed("map of ids", chain(&error), remedy));
            Err(Lacking::Map)
        }
        Err(LaunchError::Setup {
            source: error @ KeeperError::NoMounts { .. },
        }) => {
            findings.push(worked("user namespace", "one can be made".into()));
            let remedy = "in a container: let processes mount in user namespaces of their own (Docker: --security-opt seccomp=unconfined; \
                          Kubernetes: seccompProfile.type: Unconfined, and where SELinux is in force a type that may mount, such as \
                          container_engine_t)";
            findings.push(failed("mounts", chain(&error), remedy));
            Err(Lacking::Another)
        }
        Err(error) => {
            let remedy = "allow user namespaces: sysctl user.max_user_namespaces above 0, \
                          kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0; in a \
                          container: --security-opt seccomp=unconfined or a profile that allows unshare; in a plain \
                          chroot the kernel allows none: enter the tree with pivot_root, as containers do";
            findings.push(failed("user namespace", chain(&error), remedy));
            Err(Lacking::Another)
        }
    }
}

fn ask(keeper: &Keeper, question: Question, findings: &mut Vec<Finding>) -> bool {
    let finding = keeper
        .probe(question)
        .unwrap_or_else(|error| failed(question.name(), chain(&error), question.remedy()));
    let ok = finding.ok;
    findings.push(finding);
    ok
}

fn examine_namespaces(directory: &Path, findings: &mut Vec<Finding>) -> Tier {
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
            return if is_of_one_id(&error) {
                examine_one_id(directory, findings)
            } else {
                Tier::Unsupported
            };
        }
    };
    findings.push(worked("range of ids", id_map.class()));
    let keeper = match launched(LaunchOptions::new(id_map, directory, "probe"), findings) {
        Ok(keeper) => keeper,
        Err(Lacking::Map) if may_lack_mounts() => return examine_one_id(directory, findings),
        Err(_) => return Tier::Unsupported,
    };
    let overlay = ask(&keeper, Question::Overlay, findings);
    let proc = ask(&keeper, Question::Proc, findings);
    // Containers without network, and builds, do without these.
    ask(&keeper, Question::Bridge, findings);
    ask(&keeper, Question::Redirect, findings);
    // Without it there is a weaker bound.
    ask(&keeper, Question::Processes, findings);
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
        Question::Chroot => chroot::examine(place.directory),
        Question::Tree => chroot::examine_tree(place.directory, place.ownership),
        Question::Bare => chroot::examine_files(place.directory),
        Question::Landlock => chroot::landlock().map_err(|reason| KeeperError::Message {
            reason: reason.into(),
        }),
        Question::Supervisor => supervisor::examine(),
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
        let root = overlay::mount(&mounted, &spec, Access::AsSpecified, place.ownership)?;
        let action = || "remove a directory of a lower layer and make it anew".to_owned();
        rustix::fs::unlinkat(&root, "directory", AtFlags::REMOVEDIR).doing(action)?;
        mkdirat(&root, "directory", mode).doing(action)?;
        if place.ownership == Ownership::Recorded {
            try_record(&root)?;
        }
        Ok("a directory of a lower layer was replaced")
    });
    crate::tree::remove(&directory, &home)?;
    tried
}

/// Whether owners can be recorded.
fn try_record(root: &OwnedFd) -> Result<()> {
    use rustix::fs::{Gid, OFlags, Uid};
    let made = crate::beneath::open_with(root, Path::new("directory"), OFlags::RDONLY | OFlags::DIRECTORY)?;
    Owners::outside_layers(Ownership::Recorded)
        .own(made, Uid::from_raw(1), Gid::from_raw(1))
        .doing(|| "record an owner in an extended attribute".into())
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
