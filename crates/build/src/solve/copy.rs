//! COPY and ADD: what is taken, under which key, and how it gets there.

use std::io::{Cursor, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shipway_oci::Digest;
use shipway_sandbox::{Conflict, RootSpec};

use super::add_git::Repository;
use super::commit::Committed;
use super::contexts::Material;
use super::fetch::{FetchedFile, fetch, is_url};
use super::local_archive::is_archive;
use super::mode::ModeChange;
use super::place::Target;
use super::root_copy::RootCopy;
use super::site::blocking;
use super::stage::{Files, Form, Snapshot, Stage, Wrote};
use super::straight::{NeedsLook, Straight};
use crate::context::View;
use crate::dockerfile::{self, AddOptions, Instruction, Source, Step, Transfer};
use crate::error::{BuildError, StepError};
use crate::events;
use crate::git::{GitAddress, without_login};
use crate::ignore::IgnoreList;
use crate::named::ContextName;
use crate::plan::{
    CacheKey, CopyInputs, CopySource, Destination, Ground, Inputs, Item, ItemKind, Placement, SelectError,
    Sources, copy_key, join_path, select,
};

/// One source, looked up.
enum Taken {
    /// Files of a context and the hashes of those that are regular.
    Files {
        view: Arc<View>,
        items: Vec<Item>,
        hashes: Vec<[u8; 32]>,
    },
    /// A local archive to be extracted.
    Archive { from: PathBuf, hash: [u8; 32] },
    /// A fetched file.
    Fetched { file: FetchedFile, unpack: bool },
    /// A repository.
    Git(Repository),
    /// A heredoc.
    Inline {
        name: String,
        bytes: Vec<u8>,
        hash: [u8; 32],
    },
    /// Paths of another stage or image.
    Root {
        from: Arc<Snapshot>,
        chain: Option<Digest>,
        paths: Vec<String>,
        label: String,
    },
}

/// A COPY or ADD with its variables expanded.
struct Wanted {
    sources: Vec<Taken>,
    destination: Destination,
    /// As the key has it: absolute, with its slash.
    destination_text: String,
    chown: String,
    chmod: String,
    exclude: Vec<String>,
    parents: bool,
    form: Form,
}

impl Stage<'_> {
    pub(super) async fn copy(
        &mut self,
        info: &events::Step<'_>,
        step: &Step,
        transfer: &Transfer,
        add: Option<&AddOptions>,
    ) -> Result<(), BuildError> {
        self.effects.keep(step, &step.text)?;
        let from = match &transfer.from {
            Some(name) => {
                let material = self.source(name).await;
                Some((
                    name.clone(),
                    material.map_err(|source| self.failed(step, source))?,
                ))
            }
            None => None,
        };
        let wanted = self.wanted(step, transfer, add, from).await?;
        self.transfer(info, step, wanted).await
    }

    /// Takes all files of a named context, which a stage begins with.
    pub(super) async fn take_all(
        &mut self,
        info: &events::Step<'_>,
        stage: &dockerfile::Stage,
        name: &ContextName,
        view: Arc<View>,
    ) -> Result<(), BuildError> {
        let transfer = Transfer {
            sources: vec![Source::Path("/".to_owned())],
            destination: "/".to_owned(),
            ..Transfer::default()
        };
        let step = Step {
            text: format!("COPY --from={name} / /"),
            instruction: Instruction::Copy(transfer.clone()),
            written: stage.written.clone(),
            location: stage.location.clone(),
        };
        let from = (name.to_string(), Material::Files(view));
        let wanted = self.wanted(&step, &transfer, None, Some(from)).await?;
        self.transfer(info, &step, wanted).await
    }

    async fn transfer(
        &mut self,
        info: &events::Step<'_>,
        step: &Step,
        wanted: Wanted,
    ) -> Result<(), BuildError> {
        let (key, inputs) = {
            let parent = self.chain();
            let sources: Vec<CopySource<'_>> = wanted
                .sources
                .iter()
                .map(|taken| taken.key(&wanted.exclude, wanted.parents))
                .collect();
            let inputs = CopyInputs {
                ground: match wanted.form {
                    Form::Over => Ground::Root(parent.as_ref()),
                    Form::Apart => Ground::Nothing,
                },
                platform: &self.platform,
                epoch: self.build.committer.epoch,
                destination: &wanted.destination,
                destination_text: &wanted.destination_text,
                chown: &wanted.chown,
                chmod: &wanted.chmod,
                sources: &sources,
            };
            let key = copy_key(&inputs);
            (key, Inputs::of_copy(&inputs, &step.text, self.base_input()))
        };
        let layer = match self.find(info, step, &key, inputs).await? {
            Some(known) => known,
            None => {
                let (path, named) = (wanted.destination_text.clone(), Arc::new(AtomicUsize::new(0)));
                let layer = match self.straight(&wanted) {
                    Some(straight) => {
                        if let Destination::FileOrDirectory(_) = wanted.destination {
                            let files = wanted.sources.iter().map(Taken::files).sum();
                            named.store(files, Ordering::Relaxed);
                        }
                        self.write(straight, &key).await
                    }
                    None => self.place(wanted, &key, Arc::clone(&named)).await,
                };
                let layer = layer.map_err(|source| self.failed(step, source))?;
                let named = named.load(Ordering::Relaxed);
                if named > 1 {
                    let (file, line) = (&self.build.file.name, step.location.line);
                    self.build.warn(&format!(
                        "{file}:{line}: {named} files are copied to {path} and only the last one stays: write {path}/ if that is to be \
                         a directory"
                    ));
                }
                self.keep(step, &key, layer)
            }
        };
        self.record(step.text.clone(), layer);
        Ok(())
    }

    async fn wanted(
        &self,
        step: &Step,
        transfer: &Transfer,
        add: Option<&AddOptions>,
        from: Option<(String, Material)>,
    ) -> Result<Wanted, BuildError> {
        let word = |text: &str| self.effects.word(step, text);
        let optional = |text: &Option<String>| text.as_deref().map_or(Ok(String::new()), word);
        let destination = word(&transfer.destination)?;
        let (chown, chmod) = (optional(&transfer.chown)?, optional(&transfer.chmod)?);
        let exclude = transfer
            .exclude
            .iter()
            .map(|text| word(text))
            .collect::<Result<Vec<_>, _>>()?;
        let directory =
            destination.ends_with('/') || matches!(destination.rsplit('/').next(), Some("." | ".."));
        let absolute = join_path(&self.effects.working_directory(), &destination);
        let destination_text = if directory && absolute != "/" {
            format!("{absolute}/")
        } else {
            absolute
        };

        let checksum = add.map_or(Ok(String::new()), |options| optional(&options.checksum))?;
        let checksum = Some(checksum).filter(|text| !text.is_empty());
        if checksum.is_some() && transfer.sources.len() != 1 {
            let message = "--checksum can be given for one source only";
            return Err(self.effects.error(step, message.to_owned()).into());
        }
        let (root, view) = match from {
            Some((label, Material::Root(root))) => (Some((label, root)), None),
            Some((label, Material::Files(view))) => (None, Some((label, view))),
            None => (None, None),
        };
        let mut sources = Vec::new();
        let mut root_paths = Vec::new();
        let mut kinds = Sources::None;
        for source in &transfer.sources {
            match source {
                Source::Inline(heredoc) => {
                    let body = heredoc.body();
                    let body = if heredoc.expand {
                        self.effects.body(step, &body)?
                    } else {
                        body
                    };
                    kinds = kinds.and(false);
                    let hash = *blake3::hash(body.as_bytes()).as_bytes();
                    sources.push(Taken::Inline {
                        name: heredoc.name.clone(),
                        bytes: body.into_bytes(),
                        hash,
                    });
                }
                Source::Path(text) => {
                    let path = word(text)?;
                    if root.is_some() {
                        root_paths.push(path);
                    } else if let Some((options, address)) = add.zip(GitAddress::parse(&path)) {
                        let address = address.map_err(|source| {
                            let text = without_login(&path);
                            self.failed(step, StepError::GitAddress { text, source })
                        })?;
                        let keep = options.keep_git_dir;
                        let found = self.find_repository(address, checksum.as_deref(), keep).await;
                        let found = found.map_err(|source| self.failed(step, source))?;
                        kinds = kinds.and(true);
                        sources.push(Taken::Git(found));
                    } else if let Some(options) = add.filter(|_| is_url(&path)) {
                        let fetched = self.fetched(&path, checksum.as_deref(), directory).await;
                        let file = fetched.map_err(|source| self.failed(step, source))?;
                        let unpack = options.unpack == Some(true);
                        kinds = kinds.and(unpack);
                        sources.push(Taken::Fetched { file, unpack });
                    } else if checksum.is_some() {
                        let message =
                            format!("--checksum is for what is fetched by its address, and {path} is none");
                        return Err(self.effects.error(step, message).into());
                    } else {
                        let extract = add.is_some_and(|options| options.unpack != Some(false));
                        let files = view.as_ref().map_or(&self.build.view, |(_, view)| view);
                        let files = Arc::clone(files);
                        let taken = self.local(files, path, &exclude, transfer.parents, extract).await;
                        let (placement, taken) = taken.map_err(|source| {
                            let label = view.as_ref().map(|(label, _)| label.clone());
                            self.failed(step, source.in_context(label))
                        })?;
                        let archives = taken.iter().any(|taken| matches!(taken, Taken::Archive { .. }));
                        kinds = match archives {
                            true => kinds.and(true),
                            false => kinds.and_all(&placement),
                        };
                        sources.extend(taken);
                    }
                }
            }
        }
        if let Some((label, from)) = root {
            let chain = from.chain();
            sources.push(Taken::Root {
                from,
                chain,
                paths: root_paths,
                label,
            });
            // What a path of a root names is known only when the root is looked at.
            kinds = kinds.and(false);
        } else if kinds == Sources::None {
            return Err(self.failed(step, SelectError::Nothing.into()));
        }
        Ok(Wanted {
            sources,
            destination: Destination::of(&destination_text, kinds),
            destination_text,
            chown,
            chmod,
            exclude,
            parents: transfer.parents,
            form: if transfer.link { Form::Apart } else { Form::Over },
        })
    }

    async fn fetched(
        &self,
        url: &str,
        checksum: Option<&str>,
        directory: bool,
    ) -> Result<FetchedFile, StepError> {
        let file = fetch(
            &self.build.fetcher()?,
            url,
            checksum,
            &self.build.spool,
            self.build.site.written(),
        )
        .await?;
        self.build.recorder.fetched(url, &file.digest);
        if directory && file.name.is_empty() {
            let what = format!("ADD {url}: an address that ends with no file name, into a directory");
            return Err(StepError::Unsupported { what });
        }
        Ok(file)
    }

    /// Looks a source up in a context and hashes what it names.
    async fn local(
        &self,
        view: Arc<View>,
        source: String,
        exclude: &[String],
        parents: bool,
        extract: bool,
    ) -> Result<(Placement, Vec<Taken>), StepError> {
        let exclude = exclude_list(exclude)?;
        blocking(move || {
            let mut placement = select(view.tree(), &source, &exclude, parents)?;
            let mut taken = Vec::new();
            if extract && !placement.folder {
                let mut plain = Vec::new();
                for item in std::mem::take(&mut placement.items) {
                    match &item.kind {
                        ItemKind::File { from, .. } if is_archive(&view, from)? => {
                            let hash = content_hash(&view, from)?;
                            taken.push(Taken::Archive {
                                from: from.clone(),
                                hash,
                            });
                        }
                        _ => plain.push(item),
                    }
                }
                placement.items = plain;
            }
            if !placement.items.is_empty() || taken.is_empty() {
                let hashes = hashes(&view, &placement.items)?;
                taken.push(Taken::Files {
                    view: Arc::clone(&view),
                    items: placement.items.clone(),
                    hashes,
                });
            }
            Ok((placement, taken))
        })
        .await
    }

    /// The files of the layer, where they need not lie anywhere else and nothing has to be looked at.
    fn straight(&self, wanted: &Wanted) -> Option<Straight> {
        let is_on_nothing = wanted.form == Form::Apart || self.layers.is_empty();
        // A pod that was given is there for containers of the image, too, which want its files.
        if self.files == Files::InTree || !is_on_nothing || self.build.site.is_given() {
            return None;
        }
        let chmod = match wanted.chmod.as_str() {
            "" => None,
            chmod => Some(ModeChange::parse(chmod).ok()?),
        };
        let target = Target::on_nothing(&wanted.destination, &wanted.chown, chmod)?;
        let mut straight = Straight::default();
        for taken in &wanted.sources {
            match taken {
                Taken::Files { view, items, .. } => straight.items(&target, view, items),
                Taken::Inline { name, bytes, .. } => straight.bytes(&target, name, 0o644, bytes.clone()),
                _ => Err(NeedsLook),
            }
            .ok()?;
        }
        (!straight.is_empty()).then_some(straight)
    }

    /// Makes a layer of files that lie nowhere else.
    async fn write(&self, straight: Straight, key: &CacheKey) -> Result<Option<Committed>, StepError> {
        let (committer, key) = (self.build.committer.clone(), *key);
        let permit = committer.limits.begin_layer().await?;
        blocking(move || committer.write(&straight, &key, permit).map(Some)).await
    }

    /// Carries it out on a fresh upper directory; `named` counts the files that get the destination's own name.
    async fn place(
        &self,
        wanted: Wanted,
        key: &CacheKey,
        named: Arc<AtomicUsize>,
    ) -> Result<Option<Committed>, StepError> {
        let mut source_layers = Vec::new();
        for taken in &wanted.sources {
            if let Taken::Root { from, .. } = taken {
                let layers = self.build.site.layers(from).await?;
                source_layers = layers.iter().map(|layer| layer.as_path().to_owned()).collect();
            }
        }
        let mut sources = Vec::with_capacity(wanted.sources.len());
        for taken in wanted.sources {
            sources.push(match taken {
                Taken::Git(repository) => {
                    let (view, items) = self.fetch_repository(repository, &wanted.exclude).await?;
                    let hashes = Vec::new();
                    Taken::Files { view, items, hashes }
                }
                taken => taken,
            });
        }
        let view = Arc::clone(&self.build.view);
        self.in_upper(key, wanted.form, move |placing| {
            let chmod = if wanted.chmod.is_empty() {
                None
            } else {
                Some(ModeChange::parse(&wanted.chmod)?)
            };
            let exclude = exclude_list(&wanted.exclude)?;
            let root = RootSpec {
                layers: source_layers,
                upper: None,
            };
            for taken in sources {
                let target = placing.target(&wanted.destination, &wanted.chown, chmod.clone())?;
                if target.name.is_some() {
                    named.fetch_add(taken.files(), Ordering::Relaxed);
                }
                match taken {
                    Taken::Files { view, items, .. } => placing.items(&target, &view, &items)?,
                    Taken::Archive { from, .. } => {
                        let target = Target {
                            conflict: Conflict::Replace,
                            ..target
                        };
                        placing.archive(&target, &view, &from)?;
                    }
                    // Fetched above.
                    Taken::Git(_) => return Err(StepError::Interrupted),
                    Taken::Inline { name, bytes, .. } => {
                        let size = bytes.len() as u64;
                        placing.bytes(&target, &name, 0o644, &mut Cursor::new(bytes), size)?;
                    }
                    Taken::Fetched { file, unpack: true } => {
                        let target = Target {
                            conflict: Conflict::Replace,
                            ..target
                        };
                        placing.fetched_archive(&target, file.file.file())?;
                    }
                    Taken::Fetched { file, unpack: false } => {
                        let mut content = file.file.file();
                        content.seek(SeekFrom::Start(0))?;
                        placing.bytes(&target, &file.name, 0o600, &mut content, file.size)?;
                    }
                    Taken::Root { paths, label, .. } => {
                        let copying = RootCopy {
                            placing,
                            root: &root,
                            label: &label,
                            destination_text: &wanted.destination_text,
                            chown: &wanted.chown,
                            chmod: chmod.as_ref(),
                            exclude: &exclude,
                            parents: wanted.parents,
                        };
                        copying.paths(&paths)?;
                    }
                }
            }
            Ok(Wrote::Something)
        })
        .await
    }
}

