//! The host name from DHCP: taken only where nobody chose one.
//!
//! A name counts as chosen when /etc/hostname holds one; the default that cloudinit makes from the machine id does not.

use std::path::Path;

use crate::lease::Lease;

/// The name in /etc/hostname, if there is one.
pub(crate) fn chosen(file: &Path) -> Option<String> {
    // A file that cannot be read holds no name.
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_string)
}

/// Takes the name of a lease and says so.
pub(crate) fn take(lease: &Lease) {
    let Some(name) = &lease.hostname else {
        return;
    };
    match set(name) {
        Ok(true) => eprintln!("host name {name} from DHCP"),
        Ok(false) => {}
        Err(error) => eprintln!("warning: setting the host name to '{name}': {error}, keeping the old one"),
    }
}

/// Gives the kernel the first label of a name; returns whether it was a new one.
fn set(name: &str) -> std::io::Result<bool> {
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
