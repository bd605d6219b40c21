//! A path stays with the origin of its first run, and damage is not forgotten.

use super::{Claim, Origin, admit};

fn refusal(data: &std::path::Path, project: &str, origin: &Origin) -> Option<String> {
    let admitted = admit(data, project, origin, Claim::Unsaid);
    admitted.err().map(|failure| format!("{failure:?}"))
}

#[test]
fn a_path_stays_with_the_origin_that_it_was_first_run_from() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let theirs = Origin::of_server("https://GitLab.com");
    let evil = Origin::of_server("https://evil.example");
    assert_eq!(refusal(data, "corp/app", &theirs), None);
    assert_eq!(refusal(data, "corp/app", &theirs), None);
    for project in ["corp/app", "Corp/App", "corp", "corp/app/part"] {
        let said = refusal(data, project, &evil).unwrap();
        for part in ["Use", "`gitlab.com`", "`evil.example`", "--same-project"] {
            assert!(said.contains(part), "{project}: {part}: {said}");
        }
        assert_eq!(refusal(data, project, &theirs), None, "{project}");
    }
    // Neither a name that only begins alike nor one beside it is shared.
    assert_eq!(refusal(data, "corporation/app", &evil), None);
    assert_eq!(refusal(data, "corp2", &evil), None);
}

#[test]
fn a_refused_origin_is_not_remembered_and_a_claimed_one_is() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let (first, second) = (Origin::Host("a".into()), Origin::Host("b".into()));
    assert_eq!(refusal(data, "g/p", &first), None);
    assert!(refusal(data, "g/p", &second).is_some());
    assert!(refusal(data, "g/p", &second).is_some());
    admit(data, "g/p", &second, Claim::Same).unwrap();
    assert_eq!(refusal(data, "g/p", &second), None);
    assert_eq!(refusal(data, "g/p", &first), None);
}

#[test]
fn a_directory_may_move_but_not_be_in_two_places() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        std::fs::create_dir_all(place.path().join(name)).unwrap();
        Origin::Directory(place.path().join(name))
    };
    let (old, new) = (at("old/app"), at("new/app"));
    assert_eq!(refusal(data, "app", &old), None);
    assert!(refusal(data, "app", &new).is_some());
    std::fs::remove_dir(place.path().join("old/app")).unwrap();
    assert!(refusal(data, "app", &Origin::Host("gitlab.com".into())).is_some());
    assert_eq!(refusal(data, "app", &new), None);
    let old = at("old/app");
    assert!(refusal(data, "app", &old).is_some(), "it is recorded anew");
}

#[test]
fn what_cannot_be_read_is_not_forgotten() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("origins.json"), "{").unwrap();
    let said = refusal(data.path(), "g/p", &Origin::Host("a".into())).unwrap();
    assert!(said.contains("Place"), "{said}");
}
