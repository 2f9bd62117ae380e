//! Opens a Debian package file: `ar` around compressed tar archives.
//!
//! A package is unpacked once, into a plain tar in the cache; a tree then refers to byte ranges of that file, so an
//! image is planned without copying a byte. On the way, compressed kernel modules become plain ones: the root is
//! compressed as a whole, and an update of it is smaller that way.

use crate::tree::{Content, Kind, Node, Origin, Tree, usr_merged};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// Writes the files of a package as a plain tar.
pub(super) fn unpack(deb: &Path, out: &File) -> Result<()> {
    let file = File::open(deb).with_context(|| format!("opening '{}'", deb.display()))?;
    let mut members = ar::Archive::new(BufReader::new(file));
    while let Some(member) = members.next_entry() {
        let member = member.context("reading the ar archive")?;
        let name = String::from_utf8_lossy(member.header().identifier()).into_owned();
        let Some(suffix) = name.strip_prefix("data.tar") else { continue };
        let reader: Box<dyn Read + '_> = match suffix {
            "" => Box::new(member),
            ".xz" => Box::new(liblzma::read::XzDecoder::new(member)),
            ".zst" => Box::new(zstd::Decoder::new(member)?),
            other => bail!("its data is compressed as '{other}'; xz and zst are known"),
        };
        return copy_tar(reader, BufWriter::new(out));
    }
    bail!("it has no data.tar member")
}

fn copy_tar(reader: impl Read, writer: impl Write) -> Result<()> {
    let mut builder = tar::Builder::new(writer);
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let mut header = entry.header().clone();
        let path = entry.path()?.into_owned();
        let plain =
            path.to_str().filter(|path| path.contains("lib/modules/")).and_then(|path| path.strip_suffix(".xz"));
        match (header.entry_type(), plain) {
            (tar::EntryType::Regular, Some(plain)) => {
                let mut module = Vec::new();
                liblzma::read::XzDecoder::new(entry).read_to_end(&mut module).with_context(|| format!("in {plain}"))?;
                header.set_size(module.len() as u64);
                builder.append_data(&mut header, plain, &module[..])?;
            }
            (tar::EntryType::Symlink | tar::EntryType::Link, _) => {
                let target = entry.link_name()?.context("a link without a target")?.into_owned();
                builder.append_link(&mut header, &path, target)?;
            }
            _ => builder.append_data(&mut header, &path, &mut entry)?,
        }
    }
    builder.into_inner()?.flush()?;
    Ok(())
}

/// The tree of an unpacked package; contents stay in the tar.
pub(super) fn index(tar: &Path, origin: &Origin) -> Result<Tree> {
    let shared: Arc<Path> = tar.into();
    let mut archive = tar::Archive::new(BufReader::new(File::open(tar)?));
    let mut tree = Tree::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let path = absolute(&entry.path()?)?;
        if path == "/" || ["/bin", "/sbin", "/lib", "/lib64"].contains(&path.as_str()) {
            continue;
        }
        let header = entry.header();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => Kind::Dir,
            tar::EntryType::Regular => Kind::File(Content::Slice {
                file: Arc::clone(&shared),
                offset: entry.raw_file_position(),
                size: entry.size(),
            }),
            tar::EntryType::Symlink => {
                Kind::Symlink(entry.link_name()?.context("a link without a target")?.to_string_lossy().into_owned())
            }
            tar::EntryType::Link => {
                let target = usr_merged(&absolute(&entry.link_name()?.context("a link without a target")?)?);
                let node =
                    tree.get(&target).with_context(|| format!("{path} is a link to {target}, which is missing"))?;
                node.kind.clone()
            }
            other => bail!("{path} is a {other:?}, which an image cannot hold"),
        };
        let id = |id: io::Result<u64>| id.map(|id| u32::try_from(id).unwrap_or(0));
        let (mode, uid, gid) = (header.mode()?, id(header.uid())?, id(header.gid())?);
        tree.insert(&path, Node { mode: mode & 0o7777, uid, gid, kind, origin: Arc::clone(origin) })?;
    }
    Ok(tree)
}

/// `./usr/bin/` as `/usr/bin`.
fn absolute(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("the name '{}' is not UTF-8", path.display()))?;
    let text = text.strip_prefix('.').unwrap_or(text).trim_matches('/');
    Ok(format!("/{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(data_name: &str, data: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut builder = ar::Builder::new(file.as_file());
        for (name, bytes) in [("debian-binary", &b"2.0\n"[..]), (data_name, data)] {
            builder.append(&ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64), bytes).unwrap();
        }
        file
    }

    fn data() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind: tar::EntryType, mode: u32, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(bytes.len() as u64);
            header.set_uid(0);
            header.set_gid(0);
            builder.append_data(&mut header, path, bytes).unwrap();
        };
        let module = liblzma::encode_all(&b"module"[..], 1).unwrap();
        add("./lib/", tar::EntryType::Directory, 0o755, b"");
        add("./lib/modules/6.12/a.ko.xz", tar::EntryType::Regular, 0o644, &module);
        add("./bin/su", tar::EntryType::Regular, 0o4755, b"program");
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        header.set_mode(0o4755);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_link(&mut header, "./bin/hard", "./bin/su").unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_package_lands_in_usr_with_plain_modules_and_no_hard_links() {
        let packed = liblzma::encode_all(&data()[..], 1).unwrap();
        let file = deb("data.tar.xz", &packed);
        let out = tempfile::NamedTempFile::new().unwrap();
        unpack(file.path(), out.as_file()).unwrap();
        let tree = index(out.path(), &"p".into()).unwrap();
        let read = |path: &str| tree.read(path).unwrap().unwrap();
        assert_eq!(read("/usr/lib/modules/6.12/a.ko"), b"module");
        assert_eq!(read("/usr/bin/su"), b"program");
        assert_eq!(read("/usr/bin/hard"), b"program");
        assert_eq!(tree.get("/usr/bin/su").unwrap().mode, 0o4755);
        assert!(tree.get("/bin").is_none());
    }

    #[test]
    fn an_unknown_compression_is_named() {
        let out = tempfile::NamedTempFile::new().unwrap();
        let error = unpack(deb("data.tar.bz2", b"x").path(), out.as_file()).unwrap_err();
        assert!(error.to_string().contains("'.bz2'"), "{error}");
        let error = unpack(deb("other", b"x").path(), out.as_file()).unwrap_err();
        assert!(error.to_string().contains("no data.tar"), "{error}");
    }
}
