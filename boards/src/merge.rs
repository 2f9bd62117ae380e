//! Joins a board file with those it extends and checks the result.
//!
//! Lists are joined, the extended files' entries first; a single value, and a package of the same name, is taken from
//! the file that comes last. `load` reads files, the rest is pure.

use crate::board::{Board, Compression, DiskSizes, Group, Link, Package, User};
use crate::glob::Glob;
use crate::raw::{self, RawBoard, RawCompression, RawPackage};
use serde_yaml::Spanned;
use std::path::{Path, PathBuf};

/// Board files may extend each other this deep.
const DEPTH_LIMIT: usize = 8;

/// Why a board could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// No file of that name.
    #[error("there is no board '{name}'; boards are: {}", known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The file could not be read.
    #[error("reading board file '{}'", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something wrong.
    #[error("{}{}: {fault}", path.display(), at_line(*line))]
    Fault {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 if it concerns the whole file.
        line: u64,
        /// What is wrong and what would be right.
        fault: String,
    },
}

/// `:LINE`, or nothing for the whole file.
fn at_line(line: u64) -> String {
    if line == 0 { String::new() } else { format!(":{line}") }
}

/// One file with its faults' place.
struct Source<'a> {
    path: &'a Path,
}

impl Source<'_> {
    fn fault(&self, line: u64, fault: impl Into<String>) -> BoardError {
        BoardError::Fault { path: self.path.to_owned(), line, fault: fault.into() }
    }

    fn at<T>(&self, spanned: &Spanned<T>, fault: impl Into<String>) -> BoardError {
        self.fault(spanned.referenced.line(), fault)
    }

    fn glob(&self, line: u64, text: &str) -> Result<Glob, BoardError> {
        Glob::parse(text).ok_or_else(|| self.fault(line, format!("pattern '{text}' is not an absolute path")))
    }
}

/// A board on the way: what the files read so far have said.
struct Draft {
    name: Option<String>,
    kernel: Option<String>,
    board: Board,
}

pub(crate) fn load(path: &Path, boards_dir: &Path) -> Result<Board, BoardError> {
    let mut draft = Draft { name: None, kernel: None, board: empty() };
    add_file(&mut draft, path, boards_dir, 0)?;
    let source = Source { path };
    let missing = |key: &str| source.fault(0, format!("the key '{key}' is missing, here and in what the file extends"));
    let name = draft.name.ok_or_else(|| missing("name"))?;
    let kernel = draft.kernel.ok_or_else(|| missing("kernel"))?;
    Ok(Board { name, kernel, ..draft.board })
}

fn empty() -> Board {
    Board {
        name: String::new(),
        description: String::new(),
        kernel: String::new(),
        packages: Vec::new(),
        libraries: Vec::new(),
        links: Vec::new(),
        files: Vec::new(),
        command_line: Vec::new(),
        initrd_modules: Vec::new(),
        load_modules: Vec::new(),
        exclude_modules: Vec::new(),
        users: Vec::new(),
        groups: Vec::new(),
        disk: DiskSizes::default(),
        root_compression: Compression::None,
    }
}

fn add_file(draft: &mut Draft, path: &Path, boards_dir: &Path, depth: usize) -> Result<(), BoardError> {
    let text = std::fs::read_to_string(path).map_err(|source| BoardError::Read { path: path.to_owned(), source })?;
    let source = Source { path };
    let raw = raw::parse(&text).map_err(|(line, fault)| source.fault(line, fault))?;
    for extended in &raw.extends {
        if depth >= DEPTH_LIMIT {
            return Err(source.at(extended, format!("files extend each other more than {DEPTH_LIMIT} deep")));
        }
        let name = format!("{}.yaml", extended.value);
        let beside = path.with_file_name(&name);
        let file = if beside.is_file() { beside } else { boards_dir.join(&name) };
        if !file.is_file() {
            return Err(source.at(extended, format!("there is no file '{name}' beside this one or among the boards")));
        }
        add_file(draft, &file, boards_dir, depth + 1)?;
    }
    add(draft, raw, &source)
}

