//! The directives of paths, images and credentials of [`crate::sandbox`], and what their values mean. Pure.

use crate::directive::{Table, Value};
use crate::lists::{absolute, each_escaped, each_raw, parts, push};
use crate::sandbox::{
    BindMount, ImageMount, ImportCredential, LoadCredential, Mounts, NamespacePath, Propagation, Sandbox,
    SetCredential, TemporaryFileSystem,
};
use crate::sandbox_table::{flag, tristate};
use crate::value::{Parsed, ValueError, wrong};
use crate::words::Escapes;

/// Kinds of partitions that options may name.
const PARTITIONS: [&str; 12] = [
    "root",
    "usr",
    "home",
    "srv",
    "esp",
    "xbootldr",
    "swap",
    "root-verity",
    "usr-verity",
    "root-verity-sig",
    "usr-verity-sig",
    "tmp",
];

/// Bytes of one credential in a unit file.
const CREDENTIAL_MAX: usize = 1024 * 1024;

fn namespace_paths(list: &mut Vec<NamespacePath>, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    each_raw(value.raw, Escapes::Plain, |word| {
        let path = word.strip_prefix('-').unwrap_or(&word);
        let optional = path.len() < word.len();
        let plain = path.strip_prefix('+').unwrap_or(path);
        let below_root = plain.len() < path.len();
        let path = absolute(&value.specifiers.expand(plain)?)?;
        push(list, NamespacePath { path, optional, below_root })
    })
}

fn bind_paths(mounts: &mut Mounts, value: &Value<'_>, read_only: bool) -> Parsed<()> {
    if value.is_empty() {
        mounts.bind.clear();
        return Ok(());
    }
    each_escaped(value.raw, |word| {
        let fields = parts(word)?;
        let text = |at: usize| fields.get(at).map(|field| value.specifiers.expand(field)).transpose();
        let first = text(0)?.unwrap_or_default();
        let plain = first.strip_prefix('-');
        let source = absolute(plain.unwrap_or(&first))?;
        let destination = text(1)?.map_or(Ok(source.clone()), |path| absolute(&path))?;
        let recursive = match fields.get(2).map(String::as_str) {
            None | Some("" | "rbind") => true,
            Some("norbind") => false,
            Some(other) => return Err(wrong(other, "rbind or norbind")),
        };
        if fields.len() > 3 {
            return Err(wrong(word, "source:destination:options"));
        }
        push(&mut mounts.bind, BindMount { source, destination, read_only, recursive, optional: plain.is_some() })
    })
}

fn temporary(mounts: &mut Mounts, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        mounts.temporary.clear();
        return Ok(());
    }
    each_raw(value.raw, Escapes::Plain, |word| {
        let (path, options) = word.split_once(':').unwrap_or((&word, ""));
        let path = absolute(&value.specifiers.expand(path)?)?;
        push(&mut mounts.temporary, TemporaryFileSystem { path, options: options.to_owned() })
    })
}

/// Pairs of a partition and mount options; options alone are those of the root partition.
fn partition_options(fields: &[String], value: &Value<'_>) -> Parsed<Vec<(String, String)>> {
    let mut options = Vec::new();
    for pair in fields.chunks(2) {
        let (partition, text) = match pair {
            [partition, text] => (partition.as_str(), text),
            [text] => ("root", text),
            _ => continue,
        };
        if !PARTITIONS.contains(&partition) {
            return Err(wrong(partition, "a kind of partition such as root"));
        }
        options.push((partition.to_owned(), value.specifiers.expand(text)?));
    }
    Ok(options)
}

fn root_options(mounts: &mut Mounts, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        mounts.root_image_options.clear();
        return Ok(());
    }
    each_escaped(value.raw, |word| {
        mounts.root_image_options.extend(partition_options(&parts(word)?, value)?);
        Ok(())
    })
}

