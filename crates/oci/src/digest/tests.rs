//! Known answers, named refusals, and one spelling for each digest.

use super::*;
use proptest::prelude::*;

#[test]
fn known_answers() {
    let empty = Digest::sha256(b"");
    assert_eq!(
        empty.to_string(),
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(empty.short(), "e3b0c44298fc");
    assert!(
        Digest::of(Algorithm::Sha512, b"abc")
            .hex()
            .starts_with("ddaf35a193617aba")
    );
}

#[test]
fn refusals_name_the_fault() {
    let parse = |text: &str| text.parse::<Digest>().unwrap_err();
    assert!(matches!(parse("abc"), DigestError::NoColon { .. }));
    assert!(matches!(parse("md5:00"), DigestError::UnknownAlgorithm { .. }));
    assert!(matches!(
        parse("sha256:00"),
        DigestError::WrongLength { found: 2, .. }
    ));
    assert!(matches!(
        parse(&format!("sha256:{}", "A".repeat(64))),
        DigestError::NotHex { .. }
    ));
    assert!(matches!(
        parse(&format!("sha256:{}", "/".repeat(64))),
        DigestError::NotHex { .. }
    ));
}

#[test]
fn messages_stay_short() {
    assert!(format!("{}", "x".repeat(1_000_000).parse::<Digest>().unwrap_err()).len() < 300);
}

proptest! {
    #[test]
    fn text_round_trips(bytes: Vec<u8>, long: bool) {
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let digest = Digest::of(algorithm, &bytes);
        prop_assert_eq!(&digest.to_string().parse::<Digest>().unwrap(), &digest);
        let json = serde_json::to_string(&digest).unwrap();
        prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    }

    #[test]
    fn parsing_is_total_and_canonical(text in "(sha256|sha512|[a-z]{0,8}):?[0-9a-fA-F]{0,130}|\\PC*") {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.as_str(), text);
        }
    }
}

/// A digest has one form: what is read is what is written.
#[test]
fn foreign_digests() {
    let seeds = [
        "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".to_owned(),
        format!("sha512:{}", "0123456789abcdef".repeat(8)),
    ];
    shipway_testkit::Foreign::near(seeds).check_text(|text| {
        if let Ok(digest) = text.parse::<Digest>() {
            assert_eq!(digest.to_string(), text);
        }
    });
}
