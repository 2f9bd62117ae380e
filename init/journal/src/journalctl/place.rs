//! Which folders or files are read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ferrite_journal_file::{Id128, Reader};
use ferrite_pattern::{is_pattern, matches_file};

use super::options::Options;
use super::watch::Watch;
use crate::places;

/// Where the journal is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the folders of machines that lie in these, now or later.
    Machines {
        /// Those that the folders of machines lie in.
        parents: Vec<PathBuf>,
        /// The one whose journal it is; without it that of all, with what lies beside their folders.
        machine: Option<Id128>,
    },
    /// In these files.
    Files(Vec<PathBuf>),
}

impl Place {
    /// The journals of this machine below a root.
    pub fn of_root(root: &Path) -> Place {
        Self::below(root, false)
    }

    fn below(root: &Path, all: bool) -> Place {
        let below = |path: &str| root.join(path.trim_start_matches('/'));
        let machine = (!all).then(|| machine_id(&below(places::MACHINE_ID)));
        Place::Machines { parents: [places::DISK, places::MEMORY].map(below).to_vec(), machine }
    }

    /// The place of a command line.
    pub fn of(options: &Options) -> Result<Place> {
        if !options.file.is_empty() {
            let mut files = Vec::new();
            for word in &options.file {
                files.extend(expand(word)?);
            }
            return Ok(Place::Files(files));
        }
        if let Some(folder) = &options.directory {
            return Ok(Place::Machines { parents: vec![folder.clone()], machine: None });
        }
        Ok(Self::below(options.root.as_deref().unwrap_or(Path::new("/")), options.merge))
    }

    /// Opens the journal.
    pub fn open(&self) -> Result<Reader> {
        match self {
            Place::Machines { .. } => {
                let folders = self.folders();
                Reader::open_folders(&readable(&folders)?).context("opening the journal")
            }
            Place::Files(files) => {
                let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
                Reader::open_files(&files).context("opening the journal")
            }
        }
    }

    /// All files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Place::Files(files) => files.clone(),
            Place::Machines { .. } => {
                let mut all: Vec<PathBuf> = self.folders().iter().flat_map(|folder| listed(folder)).collect();
                let is_journal = |path: &PathBuf| {
                    path.extension().is_some_and(|extension| extension == "journal" || extension == "journal~")
                };
                all.retain(is_journal);
                all.sort();
                all
            }
        }
    }

    /// The folders that the files are in.
    pub fn folders(&self) -> Vec<PathBuf> {
        match self {
            Place::Machines { parents, machine } => {
                parents.iter().flat_map(|parent| with_machines(parent, *machine)).collect()
            }
            Place::Files(files) => files.iter().filter_map(|file| Some(file.parent()?.to_path_buf())).collect(),
        }
    }

    /// Lets a reader know what came: entries, files, the folder of a machine that wrote its first. What comes from
    /// now on is watched.
    pub fn catch_up(&self, watch: &Watch, reader: &mut Reader) -> Result<()> {
        if let Place::Machines { parents, .. } = self {
            // First: a folder that is made from here on is told of, one that was made before is in the list.
            watch.add(parents)?;
        }
        let folders = self.folders();
        watch.add(&folders)?;
        match self {
            Place::Machines { .. } => reader.refresh_in(folders),
            Place::Files(_) => reader.refresh(),
        }
        .map(drop)
        .context("reading the journal")
    }
}

fn readable(folders: &[PathBuf]) -> Result<Vec<&Path>> {
    for folder in folders {
        if let Err(error) = fs::read_dir(folder)
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            bail!(
                "the journal in '{}' may be read by root and by group adm only: try 'sudo journalctl'",
                folder.display()
            );
        }
    }
    Ok(folders.iter().map(PathBuf::as_path).collect())
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The folder itself and those of machines in it, all or one.
fn with_machines(folder: &Path, machine: Option<Id128>) -> Vec<PathBuf> {
    let mut out = Vec::new();
    match machine {
        Some(machine) => out.push(folder.join(machine.to_string())),
        None => {
            out.push(folder.to_path_buf());
            let is_machine =
                |path: &PathBuf| path.is_dir() && path.file_name().and_then(|n| Id128::parse(n.to_str()?)).is_some();
            out.extend(listed(folder).into_iter().filter(is_machine));
        }
    }
    out
}

/// The id of the machine whose root this is; one that has none yet has that of its boot.
fn machine_id(path: &Path) -> Id128 {
    let text = fs::read_to_string(path).unwrap_or_default();
    Id128::parse(&text).unwrap_or_else(crate::journald::boot_id)
}

fn expand(word: &str) -> Result<Vec<PathBuf>> {
    let path = PathBuf::from(word);
    if path.exists() || !is_pattern(word) {
        return Ok(vec![path]);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let pattern = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fits = |path: &PathBuf| path.file_name().is_some_and(|name| matches_file(&pattern, &name.to_string_lossy()));
    let mut found: Vec<PathBuf> = listed(folder).into_iter().filter(fits).collect();
    found.sort();
    if found.is_empty() {
        bail!("no file fits '{word}'");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn the_folders_of_machines_are_found() {
        let root = tempfile::tempdir().expect("a directory");
        let id = "0123456789abcdef0123456789abcdef";
        let other = "f".repeat(32);
        for folder in [id, &other, "remote"] {
            fs::create_dir_all(root.path().join("var/log/journal").join(folder)).expect("folders");
        }
        fs::create_dir(root.path().join("etc")).expect("a folder");
        fs::write(root.path().join("etc/machine-id"), format!("{id}\n")).expect("written");
        let of = |words: &[&str]| {
            let path = root.path().to_str().expect("text");
            let words = [&["journalctl", "--root", path], words].concat();
            let mut folders = Place::of(&Options::try_parse_from(words).expect("valid")).expect("a place").folders();
            folders.sort();
            folders.iter().map(|path| path.strip_prefix(root.path()).expect("below").display().to_string()).collect()
        };
        let own: Vec<String> = of(&[]);
        assert_eq!(own, [format!("run/log/journal/{id}"), format!("var/log/journal/{id}")]);
        let all: Vec<String> = of(&["--merge"]);
        assert!(all.contains(&format!("var/log/journal/{other}")) && !all.iter().any(|path| path.ends_with("remote")));
    }

    #[test]
    fn a_folder_of_a_machine_that_is_made_later_is_watched_and_read() {
        let root = tempfile::tempdir().expect("a directory");
        let place = Place::Machines { parents: vec![root.path().to_owned()], machine: None };
        let watch = Watch::new().expect("a watch");
        let mut reader = place.open().expect("opened");
        place.catch_up(&watch, &mut reader).expect("read");
        let folder = root.path().join("f".repeat(32));
        fs::create_dir(&folder).expect("a folder");
        watch.wait(None).expect("told of");
        assert_eq!(place.folders(), [root.path().to_owned(), folder.clone()]);
        place.catch_up(&watch, &mut reader).expect("read");
        fs::write(folder.join("system.journal"), "no journal").expect("written");
        watch.wait(None).expect("told of");
        place.catch_up(&watch, &mut reader).expect("read");
        assert_eq!(reader.faults().len(), 1);
    }

    #[test]
    fn files_may_be_a_pattern() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = |name: &str| folder.path().join(name);
        for name in ["a.journal", "b.journal", "c.txt"] {
            fs::write(path(name), "").expect("written");
        }
        let found = expand(path("*.journal").to_str().expect("text")).expect("files");
        assert_eq!(found, [path("a.journal"), path("b.journal")]);
        assert!(expand(path("x*").to_str().expect("text")).is_err());
    }
}
