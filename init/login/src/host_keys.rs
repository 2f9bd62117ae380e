//! Acts: makes the host keys of ssh that are missing or broken.
//!
//! A key is made in a temporary folder beside its place, read back, synced, and renamed: first the public half, then
//! the private one, so that a private key that is there is always complete. A private key that ssh-keygen can read is
//! kept for ever; one that it cannot read is put aside as `.broken`, and only after it read a new one.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ferrite_layout::durable::{DurableError, replace_file, sync_folder};

use crate::fingerprint::blob_of_public_key;
use crate::private_key;

/// The program that makes keys.
pub const KEYGEN: &str = "/usr/bin/ssh-keygen";
/// The kinds of keys that a machine can have, the preferred one first.
pub const KINDS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];
/// Those that it gets unasked. An RSA key takes a fifth of a whole first boot, and is for clients older than 2014.
pub const USUAL_KINDS: [&str; 2] = ["ed25519", "ecdsa"];
/// Where sshd looks for its keys.
pub const FOLDER: &str = "/etc/ssh";
/// Names other kinds, one a line; cloud-config's `ssh_genkeytypes` is written there.
pub const KINDS_FILE: &str = "/etc/ferrite/ssh-host-key-kinds";

const TEMPORARY: &str = ".ferrite-host-keys";

/// A host key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// A file operation failed.
    #[error("{step} '{}'", path.display())]
    File {
        /// What was being done.
        step: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A public key could not be written.
    #[error("writing the public half of a host key")]
    Public(#[from] DurableError),
    /// ssh-keygen could not be started.
    #[error("starting '{}'", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// ssh-keygen failed.
    #[error("ssh-keygen could not make the {kind} host key: {output}")]
    Keygen {
        /// Kind of key.
        kind: &'static str,
        /// Its last words.
        output: String,
    },
}

/// The kinds that a machine with this list gets, and what of the list is no kind.
pub fn wanted(list: Option<&str>) -> (Vec<&'static str>, Vec<&str>) {
    let words: Vec<&str> = list.unwrap_or_default().split_whitespace().collect();
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| words.contains(kind)).collect();
    let unknown = words.into_iter().filter(|word| !KINDS.contains(word)).collect();
    (if kinds.is_empty() { USUAL_KINDS.to_vec() } else { kinds }, unknown)
}

/// The kinds that this folder has a private key of, be it broken.
pub fn present(folder: &Path) -> impl Iterator<Item = &'static str> + use<'_> {
    KINDS.into_iter().filter(|kind| private_of(folder, kind).symlink_metadata().is_ok())
}

fn private_of(folder: &Path, kind: &str) -> PathBuf {
    folder.join(format!("ssh_host_{kind}_key"))
}

/// Makes what is missing in this folder; returns a line for each thing that was done.
pub fn ensure(folder: &Path, kinds: &[&'static str], keygen: &Path) -> Result<Vec<String>, HostKeyError> {
    let temporary = folder.join(TEMPORARY);
    remove_folder(&temporary)?;
    let mut done = Vec::new();
    for kind in kinds.iter().copied() {
        let private = private_of(folder, kind);
        match read_private(&private, keygen)? {
            PrivateKey::Whole => {}
            PrivateKey::Readable(public) => {
                if let Some(line) = repair(&private, &public)? {
                    done.push(line);
                }
            }
            PrivateKey::Absent => {
                make(kind, &private, &temporary, keygen)?;
                done.push(format!("made the {kind} host key"));
            }
            PrivateKey::Broken(why) => {
                make(kind, &private, &temporary, keygen)?;
                done.push(format!("made a new {kind} host key, the old one could not be read: {why}"));
            }
        }
    }
    remove_folder(&temporary)?;
    Ok(done)
}

enum PrivateKey {
    Whole,
    Absent,
    Broken(String),
    /// With the public half that belongs to it.
    Readable(String),
}

fn read_private(private: &Path, keygen: &Path) -> Result<PrivateKey, HostKeyError> {
    match fs::metadata(private) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(PrivateKey::Absent),
        Err(source) => return Err(file("looking at", private, source)),
        Ok(metadata) if metadata.len() == 0 => return Ok(PrivateKey::Broken("it is empty".to_string())),
        // ssh-keygen reads no key that others could read.
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            fs::set_permissions(private, Permissions::from_mode(0o600))
                .map_err(|source| file("taking rights from", private, source))?;
        }
        Ok(_) => {}
    }
    // An unreadable disk must not cost a key: only bytes that were read can be called broken.
    let text = fs::read(private).map_err(|source| file("reading", private, source))?;
    let public = fs::read(private.with_extension("pub")).unwrap_or_default();
    let whole = private_key::public_blob(&String::from_utf8_lossy(&text));
    if whole.is_some() && whole == blob_of_public_key(&String::from_utf8_lossy(&public)) {
        return Ok(PrivateKey::Whole);
    }
    ask_keygen(private, keygen)
}