fn add(draft: &mut Draft, raw: RawBoard, source: &Source<'_>) -> Result<(), BoardError> {
    if let Some(name) = &raw.name {
        if !is_name(&name.value) {
            return Err(source.at(name, format!("name '{}' may hold a-z, 0-9 and '-' only", name.value)));
        }
        draft.name = Some(name.value.clone());
    }
    if let Some(kernel) = &raw.kernel {
        if !is_package_name(&kernel.value) {
            return Err(source.at(kernel, format!("'{}' is not a package name", kernel.value)));
        }
        draft.kernel = Some(kernel.value.clone());
    }
    if let Some(description) = &raw.description {
        draft.board.description.clone_from(description);
    }
    let board = &mut draft.board;
    for package in &raw.packages {
        let package = package_of(package, source)?;
        board.packages.retain(|known| known.name != package.name);
        board.packages.push(package);
    }
    add_paths(board, &raw, source)?;
    add_files(board, &raw, source)?;
    add_accounts(board, &raw, source)?;
    for word in &raw.command_line {
        if !is_kernel_word(&word.value) {
            let rule = "a word of the kernel command line holds no blanks, quotes, '$' or '\\'";
            return Err(source.at(word, format!("'{}': {rule}", word.value)));
        }
        board.command_line.push(word.value.clone());
    }
    board.initrd_modules.extend(raw.initrd_modules);
    board.load_modules.extend(raw.load_modules);
    board.disk = DiskSizes {
        boot_mib: raw.disk.boot_mib.or(board.disk.boot_mib),
        root_mib: raw.disk.root_mib.or(board.disk.root_mib),
        state_mib: raw.disk.state_mib.or(board.disk.state_mib),
    };
    match raw.root_compression {
        Some(RawCompression::None) => board.root_compression = Compression::None,
        Some(RawCompression::Lz4hc) => board.root_compression = Compression::Lz4hc,
        None => {}
    }
    Ok(())
}

/// GRUB's script language and the kernel's command line would each read the other characters in their own way.
fn is_kernel_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'$\\`".contains(&byte))
}

fn package_of(raw: &Spanned<RawPackage>, source: &Source<'_>) -> Result<Package, BoardError> {
    let line = raw.referenced.line();
    let RawPackage { name, include, exclude } = &raw.value;
    if !is_package_name(name) {
        return Err(source.at(raw, format!("'{name}' is not a package name")));
    }
    let globs = |patterns: &[String]| patterns.iter().map(|text| source.glob(line, text)).collect::<Result<_, _>>();
    Ok(Package { name: name.clone(), include: globs(include)?, exclude: globs(exclude)? })
}

fn add_paths(board: &mut Board, raw: &RawBoard, source: &Source<'_>) -> Result<(), BoardError> {
    for pattern in &raw.libraries {
        board.libraries.push(source.glob(pattern.referenced.line(), &pattern.value)?);
    }
    for pattern in &raw.exclude_modules {
        board.exclude_modules.push(source.glob(pattern.referenced.line(), &pattern.value)?);
    }
    for (path, target) in &raw.links {
        if !path.starts_with('/') {
            return Err(source.at(target, format!("the link '{path}' is not an absolute path")));
        }
        board.links.retain(|link| link.path != *path);
        board.links.push(Link { path: path.clone(), target: target.value.clone() });
    }
    Ok(())
}

/// Folders of files lie beside the board file that names them.
fn add_files(board: &mut Board, raw: &RawBoard, source: &Source<'_>) -> Result<(), BoardError> {
    for folder in &raw.files {
        let path = source.path.with_file_name(&folder.value);
        if !path.is_dir() {
            return Err(source.at(folder, format!("there is no folder '{}' beside this file", folder.value)));
        }
        board.files.push(path);
    }
    Ok(())
}

