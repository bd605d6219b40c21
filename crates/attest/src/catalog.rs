//! The files that list packages: which they are, how large they may be, and a reader for each, one file per package manager.
//!
//! A reader takes what it understands and leaves the rest: an entry without a name or a version is no package. It fails only for a file that
//! is not what its name says, which the document then mentions.

mod apk;
mod cargo;
mod composer;
mod debian;
mod go;
mod npm;
mod os_release;
mod pnpm;
mod python;
mod rpm;
mod ruby;
mod yarn;

use crate::package::Package;
use crate::scan::Release;

/// Why a file could not be read as what it is called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    /// It is not the JSON that its manager writes.
    #[error("it is not the JSON that is expected there: {source}")]
    Json {
        #[from]
        source: serde_json::Error,
    },
    /// It is not the TOML that its manager writes.
    #[error("it is not the TOML that is expected there")]
    Toml {
        #[from]
        source: toml::de::Error,
    },
    /// It is no database that SQLite opens, or has other tables.
    #[error("it is not the database that is expected there: {source}")]
    Database {
        #[from]
        source: rusqlite::Error,
    },
}

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) packages: Vec<Package>,
    pub(crate) release: Option<Release>,
}

impl From<Vec<Package>> for Listing {
    fn from(packages: Vec<Package>) -> Self {
        Self {
            packages,
            release: None,
        }
    }
}

/// What kind of list a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    OsRelease,
    Dpkg,
    Apk,
    Rpm,
    CargoLock,
    NpmLock,
    NpmPackage,
    Yarn,
    Pnpm,
    PythonMetadata,
    Requirements,
    PythonLock,
    PipfileLock,
    GoMod,
    GoSum,
    GemfileLock,
    Gemspec,
    Composer,
}

impl Format {
    /// What the file at a path from the root, without a slash in front, is by its name.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        Some(match (directory, name) {
            ("etc" | "usr/lib", "os-release") => Self::OsRelease,
            ("var/lib/dpkg", "status") => Self::Dpkg,
            ("var/lib/dpkg/status.d", name) if !name.ends_with(".md5sums") => Self::Dpkg,
            ("lib/apk/db" | "usr/lib/apk/db", "installed") => Self::Apk,
            ("var/lib/rpm" | "usr/lib/sysimage/rpm" | "usr/share/rpm", "rpmdb.sqlite") => Self::Rpm,
            (_, "Cargo.lock") => Self::CargoLock,
            (_, "package.json") if npm::is_installed(directory) => Self::NpmPackage,
            // What npm leaves there of the project's own lock file is read from the packages themselves.
            (_, "package-lock.json" | "npm-shrinkwrap.json") if !within(directory, "node_modules") => {
                Self::NpmLock
            }
            (_, "yarn.lock") if !within(directory, "node_modules") => Self::Yarn,
            (_, "pnpm-lock.yaml") if !within(directory, "node_modules") => Self::Pnpm,
            (directory, "METADATA") if directory.ends_with(".dist-info") => Self::PythonMetadata,
            (directory, "PKG-INFO") if directory.ends_with(".egg-info") => Self::PythonMetadata,
            (_, "poetry.lock" | "uv.lock" | "pdm.lock") => Self::PythonLock,
            (_, "Pipfile.lock") => Self::PipfileLock,
            (_, name) if name.starts_with("requirements") && name.ends_with(".txt") => Self::Requirements,
            (_, "go.mod") => Self::GoMod,
            (_, "go.sum") => Self::GoSum,
            (_, "Gemfile.lock") => Self::GemfileLock,
            (directory, name) if directory.ends_with("/specifications") && name.ends_with(".gemspec") => {
                Self::Gemspec
            }
            (_, "composer.lock") => Self::Composer,
            (directory, "installed.json") if directory.ends_with("vendor/composer") => Self::Composer,
            _ => return None,
        })
    }

    /// A larger file is passed over: well above the largest that distributions and projects have.
    pub(crate) fn most_bytes(self) -> u64 {
        match self {
            Self::Rpm => 64 << 20,
            Self::Dpkg | Self::Apk | Self::NpmLock | Self::Yarn | Self::Pnpm | Self::Composer => 16 << 20,
            Self::CargoLock | Self::PythonLock | Self::PipfileLock | Self::GoSum | Self::GemfileLock => {
                8 << 20
            }
            Self::NpmPackage | Self::PythonMetadata | Self::Requirements | Self::GoMod => 1 << 20,
            Self::OsRelease | Self::Gemspec => 64 << 10,
        }
    }

    /// The file beside it that says the same better: when that is there, this one lists nothing.
    pub(crate) fn yields_to(self) -> Option<&'static str> {
        // What was once verified is more than what is built in.
        (self == Self::GoSum).then_some("go.mod")
    }

    /// Reads such a file.
    pub(crate) fn read(self, bytes: &[u8]) -> Result<Listing, CatalogError> {
        let text = || String::from_utf8_lossy(bytes);
        Ok(match self {
            Self::OsRelease => Listing {
                packages: Vec::new(),
                release: os_release::read(&text()),
            },
            Self::Dpkg => debian::read(&text()).into(),
            Self::Apk => apk::read(&text()).into(),
            Self::Rpm => rpm::read(bytes)?.into(),
            Self::CargoLock => cargo::read(&text())?.into(),
            Self::NpmLock => npm::read_lock(bytes)?.into(),
            Self::NpmPackage => npm::read_package(bytes)?.into(),
            Self::Yarn => yarn::read(&text()).into(),
            Self::Pnpm => pnpm::read(&text()).into(),
            Self::PythonMetadata => python::read_metadata(&text()).into(),
            Self::Requirements => python::read_requirements(&text()).into(),
            Self::PythonLock => python::read_lock(&text())?.into(),
            Self::PipfileLock => python::read_pipfile(bytes)?.into(),
            Self::GoMod => go::read_mod(&text()).into(),
            Self::GoSum => go::read_sum(&text()).into(),
            Self::GemfileLock => ruby::read_lock(&text()).into(),
            Self::Gemspec => ruby::read_specification(&text()).into(),
            Self::Composer => composer::read(bytes)?.into(),
        })
    }
}

fn within(directory: &str, name: &str) -> bool {
    directory.split('/').any(|part| part == name)
}

#[cfg(test)]
mod tests;