fn ask_keygen(private: &Path, keygen: &Path) -> Result<PrivateKey, HostKeyError> {
    let mut command = Command::new(keygen);
    command.args(["-y", "-P", "", "-f"]).arg(private);
    let output = output(command, keygen)?;
    let public = String::from_utf8_lossy(&output.stdout).trim().to_string();
    if output.status.success() && blob_of_public_key(&public).is_some() {
        Ok(PrivateKey::Readable(public))
    } else if output.status.code() == Some(255) || output.status.success() {
        Ok(PrivateKey::Broken(last_line(&output.stderr)))
    } else {
        Err(HostKeyError::Keygen {
            kind: "present",
            output: format!("{}: {}", output.status, last_line(&output.stderr)),
        })
    }
}

/// Puts the public half of a good key right.
fn repair(private: &Path, public: &str) -> Result<Option<String>, HostKeyError> {
    let path = private.with_extension("pub");
    let present = fs::read(&path).unwrap_or_default();
    let words = |text: &str| text.split_ascii_whitespace().take(2).map(str::to_string).collect::<Vec<_>>();
    if words(&String::from_utf8_lossy(&present)) == words(public) {
        return Ok(None);
    }
    replace_file(&path, format!("{public}\n").as_bytes(), 0o644)?;
    Ok(Some(format!("made {} anew from its private key", path.display())))
}

fn make(kind: &'static str, private: &Path, temporary: &Path, keygen: &Path) -> Result<(), HostKeyError> {
    remove_folder(temporary)?;
    fs::create_dir(temporary).map_err(|source| file("making folder", temporary, source))?;
    fs::set_permissions(temporary, Permissions::from_mode(0o700))
        .map_err(|source| file("taking rights from", temporary, source))?;
    let new = temporary.join("key");
    let mut command = Command::new(keygen);
    command.args(["-q", "-t", kind, "-N", "", "-C", "", "-f"]).arg(&new);
    let output = output(command, keygen)?;
    if !output.status.success() {
        let output = format!("{}: {}", output.status, last_line(&output.stderr));
        return Err(HostKeyError::Keygen { kind, output });
    }
    // If it cannot read its own work either, the old key is not the one to blame.
    if !matches!(read_private(&new, keygen)?, PrivateKey::Whole | PrivateKey::Readable(_)) {
        return Err(HostKeyError::Keygen { kind, output: "the new key cannot be read".to_string() });
    }
    let public = new.with_extension("pub");
    for (path, mode) in [(&public, 0o644), (&new, 0o600)] {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .and_then(|()| File::open(path)?.sync_all())
            .map_err(|source| file("syncing", path, source))?;
    }
    keep_aside(private)?;
    let folder = private.parent().unwrap_or(Path::new("/"));
    for (from, to) in [(&public, private.with_extension("pub")), (&new, private.to_path_buf())] {
        fs::rename(from, &to).map_err(|source| file("renaming a new key to", &to, source))?;
        sync_folder(folder).map_err(|source| file("syncing folder", folder, source))?;
    }
    Ok(())
}

