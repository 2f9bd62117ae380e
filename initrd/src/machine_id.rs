//! The machine id: made once, durable before anybody has seen it, never changed.

use std::path::Path;

use anyhow::Context;
use ferrite_layout::durable::replace_file;
use rustix::rand::{GetRandomFlags, getrandom};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was there.
    Kept,
    /// This start made it: the first on this state.
    Made,
}

/// Makes sure that the upper folder of /etc has a machine id.
pub fn ensure(upper: &Path) -> anyhow::Result<Outcome> {
    let path = upper.join("machine-id");
    match std::fs::read(&path) {
        Ok(content) if is_valid(&content) => return Ok(Outcome::Kept),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context("reading '/etc/machine-id'"),
    }
    let mut bytes = [0u8; 16];
    getrandom(&mut bytes[..], GetRandomFlags::empty()).context("asking for random bytes")?;
    replace_file(&path, render(bytes).as_bytes(), 0o444)?;
    Ok(Outcome::Made)
}

/// 32 hexadecimal digits in small letters, not all zero, and a line end.
fn is_valid(content: &[u8]) -> bool {
    let digits = content.strip_suffix(b"\n").unwrap_or(content);
    let valid = digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    digits.len() == 32 && valid && digits.iter().any(|&byte| byte != b'0')
}

/// The bytes as a random UUID, without dashes.
fn render(bytes: [u8; 16]) -> String {
    format!("{}\n", uuid::Builder::from_random_bytes(bytes).into_uuid().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ensure(folder.path()).unwrap(), Outcome::Made);
        let first = std::fs::read(folder.path().join("machine-id")).unwrap();
        assert!(is_valid(&first) && first.ends_with(b"\n"));
        assert_eq!(ensure(folder.path()).unwrap(), Outcome::Kept);
        assert_eq!(std::fs::read(folder.path().join("machine-id")).unwrap(), first);
    }

    #[test]
    fn an_id_that_is_none_is_replaced() {
        for content in ["", "uninitialized\n", "0123", &"0".repeat(32), &"G".repeat(32), &"A".repeat(32)] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("machine-id"), content).unwrap();
            assert_eq!(ensure(folder.path()).unwrap(), Outcome::Made, "{content:?}");
        }
    }

    #[test]
    fn it_is_a_random_uuid_of_version_4() {
        assert_eq!(render([0xff; 16]), "ffffffffffff4fffbfffffffffffffff\n");
    }
}
