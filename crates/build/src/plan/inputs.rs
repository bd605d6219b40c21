//! What a step's key is made of, one by one: enough to say which of it changed, and no more.
//!
//! Of every input there is its kind, its name and four bytes of a hash, never its value. Four bytes tell two values apart and leave
//! whoever reads a record with more values that fit than could be tried out: less than the key itself gives away. Files are
//! counted one by one up to [`MOST_FILES`], and folder by folder beyond.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use shipway_oci::{Digest, Platform};

use super::key::{CopyInputs, CopySource, Ground, RunInputs};
use super::transfer::ItemKind;

/// Files that are told one by one.
const MOST_FILES: usize = 512;
/// Bytes of a name.
const LONGEST_NAME: usize = 256;
/// Inputs of a record that are looked at; what we write has fewer.
const MOST_INPUTS: usize = 4096;

/// What tells a copy with `--link` from one without.
const LINKED: &str = "linked ";

/// What an input is to whoever wrote the Dockerfile. The order is that in which changes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// The image or stage that the stage is based on.
    Base,
    /// The platform.
    Platform,
    /// `SOURCE_DATE_EPOCH`.
    Epoch,
    /// The instruction's own words.
    Command,
    /// The text of a heredoc.
    Script,
    /// A build argument.
    Argument,
    /// A variable of the image or of an ENV.
    Variable,
    /// The user.
    User,
    /// The working directory.
    Directory,
    /// The network.
    Network,
    /// A mount, with what is bound by it.
    Mount,
    /// Where a COPY goes.
    Destination,
    /// `--chown`.
    Owner,
    /// `--chmod`.
    Mode,
    /// A file or folder of the context.
    File,
    /// A stage or image that is copied from.
    Source,
    /// What is fetched by its address, or an archive that is unpacked.
    Content,
    /// The file system that the step starts from: what the steps before it gave.
    State,
}

/// An input, without its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Input(pub(crate) InputKind, pub(crate) String, u32);

/// All inputs of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    /// `run`, `copy` or `workdir`; [`LINKED`] in front of one that stands on nothing.
    step: String,
    inputs: Vec<Input>,
}

/// What the stage of a step is based on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BaseInput<'a> {
    pub(crate) name: &'a str,
    pub(crate) chain: Option<&'a Digest>,
}

impl Inputs {
    fn new(
        step: &str,
        text: &str,
        base: BaseInput<'_>,
        parent: Option<&Digest>,
        platform: &Platform,
        epoch: i64,
    ) -> Self {
        let mut inputs = Self {
            step: step.to_owned(),
            inputs: Vec::new(),
        };
        inputs.add(InputKind::Base, base.name, chain(base.chain).as_bytes());
        inputs.add(InputKind::State, "", chain(parent).as_bytes());
        inputs.add(InputKind::Platform, "", platform.to_string().as_bytes());
        inputs.add(InputKind::Epoch, "", &epoch.to_le_bytes());
        inputs.add(InputKind::Command, "", text.as_bytes());
        inputs
    }

    /// Those of a RUN; `is_argument` tells the variables that a build argument gives.
    pub(crate) fn of_run(
        inputs: &RunInputs<'_>,
        base: BaseInput<'_>,
        is_argument: impl Fn(&str) -> bool,
    ) -> Self {
        let text = inputs.argv.join("\0");
        let mut found = Self::new("run", &text, base, inputs.parent, inputs.platform, inputs.epoch);
        if let Some(script) = inputs.script {
            found.add(InputKind::Script, "", script.as_bytes());
        }
        for (name, value) in inputs.env {
            let kind = if is_argument(name) {
                InputKind::Argument
            } else {
                InputKind::Variable
            };
            found.add(kind, name, value.as_bytes());
        }
        found.add(InputKind::User, "", inputs.user.as_bytes());
        found.add(InputKind::Directory, "", inputs.cwd.as_bytes());
        found.add(InputKind::Network, "", inputs.network.as_bytes());
        for mount in inputs.mounts {
            found.add(InputKind::Mount, &mount_name(mount), mount.as_bytes());
        }
        found
    }

    /// Those of a COPY or ADD, which is written so.
    pub(crate) fn of_copy(inputs: &CopyInputs<'_>, text: &str, base: BaseInput<'_>) -> Self {
        let nothing = BaseInput {
            name: "",
            chain: None,
        };
        let (step, base, parent) = match inputs.ground {
            Ground::Root(parent) => ("copy", base, parent),
            Ground::Nothing => ("linked copy", nothing, None),
        };
        let mut found = Self::new(step, text, base, parent, inputs.platform, inputs.epoch);
        found.add(
            InputKind::Destination,
            inputs.destination_text,
            format!("{:?}", inputs.destination).as_bytes(),
        );
        found.add(InputKind::Owner, "", inputs.chown.as_bytes());
        found.add(InputKind::Mode, "", inputs.chmod.as_bytes());
        let mut files = Vec::new();
        for source in inputs.sources {
            match source {
                CopySource::Files { items, hashes } => {
                    let mut hashes = hashes.iter();
                    for item in *items {
                        let mut hasher = blake3::Hasher::new();
                        hasher.update(&item.mode.to_le_bytes());
                        match &item.kind {
                            ItemKind::Directory => &mut hasher,
                            ItemKind::File { .. } => {
                                hasher.update(hashes.next().map_or(&[][..], |hash| hash))
                            }
                            ItemKind::Link { target } => hasher.update(target.as_os_str().as_encoded_bytes()),
                        };
                        files.push((item.to.as_path(), *hasher.finalize().as_bytes()));
                    }
                }
                CopySource::Archive { hash } => found.add(InputKind::Content, "", hash),
                CopySource::Bytes { name, hash } => found.add(InputKind::Content, name, hash),
                CopySource::Git { commit, folder, .. } => {
                    found.add(InputKind::Source, folder, commit.as_bytes());
                }
                CopySource::Root { chain: of, paths, .. } => {
                    found.add(InputKind::Source, &paths.join(" "), chain(*of).as_bytes());
                }
            }
        }
        for (name, hash) in grouped(&files) {
            found.add(InputKind::File, &name, &hash);
        }
        found
    }

