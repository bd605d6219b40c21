//! `shipway lint Dockerfile`: the checks of a Dockerfile from its text alone.
//!
//! Nothing is known of base images here, because nothing is asked: the rules that need one are silent. `shipway build --check`
//! asks.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use shipway_build::NamedContexts;
use shipway_build::ignore::IgnoreList;
use shipway_build::lint::{Facts, check};
use shipway_oci::Platform;

use crate::commands::build::{LARGEST_DOCKERFILE, read_small_file, read_stdin};
use crate::commands::findings::{CheckedFile, Form};
use crate::failure::{Failure, FailureKind};

/// Checks and shows.
pub(super) fn execute(path: &Path, form: Form) -> Result<ExitCode, Failure> {
    let (name, bytes) = if path.as_os_str() == "-" {
        ("Dockerfile".to_owned(), read_stdin()?)
    } else {
        let what = format!("the Dockerfile `{}`", path.display());
        let bytes = read_small_file(path, LARGEST_DOCKERFILE)
            .map_err(|error| Failure::caused(FailureKind::Use, &what, &error))?;
        (path.display().to_string(), bytes)
    };
    let facts = Facts {
        arguments: &BTreeMap::new(),
        platform: &Platform::host(),
        target: None,
        unneeded_stages: true,
        contexts: &NamedContexts::new(),
        ignore: &ignore_list(path)?,
        bases: &BTreeMap::new(),
    };
    let report = check(&bytes, &name, &facts);
    let file = CheckedFile {
        name: &name,
        bytes: &bytes,
        report: &report,
    };
    file.tell(form)
}

/// The ignore file beside a Dockerfile: its own, or that of the folder, which is taken for the context.
fn ignore_list(path: &Path) -> Result<IgnoreList, Failure> {
    let mut own = path.as_os_str().to_owned();
    own.push(".dockerignore");
    for candidate in [PathBuf::from(own), path.with_file_name(".dockerignore")] {
        let what = format!("the ignore file `{}`", candidate.display());
        let bytes = match read_small_file(&candidate, LARGEST_DOCKERFILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Failure::caused(FailureKind::Use, &what, &error)),
        };
        return IgnoreList::parse(&bytes, &candidate.display().to_string())
            .map_err(|error| Failure::caused(FailureKind::Use, &what, &error));
    }
    Ok(IgnoreList::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignore_file_beside_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("Dockerfile"), "FROM scratch\nCOPY secret /\n").unwrap();
        let ended = || format!("{:?}", execute(&at("Dockerfile"), Form::Json).unwrap());
        let code = |number: u8| format!("{:?}", ExitCode::from(number));
        assert_eq!(ended(), code(0));
        std::fs::write(at(".dockerignore"), "secret\n").unwrap();
        assert_eq!(ended(), code(1));
        std::fs::write(at("Dockerfile.dockerignore"), "other\n").unwrap();
        assert_eq!(ended(), code(0));
        std::fs::write(at("Dockerfile"), "FROM scratch AS A\nNONE\n").unwrap();
        assert!(execute(&at("Dockerfile"), Form::Text).is_err());
        assert!(execute(&at("missing"), Form::Text).is_err());
    }
}
