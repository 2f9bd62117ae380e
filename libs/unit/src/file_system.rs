//! Groups of file systems that `RestrictFileSystems=` may name, by the kernel's names of their types.

/// A group and its members.
const GROUPS: [(&str, &str); 10] = [
    ("@basic-api", "cgroup cgroup2 devpts devtmpfs mqueue proc sysfs"),
    ("@anonymous", "anon_inodefs pipefs sockfs"),
    ("@application", "autofs fuse overlay"),
    ("@auxiliary-api", "binfmt_misc configfs efivarfs fusectl hugetlbfs rpc_pipefs securityfs"),
    ("@common-block", "btrfs erofs exfat ext4 f2fs iso9660 ntfs3 squashfs udf vfat xfs"),
    ("@historical-block", "ext2 ext3 minix"),
    ("@network", "afs ceph cifs gfs gfs2 ncp ncpfs nfs nfs4 ocfs2 orangefs pvfs2 smb3 smbfs"),
    ("@privileged-api", "bpf debugfs pstore tracefs"),
    ("@security", "apparmorfs selinuxfs smackfs"),
    ("@temporary", "ramfs tmpfs"),
];
/// Types that are in no group.
const OTHERS: &str = "adfs affs balloon-kvm bcachefs bdev binder btrfs_test_fs coda cpuset cramfs dax devmem dmabuf \
    ecryptfs efs fuseblk gmem hostfs hpfs jffs2 msdos nilfs2 nsfs ntfs openpromfs pidfs ppc-cmm qnx4 qnx6 reiserfs \
    resctrl secretmem shiftfs usbdevfs v9fs vboxsf xenfs z3fold zonefs zsmalloc";

/// The names of all groups; the last one holds all types.
pub fn group_names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(name, _)| *name).chain(std::iter::once("@known"))
}

/// The types in a group.
pub fn group(name: &str) -> Option<Vec<&'static str>> {
    let words = |text: &'static str| text.split_ascii_whitespace();
    if name == "@known" {
        let mut all: Vec<&str> = GROUPS.iter().flat_map(|(_, members)| words(members)).chain(words(OTHERS)).collect();
        all.sort_unstable();
        return Some(all);
    }
    GROUPS.iter().find(|(have, _)| *have == name).map(|(_, members)| words(members).collect())
}

/// The types that are in no group.
pub fn ungrouped() -> impl Iterator<Item = &'static str> {
    OTHERS.split_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_is_in_one_group_at_most_and_all_are_known() {
        let known = group("@known").unwrap();
        assert!(known.windows(2).all(|pair| pair[0] < pair[1]), "{known:?}");
        let counted: usize =
            group_names().filter(|name| *name != "@known").map(|name| group(name).unwrap().len()).sum();
        assert_eq!(counted + ungrouped().count(), known.len());
        assert_eq!(group("@temporary").unwrap(), ["ramfs", "tmpfs"]);
        assert_eq!(group("@nope"), None);
    }
}
