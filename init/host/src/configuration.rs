//! Finding and reading the files of a kind below a root, and showing them (`--cat-config`, `--tldr`).

use std::io::{Read, Write};
use std::path::Path;

use crate::options::Given;
use ferrite_files::{FileError, Root};
use ferrite_hostconf::folders::{self, Found, Listing, SEARCH};

/// Bytes of one file.
const FILE_MAX: usize = 4 << 20;

/// A file with its text.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path, as messages have it.
    pub path: String,
    /// The text; what is no UTF-8 in it is replaced.
    pub text: String,
    /// Whether it was named on the command line, where faults count more.
    pub is_argument: bool,
}

/// What the command line says about files.
struct Wanted<'a> {
    /// Files that were named; none: all of the folders.
    arguments: &'a [String],
    /// The arguments are lines, not files.
    is_inline: bool,
    /// The arguments are read where this file would be.
    replace: Option<&'a str>,
}

/// The root that is meant: that of the machine unless `--root=` names another.
pub(crate) fn root(given: &Given) -> Result<Root, String> {
    let root = Path::new(given.value("root").unwrap_or("/"));
    let root = std::path::absolute(root).map_err(|error| format!("Failed to find '{}': {error}", root.display()))?;
    Root::open(&root).map_err(|error| chain(&error))
}

/// Whether the files are only to be shown, and how much of them.
pub(crate) fn shown_of(given: &Given) -> Option<Shown> {
    match (given.has("tldr"), given.has("cat-config")) {
        (true, _) => Some(Shown::WithoutComments),
        (false, true) => Some(Shown::All),
        (false, false) => None,
    }
}

/// The files that the command line wants; `None`: they were to be shown, and are.
pub(crate) fn wanted(root: &Root, kind: &str, given: &Given) -> Result<Option<Vec<Source>>, String> {
    let shown = shown_of(given);
    let arguments = if shown.is_some() { &[] } else { given.words.as_slice() };
    let wanted = Wanted { arguments, is_inline: given.has("inline"), replace: given.value("replace") };
    let sources = read(root, kind, &wanted)?;
    Ok(match shown {
        Some(shown) => {
            show(&sources, shown);
            None
        }
        None => Some(sources),
    })
}

/// The file of this name in the strongest folder that has it.
pub(crate) fn strongest(root: &Root, name: &str) -> Result<Option<Source>, FileError> {
    for folder in SEARCH {
        let path = format!("{folder}/{name}");
        if let Some(bytes) = root.read(&path, FILE_MAX)? {
            return Ok(Some(source(shown(root, &path), &bytes, false)));
        }
    }
    Ok(None)
}

fn listings(root: &Root, kind: &str) -> Result<Vec<Listing>, FileError> {
    let listing = |folder: &&str| {
        let folder = format!("{folder}/{kind}");
        let names = root.list(&folder)?;
        let files = names.into_iter().filter(|name| name.ends_with(".conf")).map(|name| {
            let target = root.link(&format!("{folder}/{name}"))?;
            Ok(Found { is_masked: target.as_deref() == Some("/dev/null"), name })
        });
        Ok(Listing { files: files.collect::<Result<_, FileError>>()?, folder })
    };
    SEARCH.iter().map(listing).collect()
}

/// Whether `--replace=` stands where it may.
pub(crate) fn check_replace(given: &Given) -> Result<(), String> {
    match given.value("replace") {
        Some(path) if !path.starts_with('/') => Err("The argument to --replace= must be an absolute path.".into()),
        Some(path) if !path.ends_with(".conf") => {
            Err("The argument to --replace= must have the extension '.conf'.".into())
        }
        Some(_) if shown_of(given).is_some() => {
            Err("Option --replace= is not supported with --cat-config/--tldr.".into())
        }
        Some(_) if given.words.is_empty() => {
            Err("When --replace= is given, some configuration items must be specified.".into())
        }
        _ => Ok(()),
    }
}

/// Reads everything that is wanted.
fn read(root: &Root, kind: &str, wanted: &Wanted<'_>) -> Result<Vec<Source>, String> {
    let explain = |error: FileError| format!("Failed to enumerate {kind} files: {}", chain(&error));
    if wanted.replace.is_none() && (!wanted.arguments.is_empty() || wanted.is_inline) {
        return arguments(root, kind, wanted);
    }
    let mut sources = Vec::new();
    let listings = listings(root, kind).map_err(explain)?;
    let paths = match wanted.replace {
        Some(path) => folders::order_with(&listings, path),
        None => folders::order(&listings).into_iter().map(|path| (path, false)).collect(),
    };
    for (path, is_place_of_arguments) in paths {
        if is_place_of_arguments {
            sources.extend(arguments(root, kind, wanted)?);
            continue;
        }
        match root.read(&path, FILE_MAX) {
            Ok(Some(bytes)) => sources.push(source(shown(root, &path), &bytes, false)),
            // It went away since its folder was read.
            Ok(None) => {}
            Err(error) => eprintln!("Failed to open '{path}', ignoring: {}", chain(&error)),
        }
    }
    Ok(sources)
}

/// A path as messages have it: with the root before it.
pub(crate) fn shown(root: &Root, path: &str) -> String {
    if root.is_machine() { path.to_string() } else { format!("{}{path}", root.path().display()) }
}

fn source(path: String, bytes: &[u8], is_argument: bool) -> Source {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    Source { path, text: String::from_utf8_lossy(text).into_owned(), is_argument }
}

fn arguments(root: &Root, kind: &str, wanted: &Wanted<'_>) -> Result<Vec<Source>, String> {
    if wanted.is_inline {
        // One text a line, so that a fault names which argument it is.
        let text = wanted.arguments.join("\n");
        return Ok(vec![source("(command line)".into(), text.as_bytes(), true)]);
    }
    wanted.arguments.iter().map(|argument| one(root, kind, argument)).collect()
}

/// `-` is the standard input; a path is taken as it is, a bare name is looked for in the folders.
fn one(root: &Root, kind: &str, argument: &str) -> Result<Source, String> {
    let explain = |error: &dyn std::fmt::Display| format!("Failed to open '{argument}': {error}");
    if argument == "-" {
        let bytes = all_of(std::io::stdin().lock()).map_err(|error| explain(&error))?;
        return Ok(source("<stdin>".into(), &bytes, true));
    }
    if argument.contains('/') {
        let file = std::fs::File::open(argument).map_err(|error| explain(&error))?;
        let bytes = all_of(file).map_err(|error| explain(&error))?;
        return Ok(source(argument.to_string(), &bytes, true));
    }
    let found = strongest(root, &format!("{kind}/{argument}")).map_err(|error| explain(&chain(&error)))?;
    found.map(|found| Source { is_argument: true, ..found }).ok_or_else(|| explain(&"No such file or directory"))
}

/// Reads to the end, but not more than a file may have.
fn all_of(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let reach = u64::try_from(FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    source.take(reach).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_MAX {
        return Err(std::io::Error::other(format!("it is larger than the limit of {FILE_MAX} bytes")));
    }
    Ok(bytes)
}

/// How much of the files is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Everything.
    All,
    /// Lines that are neither empty nor comments.
    WithoutComments,
}

/// Prints the files with their paths. A reader who goes away ends it without an error.
fn show(sources: &[Source], shown: Shown) {
    let mut text = String::new();
    for (number, source) in sources.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        text.push_str(&format!("# {}\n", source.path));
        for line in source.text.lines() {
            let is_comment = line.trim_start().is_empty() || line.trim_start().starts_with(['#', ';']);
            if shown == Shown::All || !is_comment {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
