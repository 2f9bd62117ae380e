//! The watchdog: started here, kept ticking while early boot gets on, handed to PID 1 as an open file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use ferrite_sys::watchdog::Watchdog;

use crate::command_line::{Settings, WatchdogWish};
use crate::drivers::Drivers;
use crate::report::Reporter;
use crate::stage::Stage;

const CLASS: &str = "/sys/class/watchdog";
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

    /// Leaves the watchdog ticking and open for PID 1, who finds it among its files.
    pub fn leave(&self) {
        if let Some(watchdog) = &self.watchdog {
            // Otherwise it is closed, ticking, and PID 1 opens it again.
            let _ = ferrite_sys::inherit::keep_open(watchdog, true);
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