fn add_accounts(board: &mut Board, raw: &RawBoard, source: &Source<'_>) -> Result<(), BoardError> {
    for spanned in &raw.users {
        let user = &spanned.value;
        if !is_account_name(&user.name) {
            return Err(source.at(spanned, format!("'{}' is not a user name", user.name)));
        }
        if let Some(same) = board.users.iter().find(|known| known.uid == user.uid && known.name != user.name) {
            return Err(source.at(spanned, format!("uid {} is already that of user {}", user.uid, same.name)));
        }
        board.users.retain(|known| known.name != user.name);
        board.users.push(User {
            name: user.name.clone(),
            uid: user.uid,
            groups: user.groups.clone(),
            home: user.home.clone().unwrap_or_else(|| "/".to_owned()),
            shell: user.shell.clone().unwrap_or_else(|| "/usr/sbin/nologin".to_owned()),
            comment: user.comment.clone().unwrap_or_default(),
        });
    }
    for spanned in &raw.groups {
        let group = &spanned.value;
        if !is_account_name(&group.name) {
            return Err(source.at(spanned, format!("'{}' is not a group name", group.name)));
        }
        board.groups.retain(|known| known.name != group.name);
        board.groups.push(Group { name: group.name.clone(), gid: group.gid });
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn is_package_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    text.len() >= 2 && text.bytes().all(inner) && text.as_bytes()[0].is_ascii_alphanumeric()
}

fn is_account_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    text.len() <= 31
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Reads `b.yaml` out of files given by name and text; the name of the folder is taken out of an error.
    fn board(files: &[(&str, &str)]) -> Result<Board, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let prefix = format!("{}/", dir.path().display());
        Board::find("b", dir.path()).map_err(|error| error.to_string().replace(&prefix, ""))
    }

    const BASE: &str = "packages:\n- name: bash\n- {name: curl, include: [/usr/bin/curl]}\n\
                        disk: {state-mib: 64, root-mib: 100}\nlinks: {/usr/bin/sh: bash}\n";

    #[test]
    fn a_board_is_joined_with_what_it_extends() {
        let text = "name: b\nextends: [base]\nkernel: linux-image\npackages:\n- name: curl\n- name: etcd-server\n\
                    disk: {state-mib: 128}\nlinks: {/usr/bin/sh: dash}\nroot-compression: lz4hc\n";
        let board = board(&[("base.yaml", BASE), ("b.yaml", text)]).unwrap();
        let names: Vec<&str> = board.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["bash", "curl", "etcd-server"]);
        assert!(board.packages[1].include.is_empty());
        assert_eq!(board.disk, DiskSizes { boot_mib: None, root_mib: Some(100), state_mib: Some(128) });
        assert_eq!(board.links, [Link { path: "/usr/bin/sh".into(), target: "dash".into() }]);
        assert_eq!(board.root_compression, Compression::Lz4hc);
    }

    #[test]
    fn faults_are_told_with_file_and_line() {
        let head = "name: b\nkernel: linux-image\n";
        for (text, expected) in [
            ("packges: []\n", "b.yaml:3: unknown field"),
            ("packages:\n- name: bash\n- {name: Bash}\n", "b.yaml:5: 'Bash' is not a package name"),
            ("packages:\n- {name: bash, include: [bin/*]}\n", "b.yaml:4: pattern 'bin/*' is not an absolute path"),
            ("extends: [nothing]\n", "b.yaml:3: there is no file 'nothing.yaml'"),
            ("extends: [b]\n", "b.yaml:3: files extend each other more than 8 deep"),
            ("links: {usr/bin/sh: bash}\n", "b.yaml:3: the link 'usr/bin/sh' is not an absolute path"),
            ("users: [{name: a, uid: 7}, {name: b, uid: 7}]\n", "b.yaml:3: uid 7 is already that of user a"),
            ("users: [{name: A, uid: 7}]\n", "b.yaml:3: 'A' is not a user name"),
            ("users: [{name: a, uid: x}]\n", "b.yaml:3: "),
            ("files: [nowhere]\n", "b.yaml:3: there is no folder 'nowhere' beside this file"),
            ("root-compression: gzip\n", "b.yaml:3: unknown variant"),
            ("name: c\n", "b.yaml:3: "),
            ("command-line: [a\n", "b.yaml:"),
            ("command-line: ['dyndbg=\"file x\"']\n", "b.yaml:3: 'dyndbg=\"file x\"': a word of the kernel"),
        ] {
            let error = board(&[("b.yaml", &format!("{head}{text}"))]).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn what_no_file_says_is_asked_for() {
        let error = board(&[("b.yaml", "name: b\n")]).unwrap_err();
        assert_eq!(error, "b.yaml: the key 'kernel' is missing, here and in what the file extends");
        let error = board(&[("c.yaml", "name: c\nkernel: linux-image\n"), ("base.yaml", BASE)]).unwrap_err();
        assert_eq!(error, "there is no board 'b'; boards are: c");
    }

    #[test]
    fn an_ad_hoc_board_extends_the_boards_of_the_tree() {
        let (boards, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(boards.path().join("base.yaml"), BASE).unwrap();
        let path = own.path().join("mine.yaml");
        fs::create_dir(own.path().join("mine")).unwrap();
        fs::write(&path, "name: mine\nextends: [base]\nkernel: linux-image-rt\nfiles: [mine]\n").unwrap();
        let board = Board::find(path.to_str().unwrap(), boards.path()).unwrap();
        assert_eq!((board.name.as_str(), board.packages.len()), ("mine", 2));
        assert_eq!(board.files, [own.path().join("mine")]);
    }

    #[test]
    fn every_board_of_the_tree_can_be_read() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = fs::read_to_string(&path).unwrap();
                let read = load(&path, dir);
                assert!(read.is_ok() || !text.starts_with("name:"), "{read:?}");
            }
        }
        assert_eq!(Board::names(dir), ["metal", "qemu", "qemu-minimal"]);
    }
}
