//! Plain scalars, as Ruby's reader takes them and its printer gives them.

use super::*;

#[test]
fn plain_scalars_mean_what_psych_makes_of_them() {
    let integer = |digits: &str| Ok(Resolved::Integer(digits.to_owned()));
    for (text, expected) in [
        ("", Ok(Resolved::Null)),
        ("~", Ok(Resolved::Null)),
        ("Null", Ok(Resolved::Null)),
        ("yes", Ok(Resolved::Bool(true))),
        ("On", Ok(Resolved::Bool(true))),
        ("OFF", Ok(Resolved::Bool(false))),
        ("y", Ok(Resolved::Text)),
        ("nope", Ok(Resolved::Text)),
        ("truest", Ok(Resolved::Text)),
        ("12", integer("12")),
        ("1,000", integer("1000")),
        ("1_000", integer("1000")),
        ("010", integer("8")),
        ("0o17", integer("15")),
        ("08", Ok(Resolved::Text)),
        ("0x1F", integer("31")),
        ("-0b11", integer("-3")),
        ("0", integer("0")),
        (
            "99999999999999999999999999999999999999999999",
            integer("99999999999999999999999999999999999999999999"),
        ),
        ("1:30", integer("5400")),
        ("1:30:05", integer("5405")),
        ("1.10", Ok(Resolved::Float(1.1))),
        ("1e3", Ok(Resolved::Text)),
        ("1.0e+3", Ok(Resolved::Float(1000.0))),
        (".5", Ok(Resolved::Float(0.5))),
        (".", Ok(Resolved::Text)),
        ("1.2.3", Ok(Resolved::Text)),
        ("-.inf", Ok(Resolved::Float(f64::NEG_INFINITY))),
        ("2023-01-31", Err(Refused::Date)),
        ("2023-01-31 10:00:00", Err(Refused::Time)),
        ("2023-01-31-rc", Ok(Resolved::Text)),
        ("tcp://docker:2376", Ok(Resolved::Text)),
        ("$CI_COMMIT_TAG", Ok(Resolved::Text)),
    ] {
        assert_eq!(resolve(text), expected, "{text:?}");
    }
}

#[test]
fn floats_print_as_ruby_prints_them() {
    for (value, expected) in [
        (1.1, "1.1"),
        (1.0, "1.0"),
        (100.0, "100.0"),
        (0.0001, "0.0001"),
        (0.00001, "1.0e-05"),
        (1e16, "1.0e+16"),
        (1.5e300, "1.5e+300"),
        (123_456_789_012_345.6, "123456789012345.6"),
        (-2.5, "-2.5"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(ruby_float(value), expected);
    }
}
