//! What stands behind a name: a stage, an image, or files of a named context.
//!
//! A named context is read when the first step needs it, and once: steps that name it see the same files. Of a directory only
//! names are read then; contents are, when a step copies them.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use shipway_oci::Platform;
use shipway_store::Meter;
use tokio::sync::OnceCell;

use super::builder::{Build, nothing};
use super::fetch::{FetchedFile, fetch};
use super::remote;
use super::site::blocking;
use super::stage::Snapshot;
use crate::context::{Context, Modes, Spooler, View};
use crate::error::StepError;
use crate::ignore::IgnoreList;
use crate::named::{ContextName, NamedContext};
use crate::oci_layout::LayoutImage;
use crate::plan::Meaning;

/// What files are taken from.
#[derive(Debug, Clone)]
pub(super) enum Material {
    /// The root file system of a stage or an image, with its configuration.
    Root(Arc<Snapshot>),
    /// Files as the build context has them.
    Files(Arc<View>),
}

/// Read once, by whoever needs it first.
type Once = Arc<OnceCell<Material>>;

/// The named contexts that steps have needed so far. One that stands for an image is another one for each platform.
#[derive(Default)]
pub(super) struct Loaded {
    cells: Mutex<BTreeMap<(ContextName, String), Once>>,
}

impl Loaded {
    fn cell(&self, name: &ContextName, platform: &Platform) -> Once {
        let key = (name.clone(), platform.to_string());
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(key).or_default())
    }
}

impl Build<'_> {
    /// A named context, for a platform.
    pub(super) async fn context(
        &self,
        name: &ContextName,
        platform: &Platform,
    ) -> Result<Material, StepError> {
        let cell = self.contexts.cell(name, platform);
        let loaded = cell
            .get_or_try_init(async || self.load(name, platform).await)
            .await;
        loaded.cloned().map_err(|source| StepError::NamedContext {
            name: name.to_string(),
            source: Box::new(source),
        })
    }

    async fn load(&self, name: &ContextName, platform: &Platform) -> Result<Material, StepError> {
        let root = |snapshot| Material::Root(Arc::new(snapshot));
        match self.request.contexts.get(name) {
            Some(NamedContext::Directory(path)) => self.files(Context::directory(path)).await,
            Some(NamedContext::Git(address)) => {
                let (fetched, commit) = remote::repository(&self.git()?, address).await?;
                self.recorder.repository(address, &commit);
                self.files(fetched.context).await
            }
            Some(NamedContext::Url(url)) => {
                let written = self.site.written();
                let fetched = fetch(&self.fetcher()?, url, None, &self.spool, written).await?;
                self.recorder.fetched(url, &fetched.digest);
                let (spool, written) = (self.spool.clone(), written.clone());
                let context = blocking(move || one_file(&fetched, &spool, &written)).await?;
                self.files(context).await
            }
            Some(NamedContext::Image(reference)) => {
                let image = self.image(&reference.to_string(), platform).await;
                image.map(root)
            }
            Some(NamedContext::OciLayout(address)) => {
                let (address, wanted) = (address.clone(), platform.clone());
                let store = self.cache.store.clone();
                let found = blocking(move || {
                    let found = LayoutImage::find(&address, &wanted)?;
                    found.bring(&store)?;
                    Ok(found)
                });
                let found = found.await?;
                self.recorder.layout_image(name, platform, &found.manifest);
                Ok(root(Snapshot::of(found.config, found.layers)))
            }
            Some(NamedContext::Scratch) => Ok(root(nothing(platform))),
            // The plan has put the stage in its place.
            Some(NamedContext::Stage(_)) | None => Err(StepError::Interrupted),
        }
    }

    /// Files, less what their own ignore file names.
    async fn files(&self, context: Context) -> Result<Material, StepError> {
        let modes = self.request.modes;
        let view = blocking(move || read(&context, modes)).await?;
        for message in view.skipped() {
            self.warn(message);
        }
        Ok(Material::Files(Arc::new(view)))
    }

    /// What a name stands for, when the stages that it needs are there.
    pub(super) async fn material(
        &self,
        meaning: Meaning,
        platform: &Platform,
    ) -> Result<Material, StepError> {
        match meaning {
            Meaning::Stage(index) => match self.finished(index) {
                Some(snapshot) => Ok(Material::Root(snapshot)),
                // The plan has every stage that a step names.
                None => Err(StepError::Interrupted),
            },
            Meaning::Context(name) => self.context(&name, platform).await,
            Meaning::Image(name) => match self.image(&name, platform).await {
                Ok(snapshot) => Ok(Material::Root(Arc::new(snapshot))),
                // With a host, a path or a tag nobody meant a stage.
                Err(source @ (StepError::Reference { .. } | StepError::Pull { .. }))
                    if !name.contains(['/', ':', '@']) =>
                {
                    Err(StepError::NoStage {
                        name,
                        source: Box::new(source),
                    })
                }
                Err(error) => Err(error),
            },
        }
    }
}

/// A fetched file as the one file of a context. Blocks.
fn one_file(fetched: &FetchedFile, spool: &Path, written: &Meter) -> Result<Context, StepError> {
    let failed = |source| StepError::Context { source };
    let mut file = fetched.file.file();
    file.seek(SeekFrom::Start(0))?;
    let mut files = Spooler::new(spool, written).map_err(failed)?;
    let kept = files.keep(&mut file).map_err(failed)?;
    // What BuildKit calls it.
    files.file("context".into(), 0o600, kept).map_err(failed)?;
    let files = files.finish(Vec::new()).map_err(failed)?;
    Ok(Context::Spooled(Arc::new(files)))
}

/// The files of a context without what its own ignore file names. Blocks.
fn read(context: &Context, modes: Modes) -> Result<View, StepError> {
    const MOST: u64 = 1 << 20;
    let failed = |source| StepError::Context { source };
    let file = ".dockerignore";
    let bytes = context.read(Path::new(file), MOST).map_err(failed)?;
    let ignore = match bytes {
        Some(bytes) => IgnoreList::parse(&bytes, file).map_err(|source| StepError::Ignore { source })?,
        None => IgnoreList::default(),
    };
    context.view(&ignore, modes).map_err(failed)
}