    /// Those of a WORKDIR.
    pub(crate) fn of_workdir(
        directory: &str,
        user: &str,
        base: BaseInput<'_>,
        parent: Option<&Digest>,
        platform: &Platform,
        epoch: i64,
    ) -> Self {
        let mut found = Self::new("workdir", directory, base, parent, platform, epoch);
        found.add(InputKind::User, "", user.as_bytes());
        found
    }

    /// `run`, `copy` or `workdir`, whatever it stands on.
    pub(crate) fn step(&self) -> &str {
        self.step.strip_prefix(LINKED).unwrap_or(&self.step)
    }

    fn add(&mut self, kind: InputKind, name: &str, value: &[u8]) {
        let hash = blake3::hash(value);
        let short = hash
            .as_bytes()
            .first_chunk()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let mut end = name.len().min(LONGEST_NAME);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        self.inputs.push(Input(kind, name[..end].to_owned(), short));
    }

    /// Whether it could be an earlier result of the same step: what it was to do, or what it was to start from, is the same.
    pub(crate) fn is_akin(&self, other: &Self) -> bool {
        let of = |inputs: &Self, kind| inputs.inputs.iter().find(|input| input.0 == kind).cloned();
        self.step == other.step
            && [InputKind::Command, InputKind::State]
                .into_iter()
                .any(|kind| of(self, kind) == of(other, kind))
    }

    /// What is not as it was.
    pub(crate) fn differences(&self, earlier: &Self) -> Vec<(InputKind, String, Change)> {
        let by_name = |inputs: &Self| -> BTreeMap<(InputKind, String, usize), u32> {
            let mut times: BTreeMap<(InputKind, String), usize> = BTreeMap::new();
            let each = inputs.inputs.iter().take(MOST_INPUTS);
            each.map(|Input(kind, name, hash)| {
                let time = times.entry((*kind, name.clone())).or_default();
                *time += 1;
                ((*kind, name.clone(), *time), *hash)
            })
            .collect()
        };
        let (now, then) = (by_name(self), by_name(earlier));
        let mut found: Vec<_> = now
            .iter()
            .filter_map(
                |((kind, name, time), hash)| match then.get(&(*kind, name.clone(), *time)) {
                    Some(before) if before == hash => None,
                    Some(_) => Some((*kind, name.clone(), Change::Changed)),
                    None => Some((*kind, name.clone(), Change::Added)),
                },
            )
            .collect();
        let gone = then.keys().filter(|key| !now.contains_key(*key));
        found.extend(gone.map(|(kind, name, _)| (*kind, name.clone(), Change::Removed)));
        found.sort();
        found.dedup();
        found
    }
}

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It has another value.
    Changed,
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
}

fn chain(chain: Option<&Digest>) -> String {
    chain.map(Digest::to_string).unwrap_or_default()
}

/// The kind and the target of a mount in its canonical form.
fn mount_name(canonical: &str) -> String {
    let words = canonical.split([' ', '"', ',', '(', ')']);
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).take(2).collect();
    words.join(" ")
}

/// The files, or where they are too many the folders that they are in, as deep as the number allows.
fn grouped(files: &[(&Path, [u8; 32])]) -> Vec<(String, [u8; 32])> {
    let named = |path: &Path| path.to_string_lossy().into_owned();
    if files.len() <= MOST_FILES {
        return files.iter().map(|(path, hash)| (named(path), *hash)).collect();
    }
    let mut best = BTreeMap::new();
    for depth in 1.. {
        let mut groups: BTreeMap<String, blake3::Hasher> = BTreeMap::new();
        let mut is_whole = true;
        for (path, hash) in files {
            let mut parts = path.components();
            let group: std::path::PathBuf = parts.by_ref().take(depth).collect();
            let is_inside = matches!(parts.next(), Some(Component::Normal(_)));
            is_whole &= !is_inside;
            let name = if is_inside {
                format!("{}/", named(&group))
            } else {
                named(&group)
            };
            let hasher = groups.entry(name).or_default();
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update(&[0]);
            hasher.update(hash);
            if groups.len() > MOST_FILES {
                break;
            }
        }
        if groups.len() > MOST_FILES {
            break;
        }
        best = groups;
        if is_whole {
            break;
        }
    }
    if best.is_empty() {
        // One folder with all of them.
        let mut all = blake3::Hasher::new();
        for (path, hash) in files {
            all.update(path.as_os_str().as_encoded_bytes());
            all.update(hash);
        }
        return vec![(".".to_owned(), *all.finalize().as_bytes())];
    }
    let each = best.into_iter();
    each.map(|(name, hasher)| (name, *hasher.finalize().as_bytes()))
        .collect()
}

#[cfg(test)]
mod tests;
