//! `--output`: what is to become of a build, read and judged before it begins.
//!
//! The words are those of `docker buildx build`. A word that is not known is refused: an output that silently did something else
//! would be noticed in production.

use std::path::PathBuf;

use shipway_build::{Compression, FileOptions, ImageOptions, MediaTypes, csv_fields};
use shipway_container::ArchiveForm;
use shipway_oci::Reference;

use crate::commands::build::parse_reference;
use crate::failure::{Failure, FailureKind};

/// One output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Export {
    Image(ImageExport),
    Archive(ArchiveExport),
    Files(FilesExport),
}

/// An image in the store, in registries, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageExport {
    pub(super) options: ImageOptions,
    /// Its names, where the build has none.
    pub(super) names: Vec<Reference>,
    pub(super) push: bool,
    /// Whether it is pushed without a tag.
    pub(super) by_digest: bool,
    /// Whether it is also named by its digest.
    pub(super) canonical: bool,
    pub(super) store: bool,
}

impl Default for ImageExport {
    fn default() -> Self {
        Self {
            options: ImageOptions::default(),
            names: Vec::new(),
            push: false,
            by_digest: false,
            canonical: false,
            store: true,
        }
    }
}

/// An image in one file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArchiveExport {
    pub(super) options: ImageOptions,
    pub(super) names: Vec<Reference>,
    pub(super) form: ArchiveForm,
    /// Where to; without, it is loaded.
    pub(super) place: Option<Place>,
}

/// The files of the last stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilesExport {
    pub(super) place: Place,
    pub(super) options: FileOptions,
}

/// Where an output is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    StandardOutput,
    File(PathBuf),
    Directory(PathBuf),
}

/// An output's words: its type, and what else it says.
struct Words {
    text: String,
    pairs: Vec<(String, String)>,
}

impl Export {
    /// Reads `DIRECTORY`, `-`, or `type=…,KEY=VALUE…`.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::new(FailureKind::Use, format!("--output {text}: {what}"));
        let fields = csv_fields(text).ok_or_else(|| wrong("a quote is not closed"))?;
        if let [only] = fields.as_slice()
            && !only.starts_with("type=")
        {
            let place = match only.as_str() {
                "" => return Err(wrong("name a directory, `-`, or a type")),
                "-" => Place::StandardOutput,
                directory => Place::Directory(directory.into()),
            };
            return Ok(Self::Files(FilesExport {
                place,
                options: FileOptions::default(),
            }));
        }
        let mut pairs = Vec::with_capacity(fields.len());
        for field in &fields {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            pairs.push((key.trim().to_ascii_lowercase(), value.to_owned()));
        }
        let mut words = Words {
            text: text.to_owned(),
            pairs,
        };
        let kind = words
            .take("type")
            .ok_or_else(|| wrong("its type is missing: write type=image, or another"))?;
        let export = match kind.as_str() {
            "image" => Self::Image(words.image(false)?),
            "registry" => Self::Image(words.image(true)?),
            "oci" => Self::Archive(words.archive(ArchiveForm::Oci)?),
            "docker" => Self::Archive(words.archive(ArchiveForm::Docker)?),
            "local" => Self::Files(words.files(true)?),
            "tar" => Self::Files(words.files(false)?),
            other => {
                let hint = "the types are image, registry, oci, docker, local and tar";
                return Err(wrong(&format!("there is no type `{other}`")).hint(hint));
            }
        };
        words.done(&kind)?;
        Ok(export)
    }

    /// How it lays an image down, if it does.
    pub(super) fn image_options(&self) -> Option<&ImageOptions> {
        match self {
            Self::Image(export) => Some(&export.options),
            Self::Archive(export) => Some(&export.options),
            Self::Files(_) => None,
        }
    }

    pub(super) fn image_options_mut(&mut self) -> Option<&mut ImageOptions> {
        match self {
            Self::Image(export) => Some(&mut export.options),
            Self::Archive(export) => Some(&mut export.options),
            Self::Files(_) => None,
        }
    }

    /// What BuildKit calls its export.
    pub(super) fn title(&self) -> &'static str {
        match self {
            Self::Image(_) => "exporting to image",
            Self::Archive(ArchiveExport {
                form: ArchiveForm::Oci,
                ..
            }) => "exporting to oci image format",
            Self::Archive(_) => "exporting to docker image format",
            Self::Files(FilesExport {
                place: Place::Directory(_),
                ..
            }) => "exporting to client directory",
            Self::Files(_) => "exporting to client tarball",
        }
    }

    pub(super) fn place(&self) -> Option<&Place> {
        match self {
            Self::Image(_) => None,
            Self::Archive(export) => export.place.as_ref(),
            Self::Files(export) => Some(&export.place),
        }
    }
}

impl Words {
    fn wrong(&self, what: &str) -> Failure {
        Failure::new(FailureKind::Use, format!("--output {}: {what}", self.text))
    }

    /// The last value of a key.
    fn take(&mut self, key: &str) -> Option<String> {
        let mut value = None;
        self.pairs.retain(|(other, found)| {
            if other == key {
                value = Some(found.clone());
            }
            other != key
        });
        value
    }

