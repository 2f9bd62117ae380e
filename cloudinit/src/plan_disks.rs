//! Partitions and file systems of data disks: `disk_setup`, `fs_setup`, `device_aliases`. Pure.
//!
//! What is on a disk is looked at when the plan is carried out: one that is not blank is only touched with `overwrite`,
//! and then once for an instance.

use crate::config::words;
use crate::document::Node;
use crate::plan::{Planner, Step};

/// What stands for the device in the command of a file system.
pub(crate) const DEVICE: &str = "%(device)s";

/// A share of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// Of the whole.
    pub percent: u64,
    /// The type as `sfdisk` reads it.
    pub kind: String,
}

/// A disk to divide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk {
    /// The device.
    pub device: String,
    /// `gpt` or `dos`.
    pub table: &'static str,
    /// The partitions in order; none: the table is removed.
    pub shares: Vec<Share>,
    /// Whether data on it may be lost.
    pub overwrite: bool,
}

/// A file system to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// The disk, or the partition itself.
    pub device: String,
    /// Which of its partitions.
    pub partition: Partition,
    /// The program and its options, with [`DEVICE`] for the device.
    pub command: Vec<String>,
    /// Whether data on it may be lost.
    pub overwrite: bool,
    /// The kind of file system that may be replaced, too.
    pub replaced: Option<String>,
}

/// Which part of a disk is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Partition {
    /// The device as it was named.
    Whole,
    /// The partition with this number.
    Number(u32),
    /// The first partition where there is one, the whole disk otherwise.
    First,
}

/// Plans the disks, then what is on them.
pub(crate) fn disks(planner: &mut Planner<'_>) {
    let root = planner.config.root.clone();
    for (key, spec) in root.get("disk_setup").map(Node::pairs).unwrap_or_default() {
        let device = device(&root, key.text().unwrap_or_default());
        match disk(device.clone(), spec) {
            Ok(Some(disk)) => planner.plan.steps.push(Step::Disk(disk)),
            Ok(None) => {}
            Err(message) => planner.plan.problems.push(format!("disk_setup: {device}: {message}, left alone")),
        }
    }
    for spec in root.get("fs_setup").map(Node::items).unwrap_or_default() {
        match file_system(&root, spec) {
            Ok(system) => planner.plan.steps.push(Step::FileSystem(system)),
            Err(message) => planner.plan.problems.push(format!("fs_setup: {message}, left out")),
        }
    }
}

/// A device by its path, its short name or an alias of the document.
fn device(root: &Node, name: &str) -> String {
    let aliased = root.get("device_aliases").and_then(|aliases| aliases.get(name)).and_then(Node::text);
    let name = aliased.unwrap_or(name);
    if name.starts_with('/') { name.to_string() } else { format!("/dev/{name}") }
}

pub(crate) fn disk(device: String, spec: &Node) -> Result<Option<Disk>, String> {
    let table = if spec.get("table_type").and_then(Node::text) == Some("gpt") { "gpt" } else { "dos" };
    let overwrite = crate::config::says(spec, "overwrite") == Some(true);
    let whole = || vec![Share { percent: 100, kind: "L".into() }];
    let shares = match spec.get("layout") {
        None => return Ok(None),
        Some(layout) => match (layout.truth(), layout.text()) {
            (Some(true), _) => whole(),
            (Some(false), _) => return Ok(None),
            (None, Some("remove")) => Vec::new(),
            (None, _) => layout.items().iter().map(|item| share(item, table)).collect::<Result<_, _>>()?,
        },
    };
    let sum: u64 = shares.iter().map(|share| share.percent).sum();
    if sum > 100 {
        return Err(format!("the shares make {sum} percent of the disk"));
    }
    Ok(Some(Disk { device, table, shares, overwrite }))
}

fn share(item: &Node, table: &str) -> Result<Share, String> {
    let parts = item.items();
    let percent = parts.first().unwrap_or(item).text().unwrap_or_default();
    let percent = percent.parse::<u64>().ok().filter(|percent| (1..=100).contains(percent));
    let percent = percent.ok_or_else(|| "a share is a number from 1 to 100".to_string())?;
    let kind = match parts.get(1).and_then(Node::text) {
        None | Some("83" | "8300" | "linux") => "L".to_string(),
        Some("82" | "8200" | "swap") => "S".to_string(),
        Some("ef" | "EF" | "ef00" | "EF00") => "U".to_string(),
        Some(guid) if table == "gpt" && guid.len() == 36 && guid.matches('-').count() == 4 => guid.to_string(),
        Some(code) if table == "dos" && u8::from_str_radix(code, 16).is_ok() => code.to_string(),
        Some(other) => return Err(format!("'{}' is not a type of a partition", crate::check::short(other))),
    };
    Ok(Share { percent, kind })
}

