//! Divides data disks and makes file systems on them. A device with anything on it is left alone, unless `overwrite`
//! says that its data may go, and that holds once for an instance.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::plan_disks::{DEVICE, Disk, FileSystem, Partition, script};

/// Where tables, superblocks and labels of all kinds are: so much at both ends of a device.
const ENDS: u64 = 1 << 20;

/// Whether a device may lose its data now. Asked at most once, because the answer is remembered.
pub(crate) type MayOverwrite<'a> = &'a dyn Fn(&str) -> anyhow::Result<bool>;

/// Divides a disk; `false`: it was left alone.
pub(crate) fn divide(disk: &Disk, may_overwrite: MayOverwrite) -> anyhow::Result<bool> {
    let size = size_of(Path::new(&disk.device))?;
    if !is_ours(&disk.device, disk.overwrite, may_overwrite)? || disk.shares.is_empty() && !disk.overwrite {
        return Ok(false);
    }
    if disk.shares.is_empty() {
        wipe(Path::new(&disk.device), size)?;
        return Ok(true);
    }
    let mut process = Command::new("sfdisk");
    process.args(["--quiet", "--wipe", "always", "--wipe-partitions", "always"]).arg(&disk.device);
    let mut child = process.stdin(Stdio::piped()).spawn().context("starting sfdisk")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script(disk, size).as_bytes()).context("writing to sfdisk")?;
    }
    let status = child.wait().context("waiting for sfdisk")?;
    if !status.success() {
        bail!("sfdisk: {status}");
    }
    Ok(true)
}

/// Makes a file system; `false`: the device was left alone.
pub(crate) fn format(system: &FileSystem, may_overwrite: MayOverwrite) -> anyhow::Result<bool> {
    let device = part(system)?;
    let name = device.display().to_string();
    let may_go = match &system.replaced {
        Some(kind) => holds(&device, kind)?,
        None => false,
    };
    if !may_go && !is_ours(&name, system.overwrite, may_overwrite)? {
        return Ok(false);
    }
    let words: Vec<String> = system.command.iter().map(|word| word.replace(DEVICE, &name)).collect();
    let (program, options) = words.split_first().context("there is no program")?;
    let status = Command::new(program).args(options).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("starting '{program}'; does the image have it?"))?;
    if !status.success() {
        bail!("'{program}' on {name}: {status}");
    }
    Ok(true)
}

/// The device that a file system goes to. Those of new partitions are there before sfdisk ends.
fn part(system: &FileSystem) -> anyhow::Result<PathBuf> {
    let disk = system.device.as_str();
    let numbered = |number: u32| {
        let between = if disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        PathBuf::from(format!("{disk}{between}{number}"))
    };
    match system.partition {
        Partition::Whole => Ok(PathBuf::from(disk)),
        Partition::First if numbered(1).exists() => Ok(numbered(1)),
        Partition::First => Ok(PathBuf::from(disk)),
        Partition::Number(number) => {
            let path = numbered(number);
            if !path.exists() {
                bail!("there is no partition '{}'", path.display());
            }
            Ok(path)
        }
    }
}

/// Whether a device holds a file system of this kind.
fn holds(device: &Path, kind: &str) -> anyhow::Result<bool> {
    let file = File::open(device).with_context(|| format!("opening '{}'", device.display()))?;
    let mut prefix = Vec::new();
    let reading = || format!("reading '{}'", device.display());
    file.take(ferrite_probe::PREFIX_BYTES as u64).read_to_end(&mut prefix).with_context(reading)?;
    let found = ferrite_probe::probe(&prefix).map(|found| found.kind);
    Ok(found.is_some_and(|found| match found {
        ferrite_probe::Kind::Ext => matches!(kind, "ext2" | "ext3" | "ext4"),
        ferrite_probe::Kind::Ntfs => matches!(kind, "ntfs" | "ntfs3"),
        other => other.mount_type() == kind,
    }))
}

fn is_ours(device: &str, overwrite: bool, may_overwrite: MayOverwrite) -> anyhow::Result<bool> {
    if is_blank(Path::new(device))? {
        return Ok(true);
    }
    Ok(overwrite && may_overwrite(device)?)
}

