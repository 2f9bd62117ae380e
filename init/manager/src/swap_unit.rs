//! Carries out what the machine of swap units decides, and follows the kernel's list of swap space.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ferrite_unit::Config;
use ferrite_unit::swap::Swap;

use crate::child::Fault;
use crate::control_process::Task;
use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::kinds::{KindEvent, KindState, Watched};
use crate::swap_machine::{SwapEffect, SwapEvent, SwapMachine, step};
use crate::timers::TimerKey;

const TABLE: &str = "/proc/swaps";

impl Engine {
    fn swap_settings(&self, id: UnitId) -> Option<&Swap> {
        match &self.units.get(id)?.unit.config {
            Config::Swap(swap) => Some(swap),
            _ => None,
        }
    }

    /// Takes one event of swap space.
    pub fn swap_event(&mut self, id: UnitId, before: SwapMachine, event: KindEvent) {
        let own = match event {
            KindEvent::Start => SwapEvent::Start,
            KindEvent::Stop => SwapEvent::Stop,
            KindEvent::StartLimitHit => SwapEvent::StartLimitHit,
            KindEvent::ResetFailed => SwapEvent::ResetFailed,
            KindEvent::Exited(exit) => SwapEvent::Exited(exit),
            KindEvent::NotMade => SwapEvent::NotMade,
            KindEvent::TimedOut => SwapEvent::TimedOut,
            KindEvent::Swap(event) => event,
            _ => return,
        };
        if own == SwapEvent::Start {
            self.follow_swaps();
        }
        let Some(swap) = self.swap_settings(id) else { return };
        let (used, kills) = (is_used(&swap.what), swap.kill.send_sigkill);
        let Some(old) = self.units.get(id).map(|runtime| runtime.active()) else { return };
        let Some((after, effects)) = step(before, own, used, kills) else {
            return self.kind_meaningless(id, event);
        };
        self.set_kind(id, KindState::Swap(after));
        for effect in effects {
            self.swap_effect(id, effect);
        }
        self.changed(id, old);
    }

    fn swap_effect(&mut self, id: UnitId, effect: SwapEffect) {
        let Some(swap) = self.swap_settings(id).cloned() else { return };
        match effect {
            SwapEffect::On => self.spawn_task(id, Task::Work("Swap", &|| turn_on(&swap))),
            SwapEffect::Off => self.spawn_task(id, Task::Work("Swap", &|| turn_off(&swap))),
            SwapEffect::Kill(step) => self.kill(id, step),
            SwapEffect::ArmTimer => match swap.timeout.finite() {
                Some(after) => self.timers.arm(TimerKey::Unit(id), Instant::now(), after),
                None => self.timers.disarm(TimerKey::Unit(id)),
            },
            SwapEffect::DisarmTimer => self.timers.disarm(TimerKey::Unit(id)),
            SwapEffect::Release => self.release(id),
        }
    }

    /// Opens the kernel's list, once somebody uses swap space.
    pub fn follow_swaps(&mut self) {
        if self.kinds.swaps.is_some() {
            return;
        }
        let key = self.kinds.watch(Watched::Swaps);
        let opened = fs::File::open(TABLE).and_then(|file| {
            self.epoll.add_urgent(&file, key)?;
            Ok(file)
        });
        match opened {
            Ok(file) => self.kinds.swaps = Some(file),
            Err(error) => {
                // A kernel without swap has no such file; units then fail by themselves.
                self.kinds.unwatch(key);
                self.log.debug(&format!("following {TABLE}: {error}"));
            }
        }
    }

    /// The list changed: all swap units look at it.
    pub fn swaps_changed(&mut self) {
        for id in self.units.ids() {
            if matches!(self.kind_state(id), Some(KindState::Swap(_))) {
                self.kind_happened(id, KindEvent::Swap(SwapEvent::TableChanged));
            }
        }
    }
}

/// Does the kernel use this for swapping?
fn is_used(what: &str) -> bool {
    let text = fs::read_to_string(TABLE).unwrap_or_default();
    let wanted = fs::canonicalize(what).unwrap_or_else(|_| PathBuf::from(what));
    listed(&text).iter().any(|place| Path::new(place) == wanted)
}

/// The devices and files in the kernel's list.
pub fn listed(text: &str) -> Vec<String> {
    text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(crate::facts::unoctal).collect()
}

/// The flags of swapon(2) for the wishes of a unit.
fn flags(swap: &Swap) -> i32 {
    const PREFER: i32 = 0x8000;
    const DISCARD: i32 = 0x10000;
    const DISCARD_ONCE: i32 = 0x20000;
    const DISCARD_PAGES: i32 = 0x40000;
    let mut priority = swap.priority;
    let mut flags = 0;
    for word in swap.options.as_deref().unwrap_or("").split(',') {
        match word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value))) {
            ("discard", None) => flags |= DISCARD,
            ("discard", Some("once")) => flags |= DISCARD | DISCARD_ONCE,
            ("discard", Some("pages")) => flags |= DISCARD | DISCARD_PAGES,
            ("pri", Some(value)) if priority.is_none() => {
                priority = value.parse().ok().filter(|priority| (0..=0x7fff).contains(priority));
            }
            _ => {}
        }
    }
    flags | priority.map_or(0, |priority| PREFER | priority)
}

fn turn_on(swap: &Swap) -> Result<(), Fault> {
    let doing = format!("turning {} on", swap.what);
    ferrite_sys::swap::on(&swap.what, flags(swap)).map_err(Fault::of(1, &doing))
}

fn turn_off(swap: &Swap) -> Result<(), Fault> {
    ferrite_sys::swap::off(&swap.what).map_err(Fault::of(1, &format!("turning {} off", swap.what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_become_flags() {
        let swap = |priority, options: &str| Swap { priority, options: Some(options.into()), ..Swap::default() };
        assert_eq!(flags(&swap(None, "")), 0);
        assert_eq!(flags(&swap(Some(5), "pri=7,nofail")), 0x8005);
        assert_eq!(flags(&swap(None, "pri=7,discard=once")), 0x8007 | 0x30000);
    }

    #[test]
    fn the_list_is_read() {
        let text = "Filename\t\t\tType\tSize\n/dev/sda2   partition\t8\n/var/a\\040b file\t4\n";
        assert_eq!(listed(text), ["/dev/sda2", "/var/a b"]);
    }
}
