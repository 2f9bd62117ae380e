//! What the control group of a unit uses and may use, for `systemctl show`.

use std::os::unix::fs::MetadataExt;

use ferrite_control::UnitDetails;
use ferrite_unit::resources::{Amount, Resources, TASKS_SHARE};
use ferrite_unit::sheet::Sheet;

use crate::engine::Engine;
use crate::units::Runtime;

/// Writes it over the sheet of a unit that has none.
pub fn of(sheet: &mut Sheet, engine: &Engine, runtime: &Runtime, details: &UnitDetails) {
    limits(sheet, engine, runtime);
    let (Some(path), Some(group)) = (&runtime.group, &details.control_group) else { return };
    sheet.set("ControlGroup", path.clone());
    let Some(folder) = engine.groups.open(path).and_then(|file| std::fs::File::from(file).metadata().ok()) else {
        return;
    };
    sheet.set("ControlGroupId", folder.ino().to_string());
    let number = |file: &str| engine.groups.number(path, file);
    for (name, value) in [
        ("MemoryCurrent", group.memory_bytes),
        ("MemoryPeak", group.memory_peak_bytes),
        ("MemorySwapCurrent", number("memory.swap.current")),
        ("MemorySwapPeak", number("memory.swap.peak")),
        ("MemoryZSwapCurrent", number("memory.zswap.current")),
        ("TasksCurrent", group.tasks),
        ("CPUUsageNSec", group.cpu_us.map(|us| us.saturating_mul(1000))),
    ] {
        if let Some(value) = value {
            sheet.set(name, value.to_string());
        }
    }
    for (name, file) in [("EffectiveCPUs", "cpuset.cpus.effective"), ("EffectiveMemoryNodes", "cpuset.mems.effective")]
    {
        let text = engine.groups.text(path, file).unwrap_or_default();
        sheet.set(name, text.trim().replace(',', " "));
    }
    if let Some(counts) = engine.groups.traffic(path).filter(|_| runtime.unit.resources.ip_accounting) {
        let names = ["IPIngressBytes", "IPIngressPackets", "IPEgressBytes", "IPEgressPackets"];
        for (name, count) in names.into_iter().zip(counts) {
            sheet.set(name, count.to_string());
        }
    }
    if runtime.unit.resources.io_accounting {
        let totals = io_totals(&engine.groups.text(path, "io.stat").unwrap_or_default());
        let names = ["IOReadBytes", "IOReadOperations", "IOWriteBytes", "IOWriteOperations"];
        for (name, total) in names.into_iter().zip(totals) {
            sheet.set(name, total.to_string());
        }
    }
}

/// Bytes read, reads, bytes written and writes of all devices of `io.stat`.
fn io_totals(text: &str) -> [u64; 4] {
    let mut totals = [0_u64; 4];
    for word in text.split_whitespace() {
        let Some((key, value)) = word.split_once('=') else { continue };
        let place = ["rbytes", "rios", "wbytes", "wios"].iter().position(|name| *name == key);
        if let Some(total) = place.and_then(|place| totals.get_mut(place)) {
            *total = total.saturating_add(value.parse().unwrap_or(0));
        }
    }
    totals
}

/// The limits that hold: of the unit, of the slices above it, and of the machine.
fn limits(sheet: &mut Sheet, engine: &Engine, runtime: &Runtime) {
    if sheet.get("EffectiveMemoryMax").is_none() {
        return;
    }
    let totals = crate::totals::read();
    if runtime.unit.load != ferrite_unit::LoadState::Loaded {
        // It belongs to no slice, and has what every unit has.
        let tasks = totals.tasks(Amount::Share(TASKS_SHARE)).finite().unwrap_or(u64::MAX);
        sheet.set("TasksMax", tasks.to_string());
        sheet.set("EffectiveTasksMax", tasks.to_string());
        return;
    }
    let (mut max, mut high, mut tasks) = (totals.memory, totals.memory, totals.tasks);
    let mut available = totals.memory;
    let mut resources = Some((&runtime.unit.resources, runtime.group.as_deref()));
    let mut above = runtime.unit.slice();
    while let Some((own, group)) = resources {
        let value = |amount: Option<Amount>| amount.and_then(Amount::finite).unwrap_or(u64::MAX);
        let Resources { memory, tasks_max, .. } = &**own;
        max = max.min(value(memory.max));
        high = high.min(value(memory.high));
        tasks = tasks.min(value(*tasks_max));
        let used = group.and_then(|group| engine.groups.number(group, "memory.current")).unwrap_or(0);
        available = available.min(value(memory.max).min(value(memory.high)).saturating_sub(used));
        let slice = above.take().and_then(|name| engine.units.find(&name)).and_then(|id| engine.units.get(id));
        resources = slice.map(|slice| (&slice.unit.resources, slice.group.as_deref()));
        above = slice.and_then(|slice| slice.unit.slice());
    }
    sheet.set("MemoryAvailable", available.to_string());
    sheet.set("EffectiveMemoryMax", max.to_string());
    sheet.set("EffectiveMemoryHigh", high.to_string());
    sheet.set("EffectiveTasksMax", tasks.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_and_written_is_added_up() {
        let text = "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n254:0 rbytes=5 wbytes=1 rios=1 wios=1\n";
        assert_eq!(io_totals(text), [15, 2, 21, 3]);
        assert_eq!(io_totals("nonsense"), [0; 4]);
    }
}
