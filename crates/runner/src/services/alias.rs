//! The names under which a job finds a service.

/// The names of a service: two made from its image, then those the file gives.
///
/// The tag, the digest and a port go, `/` becomes `__` and, for resolvers that refuse underscores, `-`. The
/// registry's host stays: `registry.example.com/docker` is *not* found as `docker` unless the file says so.
pub(crate) fn aliases(image: &str, given: Option<&str>) -> Vec<String> {
    let name = without_port(without_version(image));
    let mut aliases = Vec::new();
    let given = given
        .unwrap_or_default()
        .split([',', ' ', '\t', '\n'])
        .filter(|alias| !alias.is_empty());
    for alias in [name.replace('/', "__"), name.replace('/', "-")]
        .into_iter()
        .chain(given.map(str::to_owned))
    {
        if !alias.is_empty() && !aliases.contains(&alias) {
            aliases.push(alias);
        }
    }
    aliases
}

fn without_version(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[last..].rfind(':') {
        Some(colon) => &image[..last + colon],
        None => image,
    }
}

fn without_port(name: &str) -> String {
    let Some((host, rest)) = name.split_once('/') else {
        return name.to_owned();
    };
    match host.split_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => format!("{host}/{rest}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::aliases;

    #[test]
    fn names_come_from_the_image_and_the_file() {
        let table: &[(&str, Option<&str>, &[&str])] = &[
            ("postgres", None, &["postgres"]),
            ("postgres:16.1", None, &["postgres"]),
            ("docker:24.0.5-dind", None, &["docker"]),
            ("tutum/wordpress", None, &["tutum__wordpress", "tutum-wordpress"]),
            (
                "tutum/wordpress:latest",
                Some("blog"),
                &["tutum__wordpress", "tutum-wordpress", "blog"],
            ),
            (
                "registry.example.com:5000/a/b:1",
                None,
                &["registry.example.com__a__b", "registry.example.com-a-b"],
            ),
            (
                "localhost:5000/docker:dind",
                None,
                &["localhost__docker", "localhost-docker"],
            ),
            (
                "registry.example.com/docker:dind",
                Some("docker"),
                &[
                    "registry.example.com__docker",
                    "registry.example.com-docker",
                    "docker",
                ],
            ),
            ("redis@sha256:0123", Some("a, b c,a"), &["redis", "a", "b", "c"]),
            ("redis:7@sha256:0123", None, &["redis"]),
            ("mysql:8", Some("mysql"), &["mysql"]),
        ];
        for (image, given, expected) in table {
            assert_eq!(aliases(image, *given), *expected, "{image} {given:?}");
        }
    }
}
