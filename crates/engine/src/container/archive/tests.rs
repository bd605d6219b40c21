//! Paths, names and modes as `docker cp` means them.

use super::*;

#[test]
fn contents_are_named_below_the_dot() {
    let mut plain = tar::Builder::new(Vec::new());
    let blank = || {
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header
    };
    let mut header = blank();
    header.set_size(2);
    header.set_mode(0o640);
    plain.append_data(&mut header, "a.txt", &b"hi"[..]).unwrap();
    let mut link = blank();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    link.set_mode(0o777);
    plain.append_link(&mut link, "l", "/etc").unwrap();
    let mut file = blank();
    file.set_size(0);
    file.set_mode(0o600);
    let long = "d/".repeat(80) + "end";
    plain.append_data(&mut file, &long, io::empty()).unwrap();
    let mut renamed = Vec::new();
    rename_below(b"./", plain.into_inner().unwrap().as_slice(), &mut renamed).unwrap();
    let mut archive = tar::Archive::new(renamed.as_slice());
    let entries: Vec<(String, u32)> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            (name, entry.header().mode().unwrap())
        })
        .collect();
    assert_eq!(
        entries.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["./", "./a.txt", "./l", &format!("./{long}")]
    );
    assert_eq!(entries[1].1, 0o640);
}

#[test]
fn paths_are_cleaned_and_a_dot_at_the_end_means_contents() {
    let asked = |text: &str| {
        let asked = Asked::new(&Query::parse(&format!("path={text}"))).unwrap();
        (asked.clean.to_str().unwrap().to_owned(), asked.top)
    };
    assert_eq!(asked("/etc/."), ("/etc".to_owned(), Some(&b"./"[..])));
    assert_eq!(asked("etc/../var/x"), ("/var/x".to_owned(), None));
    assert_eq!(asked("/"), ("/".to_owned(), Some(&b"/"[..])));
    assert!(Asked::new(&Query::parse("")).is_err());
}

#[test]
fn modes_are_go_s() {
    let status = FileStatus {
        kind: FileKind::Directory,
        mode: 0o1777,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: 0,
        link: None,
        resolved: Some(FileKind::Directory),
    };
    assert_eq!(go_mode(&status), (1 << 31) | (1 << 20) | 0o777);
}
