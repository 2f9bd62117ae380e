//! The keys of files, mounts, swap and data disks. Pure.

use crate::decode::{self, Encoding};
use crate::document::{Node, Value};
use crate::fault::{Faults, Severity};
use crate::language::{Key, Kind};
use crate::rules;

const LINE: Kind = Kind::Scalar(rules::line);

/// `write_files`.
pub(crate) const FILES: Kind = Kind::Count(&Kind::Map(FILE, Some(file_together)), 1, usize::MAX);
/// `mounts`.
pub(crate) const MOUNTS: Kind =
    Kind::Count(&Kind::Count(&Kind::OneOf(&[LINE, Kind::Null], "text or nothing"), 1, 6), 1, usize::MAX);
/// `disk_setup`.
pub(crate) const DISK_SETUP: Kind = Kind::Table(&Kind::Map(DISK, Some(disk_together)));
/// `fs_setup`.
pub(crate) const FS_SETUP: Kind = Kind::List(&Kind::Map(FILE_SYSTEM, Some(file_system_together)));

static FILE: &[Key] = &[
    Key::new("path", Kind::Text(rules::path), "where the file is; missing folders are made").required(),
    Key::new("content", Kind::Bytes, "what is in it"),
    Key::new("owner", Kind::Text(rules::owner), "user and group; root:root without it"),
    Key::new("permissions", Kind::Mode, "in octal; 0644 without it"),
    Key::new("encoding", Kind::Words(Encoding::WORDS), "how 'content' is written"),
    Key::new("append", Kind::Bool, "add to the file that is there"),
    Key::new("defer", Kind::Bool, "write it after all others"),
    Key::new("source", Kind::Map(SOURCE, None), "fetch the content; 'content' is used when that fails"),
];

static SOURCE: &[Key] = &[
    Key::new("uri", Kind::Text(rules::line), "where from").required(),
    Key::new("headers", Kind::Table(&LINE), "headers of the request"),
];

/// `swap`.
pub(crate) static SWAP: &[Key] = &[
    Key::new("filename", Kind::Text(rules::path), "the file"),
    Key::new("size", Kind::Scalar(rules::size), "bytes, or with K, M, G; 'auto' for a size by the memory"),
    Key::new("maxsize", Kind::Scalar(rules::size), "at most so much when the size is 'auto'"),
];

static DISK: &[Key] = &[
    Key::new("table_type", Kind::Words(&["mbr", "gpt"]), "the kind of the partition table"),
    Key::new(
        "layout",
        Kind::OneOf(&[Kind::Bool, Kind::Words(&["remove"]), Kind::List(&SLICE)], "true, false, or a list of shares"),
        "shares of the disk in percent",
    ),
    Key::new("overwrite", Kind::Bool, "replace what is there, once for an instance"),
];

const SLICE: Kind = Kind::OneOf(&[Kind::Int, Kind::List(&LINE)], "a share in percent, or [share, type]");

static FILE_SYSTEM: &[Key] = &[
    Key::new("label", Kind::Text(rules::line), "the label"),
    Key::new("filesystem", Kind::Text(rules::line), "ext4, xfs or another"),
    Key::new("device", Kind::Text(rules::line), "the disk or partition"),
    Key::new("partition", Kind::Scalar(partition), "'auto', 'any', 'none' or a number"),
    Key::new("overwrite", Kind::Bool, "replace what is there, once for an instance"),
    Key::new("replace_fs", Kind::Text(rules::line), "the kind that may be replaced"),
    Key::new(
        "extra_opts",
        Kind::OneOf(&[Kind::Text(rules::line), Kind::List(&LINE)], "text or a list"),
        "options of mkfs",
    ),
    Key::new(
        "cmd",
        Kind::OneOf(&[Kind::Text(rules::line), Kind::List(&LINE)], "a command"),
        "instead of mkfs; %(device)s, %(filesystem)s and %(label)s are replaced",
    ),
];

fn partition(text: &str) -> Result<(), String> {
    if matches!(text, "auto" | "any" | "none") || text.parse::<u16>().is_ok() {
        return Ok(());
    }
    Err(format!("'{}' must be 'auto', 'any', 'none' or a number", crate::check::short(text)))
}

/// The shares must fit on the disk.
fn disk_together(disk: &Node, faults: &mut Faults) -> bool {
    match crate::plan_disks::disk(String::new(), disk) {
        Ok(_) => true,
        Err(message) => {
            faults.push(Severity::Error, disk.get("layout").map_or(disk.place, |layout| layout.place), message);
            false
        }
    }
}

/// Without a device there is nothing to make it on.
fn file_system_together(system: &Node, faults: &mut Faults) -> bool {
    let missing = ["device", "filesystem"].into_iter().find(|key| system.get(key).is_none());
    let missing = missing.filter(|key| *key == "device" || system.get("cmd").is_none());
    if let Some(missing) = missing {
        faults.push(Severity::Error, system.place, format!("'{missing}' is missing; it must be given here"));
    }
    missing.is_none()
}

/// The content must be what the encoding says, and the place one that can be written to.
fn file_together(file: &Node, faults: &mut Faults) -> bool {
    if let Some(path) = file.get("path")
        && path.text().is_some_and(|path| path.starts_with("/usr/"))
    {
        // Documents of other systems put their programs below /usr/local, which is a warning; the rest belongs to
        // the image, as it did on CoreOS.
        let is_local = path.text().is_some_and(|path| path.starts_with("/usr/local/"));
        let message = "nothing can be written below /usr of the image; use /etc or /var";
        faults.push(if is_local { Severity::Warning } else { Severity::Desk }, path.place, message);
    }
    let Some(content) = file.get("content") else {
        return true;
    };
    let encoding = Encoding::parse(file.get("encoding").and_then(Node::text).unwrap_or_default());
    let outcome = match &content.value {
        Value::Text(text) => decode::decode(text.as_bytes(), encoding).map(|_| ()),
        Value::Binary(text) => {
            decode::base64(text.as_bytes()).and_then(|bytes| decode::decode(&bytes, encoding)).map(|_| ())
        }
        Value::Null | Value::Other(_) | Value::List(_) | Value::Map(_) => return false,
    };
    match outcome {
        Ok(()) => true,
        Err(message) => {
            faults.push(Severity::Error, content.place, message);
            false
        }
    }
}
