//! The lock file: which package files images are made of, by version and SHA-256. Pure.
//!
//! Readable text, sorted, one package a line, so that a renewal is a diff a person can review. No host name is in it:
//! paths are below the archive's base address, which is derived from the build host.

use std::collections::BTreeMap;
use std::fmt;

/// The section of the programs that run on the build host.
pub const TOOLS: &str = "tools";

const HEADING: &str = "ferrite-lock 1";

/// Which of the two archives a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Archive {
    /// The release and its updates.
    Main,
    /// Security updates.
    Security,
}

/// One package file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Locked {
    /// Debian package name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture: `amd64` or `all`.
    pub arch: String,
    /// The archive that has it.
    pub archive: Archive,
    /// Path below the archive's base address.
    pub path: String,
    /// Size of the package file.
    pub size_bytes: u64,
    /// SHA-256 of the package file, 64 lower case hex digits.
    pub sha256: String,
}

/// The whole lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The time of the renewal: every time stamp inside an image (SOURCE_DATE_EPOCH).
    pub epoch: u64,
    /// Packages by section, each sorted by name: one section a board and `tools`.
    pub sections: BTreeMap<String, Vec<Locked>>,
}

/// A line of the lock file that is wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {fault}")]
pub struct LockError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub fault: String,
}

impl Archive {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "main" => Some(Self::Main),
            "security" => Some(Self::Security),
            _ => None,
        }
    }
}

impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Security => "security",
        })
    }
}

impl Lock {
    /// The packages of a board. A board without a section of its own may use those of all boards.
    pub fn board(&self, name: &str) -> Vec<Locked> {
        if let Some(section) = self.sections.get(name) {
            return section.clone();
        }
        let boards = self.sections.iter().filter(|(section, _)| *section != TOOLS);
        let mut all: Vec<Locked> = boards.flat_map(|(_, packages)| packages.iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Adds the sections of another lock file, which stands beside a board file of its own.
    pub fn join(&mut self, other: Self) {
        self.sections.extend(other.sections);
        self.epoch = self.epoch.max(other.epoch);
    }

    /// The packages of the programs that run on the build host.
    pub fn tools(&self) -> &[Locked] {
        self.sections.get(TOOLS).map_or(&[], Vec::as_slice)
    }

    /// Reads a lock file.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let mut lock = Self::default();
        let mut section: Option<String> = None;
        let mut heading_seen = false;
        for (number, line) in text.lines().enumerate() {
            let error = |fault: String| LockError { line: number + 1, fault };
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if !heading_seen {
                if line != HEADING {
                    return Err(error(format!("expected '{HEADING}', found '{line}'")));
                }
                heading_seen = true;
            } else if let Some(epoch) = line.strip_prefix("epoch ") {
                lock.epoch = epoch.parse().map_err(|_| error(format!("epoch '{epoch}' is not a number")))?;
            } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                lock.sections.insert(name.to_owned(), Vec::new());
                section = Some(name.to_owned());
            } else {
                let packages = section.as_ref().and_then(|name| lock.sections.get_mut(name));
                let packages = packages.ok_or_else(|| error("a package stands before the first [section]".into()))?;
                packages.push(parse_package(line).map_err(error)?);
            }
        }
        if lock.epoch == 0 {
            return Err(LockError { line: 1, fault: "there is no 'epoch' line".into() });
        }
        Ok(lock)
    }
}

