//! Quoting for any POSIX shell.
//!
//! Single quotes keep every byte but the single quote itself, in every shell since the Bourne shell; `$'…'` would
//! be shorter for control characters, but dash does not know it.

use std::borrow::Cow;

/// A word that the shell reads back as exactly `text`.
///
/// A NUL cannot be carried by a shell word and is left out.
pub fn quote(text: &str) -> String {
    let text: Cow<'_, str> = if text.contains('\0') {
        text.replace('\0', "").into()
    } else {
        text.into()
    };
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.into_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for part in text.split_inclusive('\'') {
        match part.strip_suffix('\'') {
            Some(before) => {
                quoted.push_str(before);
                quoted.push_str(r"'\''");
            }
            None => quoted.push_str(part),
        }
    }
    quoted.push('\'');
    quoted
}

/// Whether a byte means itself outside quotes, anywhere in a word.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'-' | b'.' | b'/' | b':' | b'@' | b'%' | b'+' | b',')
}

#[cfg(test)]
mod tests {
    use super::quote;
    use std::process::Command;

    #[test]
    fn plain_words_stay_readable() {
        assert_eq!(quote("/builds/group/project"), "/builds/group/project");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("a=b"), "'a=b'");
        assert_eq!(quote("~"), "'~'");
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let hostile = [
            "it's",
            "'",
            "''",
            "a\nb\n",
            "$HOME `id` $(id)",
            "\\",
            "\\n",
            "!bang",
            "*?[a]",
            "\t\r\u{1b}[31m",
            "ä€😀",
            "--flag",
            "#comment",
            "a;b&c|d<e>f",
        ];
        for text in hostile {
            let output = Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quote(text)))
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        }
    }
}
