//! `systemd-modules-load`: the modules that modules-load.d and the kernel command line name, at every boot.
//!
//! A module that the administrator has deny-listed is passed over; one that does not exist is a failure.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ferrite_hostconf::folders::{self, Found, Listing, SEARCH};
use ferrite_hostconf::modules_load as lines;

use crate::modules::{Answer, Loader};

const KIND: &str = "modules-load.d";
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Loads everything that the files name; without files those of the folders and the kernel command line.
pub fn modules_load(root: &Path, files: &[PathBuf]) -> anyhow::Result<()> {
    let names = wanted(root, files)?;
    if names.is_empty() {
        return Ok(());
    }
    let mut loader = Loader::open(root)?;
    let mut missing = Vec::new();
    for name in &names {
        match loader.answer(name) {
            Answer::Known => {
                loader.load([name.as_str()].into_iter());
            }
            Answer::DenyListed => eprintln!("Module '{name}' is deny-listed"),
            Answer::Unknown => {
                eprintln!("Failed to find module '{name}'");
                missing.push(name.as_str());
            }
        }
    }
    if missing.is_empty() { Ok(()) } else { bail!("there are no modules {} for this kernel", missing.join(", ")) }
}

/// All names, in order; one that stands twice counts once.
fn wanted(root: &Path, files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: &str| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_string());
        }
    };
    if files.is_empty() {
        // Without /proc there is no command line to follow.
        let line = std::fs::read_to_string(root.join("proc/cmdline")).unwrap_or_default();
        lines::of_command_line(&line).iter().for_each(|name| add(name));
        for path in folders::order(&listings(root)) {
            lines::names(&text(&root.join(path.trim_start_matches('/')))?).for_each(&mut add);
        }
    }
    for file in files {
        lines::names(&text(file)?).for_each(&mut add);
    }
    Ok(names)
}

fn listings(root: &Path) -> Vec<Listing> {
    let listing = |folder: &str| {
        let folder = format!("{folder}/{KIND}");
        // A folder that is not there has no files.
        let entries = std::fs::read_dir(root.join(folder.trim_start_matches('/'))).into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| {
            let is_masked = std::fs::read_link(entry.path()).is_ok_and(|target| target == Path::new("/dev/null"));
            Some(Found { name: entry.file_name().into_string().ok()?, is_masked })
        });
        Listing { files: found.collect(), folder }
    };
    SEARCH.map(listing).into()
}

fn text(path: &Path) -> anyhow::Result<String> {
    let reading = || format!("reading '{}'", path.display());
    let size = std::fs::metadata(path).with_context(reading)?.len();
    if size > MAX_FILE_BYTES {
        bail!("'{}' is larger than {MAX_FILE_BYTES} bytes", path.display());
    }
    std::fs::read_to_string(path).with_context(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_command_line_and_from_files_that_are_not_masked() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("proc/cmdline", "quiet modules_load=first,second\n");
        write("usr/lib/modules-load.d/a.conf", "one\n# remark\ntwo\n");
        write("usr/lib/modules-load.d/b.conf", "three\n");
        write("etc/modules-load.d/c.conf", "two\nfour\n");
        std::os::unix::fs::symlink("/dev/null", root.path().join("etc/modules-load.d/b.conf")).unwrap();
        assert_eq!(wanted(root.path(), &[]).unwrap(), ["first", "second", "one", "two", "four"]);
        let file = root.path().join("usr/lib/modules-load.d/b.conf");
        assert_eq!(wanted(root.path(), &[file]).unwrap(), ["three"]);
        assert!(wanted(root.path(), &[root.path().join("none")]).is_err());
    }

    #[test]
    fn a_name_without_a_module_is_a_failure() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("x.conf");
        std::fs::write(&file, "no_such_module\n").unwrap();
        let error = modules_load(root.path(), &[file]).unwrap_err().to_string();
        assert_eq!(error, "there are no modules no_such_module for this kernel");
        assert!(modules_load(root.path(), &[]).is_ok());
    }
}
