//! A project's directory on the machine, for the shell executor: the same streams as in a pod, without a keeper.
//!
//! A call that is dropped stops soon, yet not at once, since a thread is at it. So the files are nobody's to remove
//! before [`MachineBuilds::settled`] has returned.

use super::{asked, below, with_suffix};
use crate::outcome::{Doing, JobError};
use crate::selection::Selection;
use shipway_sandbox::FileKind;
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Nobody else of the machine looks into a job's files.
const DIRECTORY_MODE: u32 = 0o700;
/// What others may not do with files that a stream brings: streams are written for containers, where everybody may.
const MASK: u32 = 0o022;

/// A project's directory. Clones are the same.
#[derive(Clone)]
pub(crate) struct MachineBuilds {
    /// Of this job alone; all it has lies in it.
    top: PathBuf,
    project: PathBuf,
    /// The threads that work in it.
    working: TaskTracker,
}

impl MachineBuilds {
    /// An empty project directory, and one for its secrets beside it, below a directory that is there.
    pub(crate) async fn create(directory: &Path, project: &str) -> Result<Self, JobError> {
        let project = directory.join(below(project));
        let builds = Self {
            top: directory.to_owned(),
            project: project.clone(),
            working: TaskTracker::new(),
        };
        let private = with_suffix(&project);
        let made = builds.blocking("making the project's directory", move |_| {
            make(&project)?;
            make(&private)
        });
        made.await?;
        Ok(builds)
    }

    /// The directory that all of it lies in.
    pub(crate) fn top(&self) -> &Path {
        &self.top
    }

    /// Returns when no thread works in the directory any more. Called when no more calls are begun.
    pub(crate) async fn settled(&self) {
        self.working.close();
        self.working.wait().await;
    }

    pub(super) fn project_directory(&self) -> String {
        self.project.display().to_string()
    }

    pub(super) async fn extract(&self, stream: OwnedFd) -> Result<(), JobError> {
        let project = self.project.clone();
        self.blocking("putting files into the project's directory", move |stop| {
            extract(UntilStopped::new(File::from(stream), stop), &project)
        })
        .await
    }

    pub(super) async fn archive(
        &self,
        paths: &[String],
        selection: &Selection,
        output: OwnedFd,
    ) -> Result<Vec<String>, JobError> {
        let (project, paths, selection) = (self.project.clone(), paths.to_vec(), selection.clone());
        self.blocking("reading the project's directory", move |stop| {
            asked::archive(&project, &paths, &selection, File::from(output), &stop)
        })
        .await
    }

    pub(super) async fn kinds(&self, paths: &[String]) -> Result<Vec<Option<FileKind>>, JobError> {
        let (project, paths) = (self.project.clone(), paths.to_vec());
        self.blocking("looking into the project's directory", move |_| {
            Ok(kinds(&project, &paths))
        })
        .await
    }

    /// Runs a call on a thread of its own; it is told to stop when nobody waits for it any more.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &str,
        call: impl FnOnce(CancellationToken) -> io::Result<T> + Send + 'static,
    ) -> Result<T, JobError> {
        let stop = CancellationToken::new();
        let called = stop.clone();
        let _dropped = stop.drop_guard();
        self.working
            .spawn_blocking(move || call(called))
            .await
            .doing(doing)?
            .doing(doing)
    }
}

/// A stream that ends with an error once nobody wants it any more.
pub(super) struct UntilStopped<R> {
    from: R,
    stop: CancellationToken,
}

impl<R> UntilStopped<R> {
    pub(super) fn new(from: R, stop: CancellationToken) -> Self {
        Self { from, stop }
    }
}

impl<R: Read> Read for UntilStopped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("the job was stopped"));
        }
        self.from.read(buffer)
    }
}

/// Makes a directory and those above it.
fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory)
}

/// Extracts a tar; nothing leaves the directory.
fn extract(stream: impl Read, project: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(BufReader::new(stream));
    archive.set_mask(MASK);
    archive.unpack(project)?;
    // A writer must not meet a closed pipe.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(())
}

/// What is at each of these paths.
fn kinds(project: &Path, paths: &[String]) -> Vec<Option<FileKind>> {
    let kind = |path: &String| {
        let found = project.join(path).symlink_metadata().ok()?.file_type();
        Some(if found.is_dir() {
            FileKind::Directory
        } else if found.is_file() {
            FileKind::File
        } else if found.is_symlink() {
            FileKind::Link
        } else {
            FileKind::Other
        })
    };
    paths.iter().map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pipe;
    use super::MachineBuilds;
    use std::io::Write as _;
    use tokio::task::spawn_blocking;

    /// One file's header and half of its content: the extraction waits for more.
    fn half_an_archive() -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path("file").unwrap();
        header.set_mode(0o644);
        header.set_size(1 << 20);
        header.set_cksum();
        [header.as_bytes().as_slice(), &[0; 4096]].concat()
    }

    #[tokio::test]
    async fn who_removes_the_files_waits_for_a_thread_that_still_writes_them() {
        let directory = tempfile::tempdir().unwrap();
        let builds = MachineBuilds::create(directory.path(), "group/project")
            .await
            .unwrap();
        let (read, mut write) = pipe().unwrap();
        write.write_all(&half_an_archive()).unwrap();
        let file = directory.path().join("group/project/file");
        {
            let mut extracting = Box::pin(builds.extract(read));
            while !file.exists() {
                assert!(futures::poll!(&mut extracting).is_pending());
                tokio::task::yield_now().await;
            }
        }
        // Nobody waits for the extraction any more, and it is at work.
        let mut settled = Box::pin(builds.settled());
        assert!(futures::poll!(&mut settled).is_pending());
        // As a source does: it writes until nobody reads.
        let writer = spawn_blocking(move || while write.write_all(&[0; 4096]).is_ok() {});
        settled.await;
        writer.await.unwrap();
        assert!(
            file.metadata().unwrap().len() < 1 << 20,
            "it stopped before the end of the stream"
        );
    }
}
