//! The properties of timers, sockets and path units under systemd's names.
//!
//! Moments are microseconds: whoever prints them knows the zone.

use std::collections::BTreeMap;

use ferrite_unit::Config;
use ferrite_unit::value::span_text;

use crate::engine::Engine;
use crate::jobs::UnitId;

fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

/// What only units that start others have.
pub fn of(engine: &Engine, id: UnitId) -> BTreeMap<String, String> {
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(out.insert(name.to_owned(), value));
    let Some(runtime) = engine.units.get(id) else { return out };
    if let Some(unit) = runtime.unit.activates() {
        set("Unit", unit.to_string());
    }
    match &runtime.unit.config {
        Config::Timer(timer) => {
            let data = engine.kinds.timers.get(&id).cloned().unwrap_or_default();
            set("NextElapseUSecRealtime", data.next.wall.unwrap_or(0).to_string());
            set("NextElapseUSecMonotonic", data.next.monotonic.unwrap_or(0).to_string());
            set("LastTriggerUSec", data.last.wall.to_string());
            set("LastTriggerUSecMonotonic", data.last.monotonic.to_string());
            set("AccuracyUSec", span_text(timer.accuracy));
            set("RandomizedDelayUSec", span_text(timer.randomized_delay));
            set("FixedRandomDelay", yes(timer.fixed_random_delay));
            set("Persistent", yes(timer.persistent));
            set("WakeSystem", yes(timer.wake_system));
            set("RemainAfterElapse", yes(timer.remain_after_elapse));
            set("OnClockChange", yes(timer.on_clock_change));
            set("OnTimezoneChange", yes(timer.on_timezone_change));
        }
        Config::Socket(socket) => {
            let listen = socket.listen.iter().map(|listen| format!("{} ({})", listen.target(), listen.word()));
            set("Listen", listen.collect::<Vec<_>>().join("\n"));
            set("Accept", yes(socket.accept));
        }
        Config::Path(path) => {
            let paths = path.watches.iter().map(|(watch, path)| format!("{path} ({})", watch.directive()));
            set("Paths", paths.collect::<Vec<_>>().join("\n"));
            set("MakeDirectory", yes(path.make_directory));
        }
        Config::Service(_)
        | Config::Mount(_)
        | Config::Target
        | Config::Slice(_)
        | Config::Swap(_)
        | Config::Automount(_)
        | Config::Scope(_)
        | Config::Device => {}
    }
    out
}
