//! Text and colours pass, nothing else does, in whatever pieces it comes.

use super::{Cleaner, Colours, clean, phrase};

/// What is to be shown of it with colours.
const TABLE: &[(&str, &str)] = &[
    ("plain ünïcode\tand\nlines\n", "plain ünïcode\tand\nlines\n"),
    ("\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[1;31mred\u{1b}[0m"),
    ("\u{1b}[38:5:1mred\u{1b}[m", "\u{1b}[38:5:1mred\u{1b}[m"),
    ("\u{9b}31mred", "\u{1b}[31mred"),
    ("\u{1b}[>4;2mkeys\u{1b}[?1049hscreen", "keysscreen"),
    ("up\u{1b}[1A\u{1b}[2K\u{9b}2Jgone", "upgone"),
    (
        "\u{1b}]0;title\u{7}a\u{1b}]52;c;eHh4\u{1b}\\b\u{9d}0;t\u{9c}c",
        "abc",
    ),
    ("\u{1b}Pq#0\u{1b}\\sixel\u{90}x\u{9c}", "sixel"),
    ("\u{1b}]0;a\u{1b}[2Jb", "b"),
    ("\u{1b}(Bcharset\u{1b}cbell\u{7}\u{8}\u{7f}\u{85}", "charsetbell"),
    ("\u{1b}]open\nnext\u{1b}", "open\nnext"),
    (
        "a\u{202e}b\u{2066}c\u{2069} \u{1f469}\u{200d}\u{1f680}",
        "abc \u{1f469}\u{200d}\u{1f680}",
    ),
];

#[test]
fn text_and_colours_are_all_that_passes() {
    for (given, expected) in TABLE {
        assert_eq!(clean(given, Colours::Kept), *expected, "{given:?}");
    }
    assert_eq!(clean("\u{1b}[8mhidden\u{1b}[0m\r", Colours::Dropped), "hidden");
}

#[test]
fn pieces_make_no_difference() {
    for (given, _) in TABLE {
        let mut pieces = Cleaner::new(Colours::Kept);
        let mut shown: String = given.bytes().map(|byte| pieces.write(&[byte])).collect();
        shown.push_str(&pieces.finish());
        assert_eq!(shown, clean(given, Colours::Kept), "{given:?}");
    }
}

#[test]
fn bytes_that_are_no_text_are_no_controls() {
    let mut cleaner = Cleaner::new(Colours::Kept);
    assert_eq!(cleaner.write(b"\x9b2Ja\xc3"), "\u{fffd}2Ja");
    assert_eq!(cleaner.write(b"\xa4\xe2\x82"), "ä");
    assert_eq!(cleaner.finish(), "\u{fffd}");
}

#[test]
fn a_command_without_an_end_takes_no_memory() {
    let mut cleaner = Cleaner::new(Colours::Kept);
    cleaner.write(b"\x1b]");
    let shown: usize = (0..100).map(|_| cleaner.write(&[b'x'; 1024]).len()).sum();
    assert_eq!(shown, 100 * 1024);
}

#[test]
fn a_phrase_stays_on_its_line() {
    assert_eq!(phrase("no\r\nerror: \u{1b}[31mforged\t!"), "no error: forged !");
}