    /// As BuildKit has it: a key alone means yes.
    fn flag(&mut self, key: &str) -> Result<Option<bool>, Failure> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match value.as_str() {
            "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Some(false)),
            other => Err(self.wrong(&format!("{key}={other} is neither true nor false"))),
        }
    }

    fn image(&mut self, registry: bool) -> Result<ImageExport, Failure> {
        let options = self.options()?;
        if self.flag("registry.insecure")? == Some(true) {
            let hint = "a registry without TLS is named in `shipway.toml`, for all verbs alike";
            return Err(self
                .wrong("registry.insecure is no matter of one output")
                .hint(hint));
        }
        // Nothing is kept unpacked, and what to keep unpacked is nobody's choice.
        self.flag("unpack")?;
        let export = ImageExport {
            options,
            names: self.names()?,
            push: self.flag("push")?.unwrap_or(registry),
            by_digest: self.flag("push-by-digest")?.unwrap_or(false),
            canonical: self.flag("name-canonical")?.unwrap_or(false),
            store: self.flag("store")?.unwrap_or(true),
        };
        Ok(export)
    }

    fn archive(&mut self, form: ArchiveForm) -> Result<ArchiveExport, Failure> {
        let options = self.options()?;
        let names = self.names()?;
        let tar = self.flag("tar")?.unwrap_or(true);
        let place = match (self.take("dest").as_deref(), tar, form) {
            (None | Some(""), true, ArchiveForm::Docker) => None,
            (None | Some(""), true, ArchiveForm::Oci) => Some(Place::StandardOutput),
            (Some("-"), true, _) => Some(Place::StandardOutput),
            (Some(file), true, _) => Some(Place::File(file.into())),
            (None | Some("" | "-"), false, _) => {
                return Err(self.wrong("tar=false writes a directory: name it with dest="));
            }
            (Some(directory), false, _) => Some(Place::Directory(directory.into())),
        };
        Ok(ArchiveExport {
            options,
            names,
            form,
            place,
        })
    }

    fn files(&mut self, directory: bool) -> Result<FilesExport, Failure> {
        let dest = self.take("dest").filter(|dest| !dest.is_empty());
        let place = match (dest.as_deref(), directory) {
            (None, true) => return Err(self.wrong("name the directory with dest=")),
            (Some("-"), true) => return Err(self.wrong("a directory is no stream: use type=tar")),
            (Some(path), true) => Place::Directory(path.into()),
            (None | Some("-"), false) => Place::StandardOutput,
            (Some(path), false) => Place::File(path.into()),
        };
        let delete = match self.take("mode").as_deref() {
            None | Some("" | "copy") => false,
            Some("delete") if directory => true,
            Some(other) => {
                return Err(self.wrong(&format!(
                    "there is no mode `{other}`: use copy or, for a directory, delete"
                )));
            }
        };
        let epoch = match self.take("source-date-epoch") {
            None => None,
            Some(text) => {
                let seconds = text.parse::<i64>().ok().filter(|seconds| *seconds >= 0);
                Some(seconds.ok_or_else(|| self.wrong(&format!("source-date-epoch={text} is not seconds")))?)
            }
        };
        Ok(FilesExport {
            place,
            options: FileOptions {
                epoch,
                platform_split: self.flag("platform-split")?,
                delete,
            },
        })
    }

    fn names(&mut self) -> Result<Vec<Reference>, Failure> {
        let names = self.take("name").unwrap_or_default();
        let names = names.split(',').filter(|name| !name.is_empty());
        names.map(parse_reference).collect()
    }

    fn options(&mut self) -> Result<ImageOptions, Failure> {
        let mut options = ImageOptions::default();
        if self.flag("oci-mediatypes")? == Some(false) {
            options.media_types = MediaTypes::Docker;
        }
        options.compression = self.compression()?;
        options.force_compression = self.flag("force-compression")?.unwrap_or(false);
        // Files are never later than SOURCE_DATE_EPOCH here, asked for or not, and layers of a base are never rewritten.
        self.flag("rewrite-timestamp")?;
        self.flag("prefer-nondist-layers")?;
        let mut failure = None;
        self.pairs.retain(
            |(key, value)| match options.annotations.add_attribute(key, value) {
                Ok(taken) => !taken,
                Err(error) => {
                    failure = Some(error);
                    true
                }
            },
        );
        match failure {
            Some(error) => Err(Failure::caused(
                FailureKind::Use,
                &format!("--output {}", self.text),
                &error,
            )),
            None => Ok(options),
        }
    }

    fn compression(&mut self) -> Result<Compression, Failure> {
        let level = match self.take("compression-level") {
            None => None,
            Some(text) => match text.parse::<i32>() {
                Ok(level) => Some(level),
                Err(_) => return Err(self.wrong(&format!("compression-level={text} is no number"))),
            },
        };
        let name = self.take("compression").unwrap_or_else(|| "gzip".to_owned());
        Compression::new(&name, level)
            .map_err(|error| Failure::caused(FailureKind::Use, &format!("--output {}", self.text), &error))
    }

    fn done(&self, kind: &str) -> Result<(), Failure> {
        match self.pairs.first() {
            None => Ok(()),
            Some((key, _)) => Err(self.wrong(&format!("type={kind} has no `{key}`"))),
        }
    }
}

#[cfg(test)]
mod tests;
