//! Ranges are found as `newuidmap` finds them, and translated inside themselves only.

use super::*;

#[test]
fn the_default_range_needs_the_ids_to_exist() {
    assert_eq!(
        root_range("         0          0 4294967295\n"),
        Some(IdRange {
            inside: 0,
            outside: 1_000_000_000,
            length: 65_536
        })
    );
    assert_eq!(
        root_range("0 100000 65536\n"),
        Some(IdRange {
            inside: 0,
            outside: 1,
            length: 65_535
        }),
        "a container's root gives the ids that it has, its own never among them"
    );
    assert_eq!(root_range("0 1000 1\n"), None);
}

#[test]
fn the_longest_range_of_a_name_counts() {
    let text = "# no\nann:100000:10\nann:200000:65536\nbob:1:5\n1001:300000:70000\nann:0:900000\n";
    assert_eq!(subordinate_range(text, &["ann"]), Some((200_000, 65_536)));
    assert_eq!(subordinate_range(text, &["ann", "1001"]), Some((300_000, 70_000)));
    assert_eq!(subordinate_range(text, &["carol"]), None);
}

#[test]
fn ids_are_translated_within_the_ranges_only() {
    let map = IdMap {
        uids: vec![
            IdRange {
                inside: 0,
                outside: 1001,
                length: 1,
            },
            IdRange {
                inside: 1,
                outside: 100_000,
                length: 65_536,
            },
        ],
        gids: vec![IdRange {
            inside: 0,
            outside: 5,
            length: 1,
        }],
    };
    assert_eq!(map.host_uid(0), Some(1001));
    assert_eq!(map.host_uid(1), Some(100_000));
    assert_eq!(map.host_uid(65_536), Some(165_535));
    assert_eq!(map.host_uid(65_537), None);
    assert_eq!(map.class(), "u0.1001.1_1.100000.65536-g0.5.1");
}
