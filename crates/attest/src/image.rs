//! Images as package URLs.

use std::collections::BTreeMap;

use shipway_oci::{Platform, Reference};

use crate::purl::Purl;

/// `pkg:docker/alpine@3.19?platform=linux%2Famd64`: the image that a reference names, for a platform. One that is named by its digest has no
/// tag unless it is written.
pub fn image_purl(reference: &Reference, platform: &Platform) -> String {
    purl("docker", reference, platform)
}

/// What stands for an image of a directory, under the name that a build has for it.
pub fn layout_image_purl(reference: &Reference, platform: &Platform) -> String {
    purl("oci", reference, platform)
}

fn purl(kind: &'static str, reference: &Reference, platform: &Platform) -> String {
    let name = reference.familiar_name();
    let tag = reference.tag.as_ref().map(ToString::to_string);
    let (namespace, name) = name.rsplit_once('/').unwrap_or(("", &name));
    let latest = if reference.digest.is_some() { "" } else { "latest" };
    let mut qualifiers = BTreeMap::from([("platform", platform.to_string())]);
    if let Some(digest) = &reference.digest {
        qualifiers.insert("digest", digest.to_string());
    }
    Purl {
        kind,
        namespace,
        name,
        version: tag.as_deref().unwrap_or(latest),
        qualifiers,
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_buildkit_writes_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, expected) in [
            (
                "alpine",
                "pkg:docker/alpine@latest?platform=linux%2Famd64".to_owned(),
            ),
            (
                "docker.io/library/alpine:3.15",
                "pkg:docker/alpine@3.15?platform=linux%2Famd64".to_owned(),
            ),
            (
                "user/test:v2",
                "pkg:docker/user/test@v2?platform=linux%2Famd64".to_owned(),
            ),
            (
                "ghcr.io/foo/bar",
                "pkg:docker/ghcr.io/foo/bar@latest?platform=linux%2Famd64".to_owned(),
            ),
            (
                "127.0.0.1:5000/a/b:1",
                "pkg:docker/127.0.0.1:5000/a/b@1?platform=linux%2Famd64".to_owned(),
            ),
            (
                &format!("busybox@{digest}"),
                format!("pkg:docker/busybox?digest={digest}&platform=linux%2Famd64"),
            ),
            (
                &format!("busybox:1@{digest}"),
                format!("pkg:docker/busybox@1?digest={digest}&platform=linux%2Famd64"),
            ),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(
                image_purl(&reference, &Platform::new("linux", "amd64")),
                expected,
                "{text}"
            );
        }
        let reference = Reference::parse(&format!("base@{digest}")).unwrap();
        assert_eq!(
            layout_image_purl(&reference, &Platform::new("linux", "amd64")),
            format!("pkg:oci/base?digest={digest}&platform=linux%2Famd64")
        );
    }
}
