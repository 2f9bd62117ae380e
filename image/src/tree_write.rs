//! Writes a tree out: as a tar stream that keeps owners without privilege, or into a folder.

use super::{Kind, Node, Tree, TreeError};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

impl Tree {
    /// Writes the tree as a tar stream, sorted, every time set to `mtime`: the same tree gives the same bytes.
    pub fn to_tar(&self, out: impl Write, mtime: u64) -> Result<(), TreeError> {
        let mut builder = tar::Builder::new(out);
        for (path, node) in self.iter() {
            append(&mut builder, path, node, mtime)
                .map_err(|source| TreeError::Write { path: path.to_owned(), source })?;
        }
        builder
            .into_inner()
            .and_then(|mut out| out.flush())
            .map_err(|source| TreeError::Write { path: "/".to_owned(), source })
    }

    /// Writes the tree into an existing folder with the modes but without the owners.
    pub fn write_to_dir(&self, dir: &Path) -> Result<(), TreeError> {
        for (path, node) in self.iter() {
            write(&dir.join(path.trim_start_matches('/')), node)
                .map_err(|source| TreeError::Write { path: path.to_owned(), source })?;
        }
        Ok(())
    }
}

fn append(builder: &mut tar::Builder<impl Write>, path: &str, node: &Node, mtime: u64) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(node.mode);
    header.set_uid(u64::from(node.uid));
    header.set_gid(u64::from(node.gid));
    header.set_mtime(mtime);
    let name = path.trim_start_matches('/');
    match &node.kind {
        Kind::Dir => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            builder.append_data(&mut header, format!("{name}/"), io::empty())
        }
        Kind::File(content) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(content.size());
            builder.append_data(&mut header, name, content.open()?)
        }
        Kind::Symlink(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, name, target)
        }
    }
}

fn write(path: &Path, node: &Node) -> io::Result<()> {
    match &node.kind {
        Kind::Dir => {
            std::fs::create_dir_all(path)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(node.mode))
        }
        Kind::File(content) => {
            let mut file = std::fs::File::create(path)?;
            io::copy(&mut content.open()?, &mut file)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(node.mode))
        }
        Kind::Symlink(target) => symlink(target, path),
    }
}