fn images(list: &mut Vec<ImageMount>, value: &Value<'_>, mounted: bool) -> Parsed<()> {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    each_escaped(value.raw, |word| {
        let fields = parts(word)?;
        let first = fields.first().map_or("", String::as_str);
        let plain = first.strip_prefix('-');
        let source = absolute(&value.specifiers.expand(plain.unwrap_or(first))?)?;
        let (destination, rest) = match fields.get(1) {
            Some(path) if mounted => (absolute(&value.specifiers.expand(path)?)?, fields.get(2..)),
            None if mounted => return Err(wrong(word, "an image and a destination")),
            _ => (String::new(), fields.get(1..)),
        };
        let options = partition_options(rest.unwrap_or_default(), value)?;
        push(list, ImageMount { source, destination, optional: plain.is_some(), options })
    })
}

fn root_hash(value: &Value<'_>) -> Parsed<Option<String>> {
    let text = value.raw;
    let digits = text.len() >= 32 && text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text {
        "" => Ok(None),
        _ if text.starts_with('/') => Ok(Some(text.to_owned())),
        _ if digits => Ok(Some(text.to_ascii_lowercase())),
        other => Err(wrong(other, "a path or at least 32 hexadecimal digits")),
    }
}

fn root_signature(value: &Value<'_>) -> Parsed<Option<String>> {
    match value.raw {
        "" => Ok(None),
        text if text.starts_with('/') || text.starts_with("base64:") => Ok(Some(text.to_owned())),
        other => Err(wrong(other, "a path or base64: and data")),
    }
}

fn path(value: &Value<'_>) -> Parsed<Option<String>> {
    value.optional()?.map(|path| absolute(&path)).transpose()
}

fn search_path(mounts: &mut Mounts, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        mounts.exec_search_path.clear();
        return Ok(());
    }
    for directory in value.raw.split(':') {
        push(&mut mounts.exec_search_path, absolute(&value.specifiers.expand(directory)?)?)?;
    }
    Ok(())
}

fn propagation(value: &Value<'_>) -> Parsed<Option<Propagation>> {
    match value.raw {
        "" => Ok(None),
        "shared" => Ok(Some(Propagation::Shared)),
        "slave" => Ok(Some(Propagation::Slave)),
        "private" => Ok(Some(Propagation::Private)),
        other => Err(wrong(other, "shared, slave or private")),
    }
}

fn policy(mounts: &mut Mounts, value: &Value<'_>, directive: &str) -> Parsed<()> {
    mounts.image_policies.retain(|(name, _)| name != directive);
    if !value.is_empty() {
        mounts.image_policies.push((directive.to_owned(), value.raw.to_owned()));
    }
    Ok(())
}

/// May a credential have this name?
fn credential_name(name: &str) -> Parsed<String> {
    let valid = !name.is_empty()
        && name.len() <= 255
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_control());
    if valid { Ok(name.to_owned()) } else { Err(wrong(name, "a name of a credential")) }
}

fn set_credential(sandbox: &mut Sandbox, value: &Value<'_>, encrypted: bool) -> Parsed<()> {
    if value.is_empty() {
        sandbox.set_credentials.clear();
        return Ok(());
    }
    let (name, text) = value.raw.split_once(':').ok_or_else(|| wrong(value.raw, "a name, a colon and data"))?;
    let name = credential_name(&value.specifiers.expand(name)?)?;
    let data = if encrypted {
        crate::unescape::base64(text).ok_or_else(|| ValueError("the data is not base64".into()))?
    } else {
        crate::unescape::unescape(text)?
    };
    if data.len() > CREDENTIAL_MAX {
        return Err(ValueError(format!("the data is longer than {CREDENTIAL_MAX} bytes")));
    }
    sandbox.set_credentials.retain(|have| have.name != name);
    push(&mut sandbox.set_credentials, SetCredential { name, data, encrypted })
}

fn load_credential(sandbox: &mut Sandbox, value: &Value<'_>, encrypted: bool) -> Parsed<()> {
    if value.is_empty() {
        sandbox.load_credentials.clear();
        return Ok(());
    }
    let (name, rest) = value.raw.split_once(':').unwrap_or((value.raw, ""));
    let name = credential_name(&value.specifiers.expand(name)?)?;
    let source = match value.specifiers.expand(rest)? {
        none if none.is_empty() => name.clone(),
        path if path.starts_with('/') => {
            if crate::escape::simplify_path(&path).is_none() {
                return Err(wrong(&path, "a path without '..'"));
            }
            path
        }
        other => credential_name(&other)?,
    };
    sandbox.load_credentials.retain(|have| have.name != name);
    push(&mut sandbox.load_credentials, LoadCredential { name, source, encrypted })
}

