//! Docker's own images for Windows, and their siblings for Linux.
//!
//! A job that only calls the docker CLI asks the same of an engine from either system. Where its image is Docker's own
//! for Windows, which no Linux runs, the image of the same version for Linux does. No other image has a sibling that is
//! known by its name.

/// What the tags of the images for Windows have after the version: `25-windowsservercore-ltsc2022`.
const WINDOWS: &str = "windowsservercore";
/// What the tags of the images with the CLI alone have there: `25-cli`. Those for Windows have no daemon either.
const CLI: &str = "cli";

/// The sibling of an image for Windows; `None` for any other image, and where a digest says which it must be.
///
/// As with the daemon's image, mirrors and copies are recognised by the last part of the name.
pub(super) fn sibling(image: &str) -> Option<String> {
    let (place, last) = match image.rsplit_once('/') {
        Some((place, last)) => (format!("{place}/"), last),
        None => (String::new(), image),
    };
    let tag = last.strip_prefix("docker:").filter(|tag| !tag.contains('@'))?;
    let (version, rest) = tag.split_once(WINDOWS)?;
    let whole = rest.is_empty() || rest.starts_with('-');
    (whole && (version.is_empty() || version.ends_with('-'))).then(|| format!("{place}docker:{version}{CLI}"))
}

#[cfg(test)]
mod tests {
    use super::sibling;

    #[test]
    fn only_dockers_own_images_have_a_sibling() {
        let table = [
            ("docker:25-windowsservercore-ltsc2022", Some("docker:25-cli")),
            ("docker:25.0.5-windowsservercore", Some("docker:25.0.5-cli")),
            ("docker:windowsservercore-1809", Some("docker:cli")),
            (
                "registry.example.com:5000/mirror/docker:25-windowsservercore",
                Some("registry.example.com:5000/mirror/docker:25-cli"),
            ),
            ("docker:25-windowsservercore@sha256:0123", None),
            ("docker:25", None),
            ("docker:mywindowsservercore", None),
            ("golang:1-windowsservercore-ltsc2022", None),
            ("mcr.microsoft.com/windows/servercore:ltsc2022", None),
        ];
        for (image, expected) in table {
            assert_eq!(sibling(image).as_deref(), expected, "{image}");
        }
    }
}
