//! `--verify-reproducible`: the build once more under other circumstances, and what came out otherwise.
//!
//! The second build takes nothing from the cache, compresses with another number of threads, builds another number of stages at
//! once, and runs under another umask; the clock is another one anyway. Its image is not put into the store.

use std::sync::Arc;

use clap::Args;
use rustix::fs::Mode;
use shipway_build::{
    BuildRequest, Builder, Built, COMPATIBILITY, Comparison, LayerDifference, compare_builds,
};

use super::progress::Progress;
use crate::commands::upkeep::count;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// Paths that are named of each layer.
const MOST_PATHS: usize = 100;
/// Letters of a step that are shown.
const LONGEST_STEP: usize = 100;

/// The arguments about the same image coming out again.
#[derive(Debug, Args)]
pub(super) struct ReproducibleArguments {
    /// Build twice, and fail with the paths that differ when the images are not the same; nothing is pushed then
    #[arg(long)]
    verify_reproducible: bool,
    /// The compatibility number of the image's bytes, which a later version may raise; refused when this one does not have it
    #[arg(long, value_name = "NUMBER")]
    compat: Option<u32>,
}

impl ReproducibleArguments {
    /// Refuses a number that this version does not have.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.compat {
            None | Some(COMPATIBILITY) => Ok(()),
            Some(other) => {
                let message = format!("there is no compatibility number {other} in this version");
                Err(Failure::new(FailureKind::Use, message).hint(format!("it has {COMPATIBILITY}")))
            }
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.verify_reproducible
    }

    /// Builds again and compares, if that is wanted.
    pub(super) async fn verify(
        &self,
        installation: &Installation,
        builder: &Builder,
        mut request: BuildRequest,
        built: &Arc<Built>,
        quiet: bool,
        show: impl Fn() -> Progress,
    ) -> Result<(), Failure> {
        if !self.verify_reproducible {
            return Ok(());
        }
        if !quiet {
            screen::error_line("building again without the cache, to compare");
        }
        request.tags.clear();
        request.keep_image = false;
        request.no_cache = true;
        request.cache_from.clear();
        // What was pulled for the first is there.
        request.pull = false;
        request.sbom = false;
        request.provenance = None;
        request.parallel_stages = if request.parallel_stages > 1 { 1 } else { 2 };
        let cancellation = request.cancellation.clone();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let builder = builder.clone().with_threads(if threads > 1 { 1 } else { 2 });
        let progress = show();
        let again = {
            let _umask = OtherUmask::set();
            builder.build(request, &progress).await
        };
        // The first build told them.
        progress.forget_findings();
        progress.finish();
        let again = again.map_err(super::failure)?;
        let (store, first) = (installation.store.clone(), Arc::clone(built));
        let comparing = tokio::task::spawn_blocking(move || compare_builds(&store, &first, &again));
        let compared = tokio::select! {
            compared = comparing => compared,
            () = cancellation.cancelled() => return Ok(()),
        };
        let compared = compared
            .map_err(|error| Failure::caused(FailureKind::Internal, "a thread ended early", &error))?
            .map_err(|error| Failure::caused(FailureKind::Work, "comparing the images", &error))?;
        if !compared.is_empty() {
            return Err(different(&compared));
        }
        if !quiet {
            screen::error_line("the second build gave the same image");
        }
        Ok(())
    }
}

/// Another umask of this process, until it is dropped: a build that is interrupted is dropped, too.
struct OtherUmask {
    before: Mode,
}

impl OtherUmask {
    fn set() -> Self {
        let (usual, other) = (Mode::from_raw_mode(0o022), Mode::from_raw_mode(0o002));
        let before = rustix::process::umask(other);
        if before == other {
            rustix::process::umask(usual);
        }
        Self { before }
    }
}

impl Drop for OtherUmask {
    fn drop(&mut self) {
        rustix::process::umask(self.before);
    }
}

/// Tells what differs, and gives what the command fails with.
fn different(comparisons: &[Comparison]) -> Failure {
    for comparison in comparisons {
        if comparisons.len() > 1 {
            screen::error_line(&format!("for {}:", comparison.platform));
        }
        for line in lines(comparison) {
            screen::error_line(&line);
        }
    }
    let layers: Vec<&LayerDifference> = comparisons.iter().flat_map(|image| &image.layers).collect();
    let paths: usize = layers.iter().map(|layer| layer.paths.len()).sum();
    let what = match layers.len() {
        0 => "the configuration of the image differs".to_owned(),
        layers => format!(
            "{} and {} differ",
            count(layers as u64, "layer"),
            count(paths as u64, "path")
        ),
    };
    Failure::new(
        FailureKind::Work,
        format!("the build is not reproducible: {what}"),
    )
}

fn lines(comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    for LayerDifference {
        number,
        created_by,
        paths,
    } in &comparison.layers
    {
        let step: String = created_by.chars().take(LONGEST_STEP).collect();
        lines.push(format!("layer {number}, {}", step.replace(['\n', '\r'], " ")));
        lines.extend(
            paths
                .iter()
                .take(MOST_PATHS)
                .map(|path| format!("  {}: {}", path.path.escape_default(), path.kind)),
        );
        match paths.len().saturating_sub(MOST_PATHS) {
            0 if paths.is_empty() => lines.push("  the order of its entries".to_owned()),
            0 => {}
            more => lines.push(format!("  and {more} more")),
        }
    }
    if comparison.configuration {
        lines.push("the configuration of the image".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use shipway_build::{Deviation, PathDifference};

    #[test]
    fn a_layer_is_told_with_its_step_and_its_paths() {
        let path = |number: usize| PathDifference {
            path: format!("/a\n{number}"),
            kind: Deviation::OnlyFirst,
        };
        let layer = |number, paths| LayerDifference {
            number,
            created_by: "RUN date\n> /a".to_owned(),
            paths,
        };
        let comparison = Comparison {
            platform: shipway_oci::Platform::new("linux", "amd64"),
            layers: vec![layer(1, (0..102).map(path).collect()), layer(2, Vec::new())],
            configuration: true,
        };
        let lines = lines(&comparison);
        assert_eq!(lines[0], "layer 1, RUN date > /a");
        assert_eq!(lines[1], "  /a\\n0: only in the first build");
        assert_eq!(
            lines[101..],
            [
                "  and 2 more",
                "layer 2, RUN date > /a",
                "  the order of its entries",
                "the configuration of the image"
            ]
        );
    }

    #[test]
    fn a_number_of_another_version_is_refused() {
        let arguments = |compat| ReproducibleArguments {
            verify_reproducible: false,
            compat,
        };
        assert!(arguments(None).check().is_ok());
        assert!(arguments(Some(COMPATIBILITY)).check().is_ok());
        assert!(arguments(Some(COMPATIBILITY + 1)).check().is_err());
        assert!(arguments(Some(0)).check().is_err());
    }
}
