//! Makes the state partition as shipped: an EMPTY ext4 file system, filled and grown by the machine on its first
//! boot.
//!
//! Room to grow: `resize=` reserves the block group descriptors for 8 TiB (1024 blocks, the most that the resize
//! inode holds with 64-byte descriptors). A larger disk works too: when the reserve is used up the kernel goes over
//! to meta_bg by itself, and 64bit lifts the limit of 16 TiB. Growth to 9 TiB with Linux 6.12 was checked. (One call
//! from 256 MiB to 4 TiB trips a BUG of that kernel, with and without meta_bg from the start; early boot therefore
//! grows in steps of whole flex groups.)
//!
//! All features are named here, whatever mke2fs.conf says; Linux 6.12 and e2fsprogs 1.47 know them all.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use uuid::Uuid;

use crate::workshop::{self, Workshop};

const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,\
                        large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
/// 8 TiB in blocks of 4 KiB.
const GROWTH_BLOCKS: u64 = 1 << 31;

/// The arguments of mke2fs, but for the file.
pub fn mke2fs_arguments(label: &str, uuid: Uuid, hash_seed: Uuid) -> Vec<String> {
    // The file is new and sparse: its inode tables are zero already, and the machine need not zero them again.
    let extended = format!(
        "nodiscard,assume_storage_prezeroed=1,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0,\
         hash_seed={hash_seed},resize={GROWTH_BLOCKS}"
    );
    let fixed = ["-q", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-m", "1", "-J", "size=32"];
    let mut arguments: Vec<String> = fixed.map(String::from).to_vec();
    let named = [("-L", label.to_string()), ("-U", uuid.to_string()), ("-O", FEATURES.to_string()), ("-E", extended)];
    arguments.extend(named.into_iter().flat_map(|(option, value)| [option.to_string(), value]));
    arguments
}

/// Writes the file system into a new sparse file.
pub fn make(shop: &Workshop, path: &Path, size: u64, arguments: &[String]) -> anyhow::Result<()> {
    File::create(path).with_context(|| format!("creating '{}'", path.display()))?.set_len(size)?;
    workshop::run(shop.tools.command("mke2fs")?.args(arguments).arg(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_file_system_is_left_to_chance() {
        let line = mke2fs_arguments("ferrite-state", Uuid::from_u128(1), Uuid::from_u128(2)).join(" ");
        for part in [
            "-U 00000000-0000-0000-0000-000000000001",
            "hash_seed=00000000-0000-0000-0000-000000000002",
            "resize=2147483648",
            "root_owner=0:0",
            "-O none,has_journal",
            "-L ferrite-state",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}
