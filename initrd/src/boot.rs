//! The stages of early boot, in their order.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use ferrite_layout::Part;
use ferrite_layout::facts::{BootFacts, Firmware, StateKind};
use ferrite_layout::severity::Severity;

use crate::command_line::{Hint, Settings};
use crate::deadline::Deadline;
use crate::disks::How;
use crate::drivers::Drivers;
use crate::find::{Found, Search};
use crate::machine_id::Outcome;
use crate::report::{Reporter, size, uptime};
use crate::root::Root;
use crate::slots::Slots;
use crate::stage::{At, Failure, Stage};
use crate::state::Mounter;
use crate::state_kind::Trust;
use crate::uevents::Uevents;
use crate::watchdog::Guard;
use crate::{early_mounts, efi, etc, handover, machine_id, root, switch, table};

/// Early boot in all; what may take longer puts it off.
const LIMIT: Duration = Duration::from_secs(240);

/// What has been found out so far.
#[derive(Debug)]
pub struct Boot {
    /// Console and log.
    pub report: Reporter,
    /// Kernel command line.
    pub settings: Settings,
    /// The watchdog.
    pub guard: Guard,
    /// The end of patience.
    pub deadline: Deadline,
    /// Slot flags and boot record, once the disk is known.
    pub slots: Option<Slots>,
    /// Whether a shell of the root could be started.
    pub root_is_mounted: bool,
    severity: Severity,
    facts: BootFacts,
}

impl Boot {
    /// Makes the kernel's file systems visible and reads the command line.
    pub fn begin() -> Result<Boot, anyhow::Error> {
        early_mounts::mount_all()?;
        let text = std::fs::read("/proc/cmdline").context("reading '/proc/cmdline'")?;
        let settings = Settings::parse(&String::from_utf8_lossy(&text));
        let mut report = Reporter::open();
        if settings.debug {
            report.be_verbose();
        }
        let deadline = Deadline::start(LIMIT).unwrap_or_else(|error| {
            report.warn(Stage::Start, &format!("starting the deadline: {error}, going on without"));
            Deadline::none()
        });
        let facts = BootFacts {
            board: settings.board.clone(),
            version: settings.version.clone(),
            firmware: if early_mounts::is_uefi() { Firmware::Uefi } else { Firmware::Bios },
            until_initrd: uptime(),
            ..BootFacts::default()
        };
        let guard = Guard::default();
        let severity = Severity::default();
        Ok(Boot { report, settings, guard, deadline, slots: None, root_is_mounted: false, severity, facts })
    }

    /// Goes through all stages. Does not return unless one fails.
    pub fn run(&mut self) -> Result<Infallible, Failure> {
        self.greet();
        let wanted = self.settings.wanted_root().at(Stage::Start)?;
        let uevents = Uevents::open().context("listening to the kernel's announcements").at(Stage::Drivers)?;
        let mut drivers = self.load_drivers()?;
        self.guard = Guard::start(&self.settings, &mut drivers, &mut self.report);
        let hint = self.hint(&mut drivers);
        let search = Search {
            settings: &self.settings,
            hint,
            root: wanted,
            uevents: &uevents,
            drivers: &mut drivers,
            report: &mut self.report,
            guard: &self.guard,
            cut: Default::default(),
        };
        let mut found = search.run().at(Stage::Disk)?;
        self.tell_disk(&found, drivers.loaded());
        self.begin_start(&found)?;
        table::settle(&mut found, &mut self.report);
        self.guard.ping();
        let root = root::open(&found, wanted)?;
        self.root_is_mounted = true;
        self.report.say(Stage::Root, &format!("slot {} on {}", found.place.slot, root.describe()));
        self.facts.until_root = uptime();
        self.guard.ping();
        self.mount_state(&found).at(Stage::State)?;
        self.guard.ping();
        self.prepare_root()?;
        self.hand_over(&found, &root).at(Stage::Switch)?;
        root.check()?;
        self.guard.leave();
        switch::switch().at(Stage::Switch)
    }

    fn greet(&mut self) {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let firmware = match self.facts.firmware {
            Firmware::Bios => "BIOS",
            Firmware::Uefi => "UEFI",
        };
        let Settings { board, version, .. } = &self.settings;
        let memory = rustix::system::sysinfo();
        let bytes = memory.totalram.saturating_mul(u64::from(memory.mem_unit));
        self.report.say(
            Stage::Start,
            &format!("Ferrite {version} ({board}) early boot, kernel {kernel}, {firmware}, {} memory", size(bytes)),
        );
        for warning in std::mem::take(&mut self.settings.warnings) {
            self.report.warn(Stage::Start, &warning);
        }
    }

