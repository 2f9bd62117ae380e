//! The host name from DHCP: taken only where nobody chose one.
//!
//! A name counts as chosen when /etc/hostname holds one; the default that cloudinit makes from the machine id does not.

use std::path::Path;

/// The name in /etc/hostname, if there is one.
pub(crate) fn chosen(file: &Path) -> Option<String> {
    // A file that cannot be read holds no name.
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_string)
}

/// Gives the kernel the first label of a name; returns whether it was a new one.
pub(crate) fn set(name: &str) -> std::io::Result<bool> {
    let short = name.split('.').next().unwrap_or(name);
    if nix::unistd::gethostname()? == short {
        return Ok(false);
    }
    nix::unistd::sethostname(short)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_or_missing_file_is_no_choice() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hostname");
        assert_eq!(chosen(&file), None);
        std::fs::write(&file, "# by hand\n\n").unwrap();
        assert_eq!(chosen(&file), None);
        std::fs::write(&file, "web1\n").unwrap();
        assert_eq!(chosen(&file).as_deref(), Some("web1"));
    }
}
