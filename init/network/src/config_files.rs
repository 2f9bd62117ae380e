//! Reads the files of all folders, and writes those that the kernel command line asks for.

use std::path::{Path, PathBuf};

use ferrite_files::Durability;
use ferrite_netconf::{Config, Content, FOLDERS, SourceFile, command_line, read};

const FILE_MAX: u64 = 1024 * 1024;

/// Reads everything below `root`; paths in faults are those of the machine.
pub(crate) fn load(root: &Path) -> Config {
    let mut files = Vec::new();
    for folder in FOLDERS {
        for (name, path) in entries(&root.join(folder.trim_start_matches('/'))) {
            let shown = format!("{folder}/{name}");
            if path.is_dir() && name.ends_with(".d") {
                for (inner, path) in entries(&path) {
                    files.push(SourceFile { path: format!("{shown}/{inner}"), content: content(&path) });
                }
            } else if [".network", ".netdev", ".link"].iter().any(|suffix| name.ends_with(suffix)) {
                files.push(SourceFile { path: shown, content: content(&path) });
            }
        }
    }
    read(&files)
}

/// Names and paths in a folder, sorted; hidden ones are somebody's drafts.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    // A folder that is not there has no files.
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let named = |entry: std::fs::DirEntry| Some((entry.file_name().into_string().ok()?, entry.path()));
    let mut entries: Vec<(String, PathBuf)> = found.filter_map(Result::ok).filter_map(named).collect();
    entries.retain(|(name, _)| !name.starts_with('.'));
    entries.sort();
    entries
}

fn content(path: &Path) -> Content {
    if std::fs::canonicalize(path).is_ok_and(|path| path == Path::new("/dev/null")) {
        return Content::Masked;
    }
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Content::Unreadable("it is no regular file".to_owned()),
        Ok(metadata) if metadata.len() > FILE_MAX => Content::Unreadable("it is longer than 1 MiB".to_owned()),
        Ok(_) => match std::fs::read(path) {
            Ok(bytes) => Content::Bytes(bytes),
            Err(error) => Content::Unreadable(error.to_string()),
        },
        Err(error) => Content::Unreadable(error.to_string()),
    }
}

/// Renders `ip=` and the like into the folder below /run.
pub(crate) fn render_command_line(command_line: &Path, root: &Path) {
    // Without /proc there is nothing to render.
    let Ok(text) = std::fs::read_to_string(command_line) else { return };
    let rendered = command_line::render(&text);
    for fault in &rendered.faults {
        eprintln!("warning: kernel command line: {fault}");
    }
    let folder = root.join("run/systemd/network");
    if rendered.files.is_empty() {
        return;
    }
    if let Err(error) = std::fs::create_dir_all(&folder) {
        eprintln!("warning: making '{}': {error}, ignoring the kernel command line", folder.display());
        return;
    }
    for (name, text) in &rendered.files {
        if let Err(error) = ferrite_files::replace(&folder.join(name), text.as_bytes(), 0o644, Durability::Volatile) {
            eprintln!("warning: {error}: {}, ignoring that part of the kernel command line", error.source);
        }
    }
}

/// A number of this machine, from its id; 0 where it has none.
pub(crate) fn machine_number(root: &Path) -> u64 {
    use std::hash::Hasher;
    let Ok(text) = std::fs::read_to_string(root.join("etc/machine-id")) else { return 0 };
    // The id itself must not be guessed from hardware addresses.
    let mut hasher = siphasher::sip::SipHasher24::new_with_keys(0x6e65_7477_6f72_6b64, 0x6d61_6368_696e_6521);
    hasher.write(text.trim().as_bytes());
    hasher.finish()
}
