//! The version of an image: part of file names and of the kernel command line. Pure.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

const LONGEST: usize = 64;

/// A version such as `1.2.0` or `2026.11.1-dev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

/// Not a version.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "version '{0}' must be 1 to 64 letters, digits, dots, dashes, plus or tilde signs, and begin with a digit or letter"
)]
pub struct VersionError(String);

impl Version {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-+~".contains(&byte);
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins_well || text.len() > LONGEST || !text.bytes().all(allowed) {
            return Err(VersionError(text.to_string()));
        }
        Ok(Self(text.to_string()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_word_that_no_file_system_minds() {
        for good in ["1.2.0", "2026.11.1-dev", "a+b~1"] {
            assert_eq!(good.parse::<Version>().unwrap().as_str(), good);
        }
        for bad in ["", "1 2", "../x", "-1", "1/2", "1\n", &"1".repeat(65)] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }
}
