//! Which paths are lists of packages, and that every reader is total.

use super::*;
use shipway_testkit::Foreign;

#[test]
fn a_file_is_what_its_path_says() {
    for (path, expected) in [
        ("etc/os-release", Some(Format::OsRelease)),
        ("srv/etc/os-release", None),
        ("var/lib/dpkg/status", Some(Format::Dpkg)),
        ("var/lib/dpkg/status.d/libc6", Some(Format::Dpkg)),
        ("var/lib/dpkg/status.d/libc6.md5sums", None),
        ("lib/apk/db/installed", Some(Format::Apk)),
        ("usr/lib/sysimage/rpm/rpmdb.sqlite", Some(Format::Rpm)),
        ("app/Cargo.lock", Some(Format::CargoLock)),
        ("package.json", None),
        ("app/node_modules/a/package.json", Some(Format::NpmPackage)),
        ("app/node_modules/a/package-lock.json", None),
        ("app/package-lock.json", Some(Format::NpmLock)),
        (
            "usr/lib/python3/dist-packages/a-1.dist-info/METADATA",
            Some(Format::PythonMetadata),
        ),
        ("requirements-dev.txt", Some(Format::Requirements)),
        (
            "usr/lib/ruby/gems/3.1.0/specifications/rake-13.0.6.gemspec",
            Some(Format::Gemspec),
        ),
        ("app/vendor/composer/installed.json", Some(Format::Composer)),
        ("app/installed.json", None),
    ] {
        assert_eq!(Format::of(path), expected, "{path}");
    }
}

/// Each with a small file of its own, which the others get as well.
const SEEDS: &[&str] = &[
    "ID=debian\nVERSION_ID=\"12\"\n",
    "Package: bash\nStatus: install ok installed\nVersion: 5\nSource: b (4)\n\nPackage: c\nVersion: 1\n",
    "P:musl\nV:1\nA:x86_64\nL:MIT\no:m\n\n",
    "[[package]]\nname = \"a\"\nversion = \"1\"\n",
    r#"{"packages":{"node_modules/a":{"version":"1","license":{"type":"MIT"}}},"dependencies":{"a":{"version":"1","dependencies":{}}}}"#,
    r#"{"name":"a","version":"1","license":"MIT"}"#,
    "\"@a/b@^1\", c@^2:\n  version \"1\"\n",
    "packages:\n\n  '@a/b@1.0.0(c@1)':\n    x: y\n  /a/1.0.0_b:\n",
    "Name: a\nVersion: 1\nLicense: MIT\n\n",
    "a[b]==1 ; c \\\n",
    r#"{"default":{"a":{"version":"==1"}}}"#,
    "require (\n\ta/b v1.0.0\n)\n",
    "GEM\n  specs:\n    a (1-x)\n",
    "# stub: a 1 ruby lib\n",
    r#"{"packages":[{"name":"a/b","version":"1","license":["MIT"]}]}"#,
];

const TEXTS: &[Format] = &[
    Format::OsRelease,
    Format::Dpkg,
    Format::Apk,
    Format::CargoLock,
    Format::NpmLock,
    Format::NpmPackage,
    Format::Yarn,
    Format::Pnpm,
    Format::PythonMetadata,
    Format::Requirements,
    Format::PythonLock,
    Format::PipfileLock,
    Format::GoMod,
    Format::GoSum,
    Format::GemfileLock,
    Format::Gemspec,
    Format::Composer,
];

#[test]
fn foreign_lists_are_read_or_refused() {
    Foreign::near(SEEDS.iter().copied()).check(|bytes| {
        for format in TEXTS {
            // Whatever is listed can be named.
            for package in format
                .read(bytes)
                .map(|listing| listing.packages)
                .unwrap_or_default()
            {
                assert!(package.purl(None).starts_with("pkg:"));
            }
        }
    });
}

#[test]
fn a_list_of_one_kind_is_seldom_one_of_another() {
    let dpkg = SEEDS[1].as_bytes();
    assert_eq!(Format::Dpkg.read(dpkg).unwrap().packages.len(), 2);
    assert!(Format::CargoLock.read(dpkg).is_err());
    assert!(Format::NpmLock.read(dpkg).is_err());
    assert!(Format::Rpm.read(dpkg).is_err());
}
