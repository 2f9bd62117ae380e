//! The moments of the boot, as `systemd-analyze` asks for them: what early boot tells, and what PID 1 notes itself.
//!
//! A moment is a pair of microseconds: wall clock and monotonic clock. The kernel began at 0 of the latter.

use ferrite_layout::BootFacts;
use ferrite_unit::UnitName;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::log::Log;

/// Wall clock and monotonic clock; both 0: it did not happen.
pub type Moment = (u64, u64);

/// Where PID 1 tells its next image that only user space starts again.
const SOFT_REBOOT: &str = "/run/ferrite/soft-reboot";

/// All moments of this boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Moments {
    /// The kernel began; a namespace has none.
    pub kernel: Moment,
    /// Early boot began.
    pub initrd: Moment,
    /// PID 1 began.
    pub userspace: Moment,
    pub generators_start: Moment,
    pub generators_finish: Moment,
    pub units_load_start: Moment,
    pub units_load_finish: Moment,
    /// The first transaction was over.
    pub finish: Moment,
    /// The shutdown began: this one, or the one that led to this start of user space.
    pub shutdown_start: Moment,
    /// So often user space started again since the kernel began.
    pub soft_reboots: u32,
}

impl Moments {
    /// The start of PID 1. `early` is what early boot tells of a machine, `None` in a namespace.
    pub fn begin(now: Moment, early: Option<&BootFacts>) -> Moments {
        let mut moments = Moments { userspace: now, ..Moments::default() };
        if let Some(facts) = early {
            let kernel = now.0.saturating_sub(now.1);
            moments.kernel = (kernel, 0);
            let until = u64::try_from(facts.until_initrd.as_micros()).unwrap_or(0);
            if until > 0 && until <= now.1 {
                moments.initrd = (kernel.saturating_add(until), until);
            }
        }
        moments
    }

    /// Takes the note of the image that started user space again: when its shutdown began, and how often that happened.
    fn follow(&mut self, note: &str) {
        let mut numbers = note.split_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
        let (began, count) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if began == 0 || began > self.userspace.1 {
            return;
        }
        let ago = self.userspace.1 - began;
        self.shutdown_start = (self.userspace.0.saturating_sub(ago), began);
        self.soft_reboots = u32::try_from(count).unwrap_or(0).saturating_add(1);
    }

    /// The moment of systemd's name; those that this manager does not know never came.
    pub fn named(&self, name: &str) -> Moment {
        match name {
            "Kernel" => self.kernel,
            "InitRD" => self.initrd,
            "Userspace" => self.userspace,
            "Finish" => self.finish,
            "ShutdownStart" => self.shutdown_start,
            "GeneratorsStart" => self.generators_start,
            "GeneratorsFinish" => self.generators_finish,
            "UnitsLoadStart" => self.units_load_start,
            "UnitsLoadFinish" => self.units_load_finish,
            _ => (0, 0),
        }
    }
}

impl Engine {
    /// What early boot and the image before a soft reboot left for the first image.
    pub fn note_beginning(&mut self) {
        let early = self.settings.real_boot.then(|| {
            let text = std::fs::read_to_string(ferrite_layout::facts::FACTS_PATH);
            text.map(|text| BootFacts::parse(&text)).unwrap_or_default()
        });
        self.moments = Moments::begin(self.moments.userspace, early.as_ref());
        if let Ok(note) = std::fs::read_to_string(SOFT_REBOOT) {
            self.moments.follow(&note);
            // One that stays is older than the next start of the machine, and says so.
            let _ = std::fs::remove_file(SOFT_REBOOT);
        }
    }

    /// Loads the first units, so that the time for it is known.
    pub fn load_first(&mut self) {
        self.moments.units_load_start = self.now_us();
        if let Ok(name) = UnitName::parse(&self.settings.default_unit) {
            // Whether it can be started is told when it is.
            let _ = self.load(&name);
        }
        self.moments.units_load_finish = self.now_us();
    }
}

/// Tells the next image that only user space starts again.
pub fn note_soft_reboot(moments: &Moments, log: &Log) {
    let note = format!("{} {}\n", moments.shutdown_start.1, moments.soft_reboots);
    if let Err(error) = std::fs::write(SOFT_REBOOT, note) {
        log.warning(&format!("writing {SOFT_REBOOT}: {error}, the next start counts as one of the whole machine"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Moment = (1_700_000_010_000_000, 10_000_000);

    #[test]
    fn a_machine_knows_its_kernel_and_early_boot_and_a_namespace_only_itself() {
        let facts = BootFacts { until_initrd: Duration::from_millis(1234), ..BootFacts::default() };
        let machine = Moments::begin(NOW, Some(&facts));
        assert_eq!(machine.kernel, (1_700_000_000_000_000, 0));
        assert_eq!(machine.initrd, (1_700_000_001_234_000, 1_234_000));
        let without = Moments::begin(NOW, Some(&BootFacts::default()));
        assert_eq!((without.kernel, without.initrd), (machine.kernel, (0, 0)));
        assert_eq!(Moments::begin(NOW, None), Moments { userspace: NOW, ..Moments::default() });
    }

    #[test]
    fn a_start_of_user_space_alone_counts_from_the_shutdown_before() {
        let mut moments = Moments::begin(NOW, None);
        moments.follow("7000000 2\n");
        assert_eq!((moments.shutdown_start, moments.soft_reboots), ((1_700_000_007_000_000, 7_000_000), 3));
        for nonsense in ["", "x y", "99000000 1"] {
            let mut moments = Moments::begin(NOW, None);
            moments.follow(nonsense);
            assert_eq!(moments, Moments::begin(NOW, None), "{nonsense}");
        }
    }

    #[test]
    fn moments_have_systemds_names() {
        let moments = Moments { finish: (5, 3), ..Moments::begin(NOW, None) };
        assert_eq!([moments.named("Finish"), moments.named("Userspace")], [(5, 3), NOW]);
        assert_eq!(moments.named("InitRDSecurityStart"), (0, 0));
    }
}