    fn load_drivers(&mut self) -> Result<Drivers, Failure> {
        let mut drivers = Drivers::open().at(Stage::Drivers)?;
        drivers.load_list(&self.settings.words, &mut self.report);
        drivers.coldplug(&self.settings.words, &self.report);
        Ok(drivers)
    }

    /// What the boot loader said: on BIOS by the command line, on UEFI by a variable.
    fn hint(&mut self, drivers: &mut Drivers) -> Hint {
        let mut hint = self.settings.hint;
        if hint.boot_partition.is_none() && self.facts.firmware == Firmware::Uefi {
            for failure in drivers.load("efivarfs", &self.settings.words) {
                self.report.debug(Stage::Disk, &failure);
            }
            if let Err(error) = efi::mount_variables() {
                self.report.warn(Stage::Disk, &format!("mounting the UEFI variables: {error}"));
            }
            hint.boot_partition = efi::boot_partition();
        }
        hint
    }

    fn tell_disk(&self, found: &Found, modules: usize) {
        let how = match found.place.how {
            How::Named => "named by the boot loader",
            How::Searched => "found by its content",
        };
        let bytes = found.disk.block.sectors * 512;
        let (path, slot) = (found.disk.path(), found.place.slot);
        self.report.say(Stage::Drivers, &format!("{modules} modules loaded"));
        self.report.say(Stage::Disk, &format!("{path}, {}, slot {slot}, {how}", size(bytes)));
    }

    fn begin_start(&mut self, found: &Found) -> Result<(), Failure> {
        let device = found.disk.device(Part::Bootctl);
        let slots = Slots::open(device, found.place.slot, &self.settings.version, &mut self.report);
        self.slots.insert(slots).begin(&mut self.report)?;
        self.be_severe();
        Ok(())
    }

    /// A kernel that is in trouble ends a start under test.
    fn be_severe(&mut self) {
        match self.trust() {
            Trust::Good => {}
            Trust::UnderTest => {
                let (severity, faults) = Severity::raise(Path::new("/proc/sys/kernel"));
                for fault in faults {
                    self.report.warn(Stage::Slots, &format!("{fault}, going on without"));
                }
                self.severity = severity;
            }
        }
    }

    fn mount_state(&mut self, found: &Found) -> anyhow::Result<()> {
        let mounter = Mounter {
            device: found.disk.device(Part::State),
            trust: self.trust(),
            report: &mut self.report,
            guard: &self.guard,
            deadline: &self.deadline,
        };
        let state = mounter.run()?;
        self.facts.state = state.kind;
        self.facts.state_reason = state.reason;
        Ok(())
    }

    fn trust(&self) -> Trust {
        match self.slots.as_ref().and_then(Slots::is_good) {
            Some(false) => Trust::UnderTest,
            Some(true) | None => Trust::Good,
        }
    }

    fn prepare_root(&mut self) -> Result<(), Failure> {
        let trust = self.trust();
        etc::prepare(trust, &mut self.report).at(Stage::Etc)?;
        match machine_id::ensure(&etc::upper()) {
            Ok(Outcome::Kept) => {}
            Ok(Outcome::Made) => {
                self.facts.first_boot = self.facts.state != StateKind::Volatile;
                self.report.say(Stage::MachineId, "made");
            }
            Err(error) => self.report.warn(Stage::MachineId, &format!("{error:#}; PID 1 will use a passing one")),
        }
        etc::mount_overlay(trust, &mut self.report).at(Stage::Etc)?;
        handover::mount_writable(&mut self.report).at(Stage::Var)
    }

    fn hand_over(&mut self, found: &Found, root: &Root) -> anyhow::Result<()> {
        let device = |part| found.disk.device(part).unwrap_or_default();
        let facts = &mut self.facts;
        facts.slot = Some(found.place.slot);
        facts.root_hash = self.settings.value("ferrite.root").unwrap_or_default().to_owned();
        facts.disk = found.disk.path();
        facts.root_device = root.device().to_owned();
        facts.bootctl_device = device(Part::Bootctl);
        facts.state_device = device(Part::State);
        facts.oem_device = device(Part::Oem);
        facts.watchdog = self.guard.name().to_owned();
        if let Some(slots) = &self.slots {
            facts.slot_good = slots.is_good();
            facts.tries_left = slots.tries_left();
            facts.starts = slots.record.starts;
            facts.fallback = slots.record.fallback.clone();
        }
        let snapshot = self.slots.as_ref().map(Slots::snapshot).unwrap_or_default();
        self.report.say(Stage::Switch, &format!("starting {}", root::INIT));
        self.guard.ping();
        facts.warnings = self.report.warnings().to_vec();
        facts.until_switch = uptime();
        handover::write_facts(facts, &snapshot, &self.severity)
    }
}
