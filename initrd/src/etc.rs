//! /etc: what the image brings, with what the machine was told on top.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::{Mode, mkdir};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::early_mounts::SYSROOT;
use crate::etc_prune::{Pruned, prune};
use crate::report::Reporter;
use crate::stage::Stage;
use crate::state_kind::Trust;

const SHOWN_PROBLEMS: usize = 5;
const MEMORY: &str = "/run/ferrite/etc";

/// The folder of the state that holds what the machine was told.
pub fn upper() -> PathBuf {
    Path::new(SYSROOT).join("state/etc/upper")
}

/// Makes the folders of the overlay and drops what equals the image's. A damaged state must not keep a slot that has
/// proved itself from running.
pub fn prepare(trust: Trust, report: &mut Reporter) -> anyhow::Result<()> {
    for folder in ["state/etc", "state/etc/upper", "state/etc/work"] {
        match (make_folder(&Path::new(SYSROOT).join(folder)), trust) {
            (Ok(()), _) => {}
            (Err(error), Trust::UnderTest) => return Err(error),
            (Err(error), Trust::Good) => report.warn(Stage::Etc, &format!("{error:#}, going on")),
        }
    }
    let pruned = drop_equal(trust, &upper(), &Path::new(SYSROOT).join("etc"));
    for problem in pruned.problems.iter().take(SHOWN_PROBLEMS) {
        report.warn(Stage::Etc, problem);
    }
    match pruned.files {
        0 => {}
        1 => report.say(Stage::Etc, "1 file equal to the image's dropped from the overlay"),
        files => report.say(Stage::Etc, &format!("{files} files equal to the image's dropped from the overlay")),
    }
    Ok(())
}

/// A slot under test drops nothing: the slot that the machine may fall back to has another file in that place, and what
/// the administrator wrote would be lost.
fn drop_equal(trust: Trust, upper: &Path, image: &Path) -> Pruned {
    match trust {
        Trust::Good => prune(upper, image),
        Trust::UnderTest => Pruned::default(),
    }
}

/// Mounts the overlay. On a full or read-only state, changes to /etc go to memory instead; on a damaged one, what was
/// changed before is not seen either.
pub fn mount_overlay(trust: Trust, report: &mut Reporter) -> anyhow::Result<()> {
    let lower = format!("{SYSROOT}/etc");
    let (upper, work) = (format!("{SYSROOT}/state/etc/upper"), format!("{SYSROOT}/state/etc/work"));
    let Err(error) = overlay(&lower, &upper, &work) else { return Ok(()) };
    report.warn(Stage::Etc, &format!("{error:#}; changes to /etc will not survive a reboot"));
    let (memory_upper, memory_work) = (format!("{MEMORY}/upper"), format!("{MEMORY}/work"));
    for folder in [MEMORY, &memory_upper, &memory_work] {
        make_folder(Path::new(folder))?;
    }
    match (overlay(&format!("{upper}:{lower}"), &memory_upper, &memory_work), trust) {
        (Ok(()), _) => Ok(()),
        (Err(error), Trust::UnderTest) => Err(error),
        (Err(error), Trust::Good) => {
            report.warn(Stage::Etc, &format!("{error:#}; /etc IS AS THE IMAGE HAS IT, without any change made before"));
            overlay(&lower, &memory_upper, &memory_work)
        }
    }
}

fn overlay(lower: &str, upper: &str, work: &str) -> anyhow::Result<()> {
    let options = std::ffi::CString::new(format!("lowerdir={lower},upperdir={upper},workdir={work}"))?;
    mount("etc", format!("{SYSROOT}/etc"), "overlay", MountFlags::empty(), options.as_c_str())
        .with_context(|| format!("mounting the overlay of '{upper}' on '/etc'"))
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    match mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("making folder '{}'", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_under_test_keeps_what_the_other_slot_may_still_need() {
        let folder = tempfile::tempdir().unwrap();
        let (upper, image) = (folder.path().join("upper"), folder.path().join("image"));
        for root in [&upper, &image] {
            std::fs::create_dir(root).unwrap();
            std::fs::write(root.join("limits.conf"), "as the administrator has it, and the new image too").unwrap();
        }
        assert_eq!(drop_equal(Trust::UnderTest, &upper, &image), Pruned::default());
        assert!(upper.join("limits.conf").exists());
        assert_eq!(drop_equal(Trust::Good, &upper, &image).files, 1);
        assert!(!upper.join("limits.conf").exists());
    }
}
