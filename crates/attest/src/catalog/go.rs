//! Go: the modules that `go.mod` requires, and those that `go.sum` knows.

use crate::package::{Ecosystem, Package};

pub(super) fn read_mod(text: &str) -> Vec<Package> {
    let mut within = false;
    let mut packages = Vec::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        if line == ")" {
            within = false;
        } else if let Some(rest) = line.strip_prefix("require") {
            within = rest.trim() == "(";
            packages.extend(module(rest));
        } else if within {
            packages.extend(module(line));
        }
    }
    packages
}

/// Lines of three words; those whose version ends with `/go.mod` are of modules that only were asked what they require.
pub(super) fn read_sum(text: &str) -> Vec<Package> {
    text.lines()
        .filter_map(module)
        .filter(|package| !package.version.ends_with("/go.mod"))
        .collect()
}

fn module(text: &str) -> Option<Package> {
    let mut words = text.split_whitespace();
    let (name, version) = (words.next()?, words.next()?);
    version
        .starts_with('v')
        .then(|| Package::new(Ecosystem::Golang, name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_is_listed() {
        let text = "module example.org/app\n\ngo 1.22\n\nrequire golang.org/x/net v0.1.0\n\nrequire (\n\tgithub.com/a/b v1.2.3 // indirect\n)\n\n\
            replace (\n\tgithub.com/a/b v1.2.3 => ../b\n)\n";
        let names: Vec<String> = read_mod(text).iter().map(|package| package.purl(None)).collect();
        assert_eq!(
            names,
            [
                "pkg:golang/golang.org/x/net@v0.1.0",
                "pkg:golang/github.com/a/b@v1.2.3"
            ]
        );
        let sum = "github.com/a/b v1.2.3 h1:x=\ngithub.com/a/b v1.2.3/go.mod h1:y=\ngithub.com/c v0.1.0/go.mod h1:z=\n";
        assert_eq!(read_sum(sum).len(), 1);
    }
}
