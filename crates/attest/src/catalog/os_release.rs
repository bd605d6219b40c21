//! `os-release`: which distribution the root file system is of.

use crate::scan::Release;

/// The words between quotes are the shell's; names and versions have nothing in them that needs more than the quotes off.
pub(super) fn read(text: &str) -> Option<Release> {
    let field = |wanted: &str| {
        let value = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(wanted)?.strip_prefix('='));
        value.map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    let id = field("ID").filter(|id| is_word(id))?;
    let version = field("VERSION_ID")
        .filter(|version| is_word(version))
        .unwrap_or_default();
    Some(Release { id, version })
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_the_version_are_taken() {
        let release = read("PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\nID_LIKE=x\n").unwrap();
        assert_eq!(release.distro(), "debian-12");
        assert_eq!(read("ID='arch'\n").unwrap().distro(), "arch");
        assert_eq!(read("ID_LIKE=debian\n"), None);
        assert_eq!(read("ID=\"a b\"\n"), None);
    }
}