/// A key that could not be read may still be wanted by its owner.
fn keep_aside(private: &Path) -> Result<(), HostKeyError> {
    let aside = private.with_extension("broken");
    match fs::rename(private, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("putting aside", private, error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn output(mut command: Command, keygen: &Path) -> Result<std::process::Output, HostKeyError> {
    let outcome = command.stdin(Stdio::null()).output();
    outcome.map_err(|source| HostKeyError::Start { path: keygen.to_path_buf(), source })
}

fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").trim().to_string()
}

fn remove_folder(folder: &Path) -> Result<(), HostKeyError> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(file("removing folder", folder, source)),
    }
}

fn file(step: &'static str, path: &Path, source: io::Error) -> HostKeyError {
    HostKeyError::File { step, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keygen() -> &'static Path {
        Path::new(KEYGEN)
    }

    fn folder_with_keys() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let done = ensure(folder.path(), &KINDS, keygen()).expect("keys are made");
        assert_eq!(done, ["made the ed25519 host key", "made the ecdsa host key", "made the rsa host key"]);
        folder
    }

    fn contents(folder: &Path) -> Vec<(String, Vec<u8>, u32)> {
        let entries = fs::read_dir(folder).expect("it can be listed").map(|entry| entry.expect("an entry"));
        let mut contents: Vec<_> = entries
            .map(|entry| {
                let mode = entry.metadata().expect("it is there").permissions().mode() & 0o777;
                let bytes = fs::read(entry.path()).expect("it can be read");
                (entry.file_name().to_string_lossy().into_owned(), bytes, mode)
            })
            .collect();
        contents.sort();
        contents
    }

    #[test]
    fn a_list_chooses_the_kinds_and_nonsense_in_it_is_told() {
        assert_eq!(wanted(None), (USUAL_KINDS.to_vec(), vec![]));
        assert_eq!(wanted(Some(" \n")), (USUAL_KINDS.to_vec(), vec![]));
        assert_eq!(wanted(Some("rsa\ned25519\n")), (vec!["ed25519", "rsa"], vec![]));
        assert_eq!(wanted(Some("dsa\n")), (USUAL_KINDS.to_vec(), vec!["dsa"]));
        let folder = folder_with_keys();
        fs::remove_file(folder.path().join("ssh_host_ecdsa_key")).expect("it was there");
        assert_eq!(present(folder.path()).collect::<Vec<_>>(), ["ed25519", "rsa"]);
    }

    #[test]
    fn missing_keys_are_made_and_then_never_touched() {
        let folder = folder_with_keys();
        let before = contents(folder.path());
        let wanted: Vec<(&str, u32)> = vec![
            ("ssh_host_ecdsa_key", 0o600),
            ("ssh_host_ecdsa_key.pub", 0o644),
            ("ssh_host_ed25519_key", 0o600),
            ("ssh_host_ed25519_key.pub", 0o644),
            ("ssh_host_rsa_key", 0o600),
            ("ssh_host_rsa_key.pub", 0o644),
        ];
        let names: Vec<(&str, u32)> = before.iter().map(|(name, _, mode)| (name.as_str(), *mode)).collect();
        assert_eq!(names, wanted);
        assert_eq!(ensure(folder.path(), &KINDS, keygen()).expect("all is well"), Vec::<String>::new());
        assert_eq!(contents(folder.path()), before);
    }

    #[test]
    fn an_empty_or_broken_private_key_is_made_anew_and_the_others_stay() {
        let folder = folder_with_keys();
        let at = |name: &str| folder.path().join(name);
        let rsa = fs::read(at("ssh_host_rsa_key")).expect("it is there");
        let half = fs::read(at("ssh_host_ecdsa_key")).expect("it is there");
        fs::write(at("ssh_host_ed25519_key"), "").expect("it can be emptied");
        fs::write(at("ssh_host_ecdsa_key"), &half[..half.len() / 2]).expect("it can be cut");
        let done = ensure(folder.path(), &KINDS, keygen()).expect("keys are made");
        assert_eq!(done.len(), 2);
        assert_eq!(done[0], "made a new ed25519 host key, the old one could not be read: it is empty");
        assert_eq!(fs::read(at("ssh_host_rsa_key")).expect("it is there"), rsa);
        assert_eq!(fs::read(at("ssh_host_ecdsa_key.broken")).expect("it is kept"), half[..half.len() / 2]);
        assert!(ensure(folder.path(), &KINDS, keygen()).expect("all is well").is_empty());
    }

    #[test]
    fn a_public_key_that_is_lost_wrong_or_empty_comes_back_from_the_private_one() {
        let folder = folder_with_keys();
        let at = |name: &str| folder.path().join(name);
        let public = |kind: &str| fs::read_to_string(at(&format!("ssh_host_{kind}_key.pub"))).expect("it is there");
        let before = KINDS.map(public);
        fs::remove_file(at("ssh_host_ed25519_key.pub")).expect("it was there");
        fs::write(at("ssh_host_ecdsa_key.pub"), "").expect("it can be emptied");
        fs::write(at("ssh_host_rsa_key.pub"), &before[0]).expect("it can be replaced");
        assert_eq!(ensure(folder.path(), &KINDS, keygen()).expect("they are made").len(), 3);
        for (kind, before) in KINDS.into_iter().zip(before) {
            assert_eq!(public(kind).trim(), before.trim());
        }
    }

    #[test]
    fn a_private_key_that_others_could_read_is_kept_and_closed() {
        let folder = folder_with_keys();
        let path = folder.path().join("ssh_host_ed25519_key");
        let before = fs::read(&path).expect("it is there");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("it is ours");
        assert!(ensure(folder.path(), &KINDS, keygen()).expect("all is well").is_empty());
        assert_eq!(fs::read(&path).expect("it is there"), before);
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_a_power_cut_left_over_is_cleared_and_its_key_made() {
        let folder = folder_with_keys();
        let temporary = folder.path().join(TEMPORARY);
        fs::create_dir(&temporary).expect("a folder");
        fs::write(temporary.join("key"), "half").expect("it can be written");
        // The cut came after the public half was renamed.
        fs::remove_file(folder.path().join("ssh_host_ed25519_key")).expect("it was there");
        assert_eq!(ensure(folder.path(), &KINDS, keygen()).expect("it is made"), ["made the ed25519 host key"]);
        assert!(!temporary.exists());
        assert!(ensure(folder.path(), &KINDS, keygen()).expect("all is well").is_empty());
    }

    #[test]
    fn whole_keys_need_no_program_at_all() {
        let folder = folder_with_keys();
        assert!(ensure(folder.path(), &KINDS, Path::new("/nonexistent")).expect("all is well").is_empty());
    }

    #[test]
    fn a_program_that_is_missing_or_dies_costs_no_key() {
        let folder = folder_with_keys();
        let private = folder.path().join("ssh_host_ecdsa_key");
        fs::write(&private, "of another form").expect("it can be written");
        let before = contents(folder.path());
        let error = ensure(folder.path(), &KINDS, Path::new("/nonexistent")).expect_err("it cannot start");
        assert_eq!(error.to_string(), "starting '/nonexistent'");
        assert!(matches!(ensure(folder.path(), &KINDS, Path::new("/bin/false")), Err(HostKeyError::Keygen { .. })));
        assert_eq!(contents(folder.path()), before);
    }

    #[test]
    fn only_the_kinds_that_were_asked_for_are_made() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(ensure(folder.path(), &KINDS[..1], keygen()).expect("it is made"), ["made the ed25519 host key"]);
        assert_eq!(contents(folder.path()).len(), 2);
    }
}
