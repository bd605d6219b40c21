//! Licences as packages declare them: SPDX's expressions, or anything else.

/// A declared licence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Declared {
    /// An expression of names that SPDX knows.
    Expression(String),
    /// What is none.
    Words(String),
}

impl Declared {
    pub(super) fn new(text: &str) -> Self {
        let text = text.trim();
        // References to licences that the document would have to bring are none that it has.
        let is_expression = spdx::Expression::parse(text).is_ok_and(|expression| {
            expression
                .requirements()
                .all(|requirement| requirement.req.license.id().is_some())
        });
        if is_expression {
            Self::Expression(text.to_owned())
        } else {
            Self::Words(text.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_expressions_of_known_names_are_expressions() {
        for text in [
            "MIT",
            "GPL-2.0-only AND (MIT OR Apache-2.0)",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert_eq!(Declared::new(text), Declared::Expression(text.to_owned()));
        }
        for text in ["custom", "MIT and others", "LicenseRef-own", "", "GPLv2+"] {
            assert_eq!(Declared::new(text), Declared::Words(text.to_owned()));
        }
    }
}
