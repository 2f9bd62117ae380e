//! What happens when early boot cannot go on: tell it, write it down, reboot.

use std::time::{Duration, Instant};

use ferrite_layout::Slot;
use ferrite_layout::slots::Trouble;
use rustix::system::RebootCommand;

use crate::boot::Boot;
use crate::slots::Slots;
use crate::stage::{Failure, Stage, Verdict};
use crate::tool::Tool;

const PAUSE: Duration = Duration::from_secs(5);
const DEBUG_PAUSE: Duration = Duration::from_secs(30);
const SHELL_LIMIT: Duration = Duration::from_secs(24 * 3600);
const TICK: Duration = Duration::from_secs(1);

/// Ends this start.
pub fn end(mut boot: Boot, failure: &Failure) -> ! {
    let reason = failure.reason();
    boot.report.fail(&format!("{}: failed: {:#}", failure.stage, failure.error));
    write_down(&mut boot, failure, &reason);
    let pause = if boot.settings.debug { DEBUG_PAUSE } else { PAUSE };
    if boot.settings.debug && boot.root_is_mounted {
        open_shell(&mut boot);
    } else {
        let next = what_next(boot.slots.as_ref());
        boot.report.fail(&format!("{}: rebooting in {} s{next}", failure.stage, pause.as_secs()));
        pause_for(&boot, pause);
    }
    rustix::fs::sync();
    reboot()
}

/// Ends a start that could not even read its command line.
pub fn end_without_log(error: &anyhow::Error) -> ! {
    ferrite_sys::console::write_line(&format!("ferrite: start: failed: {error:#}; rebooting in {} s", PAUSE.as_secs()));
    std::thread::sleep(PAUSE);
    reboot()
}

/// Reboots, at once and without asking anybody.
pub fn reboot() -> ! {
    loop {
        // If the kernel refuses, the watchdog is left; PID 1 must not end.
        let _ = rustix::system::reboot(RebootCommand::Restart);
        std::thread::park_timeout(TICK);
    }
}

fn write_down(boot: &mut Boot, failure: &Failure, reason: &str) {
    let Some(slots) = &mut boot.slots else { return };
    match failure.verdict {
        Verdict::GivenUp => {}
        Verdict::Unknown => slots.fail(reason, &mut boot.report),
        Verdict::CorruptRoot => {
            if !slots.give_up(Trouble::CorruptRoot, reason, &mut boot.report) {
                slots.fail(reason, &mut boot.report);
            }
        }
    }
}

fn what_next(slots: Option<&Slots>) -> String {
    let Some(slots) = slots else { return String::new() };
    let running = slots.running();
    match slots.next() {
        Some(slot) if slot != running => format!(" so that the boot loader can start slot {slot}"),
        Some(slot) => again(slot, slots.tries_left()),
        None => " though the boot loader has no slot left that is known to work".to_owned(),
    }
}

fn again(slot: Slot, tries: u8) -> String {
    match tries {
        0 => format!(" to try slot {slot} again: there is no other that works"),
        1 => format!(" to try slot {slot} one last time"),
        tries => format!(" to try slot {slot} again, {tries} tries left"),
    }
}

fn open_shell(boot: &mut Boot) {
    boot.deadline.lift();
    boot.report.fail("ferrite.debug: a shell in the mounted root follows; leave it to reboot");
    let tool = Tool { program: "/usr/bin/bash", arguments: &["-i"], limit: SHELL_LIMIT };
    if let Err(error) = tool.run_on_console(&boot.guard) {
        boot.report.warn(Stage::Start, &format!("{error:#}"));
        pause_for(boot, DEBUG_PAUSE);
    }
}

/// Time for a person to read; nothing is being waited for.
fn pause_for(boot: &Boot, pause: Duration) {
    boot.deadline.extend(pause * 2);
    let end = Instant::now() + pause;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        boot.guard.ping();
        std::thread::sleep(left.min(TICK));
    }
}

/// A panic is a fault of this program; in PID 1 it would stop the kernel.
pub fn on_panic(text: &str) -> ! {
    ferrite_sys::console::write_line(&format!("ferrite: early boot has a fault, rebooting: {text}"));
    std::thread::sleep(PAUSE);
    reboot()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_what_comes_next() {
        assert_eq!(again(Slot::B, 2), " to try slot b again, 2 tries left");
        assert_eq!(again(Slot::B, 1), " to try slot b one last time");
        assert_eq!(again(Slot::A, 0), " to try slot a again: there is no other that works");
        assert_eq!(what_next(None), "");
    }
}
