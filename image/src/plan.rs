//! What an image will be: the disk, its GUIDs, the arguments of every tool. Pure; prints as text.

use std::fmt;

use ferrite_boards::Board;
use ferrite_layout::Part;
use ferrite_layout::disk::{DiskPlan, SizeError, Sizes, guid};
use uuid::Uuid;

const MIB: u64 = 1 << 20;
/// Namespace of all GUIDs that images are built with.
const NAMESPACE: Uuid = Uuid::from_u128(0x7d2c_5b0e_93a4_4f6e_8d51_fe44_17e0_0001);

/// Everything about an image but its bytes.
#[derive(Clone, Debug)]
pub struct ImagePlan {
    /// The board.
    pub board: Board,
    /// Version of the image.
    pub version: String,
    /// The time that every file is dated, in seconds since 1970.
    pub epoch: u64,
    /// Partitions and their places.
    pub disk: DiskPlan,
    seed: Uuid,
}

impl ImagePlan {
    /// Lays out the disk of a board.
    pub fn new(board: Board, version: &str, epoch: u64) -> Result<Self, SizeError> {
        let standard = Sizes::default();
        let choose = |mib: Option<u32>, standard: u64| mib.map_or(standard, |mib| u64::from(mib) * MIB);
        let sizes = Sizes {
            boot_bytes: choose(board.disk.boot_mib, standard.boot_bytes),
            root_bytes: choose(board.disk.root_mib, standard.root_bytes),
            state_bytes: choose(board.disk.state_mib, standard.state_bytes),
            ..standard
        };
        let seed = guid(NAMESPACE, &format!("{} {version}", board.name));
        let disk = DiskPlan::new(&sizes, seed)?;
        Ok(Self { board, version: version.to_string(), epoch, disk, seed })
    }

    /// The UUID of a file system or tree of the image.
    pub fn uuid(&self, name: &str) -> Uuid {
        guid(self.seed, name)
    }

    /// The volume id of a FAT partition.
    pub fn volume_id(&self, part: Part) -> u32 {
        self.uuid(part.name()).as_fields().0
    }

    /// Length of a partition in bytes.
    pub fn size(&self, part: Part) -> u64 {
        self.disk.extent(part).size_bytes()
    }

    /// The name that the image's files begin with.
    pub fn name(&self) -> String {
        format!("ferrite-{}-{}", self.board.name, self.version)
    }
}

impl fmt::Display for ImagePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "image {} dated {}", self.name(), self.epoch)?;
        writeln!(f, "kernel {}", self.board.kernel)?;
        write!(f, "{}", self.disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn board() -> Board {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.yaml");
        std::fs::write(&path, "name: x\ndescription: x\nkernel: linux-image-amd64\ndisk: { root-mib: 512 }\n").unwrap();
        Board::load(&path, Path::new("/nonexistent")).unwrap()
    }

    #[test]
    fn a_board_chooses_sizes_and_the_layout_the_rest() {
        let plan = ImagePlan::new(board(), "1.0", 9).unwrap();
        assert_eq!((plan.size(Part::RootB) >> 20, plan.size(Part::BootA) >> 20), (512, 128));
        assert_eq!(plan.name(), "ferrite-x-1.0");
    }

    #[test]
    fn the_same_version_has_the_same_guids_and_another_version_others() {
        let plan = |version| ImagePlan::new(board(), version, 9).unwrap();
        assert_eq!(plan("1.0").disk, plan("1.0").disk);
        assert_ne!(plan("1.0").disk.disk_guid(), plan("1.1").disk.disk_guid());
        assert_ne!(plan("1.0").uuid("root"), plan("1.0").uuid("verity"));
    }
}
