//! The credentials of a unit: secrets in a file system in memory that only its user can read. Runs in the child.
//!
//! The first process of a start makes them, the others find them; PID 1 takes them away when the unit is over.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;

use ferrite_sys::mounts::{Flag, change};
use ferrite_unit::exec::Exec;
use ferrite_unit::sandbox::{ImportCredential, LoadCredential};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::child::{Fault, Invocation};

/// A folder a unit.
const FOLDER: &str = "/run/credentials";
/// Where credentials are looked for that the unit names without a path: those of the machine, then the stores.
const STORES: [&str; 5] =
    ["/run/credentials/@system", "/etc/credstore", "/run/credstore", "/usr/local/lib/credstore", "/usr/lib/credstore"];
/// Bytes of all credentials of a unit.
const TOTAL_MAX: usize = 1024 * 1024;
/// Files of one folder that becomes credentials.
const FILES_MAX: usize = 1024;
/// Longest name of a credential.
const NAME_MAX: usize = 255;
/// systemd's exit code of a child that could not make its credentials.
const CODE: i32 = 243;

/// Does a unit have credentials?
pub fn has(exec: &Exec) -> bool {
    let sandbox = &exec.sandbox;
    let counts = [sandbox.set_credentials.len(), sandbox.load_credentials.len(), sandbox.import_credentials.len()];
    counts.iter().any(|count| *count > 0)
}

/// The folder of a unit's credentials.
fn folder(unit: &str) -> String {
    format!("{FOLDER}/{unit}")
}

/// The folder with the credentials of the process, made if they are not there.
pub fn of(invocation: &Invocation<'_>, user: u32) -> Result<Option<String>, Fault> {
    let exec = invocation.exec;
    if !has(exec) {
        return Ok(None);
    }
    let encrypted = exec.sandbox.set_credentials.iter().find(|one| one.encrypted).map(|one| one.name.as_str());
    let loaded = exec.sandbox.load_credentials.iter().find(|one| one.encrypted).map(|one| one.name.as_str());
    if let Some(name) = encrypted.or(loaded) {
        let text = format!("credential '{name}' is encrypted, which is not supported here; give it as it is");
        return Err(Fault { code: CODE, text });
    }
    let folder = folder(invocation.unit);
    if invocation.surroundings.makes_credentials {
        make(exec, invocation.unit, &folder, user)
            .map_err(|(what, error)| Fault { code: CODE, text: format!("making credentials: {what}: {error}") })?;
    }
    Ok(Path::new(&folder).is_dir().then_some(folder))
}

/// Takes the credentials of a unit away. Called by PID 1; never takes long: they are in memory.
pub fn remove(unit: &str) {
    let folder = folder(unit);
    // It may be a plain folder, where nothing could be mounted.
    let mounted = umount2(folder.as_str(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok();
    let _ = if mounted { fs::remove_dir(&folder) } else { fs::remove_dir_all(&folder) };
}

/// What failed, and how.
type Failed = (String, io::Error);

fn make(exec: &Exec, unit: &str, folder: &str, user: u32) -> Result<(), Failed> {
    let at = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| (what, error)
    };
    fs::DirBuilder::new().recursive(true).mode(0o755).create(FOLDER).map_err(at(FOLDER))?;
    let lock = fs::File::open(FOLDER).map_err(at(FOLDER))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| (FOLDER.into(), error.into()))?;
    if Path::new(folder).exists() {
        return Ok(());
    }
    fs::DirBuilder::new().mode(0o700).create(folder).map_err(at(folder))?;
    let made = mount_memory(folder)
        .map_err(at("mounting a file system in memory"))
        .and_then(|mounted| fill(exec, unit, folder, user).map(|()| mounted))
        .and_then(|mounted| close(folder, user, mounted).map_err(at(folder)));
    if made.is_err() {
        remove(unit);
    }
    made
}

/// `false`: nothing can be mounted here, as in some containers; the folder itself lies in memory then.
fn mount_memory(folder: &str) -> io::Result<bool> {
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID;
    let plain = "mode=0700,nr_inodes=1024,size=1m";
    // What is secret is not written to swap; kernels before 6.4 cannot say so.
    for options in [format!("{plain},noswap"), plain.to_owned()] {
        match mount(Some("tmpfs"), folder, Some("tmpfs"), flags, Some(options.as_str())) {
            Ok(()) => return Ok(true),
            Err(nix::errno::Errno::EINVAL) => {}
            Err(nix::errno::Errno::EPERM | nix::errno::Errno::EACCES) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// From here on only the user can read it, and nobody can change it.
fn close(folder: &str, user: u32, mounted: bool) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o500))?;
    chown(folder, Some(user), Some(0))?;
    if mounted {
        let flags = [Flag::ReadOnly, Flag::NoSuid, Flag::NoDevices, Flag::NoExecute];
        change(Path::new(folder), &flags, &[])?;
    }
    Ok(())
}

/// A folder that is being filled.
struct Store<'a> {
    folder: &'a str,
    user: u32,
    left: usize,
}

impl Store<'_> {
    fn has(&self, name: &str) -> bool {
        Path::new(&format!("{}/{name}", self.folder)).exists()
    }

    fn put(&mut self, name: &str, data: &[u8]) -> io::Result<()> {
        let too_much = || io::Error::other(format!("the credentials are more than {TOTAL_MAX} bytes"));
        self.left = self.left.checked_sub(data.len()).ok_or_else(too_much)?;
        let path = format!("{}/{name}", self.folder);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
        io::Write::write_all(&mut file, data)?;
        chown(&path, Some(self.user), Some(0))
    }
}