fn parse_package(line: &str) -> Result<Locked, String> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [name, version, arch, archive, path, size, sha256] = fields[..] else {
        return Err(format!(
            "expected name, version, arch, archive, path, size and sha256, found {} words",
            fields.len()
        ));
    };
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !is_hash {
        return Err(format!("'{sha256}' is not a SHA-256 of 64 lower case hex digits"));
    }
    if !path.starts_with("pool/") || path.split('/').any(|part| part == ".." || part.is_empty()) {
        return Err(format!("path '{path}' does not begin with pool/ or has odd parts"));
    }
    Ok(Locked {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: arch.to_owned(),
        archive: Archive::parse(archive).ok_or_else(|| format!("archive '{archive}' is neither main nor security"))?,
        path: path.to_owned(),
        size_bytes: size.parse().map_err(|_| format!("size '{size}' is not a number"))?,
        sha256: sha256.to_owned(),
    })
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADING}")?;
        writeln!(f, "# Debian packages that images are made of. Renew with `ferrite lock`; do not edit.")?;
        writeln!(f, "# name version arch archive path size sha256")?;
        writeln!(f, "epoch {}", self.epoch)?;
        for (section, packages) in &self.sections {
            writeln!(f, "\n[{section}]")?;
            for p in packages {
                let Locked { name, version, arch, archive, path, size_bytes, sha256 } = p;
                writeln!(f, "{name} {version} {arch} {archive} {path} {size_bytes} {sha256}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_boards::Board;
    use std::path::Path;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn boards_dir() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards")
    }

    #[test]
    fn the_lock_file_of_the_tree_has_every_package_of_every_board() {
        let text = std::fs::read_to_string(boards_dir().join("packages.lock")).unwrap();
        let lock = Lock::parse(&text).unwrap();
        assert_eq!(lock.to_string(), text);
        for name in Board::names(&boards_dir()) {
            let board = Board::find(&name, &boards_dir()).unwrap();
            let locked = &lock.sections[&name];
            for package in board.packages.iter().map(|package| &package.name).chain([&board.kernel]) {
                assert!(locked.iter().any(|locked| locked.name == *package), "{name}: {package}; run `ferrite lock`");
            }
        }
        for package in super::super::tools::PACKAGES {
            assert!(lock.tools().iter().any(|locked| locked.name == package), "{package}; run `ferrite lock`");
        }
        assert!(!text.contains("://"));
    }

    #[test]
    fn the_lock_beside_a_board_of_the_tests_has_its_packages() {
        let path = boards_dir().join("../tests/boards/services.yaml");
        let text = std::fs::read_to_string(path.with_extension("lock")).unwrap();
        let lock = Lock::parse(&text).unwrap();
        assert_eq!(lock.to_string(), text);
        let board = Board::load(&path, &boards_dir()).unwrap();
        let remedy = "run `ferrite lock --board tests/boards/services.yaml`";
        for package in &board.packages {
            assert!(lock.sections[&board.name].iter().any(|locked| locked.name == package.name), "{remedy}");
        }
        assert!(!text.contains("://"));
    }

    #[test]
    fn a_board_without_a_section_may_use_all_boards_packages_once() {
        let line = |name: &str| format!("{name} 1 all main pool/{name} 1 {HASH}\n");
        let text =
            format!("ferrite-lock 1\nepoch 5\n[a]\n{}[b]\n{}{}[tools]\n{}", line("x"), line("x"), line("y"), line("z"));
        let lock = Lock::parse(&text).unwrap();
        let names = |board: &str| lock.board(board).into_iter().map(|package| package.name).collect::<Vec<_>>();
        assert_eq!((names("a"), names("c")), (vec!["x".to_owned()], vec!["x".to_owned(), "y".to_owned()]));
    }

    #[test]
    fn the_lock_beside_a_board_of_its_own_is_joined_with_that_of_the_tree() {
        let lock = |section: &str, epoch: u64| {
            let text = format!("ferrite-lock 1\nepoch {epoch}\n[{section}]\n{section} 1 all main pool/x 1 {HASH}\n");
            Lock::parse(&text).unwrap()
        };
        let mut joined = lock("qemu", 5);
        joined.join(lock("mine", 7));
        let names = |board: &str| joined.board(board).into_iter().map(|package| package.name).collect::<Vec<_>>();
        assert_eq!((joined.epoch, names("mine"), names("qemu")), (7, vec!["mine".into()], vec!["qemu".into()]));
    }

    #[test]
    fn faults_are_told_with_their_line() {
        let fault = |text: &str| Lock::parse(text).unwrap_err().to_string();
        let head = "ferrite-lock 1\nepoch 5\n[a]\n";
        for (text, expected) in [
            ("", "line 1: there is no 'epoch' line"),
            ("# x\nother 1\n", "line 2: expected 'ferrite-lock 1', found 'other 1'"),
            ("ferrite-lock 1\nepoch x\n", "line 2: epoch 'x' is not a number"),
            ("ferrite-lock 1\nepoch 5\nbash 1\n", "line 3: a package stands before the first [section]"),
        ] {
            assert_eq!(fault(text), expected);
        }
        for (line, expected) in [
            ("bash 1 all main".to_owned(), "found 4 words"),
            (format!("bash 1 all main pool/b 1 {}", HASH.to_uppercase()), "is not a SHA-256"),
            (format!("bash 1 all main ../b 1 {HASH}"), "does not begin with pool/ or has odd parts"),
            (format!("bash 1 all main pool/../b 1 {HASH}"), "does not begin with pool/ or has odd parts"),
            (format!("bash 1 all backports pool/b 1 {HASH}"), "neither main nor security"),
            (format!("bash 1 all main pool/b x {HASH}"), "size 'x' is not a number"),
        ] {
            let fault = fault(&format!("{head}{line}\n"));
            assert!(fault.starts_with("line 4: ") && fault.contains(expected), "{fault}");
        }
    }
}
