//! The writable folders of the root and the facts that early boot leaves in /run/ferrite.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ferrite_layout::durable::{replace_file, sync_folder};
use ferrite_layout::facts::{BootFacts, FACTS_PATH};
use ferrite_layout::severity::{SEVERITY_PATH, Severity};
use ferrite_layout::snapshot::{SLOTS_PATH, Snapshot};
use rustix::mount::mount_bind;

use crate::early_mounts::SYSROOT;
use crate::fill::fill;
use crate::report::Reporter;
use crate::stage::Stage;

/// Folders of the state that begin as a copy of the image's and are the administrator's from then on.
const COPIED_ONCE: [&str; 4] = ["home", "root", "opt", "srv"];
/// The folder that is filled from the image at every start.
const FILLED: &str = "var";

/// Fills the writable folders and mounts them over the image's.
pub fn mount_writable(report: &mut Reporter) -> anyhow::Result<()> {
    let state = Path::new(SYSROOT).join("state");
    match fill(&image(FILLED), &state.join(FILLED)) {
        Ok(0) => {}
        Ok(made) => report.say(Stage::Var, &format!("{made} files and folders of the image put into /var")),
        // A full state must still boot, so that somebody can empty it.
        Err(error) => report.warn(Stage::Var, &format!("{error:#}; /var is not complete")),
    }
    for folder in COPIED_ONCE {
        if let Err(error) = copy_once(folder, &state) {
            report.warn(Stage::Var, &format!("{error:#}; /{folder} stays as the image has it"));
        }
    }
    for folder in COPIED_ONCE.into_iter().chain([FILLED]) {
        let (from, to) = (state.join(folder), image(folder));
        if from.is_dir() {
            mount_bind(&from, &to).with_context(|| format!("mounting '/state/{folder}' on '/{folder}'"))?;
        }
    }
    Ok(())
}

/// Appears whole or not at all.
fn copy_once(folder: &str, state: &Path) -> anyhow::Result<()> {
    let target = state.join(folder);
    if std::fs::symlink_metadata(&target).is_ok() {
        return Ok(());
    }
    let temporary = state.join(format!(".{folder}.new"));
    match std::fs::remove_dir_all(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    fill(&image(folder), &temporary)?;
    std::fs::rename(&temporary, &target).with_context(|| format!("making '/state/{folder}'"))?;
    sync_folder(state).context("syncing '/state'")
}

fn image(folder: &str) -> PathBuf {
    Path::new(SYSROOT).join(folder)
}

/// Writes the facts for everybody.
pub fn write_facts(facts: &BootFacts, slots: &Snapshot, severity: &Severity) -> anyhow::Result<()> {
    replace_file(Path::new(FACTS_PATH), facts.render().as_bytes(), 0o644)?;
    replace_file(Path::new(SLOTS_PATH), slots.render().as_bytes(), 0o644)?;
    if severity.is_raised() {
        replace_file(Path::new(SEVERITY_PATH), severity.render().as_bytes(), 0o644)?;
    }
    Ok(())
}