fn file_system(root: &Node, spec: &Node) -> Result<FileSystem, String> {
    let text = |key: &str| spec.get(key).and_then(Node::text);
    let named = text("device").ok_or("an entry has no 'device'")?;
    // `ephemeral0.1` is the first partition of an alias.
    let (base, dotted) = match named.rsplit_once('.') {
        Some((base, number)) if !named.starts_with('/') && number.parse::<u32>().is_ok() => (base, number.parse().ok()),
        _ => (named, None),
    };
    let partition = match (dotted, text("partition")) {
        (Some(number), _) => Partition::Number(number),
        (None, None | Some("none")) => Partition::Whole,
        (None, Some("auto" | "any")) => Partition::First,
        (None, Some(number)) => number.parse().map_or(Partition::First, Partition::Number),
    };
    let overwrite = crate::config::says(spec, "overwrite") == Some(true);
    let replaced = text("replace_fs").map(str::to_string);
    if let Some(cmd) = spec.get("cmd") {
        let fill = |word: &str| {
            let filled = word.replace("%(filesystem)s", text("filesystem").unwrap_or_default());
            filled.replace("%(label)s", text("label").unwrap_or_default())
        };
        let command = match cmd.text() {
            Some(line) => ["sh", "-c"].into_iter().map(str::to_string).chain([fill(line)]).collect(),
            None => words(Some(cmd)).iter().map(|word| fill(word)).collect(),
        };
        return Ok(FileSystem { device: device(root, base), partition, command, overwrite, replaced });
    }
    let kind = text("filesystem").ok_or_else(|| format!("'{named}' has no 'filesystem'"))?;
    let plain = kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !plain || kind.is_empty() {
        return Err(format!("'{}' is not a file system", crate::check::short(kind)));
    }
    let mut command = vec![if kind == "swap" { "mkswap".to_string() } else { format!("mkfs.{kind}") }];
    match kind {
        "ext2" | "ext3" | "ext4" => command.push("-F".into()),
        "xfs" | "btrfs" => command.push("-f".into()),
        _ => {}
    }
    if let Some(label) = text("label") {
        command.extend([if kind == "vfat" { "-n" } else { "-L" }.to_string(), label.to_string()]);
    }
    for options in words(spec.get("extra_opts")) {
        command.extend(options.split_whitespace().map(str::to_string));
    }
    command.push(DEVICE.into());
    Ok(FileSystem { device: device(root, base), partition, command, overwrite, replaced })
}

/// What `sfdisk` is told for a disk of this size. The last share of a full disk takes what is left.
pub(crate) fn script(disk: &Disk, size_bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    let sum: u64 = disk.shares.iter().map(|share| share.percent).sum();
    let mut text = format!("label: {}\n", disk.table);
    for (number, share) in (1..).zip(&disk.shares) {
        let is_rest = number == disk.shares.len() && sum == 100;
        // The table takes the first MiB, and a GPT one more at the end.
        let size = (size_bytes / MIB).saturating_sub(2).saturating_mul(share.percent) / 100;
        let size = if is_rest { String::new() } else { format!("size={}MiB, ", size.max(1)) };
        text.push_str(&format!("{size}type={}\n", share.kind));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;
    use crate::fault::Faults;

    fn tree(text: &str) -> Node {
        parse(text, &mut Faults::default()).unwrap()
    }

    #[test]
    fn shares_become_partitions_and_too_much_is_refused() {
        let spec = tree("{table_type: gpt, layout: [25, [25, 82], 50], overwrite: true}");
        let plan = disk("/dev/vdb".into(), &spec).unwrap().unwrap();
        assert!(plan.overwrite);
        assert_eq!(script(&plan, 1 << 30), "label: gpt\nsize=255MiB, type=L\nsize=255MiB, type=S\ntype=L\n");
        let half = disk("/dev/vdb".into(), &tree("{layout: [50]}")).unwrap().unwrap();
        assert_eq!(script(&half, 1 << 30), "label: dos\nsize=511MiB, type=L\n");
        assert_eq!(disk("/dev/vdb".into(), &tree("{layout: false}")), Ok(None));
        assert!(disk("/dev/vdb".into(), &tree("{layout: [60, 60]}")).unwrap_err().contains("120 percent"));
        assert!(disk("/dev/vdb".into(), &tree("{layout: [[60, zz]]}")).is_err());
    }

    #[test]
    fn file_systems_are_made_by_the_program_of_their_name_on_the_part_that_is_meant() {
        let root = tree("device_aliases: {data: /dev/vdc}\n");
        let made = |text: &str| file_system(&root, &tree(text)).unwrap();
        let one = made("{device: data, partition: 2, filesystem: ext4, label: d, extra_opts: [-m, '0']}");
        assert_eq!((one.device.as_str(), one.partition), ("/dev/vdc", Partition::Number(2)));
        assert_eq!(one.command, ["mkfs.ext4", "-F", "-L", "d", "-m", "0", DEVICE]);
        let own =
            made("{device: data, filesystem: ext4, label: d, replace_fs: ntfs, cmd: 'mke2fs -L %(label)s %(device)s'}");
        assert_eq!(
            (own.command.as_slice(), own.replaced.as_deref()),
            (&["sh", "-c", "mke2fs -L d %(device)s"].map(String::from)[..], Some("ntfs"))
        );
        let other = made("{device: data.1, filesystem: swap, label: s}");
        assert_eq!(
            (other.partition, other.command.join(" ").as_str()),
            (Partition::Number(1), "mkswap -L s %(device)s")
        );
        assert!(file_system(&root, &tree("{device: data, filesystem: '../x'}")).is_err());
    }
}
