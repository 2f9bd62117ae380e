//! The one change that early boot makes to the partition table: the state partition grows to the end of the
//! disk, and on its first start the disk gets GUIDs of its own.

use std::fs::{File, OpenOptions};
use std::path::Path;

use anyhow::{Context, anyhow};
use ferrite_layout::gpt::GptError;
use ferrite_layout::gpt_grow::{self, GrowPlan, NewGuids};
use ferrite_layout::gpt_write;
use ferrite_sys::block::{self, PartitionRange};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::block_devices;
use crate::find::Found;
use crate::report::{Reporter, size};
use crate::stage::Stage;

/// Brings the table up to date. A failure is a warning: the machine runs with the table it has.
pub fn settle(found: &mut Found, report: &mut Reporter) {
    if !found.place.twins.is_empty() {
        let twins = found.place.twins.join(", ");
        let path = found.disk.path();
        report.warn(Stage::Table, &format!("{path} and {twins} have the same GUIDs; using {path}, changing no GUID"));
    }
    match change(found) {
        Ok(Some(text)) => report.say(Stage::Table, &text),
        Ok(None) => {}
        Err(error) => report.warn(Stage::Table, &format!("{error:#}, going on with the table as it is")),
    }
}

fn change(found: &mut Found) -> anyhow::Result<Option<String>> {
    let path = found.disk.path();
    let table = &found.disk.found.table;
    let fresh = table.has_image_guids() && found.place.twins.is_empty();
    let guids = if fresh { Some(new_guids(found)?) } else { None };
    let disk = OpenOptions::new().read(true).write(true).open(&path).with_context(|| format!("opening '{path}'"))?;
    let planned = gpt_grow::plan(&disk, found.disk.block.sectors, &found.disk.found, guids.as_ref());
    let plan = match planned {
        // It was warned of when the disk was found.
        Err(GptError::DiskTooSmall { .. }) => return Ok(None),
        other => other.with_context(|| format!("planning the partition table of '{path}'"))?,
    };
    if plan.writes.is_empty() {
        return Ok(None);
    }
    // Through the page cache the sector of the boot code would be written along with the primary header.
    gpt_write::apply_direct(&plan.writes, Path::new(&path))
        .with_context(|| format!("writing the partition table of '{path}'"))?;
    tell_kernel(&disk, &plan).with_context(|| format!("telling the kernel about the new table of '{path}'"))?;
    let text = describe(&plan, guids.is_some());
    found.disk.found.table = plan.table;
    let blocks = block_devices::list().context("listing '/sys/class/block'")?;
    let block = blocks.into_iter().find(|block| block.name == found.disk.block.name);
    found.disk.block = block.ok_or_else(|| anyhow!("disk '{path}' is gone"))?;
    Ok(Some(text))
}

/// No partition is in use yet, so the kernel may read the whole table again; resizing alone keeps old GUIDs in /sys.
fn tell_kernel(disk: &File, plan: &GrowPlan) -> std::io::Result<()> {
    block::reread_partitions(disk).or_else(|_| {
        block::resize_partition(
            disk,
            PartitionRange {
                number: plan.number,
                start_bytes: plan.first_lba * 512,
                length_bytes: plan.new_sectors * 512,
            },
        )
    })
}

fn describe(plan: &GrowPlan, new_guids: bool) -> String {
    let (old, new) = (size(plan.old_sectors * 512), size(plan.new_sectors * 512));
    let growth = plan.grows().then(|| format!("state partition grown from {old} to {new}"));
    let guids = new_guids.then(|| "disk and partitions got GUIDs of their own".to_owned());
    let parts: Vec<String> = [growth, guids].into_iter().flatten().collect();
    if parts.is_empty() { "repaired a damaged copy".to_owned() } else { parts.join(", ") }
}

fn new_guids(found: &Found) -> anyhow::Result<NewGuids> {
    let mut pool = vec![[0u8; 16]; found.disk.found.table.entries.len() + 1];
    for bytes in &mut pool {
        let count = getrandom(&mut bytes[..], GetRandomFlags::empty()).context("asking for random bytes")?;
        if count != bytes.len() {
            return Err(anyhow!("the kernel gave too few random bytes"));
        }
    }
    let mut next = pool.into_iter();
    Ok(NewGuids::generate(&found.disk.found.table, || next.next().unwrap_or_default()))
}