/// Files first, then what is found by its name, then what the unit carries; what is there is not replaced.
fn fill(exec: &Exec, unit: &str, folder: &str, user: u32) -> Result<(), Failed> {
    let sandbox = &exec.sandbox;
    let mut store = Store { folder, user, left: TOTAL_MAX };
    for wanted in &sandbox.load_credentials {
        let given = sandbox.set_credentials.iter().any(|set| set.name == wanted.name);
        match load(&mut store, wanted, unit) {
            // One that the machine did not get may be missing, and one with a value of its own as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound && (given || !wanted.source.starts_with('/')) => {}
            outcome => outcome.map_err(|error| (format!("'{}' from {}", wanted.name, wanted.source), error))?,
        }
    }
    for wanted in &sandbox.import_credentials {
        import(&mut store, wanted).map_err(|error| (format!("ImportCredential={}", wanted.glob), error))?;
    }
    for set in &sandbox.set_credentials {
        if !store.has(&set.name) {
            store.put(&set.name, &set.data).map_err(|error| (format!("'{}'", set.name), error))?;
        }
    }
    Ok(())
}

fn load(store: &mut Store<'_>, wanted: &LoadCredential, unit: &str) -> io::Result<()> {
    if wanted.source.starts_with('/') {
        let status = fs::metadata(&wanted.source)?;
        return match status.file_type() {
            kind if kind.is_dir() => load_folder(store, &wanted.name, &wanted.source),
            kind if kind.is_socket() => {
                let data = read_socket(&wanted.source, unit, &wanted.name, store.left)?;
                store.put(&wanted.name, &data)
            }
            _ => {
                let data = read_file(&wanted.source, store.left)?;
                store.put(&wanted.name, &data)
            }
        };
    }
    for folder in STORES {
        match read_file(&format!("{folder}/{}", wanted.source), store.left) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return store.put(&wanted.name, &outcome?),
        }
    }
    Err(io::Error::from(io::ErrorKind::NotFound))
}

/// All files of a folder and of those below it, named after their paths.
fn load_folder(store: &mut Store<'_>, name: &str, folder: &str) -> io::Result<()> {
    let mut open = vec![(folder.to_owned(), name.to_owned())];
    let mut count = 0;
    while let Some((place, name)) = open.pop() {
        for entry in fs::read_dir(&place)? {
            let entry = entry?;
            count += 1;
            if count > FILES_MAX {
                return Err(io::Error::other(format!("more than {FILES_MAX} files")));
            }
            let file = entry.file_name().to_string_lossy().into_owned();
            let (path, name) = (format!("{place}/{file}"), format!("{name}_{file}"));
            if name.len() > NAME_MAX || !is_name(&file) {
                continue;
            }
            if fs::metadata(&path)?.is_dir() {
                open.push((path, name));
            } else if !store.has(&name) {
                let data = read_file(&path, store.left)?;
                store.put(&name, &data)?;
            }
        }
    }
    Ok(())
}

/// A whole file; what is longer than may be is read one byte too far, and refused then.
fn read_file(path: &str, most: usize) -> io::Result<Vec<u8>> {
    let file = fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NOCTTY).open(path)?;
    read_all(file, most)
}

fn read_all(source: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    source.take(u64::try_from(most).unwrap_or(0).saturating_add(1)).read_to_end(&mut data)?;
    Ok(data)
}

/// What a socket says; who listens there sees from our address which credential of which unit is wanted.
fn read_socket(path: &str, unit: &str, name: &str, most: usize) -> io::Result<Vec<u8>> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, socket};
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let random: String = crate::spawn::new_invocation().chars().take(16).collect();
    let own = UnixAddr::new_abstract(format!("{random}/unit/{unit}/{name}").as_bytes())?;
    bind(socket.as_raw_fd(), &own)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    read_all(UnixStream::from(socket), most)
}

/// May a file be a credential?
fn is_name(name: &str) -> bool {
    !name.starts_with('.') && !name.contains(|c: char| c.is_control() || c == ':')
}

fn import(store: &mut Store<'_>, wanted: &ImportCredential) -> io::Result<()> {
    for folder in STORES {
        let mut names: Vec<String> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for name in names.into_iter().filter(|name| is_name(name)) {
            let Some(new) = imported_name(wanted, &name).filter(|new| new.len() <= NAME_MAX) else { continue };
            if !store.has(&new) {
                let data = read_file(&format!("{folder}/{name}"), store.left)?;
                store.put(&new, &data)?;
            }
        }
    }
    Ok(())
}

/// What a credential is called for the unit that imports it; `None`: it is none of those.
fn imported_name(wanted: &ImportCredential, name: &str) -> Option<String> {
    let rest = match wanted.glob.strip_suffix('*') {
        Some(stem) => name.strip_prefix(stem)?,
        None => (name == wanted.glob).then_some("")?,
    };
    Some(if wanted.rename.is_empty() { name.to_owned() } else { format!("{}{rest}", wanted.rename) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_credentials_keep_what_the_pattern_stands_for() {
        let name = |glob: &str, rename: &str, name: &str| {
            imported_name(&ImportCredential { glob: glob.into(), rename: rename.into() }, name)
        };
        assert_eq!(name("a.*", "", "a.b").as_deref(), Some("a.b"));
        assert_eq!(name("a.*", "c.", "a.b").as_deref(), Some("c.b"));
        assert_eq!(name("a", "c", "a").as_deref(), Some("c"));
        assert_eq!((name("a", "c", "ab"), name("a.*", "", "b.a")), (None, None));
    }
}