fn size_of(device: &Path) -> anyhow::Result<u64> {
    let mut file = File::open(device).with_context(|| format!("opening '{}'", device.display()))?;
    file.seek(SeekFrom::End(0)).with_context(|| format!("measuring '{}'", device.display()))
}

/// Whether there are only zeros where data of any kind would begin.
fn is_blank(device: &Path) -> anyhow::Result<bool> {
    let reading = || format!("reading '{}'", device.display());
    let mut file = File::open(device).with_context(|| format!("opening '{}'", device.display()))?;
    let size = file.seek(SeekFrom::End(0)).with_context(reading)?;
    for start in [0, size.saturating_sub(ENDS)] {
        file.seek(SeekFrom::Start(start)).with_context(reading)?;
        let mut bytes = Vec::new();
        (&file).take(ENDS).read_to_end(&mut bytes).with_context(reading)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the tables at both ends.
fn wipe(device: &Path, size: u64) -> anyhow::Result<()> {
    let wiping = || format!("wiping '{}'", device.display());
    let mut file = OpenOptions::new().write(true).open(device).with_context(wiping)?;
    let zeros = vec![0; usize::try_from(ENDS.min(size)).unwrap_or(0)];
    for start in [0, size.saturating_sub(ENDS)] {
        file.seek(SeekFrom::Start(start)).and_then(|_| file.write_all(&zeros)).with_context(wiping)?;
    }
    file.sync_all().with_context(wiping)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan_disks::Share;

    fn image(folder: &Path) -> PathBuf {
        let path = folder.join("disk");
        File::create(&path).unwrap().set_len(64 << 20).unwrap();
        path
    }

    fn disk(path: &Path, overwrite: bool) -> Disk {
        let share = |percent: u64, kind: &str| Share { percent, kind: kind.into() };
        let device = path.to_str().unwrap().to_string();
        Disk { device, table: "gpt", shares: vec![share(50, "L"), share(50, "S")], overwrite }
    }

    fn never(_: &str) -> anyhow::Result<bool> {
        Ok(false)
    }

    #[test]
    fn a_blank_disk_is_divided_once_and_data_stays_unless_it_may_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = image(folder.path());
        assert!(divide(&disk(&path, false), &never).unwrap());
        let table = std::fs::read(&path).unwrap();
        assert_eq!(&table[512..520], b"EFI PART");
        assert!(!divide(&disk(&path, false), &never).unwrap());
        assert!(!divide(&disk(&path, true), &never).unwrap(), "it was done for this instance");
        assert_eq!(std::fs::read(&path).unwrap(), table);
        assert!(divide(&disk(&path, true), &|_| Ok(true)).unwrap());
        let none = Disk { shares: Vec::new(), ..disk(&path, true) };
        assert!(divide(&none, &|_| Ok(true)).unwrap() && is_blank(&path).unwrap());
    }

    #[test]
    fn a_file_system_is_made_where_there_is_none_and_a_missing_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = image(folder.path());
        let system = |program: &str| FileSystem {
            device: path.to_str().unwrap().to_string(),
            partition: Partition::Whole,
            command: [program, "-F", "-q", "-L", "data", DEVICE].map(str::to_string).to_vec(),
            overwrite: false,
            replaced: None,
        };
        let missing = format(&system("mkfs.nothing"), &never).unwrap_err();
        assert!(format!("{missing:#}").contains("'mkfs.nothing'"), "{missing:#}");
        assert!(format(&system("mkfs.ext4"), &never).unwrap());
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[1080..1082], [0x53, 0xef]);
        assert!(!format(&system("mkfs.ext4"), &never).unwrap());
        assert!(std::fs::read(&path).unwrap() == bytes);
        let replacing = |kind: &str| FileSystem { replaced: Some(kind.into()), ..system("mkfs.ext4") };
        assert!(!format(&replacing("ntfs"), &never).unwrap() && format(&replacing("ext3"), &never).unwrap());
        let line = "mke2fs -q -F -L own %(device)s".to_string();
        let own = FileSystem { command: vec!["sh".into(), "-c".into(), line], ..replacing("ext4") };
        assert!(format(&own, &never).unwrap());
        assert_eq!(&std::fs::read(&path).unwrap()[0x478..0x47b], b"own");
    }
}
