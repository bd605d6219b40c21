//! The stages of a job and the markers that let a viewer fold them.

use std::fmt;

/// A stage of a job, named as GitLab's runner names its sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Images, pod, services, engine.
    PrepareExecutor,
    /// The same for the shell executor.
    PrepareShell,
    /// The job's container.
    PrepareScript,
    /// The project's files.
    GetSources,
    /// What an earlier pipeline left.
    RestoreCache,
    /// What earlier jobs left.
    DownloadArtifacts,
    /// `before_script` and `script`.
    StepScript,
    /// `after_script`.
    AfterScript,
    /// What a later pipeline may find.
    ArchiveCache,
    /// What later jobs may find.
    UploadArtifactsOnSuccess,
    /// What a failed job leaves to be looked at.
    UploadArtifactsOnFailure,
    /// Secrets out of files, everything out of the way.
    CleanupFileVariables,
}

impl Stage {
    /// The section's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::PrepareExecutor | Self::PrepareShell => "prepare_executor",
            Self::PrepareScript => "prepare_script",
            Self::GetSources => "get_sources",
            Self::RestoreCache => "restore_cache",
            Self::DownloadArtifacts => "download_artifacts",
            Self::StepScript => "step_script",
            Self::AfterScript => "after_script",
            Self::ArchiveCache => "archive_cache",
            Self::UploadArtifactsOnSuccess => "upload_artifacts_on_success",
            Self::UploadArtifactsOnFailure => "upload_artifacts_on_failure",
            Self::CleanupFileVariables => "cleanup_file_variables",
        }
    }

    /// The section's heading.
    pub fn heading(self) -> &'static str {
        match self {
            Self::PrepareExecutor => "Preparing the \"container\" executor",
            Self::PrepareShell => "Preparing the \"shell\" executor",
            Self::PrepareScript => "Preparing environment",
            Self::GetSources => "Getting source from Git repository",
            Self::RestoreCache => "Restoring cache",
            Self::DownloadArtifacts => "Downloading artifacts",
            Self::StepScript => "Executing \"step_script\" stage of the job script",
            Self::AfterScript => "Running after_script",
            Self::ArchiveCache => "Saving cache",
            Self::UploadArtifactsOnSuccess => "Uploading artifacts for successful job",
            Self::UploadArtifactsOnFailure => "Uploading artifacts for failed job",
            Self::CleanupFileVariables => "Cleaning up project directory and file based variables",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The line that opens a section. A terminal shows only the heading: the marker ends with "erase the line".
pub(super) fn start_marker(stage: Stage, unix: u64) -> String {
    format!(
        "section_start:{unix}:{stage}\r\u{1b}[0K\u{1b}[0K\u{1b}[36;1m{}\u{1b}[0;m\n",
        stage.heading()
    )
}

/// The line that closes a section.
pub(super) fn end_marker(stage: Stage, unix: u64) -> String {
    format!("section_end:{unix}:{stage}\r\u{1b}[0K\n")
}

#[cfg(test)]
mod tests {
    use super::{Stage, end_marker, start_marker};

    #[test]
    fn markers_are_as_gitlab_reads_them() {
        insta::assert_debug_snapshot!(
            (start_marker(Stage::GetSources, 1_700_000_000), end_marker(Stage::GetSources, 1_700_000_001)),
            @r#"
        (
            "section_start:1700000000:get_sources\r\u{1b}[0K\u{1b}[0K\u{1b}[36;1mGetting source from Git repository\u{1b}[0;m\n",
            "section_end:1700000001:get_sources\r\u{1b}[0K\n",
        )
        "#
        );
    }
}
