//! Extended attributes, access control lists and file attributes of what a line names.

use ferrite_hostconf::tmpfiles::acl::{self, AclRequest, List};
use ferrite_hostconf::tmpfiles::attributes::{AttributeChange, FOLDERS_ONLY};
use ferrite_hostconf::tmpfiles::{Data, Item};
use rustix::fs::{FileType, IFlags, OFlags, XattrFlags};
use rustix::io::Errno;

use super::apply::Session;
use super::walk::{Node, proc_path, words};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
/// Bytes of an access control list.
const ACL_MAX: usize = 64 << 10;

/// Does what the item's data ask for.
pub(super) fn set(session: &Session<'_>, item: &Item, node: &Node, path: &str) -> Result<(), String> {
    let path = session.tree.shown(path);
    match &item.data {
        Data::Xattrs(pairs) => pairs.iter().try_for_each(|(name, value)| {
            session.would(|| format!("Would set extended attribute '{name}={value}' on {path}"));
            if session.is_dry_run {
                return Ok(());
            }
            rustix::fs::setxattr(proc_path(&node.fd), name, value.as_bytes(), XattrFlags::empty()).map_err(|error| {
                format!("Setting extended attribute {name}={value} on {path} failed: {}", words(error))
            })
        }),
        Data::Acl(request) => set_acls(session, request, item.is_forced, node, &path),
        Data::Attributes(change) => set_flags(session, *change, node, &path),
        Data::None | Data::Bytes(_) | Data::Path(_) | Data::Device(..) => Ok(()),
    }
}

fn set_acls(session: &Session<'_>, request: &AclRequest, adds: bool, node: &Node, path: &str) -> Result<(), String> {
    if node.kind() == FileType::Symlink {
        return Ok(());
    }
    let is_folder = node.kind() == FileType::Directory;
    if !is_folder && node.stat.st_nlink > 1 && !session.hard_links_are_protected() {
        return Err(format!(
            "Refusing to set ACLs on hardlinked file {path} while the fs.protected_hardlinks sysctl is turned off."
        ));
    }
    let base = acl::of_mode(node.stat.st_mode);
    let old = read(node, ACCESS).unwrap_or_else(|| base.clone());
    let access = acl::access_entries(request, &old, is_folder, adds);
    if !access.is_empty() {
        write(session, node, ACCESS, &acl::joined(&old, &access, &base, adds), path)?;
    }
    if is_folder && !request.default.is_empty() {
        let old = read(node, DEFAULT).unwrap_or_default();
        write(session, node, DEFAULT, &acl::joined(&old, &request.default, &base, adds), path)?;
    }
    Ok(())
}

fn read(node: &Node, name: &str) -> Option<List> {
    let mut buffer = vec![0; ACL_MAX];
    let length = rustix::fs::getxattr(proc_path(&node.fd), name, &mut buffer).ok()?;
    acl::decode(buffer.get(..length)?)
}

/// A file system without such lists is passed over.
fn write(session: &Session<'_>, node: &Node, name: &str, list: &List, path: &str) -> Result<(), String> {
    let which = if name == ACCESS { "access" } else { "default" };
    session.would(|| format!("Would set {which} ACL on {path}"));
    if session.is_dry_run {
        return Ok(());
    }
    match rustix::fs::setxattr(proc_path(&node.fd), name, &acl::encode(list), XattrFlags::empty()) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(format!("Setting {which} ACL on {path} failed: {}", words(error))),
    }
}

fn set_flags(session: &Session<'_>, change: AttributeChange, node: &Node, path: &str) -> Result<(), String> {
    let is_folder = node.kind() == FileType::Directory;
    // On a device the request would go to its driver.
    if !is_folder && node.kind() != FileType::RegularFile {
        return Err(format!(
            "Setting file flags is only supported on regular files and directories, cannot set on '{path}'."
        ));
    }
    let value = if is_folder { change.value } else { change.value & !FOLDERS_ONLY };
    session.would(|| format!("Would try to set file attributes 0x{:08x} on {path}", value & change.mask));
    if session.is_dry_run {
        return Ok(());
    }
    let file = node.reopen(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME);
    let file = file.map_err(|error| format!("Failed to reopen '{path}': {}", words(error)))?;
    let changed = rustix::fs::ioctl_getflags(&file).and_then(|old| {
        let new = IFlags::from_bits_retain(old.bits() & !change.mask | value & change.mask);
        if new == old { Ok(()) } else { rustix::fs::ioctl_setflags(&file, new) }
    });
    match changed {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::NOSYS) => {}
        Err(error) => eprintln!("Cannot set file attributes for '{path}', ignoring: {}", words(error)),
    }
    Ok(())
}
