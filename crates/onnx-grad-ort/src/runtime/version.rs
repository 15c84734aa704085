//! The version of an ONNX Runtime.

use std::fmt;
use std::str::FromStr;

/// A version of ONNX Runtime, such as `1.32.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number, which names the C interface: ONNX Runtime 1.24 offers the interfaces 1 to 24.
    pub minor: u32,
    /// The third number.
    pub patch: u32,
}

impl Version {
    /// The oldest version that can be used.
    pub const OLDEST: Version = Version { major: 1, minor: 24, patch: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The text is no version.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no version")]
pub struct NoVersion(String);

impl FromStr for Version {
    type Err = NoVersion;

    /// Reads `1.32.0` and `1.32`; what follows the digits of the third number (`-dev`, `.post1`) is ignored.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let bad = || NoVersion(text.to_string());
        let mut parts = text.splitn(3, '.');
        let mut number =
            || parts.next().map(|part| part.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
        let major = number().and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
        let minor = number().and_then(|digits| digits.parse().ok()).ok_or_else(bad)?;
        let patch = number().and_then(|digits| digits.parse().ok()).unwrap_or(0);
        Ok(Version { major, minor, patch })
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for Version {
    type Error = NoVersion;

    fn try_from(text: String) -> Result<Self, NoVersion> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered_by_number() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert_eq!(version("1.24.0-dev.2026"), Version::OLDEST);
        assert_eq!(version("1.32"), Version { major: 1, minor: 32, patch: 0 });
        assert!(version("1.9.0") < version("1.24.1"));
        assert!("unknown".parse::<Version>().is_err());
        assert!("".parse::<Version>().is_err());
    }
}
