//! Platforms: what an image runs on, and which image of an index to take.
//!
//! Two spellings of one machine must match: `arm64` and `arm64/v8`, `arm` and `arm/v7`, `x86_64` and `amd64`. A value
//! keeps its own spelling (it may be part of somebody's signed index); only the comparison normalises.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::abridged;
use crate::json::null_is_default;

/// An operating system and a processor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, by Go's name: `amd64`, `arm64`.
    pub architecture: String,
    /// The operating system, by Go's name: `linux`.
    pub os: String,
    /// The exact version that an operating system needs (Windows).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// What the operating system must have (Windows).
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The processor's variant: `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What we do not know.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// Why a text is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no platform: expected `os/architecture` or `os/architecture/variant`, for example `linux/amd64`"
)]
pub struct PlatformError {
    /// The text, shortened.
    pub text: String,
}

impl Platform {
    /// A platform without variant.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            ..Self::default()
        }
    }

    /// The platform that this program was built for.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        let mut host = Self::new("linux", architecture);
        if architecture == "arm" {
            host.variant = Some("v7".to_owned());
        }
        host
    }

    /// Whether an image for `candidate` is one for this platform: same system, processor and variant, however spelt.
    pub fn matches(&self, candidate: &Platform) -> bool {
        self.rank(candidate) == Some(0)
    }

    /// How far an image for `candidate` is from what this platform would like best, `None` if it cannot run.
    ///
    /// Only 32-bit ARM and AMD64 levels come in steps: a newer processor runs what was made for an older one.
    pub fn rank(&self, candidate: &Platform) -> Option<u32> {
        let (wanted, offered) = (self.normal(), candidate.normal());
        if wanted.0 != offered.0 || wanted.1 != offered.1 {
            return None;
        }
        if wanted.2 == offered.2 {
            return Some(0);
        }
        if !matches!(wanted.1.as_str(), "arm" | "amd64") {
            return None;
        }
        level(&wanted.2)?.checked_sub(level(&offered.2)?)
    }

    /// System, processor, variant in their one spelling; the default variant is spelt out.
    fn normal(&self) -> (String, String, String) {
        let os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = normal_architecture(
            &self.architecture.to_ascii_lowercase(),
            &self.variant.as_deref().unwrap_or_default().to_ascii_lowercase(),
        );
        (os, architecture, variant)
    }
}

fn normal_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("amd64" | "x86_64" | "x86-64", "") => ("amd64", "v1"),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("arm64" | "aarch64", "" | "8") => ("arm64", "v8"),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("i386" | "i486" | "i586" | "i686" | "x86", variant) => ("386", variant),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

fn level(variant: &str) -> Option<u32> {
    variant.strip_prefix('v')?.parse().ok()
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Reads `os/architecture[/variant]`, or an architecture or a system alone; spellings of the same are made one.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let wrong = || PlatformError { text: abridged(text) };
        let parts: Vec<&str> = text.split('/').take(4).collect();
        let word = |part: &&str| {
            !part.is_empty()
                && part.len() <= 64
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        };
        if !parts.iter().all(word) {
            return Err(wrong());
        }
        let (os, architecture, variant) = match parts.as_slice() {
            ["linux"] => return Ok(Self::host()),
            [architecture] => ("linux", *architecture, ""),
            [os, architecture] => (*os, *architecture, ""),
            [os, architecture, variant] => (*os, *architecture, *variant),
            _ => return Err(wrong()),
        };
        let mut platform = Self::new(os, architecture);
        platform.variant = Some(variant.to_owned());
        let (os, architecture, variant) = platform.normal();
        let is_usual = matches!(
            (architecture.as_str(), variant.as_str()),
            ("amd64", "v1") | ("arm64", "v8") | (_, "")
        );
        Ok(Self {
            variant: (!is_usual).then_some(variant),
            ..Self::new(&os, &architecture)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_machine_match() {
        for (one, other) in [
            ("linux/amd64", "linux/x86_64"),
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm", "linux/arm/v7"),
            ("amd64", "linux/amd64/v1"),
            ("linux/armhf", "linux/arm/7"),
        ] {
            assert!(platform(one).matches(&platform(other)), "{one} {other}");
            assert_eq!(platform(one), platform(other), "{one} {other}");
        }
        let raw = Platform {
            variant: Some("v8".to_owned()),
            ..Platform::new("linux", "arm64")
        };
        assert!(platform("linux/arm64").matches(&raw));
        assert!(!platform("linux/amd64").matches(&Platform::new("unknown", "unknown")));
        assert!(!platform("linux/amd64").matches(&platform("windows/amd64")));
    }

    #[test]
    fn newer_arm_runs_older() {
        assert_eq!(platform("linux/arm/v7").rank(&platform("linux/arm/v6")), Some(1));
        assert_eq!(platform("linux/arm/v6").rank(&platform("linux/arm/v7")), None);
        assert_eq!(platform("linux/arm64").rank(&platform("linux/arm/v7")), None);
    }

    #[test]
    fn refusals() {
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/ä", "linux amd64"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_is_total_and_settles(text in "[a-z0-9]{0,6}(/[a-z0-9]{0,6}){0,4}|\\PC*") {
            if let Ok(platform) = text.parse::<Platform>() {
                prop_assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
            }
        }
    }

    /// What is read is one value in its written form.
    #[test]
    fn foreign_platforms() {
        shipway_testkit::Foreign::near(["linux/amd64", "linux/arm/v7", "windows/amd64", "arm64"]).check_text(
            |text| {
                if let Ok(platform) = text.parse::<Platform>() {
                    assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
                }
            },
        );
    }
}
