//! Ruby: Bundler's lock file, and the specification of each gem that is installed.

use crate::package::{Ecosystem, Package};

/// Below `specs:` a gem is four spaces deep, what it needs six.
pub(super) fn read_lock(text: &str) -> Vec<Package> {
    let mut within = false;
    let mut packages = Vec::new();
    for line in text.lines() {
        if !line.starts_with(' ') {
            within = line == "GEM";
        } else if let Some(rest) = line
            .strip_prefix("    ")
            .filter(|rest| within && !rest.starts_with(' '))
            && let Some((name, version)) = rest.split_once(" (")
        {
            packages.push(gem(name, version.trim_end_matches(')')));
        }
    }
    packages
}

/// `nokogiri (1.16.0-x86_64-linux)` is built for that platform.
fn gem(name: &str, version: &str) -> Package {
    let (version, platform) = version.split_once('-').unwrap_or((version, ""));
    let mut package = Package::new(Ecosystem::Gem, name, version);
    package.qualify("platform", platform);
    package
}

/// The line that RubyGems leaves for itself, so that it need not run the file either: `# stub: rake 13.0.6 ruby lib`.
pub(super) fn read_specification(text: &str) -> Vec<Package> {
    let stub = text
        .lines()
        .take(5)
        .find_map(|line| line.strip_prefix("# stub: "));
    let mut words = stub.unwrap_or_default().split_whitespace();
    let (Some(name), Some(version)) = (words.next(), words.next()) else {
        return Vec::new();
    };
    let mut package = Package::new(Ecosystem::Gem, name, version);
    package.qualify(
        "platform",
        words
            .next()
            .filter(|platform| *platform != "ruby")
            .unwrap_or_default(),
    );
    vec![package]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gems_are_listed() {
        let text = "GIT\n  remote: x\n  specs:\n    own (0.1)\n\nGEM\n  remote: https://rubygems.org/\n  specs:\n    rails (7.1.2)\n      rake (>= 12)\n\
            \x20   nokogiri (1.16.0-x86_64-linux)\n\nPLATFORMS\n    ruby (1)\n";
        let names: Vec<String> = read_lock(text).iter().map(|package| package.purl(None)).collect();
        assert_eq!(
            names,
            [
                "pkg:gem/rails@7.1.2",
                "pkg:gem/nokogiri@1.16.0?platform=x86_64-linux"
            ]
        );
        let specification =
            "# -*- encoding: utf-8 -*-\n# stub: rake 13.0.6 ruby lib\n\nGem::Specification.new\n";
        assert_eq!(
            read_specification(specification),
            [Package::new(Ecosystem::Gem, "rake", "13.0.6")]
        );
        assert!(read_specification("Gem::Specification.new").is_empty());
    }
}