fn import_credential(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        sandbox.import_credentials.clear();
        return Ok(());
    }
    let (glob, rename) = value.raw.split_once(':').unwrap_or((value.raw, ""));
    let glob = value.specifiers.expand(glob)?;
    let stem = glob.strip_suffix('*').unwrap_or(&glob);
    if stem.contains(['*', '?', '[']) {
        return Err(wrong(&glob, "a name, or its beginning and '*'"));
    }
    if !stem.is_empty() {
        credential_name(stem)?;
    }
    if !rename.is_empty() {
        credential_name(rename)?;
    }
    let entry = ImportCredential { glob, rename: rename.to_owned() };
    if sandbox.import_credentials.contains(&entry) {
        return Ok(());
    }
    push(&mut sandbox.import_credentials, entry)
}

macro_rules! paths {
    ($field:ident) => {
        |sandbox, value| namespace_paths(&mut sandbox.mounts.$field, value)
    };
}

macro_rules! set {
    ($field:ident, $read:expr) => {
        |sandbox, value| {
            sandbox.mounts.$field = $read(value)?;
            Ok(())
        }
    };
}

pub(crate) const TABLE: Table<Sandbox> = &[
    ("RootDirectory", set!(root_directory, path)),
    ("RootImage", set!(root_image, path)),
    ("RootImageOptions", |sandbox, value| root_options(&mut sandbox.mounts, value)),
    ("RootImagePolicy", |sandbox, value| policy(&mut sandbox.mounts, value, "RootImagePolicy")),
    ("RootHash", set!(root_hash, root_hash)),
    ("RootHashSignature", set!(root_hash_signature, root_signature)),
    ("RootVerity", set!(root_verity, path)),
    ("RootEphemeral", set!(root_ephemeral, flag)),
    ("ExtensionDirectories", paths!(extension_directories)),
    ("ExtensionImages", |sandbox, value| images(&mut sandbox.mounts.extension_images, value, false)),
    ("ExtensionImagePolicy", |sandbox, value| policy(&mut sandbox.mounts, value, "ExtensionImagePolicy")),
    ("MountImages", |sandbox, value| images(&mut sandbox.mounts.mount_images, value, true)),
    ("MountImagePolicy", |sandbox, value| policy(&mut sandbox.mounts, value, "MountImagePolicy")),
    ("ReadWritePaths", paths!(read_write)),
    ("ReadOnlyPaths", paths!(read_only)),
    ("InaccessiblePaths", paths!(inaccessible)),
    ("ReadWriteDirectories", paths!(read_write)),
    ("ReadOnlyDirectories", paths!(read_only)),
    ("InaccessibleDirectories", paths!(inaccessible)),
    ("ExecPaths", paths!(exec)),
    ("NoExecPaths", paths!(no_exec)),
    ("ExecSearchPath", |sandbox, value| search_path(&mut sandbox.mounts, value)),
    ("BindPaths", |sandbox, value| bind_paths(&mut sandbox.mounts, value, false)),
    ("BindReadOnlyPaths", |sandbox, value| bind_paths(&mut sandbox.mounts, value, true)),
    ("TemporaryFileSystem", |sandbox, value| temporary(&mut sandbox.mounts, value)),
    ("MountFlags", set!(propagation, propagation)),
    ("PrivateMounts", set!(private_mounts, tristate)),
    ("MountAPIVFS", set!(api_vfs, tristate)),
    ("BindLogSockets", set!(bind_log_sockets, tristate)),
    ("SetCredential", |sandbox, value| set_credential(sandbox, value, false)),
    ("SetCredentialEncrypted", |sandbox, value| set_credential(sandbox, value, true)),
    ("LoadCredential", |sandbox, value| load_credential(sandbox, value, false)),
    ("LoadCredentialEncrypted", |sandbox, value| load_credential(sandbox, value, true)),
    ("ImportCredential", import_credential),
];
