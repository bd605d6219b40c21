//! apk's list of what is installed: a block of lines for each package, each with a letter and a colon in front.

use crate::package::{Ecosystem, Package};

pub(super) fn read(text: &str) -> Vec<Package> {
    text.split("\n\n").filter_map(block).collect()
}

fn block(text: &str) -> Option<Package> {
    let field = |wanted: char| {
        text.lines()
            .find_map(|line| line.strip_prefix(wanted)?.strip_prefix(':'))
    };
    let mut package = Package::new(Ecosystem::Apk, field('P')?, field('V')?);
    package.qualify("arch", field('A').unwrap_or_default());
    let origin = field('o').filter(|origin| *origin != package.name);
    package.qualify("upstream", origin.unwrap_or_default());
    package.license = field('L').map(str::to_owned);
    package.supplier = field('m').map(str::to_owned);
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_a_package() {
        let packages = read(
            "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nm:Timo <timo@example.org>\nF:lib\nR:ld.so\n\n\
             P:ssl_client\nV:1.36.1-r29\nA:x86_64\no:busybox\n\nF:only\n\n",
        );
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].purl(None), "pkg:apk/musl@1.2.5-r0?arch=x86_64");
        assert_eq!(packages[0].license.as_deref(), Some("MIT"));
        assert_eq!(packages[1].qualifiers["upstream"], "busybox");
    }
}
