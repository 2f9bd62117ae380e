//! Mode and owner of what a line names.
//!
//! Between two changes nothing has more rights than before and after: the mode is first narrowed to what both have.

use ferrite_hostconf::tmpfiles::{Item, Mode};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Stat, Uid};

use super::apply::Session;
use super::walk::{Node, proc_path, words};

/// Whether what is there was made by this line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Creation {
    /// It was.
    New,
    /// It was there before.
    Existing,
}

/// Gives mode and owner.
pub(super) fn set(
    session: &Session<'_>,
    item: &Item,
    fd: &OwnedFd,
    path: &str,
    creation: Creation,
) -> Result<(), String> {
    if !item.mode.is_set && item.user.is_none() && item.group.is_none() {
        return Ok(());
    }
    let path = session.tree.shown(path);
    let stat = rustix::fs::fstat(fd).map_err(|error| format!("fstat({path}) failed: {}", words(error)))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::Directory && stat.st_nlink > 1 && !session.hard_links_are_protected() {
        return Err(format!(
            "Refusing to set permissions on hardlinked file {path} while the fs.protected_hardlinks sysctl is turned \
             off."
        ));
    }
    let wanted = |owner: Option<ferrite_hostconf::tmpfiles::Owner>, old: u32| match owner {
        Some(owner) if creation == Creation::New || !owner.only_new => owner.id,
        _ => old,
    };
    let (uid, gid) = (wanted(item.user, stat.st_uid), wanted(item.group, stat.st_gid));
    let changes_owner = uid != stat.st_uid || gid != stat.st_gid;
    let mode = wanted_mode(&item.mode, &stat, creation);
    let changes_mode = (mode ^ stat.st_mode) & 0o7777 != 0;
    if changes_mode && changes_owner && kind != FileType::Symlink {
        let narrow = mode & stat.st_mode & 0o7777;
        if narrow != stat.st_mode & 0o7777 {
            change_mode(session, fd, narrow, &path, "temporarily change")?;
        }
    }
    if changes_owner {
        session.would(|| format!("Would change \"{path}\" to owner {uid}:{gid}"));
        if !session.is_dry_run {
            let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
            let user = Some(user).filter(|_| uid != stat.st_uid);
            let group = Some(group).filter(|_| gid != stat.st_gid);
            rustix::fs::chownat(fd, "", user, group, AtFlags::EMPTY_PATH)
                .map_err(|error| format!("fchownat() of {path} failed: {}", words(error)))?;
        }
    }
    // A change of the owner takes set-id bits away, so the mode is given again after it.
    if (changes_mode || changes_owner) && kind != FileType::Symlink {
        change_mode(session, fd, mode, &path, "change")?;
    }
    Ok(())
}

fn change_mode(session: &Session<'_>, fd: &OwnedFd, mode: u32, path: &str, verb: &str) -> Result<(), String> {
    session.would(|| format!("Would {verb} \"{path}\" to mode {mode:o}"));
    if session.is_dry_run {
        return Ok(());
    }
    rustix::fs::chmodat(CWD, proc_path(fd), rustix::fs::Mode::from_raw_mode(mode), AtFlags::empty())
        .map_err(|error| format!("fchmod() of {path} failed: {}", words(error)))
}

fn wanted_mode(wanted: &Mode, stat: &Stat, creation: Creation) -> u32 {
    if !wanted.is_set || (creation == Creation::Existing && wanted.only_new) {
        return stat.st_mode & 0o7777;
    }
    if wanted.is_masked { masked(wanted.bits, stat.st_mode) } else { wanted.bits }
}

/// Takes away the bits of a class that the file has for nobody; set-id and sticky bits stay on folders only.
fn masked(mut mode: u32, current: u32) -> u32 {
    for class in [0o111, 0o222, 0o444] {
        if current & class == 0 {
            mode &= !class;
        }
    }
    if FileType::from_raw_mode(current) != FileType::Directory {
        mode &= !0o7000;
    }
    mode
}

/// The same for something that was found.
pub(super) fn set_existing(session: &Session<'_>, item: &Item, node: &Node, path: &str) -> Result<(), String> {
    set(session, item, &node.fd, path, Creation::Existing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_mode_takes_what_the_file_has() {
        let cases = [
            (0o2777, 0o100644, 0o666),
            (0o2777, 0o100755, 0o777),
            (0o2777, 0o040700, 0o2777),
            (0o750, 0o100400, 0o440),
        ];
        for (mode, current, want) in cases {
            assert_eq!(masked(mode, current), want, "{mode:o} {current:o}");
        }
    }
}
