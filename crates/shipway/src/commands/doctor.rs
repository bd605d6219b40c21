//! `shipway doctor`: which isolation this place gives, and why not a stronger one.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use shipway_container::{ByteSize, DiskReserve, memory_is_known};
use shipway_sandbox::{Finding, Tier, probe_in};

use crate::arguments::GlobalArguments;
use crate::failure::{Failure, FailureKind};
use crate::installation::data_directory;
use crate::screen;

/// Say which isolation tier this place gives, and why not a higher one
///
/// Ends with 3 when jobs and RUN steps cannot run here at all.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(arguments: &DoctorArguments, global: &GlobalArguments) -> Result<ExitCode, Failure> {
    // In the data directory, since its file system has a say in what works.
    let (settings, data) = data_directory(global)?;
    std::fs::create_dir_all(&data).map_err(|error| {
        Failure::caused(
            FailureKind::Place,
            &format!("the data directory `{}`", data.display()),
            &error,
        )
        .hint("name one that you may write with --data or SHIPWAY_DATA")
    })?;
    let mut report = probe_in(&data.join("keeper/probe"));
    let limits = settings.limits.pod();
    report.findings.push(memory(limits.memory));
    report.findings.extend(disk(limits.disk_reserve, &data));
    if arguments.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::caused(FailureKind::Internal, "writing the report", &error))?;
        screen::document(&text);
    } else {
        screen::line(&format!("isolation: {}", report.tier));
        for finding in &report.findings {
            let mark = if finding.ok {
                screen::green("ok")
            } else {
                screen::red("no")
            };
            screen::line(&format!("  {mark}  {}: {}", finding.name, finding.detail));
            if let Some(remedy) = &finding.remedy {
                screen::line(&format!("      {} {remedy}", screen::cyan("to change that:")));
            }
        }
    }
    if report.tier == Tier::Unsupported {
        Ok(FailureKind::Place.code())
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether a limit on memory would hold: it is a watch over what `/proc` tells, and no promise of the kernel.
fn memory(limit: Option<ByteSize>) -> Finding {
    let ok = memory_is_known();
    let limit = limit.map_or_else(
        || "no limit (`limits.memory` of shipway.toml)".to_owned(),
        |limit| format!("a job is ended some time after it exceeds {limit}"),
    );
    Finding {
        name: "memory of a job is watched".into(),
        ok,
        detail: if ok {
            limit
        } else {
            "/proc does not tell it".into()
        },
        remedy: (!ok).then(|| {
            "use Linux 5.12 or newer with CONFIG_PROC_PAGE_MONITOR and a /proc that shows processes".into()
        }),
    }
}

/// What jobs leave free; nothing is said where the file system does not say what it has.
fn disk(reserve: DiskReserve, data: &Path) -> Option<Finding> {
    let space = rustix::fs::statvfs(data).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    let (free, reserve) = (
        ByteSize::new(bytes(space.f_bavail)),
        reserve.of(bytes(space.f_blocks)),
    );
    let ok = free > reserve;
    Some(Finding {
        name: "disk of jobs is watched".into(),
        ok,
        detail: format!("{free} are free; with less than {reserve} a job that goes on filling it is ended"),
        remedy: (!ok).then(|| {
            "make room (`shipway prune`, `shipway gc`), or lower `limits.disk_reserve` of shipway.toml".into()
        }),
    })
}
