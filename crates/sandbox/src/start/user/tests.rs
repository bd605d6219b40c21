//! Users and groups as docker resolves them, and where ids end.

use super::*;

const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\nbad line\n42:x:7:8::/:\n";
const GROUP: &str = "root:x:0:\nwheel:x:10:root,ann\nann:x:1001:\nvideo:x:44:ann\n";

fn ids(wanted: &str) -> (u32, u32, Vec<u32>, String) {
    let User {
        uid,
        gid,
        groups,
        home,
    } = resolve_in(PASSWD, GROUP, wanted).unwrap();
    (uid, gid, groups, home)
}

#[test]
fn ids_end_where_docker_ends_them() {
    assert_eq!(ids("2147483647:2147483647").0, 2_147_483_647);
    for bad in [
        "2147483648",
        "4294967295",
        "4294967296",
        "1:2147483648",
        "1:99999999999",
    ] {
        let refused = resolve_in(PASSWD, GROUP, bad);
        assert!(
            matches!(refused, Err(KeeperError::Id { .. })),
            "{bad}: {refused:?}"
        );
    }
}

#[test]
fn users_resolve_as_docker_resolves_them() {
    assert_eq!(ids(""), (0, 0, vec![10], "/root".into()));
    assert_eq!(ids("ann"), (1000, 1001, vec![10, 44], "/home/ann".into()));
    assert_eq!(ids("1000"), (1000, 1001, vec![10, 44], "/home/ann".into()));
    assert_eq!(ids("ann:video"), (1000, 44, vec![], "/home/ann".into()));
    assert_eq!(ids("5:6"), (5, 6, vec![], "/".into()));
    assert_eq!(ids("5"), (5, 0, vec![], "/".into()));
    assert_eq!(ids("42").0, 7, "a name that looks like a number is a name");
    assert_eq!(ids("ann:").1, 1001);
    assert_eq!(
        resolve_in("", "", ""),
        Ok(User {
            uid: 0,
            gid: 0,
            groups: vec![],
            home: "/".into()
        })
    );
    assert_eq!(
        resolve_in(PASSWD, GROUP, "bob"),
        Err(KeeperError::UnknownUser { user: "bob".into() })
    );
    assert_eq!(
        resolve_in(PASSWD, GROUP, "ann:nobody"),
        Err(KeeperError::UnknownGroup {
            group: "nobody".into()
        })
    );
}

/// Whoever is found may be: no id that means "no change", a home.
#[test]
fn foreign_accounts() {
    let seeds = [
        "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/sbin/nologin\n",
        "www:x:33:www\nstaff:x:50:www,root\n",
        "a:b:4294967295:2147483648::",
    ];
    shipway_testkit::Foreign::near(seeds)
        .with_words(&["www", "root", ":", "\n", ","])
        .check_text(|text| {
            for wanted in [
                "",
                "0",
                "www",
                "www:staff",
                "33:33",
                ":50",
                "4294967295",
                "2147483648:1",
            ] {
                if let Ok(user) = resolve_in(text, text, wanted) {
                    assert!(user.uid <= LARGEST_ID && user.gid <= LARGEST_ID && !user.home.is_empty());
                    assert!(user.groups.iter().all(|group| *group <= LARGEST_ID));
                }
            }
        });
}
