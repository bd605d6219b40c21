//! No split of the output lets a secret through, and nothing else is held back.

use super::{MASK, Masker};
use proptest::prelude::*;

fn masked(secrets: &[&str], writes: &[&str]) -> String {
    let mut masker = Masker::new(secrets.iter().map(|s| s.as_bytes().to_vec()));
    let mut out = Vec::new();
    for write in writes {
        masker.write(write.as_bytes(), &mut out);
    }
    masker.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_secret_cut_in_two_is_masked() {
    assert_eq!(
        masked(&["hunter2222"], &["user hun", "ter", "2222\n"]),
        "user [MASKED]\n"
    );
}

#[test]
fn the_longest_secret_wins() {
    assert_eq!(
        masked(&["pass", "password"], &["password pass"]),
        "[MASKED] [MASKED]"
    );
}

#[test]
fn overlapping_secrets_leave_no_part() {
    assert_eq!(masked(&["abcd", "cdef"], &["xabc", "defy"]), "x[MASKED]y");
}

#[test]
fn a_beginning_that_is_no_secret_comes_out() {
    assert_eq!(masked(&["secret"], &["sec", "ond", " secre"]), "second secre");
}

#[test]
fn output_that_begins_no_secret_is_not_held_back() {
    let mut masker = Masker::new([b"secret".to_vec()]);
    let mut out = Vec::new();
    masker.write(b"Password: ", &mut out);
    assert_eq!(out, b"Password: ");
}

#[test]
fn an_endless_overlap_holds_back_less_than_a_secret() {
    let mut masker = Masker::new([b"aaaaaaaa".to_vec()]);
    let mut out = Vec::new();
    for _ in 0..1000 {
        masker.write(b"aaaaaaaaaa", &mut out);
        assert!(masker.pending.len() < 8, "{}", masker.pending.len());
    }
    masker.finish(&mut out);
    assert_eq!(out, MASK);
}

/// The definition, without a stream: which bytes belong to an occurrence, and where occurrences begin anew.
fn reference(secrets: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let (mut out, mut covered) = (Vec::new(), 0);
    for at in 0..text.len() {
        let longest = secrets
            .iter()
            .filter(|s| !s.is_empty() && text[at..].starts_with(s))
            .map(Vec::len)
            .max();
        match longest {
            Some(length) => {
                if at >= covered {
                    out.extend_from_slice(MASK);
                }
                covered = covered.max(at + length);
            }
            None if at >= covered => out.push(text[at]),
            None => {}
        }
    }
    out
}

proptest! {
    #[test]
    fn any_split_of_the_stream_is_masked_alike(
        secrets in prop::collection::vec("[abc]{0,5}", 0..4),
        writes in prop::collection::vec("[abcd]{0,7}", 0..12),
    ) {
        let secrets: Vec<Vec<u8>> = secrets.into_iter().map(String::into_bytes).collect();
        let mut masker = Masker::new(secrets.clone());
        let mut out = Vec::new();
        for write in &writes {
            masker.write(write.as_bytes(), &mut out);
        }
        masker.finish(&mut out);
        prop_assert_eq!(out, reference(&secrets, writes.concat().as_bytes()));
    }
}
