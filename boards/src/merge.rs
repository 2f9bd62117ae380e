//! Joins a board file with those it extends and checks the result.
//!
//! Lists are joined, the extended files' entries first; a single value, and a package of the same name, is taken from the
//! file that comes last. `load` reads files, the rest is pure.

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
    #[error("{}:{line}: {fault}", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 if it concerns the whole file.
        line: u64,
        /// What is wrong and what would be right.
        fault: String,
    },
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
#[derive(Default)]
struct Draft {
    name: Option<String>,
    description: String,
    kernel: Option<String>,
    board: Option<Board>,
}

pub(crate) fn load(path: &Path, boards_dir: &Path) -> Result<Board, BoardError> {
    let mut draft = Draft { board: Some(empty()), ..Draft::default() };
    add_file(&mut draft, path, boards_dir, 0)?;
    let source = Source { path };
    let missing = |key: &str| source.fault(0, format!("the key '{key}' is missing, here and in what the file extends"));
    let mut board = draft.board.unwrap_or_else(empty);
    board.name = draft.name.ok_or_else(|| missing("name"))?;
    board.kernel = draft.kernel.ok_or_else(|| missing("kernel"))?;
    board.description = draft.description;
    Ok(board)
}

fn empty() -> Board {
    Board {
        name: String::new(),
        description: String::new(),
        kernel: String::new(),
        packages: Vec::new(),
        libraries: Vec::new(),
        links: Vec::new(),
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
        draft.description.clone_from(description);
    }
    let board = draft.board.get_or_insert_with(empty);
    for package in &raw.packages {
        let package = package_of(package, source)?;
        board.packages.retain(|known| known.name != package.name);
        board.packages.push(package);
    }
    add_paths(board, &raw, source)?;
    add_accounts(board, &raw, source)?;
    board.command_line.extend(raw.command_line);
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
