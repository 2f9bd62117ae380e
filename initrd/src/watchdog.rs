//! The watchdog: started here, kept ticking while early boot gets on, handed to PID 1 by being left alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use ferrite_sys::watchdog::Watchdog;

use crate::command_line::{Settings, WatchdogWish};
use crate::drivers::Drivers;
use crate::report::Reporter;
use crate::stage::Stage;

const CLASS: &str = "/sys/class/watchdog";
/// Its first number is the level below which the kernel writes to the console.
const PRINTK: &str = "/proc/sys/kernel/printk";
const SOFTWARE: &str = "softdog";

/// The watchdog, if there is one.
#[derive(Debug, Default)]
pub struct Guard {
    watchdog: Option<Watchdog>,
    name: String,
}

impl Guard {
    /// Starts the first watchdog there is, else the kernel's software watchdog, else none.
    pub fn start(settings: &Settings, drivers: &mut Drivers, report: &mut Reporter) -> Guard {
        let timeout = match settings.watchdog {
            WatchdogWish::Off => {
                report.say(Stage::Watchdog, "none (ferrite.watchdog=off)");
                return Guard::default();
            }
            WatchdogWish::On(timeout) => timeout,
        };
        if first_device().is_none() && drivers.knows(SOFTWARE) {
            for failure in drivers.load(SOFTWARE, &settings.words) {
                report.debug(Stage::Watchdog, &failure);
            }
        }
        let Some(device) = first_device() else {
            report.warn(Stage::Watchdog, "this machine has no watchdog, so a hang will not end by itself");
            return Guard::default();
        };
        match Guard::open(&device, timeout, report) {
            Ok(guard) => guard,
            Err(error) => {
                report.warn(Stage::Watchdog, &format!("{error:#}, going on without"));
                Guard::default()
            }
        }
    }

    fn open(device: &Path, timeout: Duration, report: &mut Reporter) -> anyhow::Result<Guard> {
        let shown = device.display();
        let watchdog = Watchdog::open(device).with_context(|| format!("opening '{shown}'"))?;
        let name = watchdog.identity().unwrap_or_else(|_| "unnamed".into());
        let wanted = timeout.as_secs().try_into().unwrap_or(u32::MAX);
        match watchdog.set_timeout(wanted).or_else(|_| watchdog.timeout()) {
            Ok(seconds) => report.say(Stage::Watchdog, &format!("{name} on {shown}, {seconds} s")),
            Err(error) => {
                report.warn(Stage::Watchdog, &format!("{name} on {shown} does not tell its time-out: {error}"))
            }
        }
        Ok(Guard { watchdog: Some(watchdog), name })
    }

    /// Early boot has got on.
    pub fn ping(&self) {
        if let Some(watchdog) = &self.watchdog {
            // A watchdog that cannot be pinged will reset the machine, which is all that could be done about it.
            let _ = watchdog.ping();
        }
    }

    /// Leaves the watchdog ticking for PID 1, who must open it in time.
    pub fn leave(&mut self) {
        // The kernel calls a watchdog that is left ticking a critical event; here it is meant, so only the log gets it.
        let before = std::fs::read_to_string(PRINTK).ok();
        let quiet = before.is_some() && std::fs::write(PRINTK, "2").is_ok();
        self.watchdog = None;
        if let (true, Some(level)) = (quiet, before.as_deref().and_then(|text| text.split_whitespace().next())) {
            // At worst the kernel stays quieter than it was asked to be.
            let _ = std::fs::write(PRINTK, level);
        }
    }

    /// Name of the driver, empty if there is none.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The device with the lowest number: hardware before software, because software is loaded last.
fn first_device() -> Option<PathBuf> {
    let entries = std::fs::read_dir(CLASS).ok()?;
    let numbers = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("watchdog")?.parse::<u32>().ok()
    });
    numbers.min().map(|number| PathBuf::from(format!("/dev/watchdog{number}")))
}