impl Taken {
    /// How many files of its own it puts under the destination; of a root that is not known here.
    fn files(&self) -> usize {
        match self {
            Self::Files { items, .. } => items.len(),
            Self::Inline { .. } | Self::Fetched { .. } => 1,
            Self::Archive { .. } | Self::Git(_) | Self::Root { .. } => 0,
        }
    }

    fn key<'a>(&'a self, exclude: &'a [String], parents: bool) -> CopySource<'a> {
        match self {
            Self::Files { items, hashes, .. } => CopySource::Files { items, hashes },
            Self::Archive { hash, .. } => CopySource::Archive { hash: *hash },
            Self::Fetched { file, unpack: true } => CopySource::Archive { hash: file.hash },
            Self::Fetched { file, unpack: false } => CopySource::Bytes {
                name: &file.name,
                hash: file.hash,
            },
            Self::Git(repository) => repository.key(exclude),
            Self::Inline { name, hash, .. } => CopySource::Bytes { name, hash: *hash },
            Self::Root { chain, paths, .. } => CopySource::Root {
                chain: chain.as_ref(),
                paths,
                exclude,
                parents,
            },
        }
    }
}

pub(super) fn exclude_list(patterns: &[String]) -> Result<IgnoreList, StepError> {
    IgnoreList::from_patterns(patterns, "--exclude").map_err(|source| StepError::Exclude { source })
}

/// The hashes of the items that are files, in order. Blocks.
pub(super) fn hashes(view: &View, items: &[Item]) -> Result<Vec<[u8; 32]>, StepError> {
    let files: Vec<&Path> = items
        .iter()
        .filter_map(|item| match &item.kind {
            ItemKind::File { from, .. } => Some(from.as_path()),
            _ => None,
        })
        .collect();
    view.hash_all(&files)
        .map_err(|source| StepError::Context { source })?;
    files.into_iter().map(|path| content_hash(view, path)).collect()
}

fn content_hash(view: &View, path: &Path) -> Result<[u8; 32], StepError> {
    view.content_hash(path)
        .map_err(|source| StepError::Context { source })
}
