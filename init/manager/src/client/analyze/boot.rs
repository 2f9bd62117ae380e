//! What the boot took: the moments of PID 1 and of its units, put on one scale. Pure but for the questions to PID 1.
//!
//! On a machine the scale begins with the kernel, in a namespace with PID 1, after a soft reboot with its shutdown.

use anyhow::{Result, bail};
use ferrite_control::{Client, ClientError, Properties, Reply, Request, UnitTimes};

/// The moments of the boot in microseconds of the scale; 0: it did not happen, or is where the scale begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boot {
    /// When the kernel was done; only on a machine.
    pub kernel_done_us: u64,
    pub initrd_us: u64,
    pub userspace_us: u64,
    pub finish_us: u64,
    pub generators_us: (u64, u64),
    pub units_load_us: (u64, u64),
    /// Did only user space start again?
    pub is_soft_reboot: bool,
    /// Where the scale begins, on the monotonic clock.
    pub offset_us: u64,
}

impl Boot {
    /// From the properties of PID 1.
    pub fn of(properties: &Properties) -> Boot {
        let number = |name: &str| properties.number(name).unwrap_or(0);
        let moment = |name: &str| number(&format!("{name}TimestampMonotonic"));
        let is_machine = properties.moment_us("KernelTimestamp") > 0;
        let userspace = moment("Userspace");
        // The shutdown that goes on now is not the one that led here.
        let is_before = |shutdown: &u64| number("SoftRebootsCount") > 0 && *shutdown < userspace;
        let soft_reboot = Some(moment("ShutdownStart")).filter(is_before).unwrap_or(0);
        let offset_us = match (soft_reboot, is_machine) {
            (0, true) => 0,
            (0, false) => userspace,
            (began, _) => began,
        };
        let on_scale = |name: &str| moment(name).saturating_sub(offset_us);
        let initrd_us = if offset_us == 0 { moment("InitRD") } else { 0 };
        let kernel_done_us = match (offset_us, initrd_us) {
            (0, 0) => userspace,
            (0, initrd) => initrd,
            _ => 0,
        };
        Boot {
            kernel_done_us,
            initrd_us,
            userspace_us: on_scale("Userspace"),
            finish_us: on_scale("Finish"),
            generators_us: (on_scale("GeneratorsStart"), on_scale("GeneratorsFinish")),
            units_load_us: (on_scale("UnitsLoadStart"), on_scale("UnitsLoadFinish")),
            is_soft_reboot: soft_reboot > 0,
            offset_us,
        }
    }

    /// A boot that is not over has no length.
    pub fn finished(self) -> Result<Boot> {
        if self.finish_us == 0 {
            bail!(
                "Bootup is not yet finished (org.freedesktop.systemd1.Manager.FinishTimestampMonotonic=0).\n\
                 Please try again later.\n\
                 Hint: Use 'systemctl list-jobs' to see active jobs"
            );
        }
        Ok(self)
    }
}

/// A unit that was started since the scale begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitTime {
    pub name: String,
    pub activating_us: u64,
    pub activated_us: u64,
    pub deactivating_us: u64,
    pub deactivated_us: u64,
    /// How long its start took.
    pub time_us: u64,
}

impl UnitTime {
    /// On the scale; `None`: it was not started since.
    pub fn of(unit: &UnitTimes, boot: &Boot) -> Option<UnitTime> {
        let before = |us: u64| us > 0 && us < boot.offset_us;
        if boot.is_soft_reboot && (before(unit.active_enter_us) || before(unit.inactive_exit_us)) {
            return None;
        }
        let on_scale = |us: u64| us.saturating_sub(boot.offset_us);
        let mut time = UnitTime {
            name: unit.name.clone(),
            activating_us: on_scale(unit.inactive_exit_us),
            activated_us: on_scale(unit.active_enter_us),
            deactivating_us: on_scale(unit.active_exit_us),
            deactivated_us: on_scale(unit.inactive_enter_us),
            time_us: 0,
        };
        // A unit that never came up took until it was down again.
        let end = [time.activated_us, time.deactivated_us].into_iter().find(|end| *end >= time.activating_us);
        time.time_us = end.map_or(0, |end| end - time.activating_us);
        (time.activating_us > 0).then_some(time)
    }

    /// Cuts what happened after the boot off, so that every bar has an end.
    pub fn limit(&mut self, boot: &Boot) {
        let finish = boot.finish_us;
        let never_up = self.activated_us == 0 && self.deactivating_us == 0;
        if never_up && self.deactivated_us > self.activating_us && self.deactivated_us <= finish {
            (self.activated_us, self.deactivating_us) = (self.deactivated_us, self.deactivated_us);
        }
        let within = |us: u64, from: u64| if us < from || us > finish { finish } else { us };
        self.activated_us = within(self.activated_us, self.activating_us);
        self.deactivating_us = within(self.deactivating_us, self.activated_us);
        self.deactivated_us = within(self.deactivated_us, self.deactivating_us);
    }
}

/// The moments of the boot.
pub fn boot(client: &mut Client) -> Result<Boot> {
    match client.ask(&Request::ShowManager)? {
        Reply::Properties(properties) => Ok(Boot::of(&properties)),
        _ => bail!(ClientError::Unexpected),
    }
}

/// The times and links of all units.
pub fn units(client: &mut Client) -> Result<Vec<UnitTimes>> {
    match client.ask(&Request::Times)? {
        Reply::Times(units) => Ok(units),
        _ => bail!(ClientError::Unexpected),
    }
}

/// The names of the units that stand in a relation to one of `units`.
pub fn related<'a>(units: &'a [UnitTimes], unit: &UnitTimes, relation: &str) -> Vec<&'a str> {
    let places = unit.relations.get(relation).into_iter().flatten();
    places.filter_map(|place| Some(units.get(usize::try_from(*place).ok()?)?.name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        Properties(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn the_scale_begins_with_the_kernel_of_a_machine() {
        let mut pairs = vec![
            ("KernelTimestamp", "@1700000000000000"),
            ("InitRDTimestampMonotonic", "1000"),
            ("UserspaceTimestampMonotonic", "3000"),
            ("GeneratorsStartTimestampMonotonic", "3100"),
            ("GeneratorsFinishTimestampMonotonic", "3200"),
            ("FinishTimestampMonotonic", "9000"),
        ];
        let boot = Boot::of(&properties(&pairs));
        assert_eq!((boot.kernel_done_us, boot.initrd_us, boot.userspace_us, boot.finish_us), (1000, 1000, 3000, 9000));
        assert_eq!((boot.generators_us, boot.units_load_us, boot.offset_us), ((3100, 3200), (0, 0), 0));
        pairs.remove(1);
        let boot = Boot::of(&properties(&pairs));
        assert_eq!((boot.kernel_done_us, boot.initrd_us), (3000, 0));
    }

    #[test]
    fn the_scale_begins_with_process_1_in_a_namespace_and_with_the_shutdown_before_a_soft_reboot() {
        let pairs = [("UserspaceTimestampMonotonic", "3000"), ("FinishTimestampMonotonic", "9000")];
        let boot = Boot::of(&properties(&pairs));
        assert_eq!((boot.kernel_done_us, boot.userspace_us, boot.finish_us, boot.offset_us), (0, 0, 6000, 3000));
        let soft = [
            ("KernelTimestamp", "@1700000000000000"),
            ("SoftRebootsCount", "1"),
            ("ShutdownStartTimestampMonotonic", "2500"),
        ];
        let boot = Boot::of(&properties(&[&pairs[..], &soft[..]].concat()));
        assert_eq!((boot.kernel_done_us, boot.userspace_us, boot.finish_us, boot.offset_us), (0, 500, 6500, 2500));
        assert!(boot.is_soft_reboot);
    }

    #[test]
    fn a_boot_that_goes_on_is_an_error() {
        let error = Boot::of(&properties(&[("UserspaceTimestampMonotonic", "5")])).finished().expect_err("not over");
        assert!(error.to_string().contains("Hint: Use 'systemctl list-jobs' to see active jobs"));
    }

    #[test]
    fn the_time_of_a_unit_is_that_of_its_start() {
        let boot = Boot { finish_us: 100, offset_us: 1000, ..Boot::default() };
        let unit = |times: [u64; 4]| UnitTimes {
            inactive_exit_us: times[0],
            active_enter_us: times[1],
            active_exit_us: times[2],
            inactive_enter_us: times[3],
            ..UnitTimes::default()
        };
        let time = |times| UnitTime::of(&unit(times), &boot).map(|time| (time.activating_us, time.time_us));
        assert_eq!(time([1010, 1030, 0, 0]), Some((10, 20)));
        // It never came up, and failed or ran to its end.
        assert_eq!(time([1010, 0, 0, 1050]), Some((10, 40)));
        // It is on its way.
        assert_eq!(time([1010, 0, 0, 0]), Some((10, 0)));
        // It was started anew: what it did before does not count.
        assert_eq!(time([1060, 1020, 1040, 1050]), Some((60, 0)));
        assert_eq!(time([0, 0, 0, 0]), None);
        let soft = Boot { is_soft_reboot: true, ..boot };
        assert_eq!(UnitTime::of(&unit([900, 950, 0, 0]), &soft), None);
    }

    #[test]
    fn bars_end_with_the_boot() {
        let boot = Boot { finish_us: 100, ..Boot::default() };
        let limit = |activating_us, activated_us, deactivating_us, deactivated_us| {
            let name = String::new();
            let mut unit = UnitTime { name, activating_us, activated_us, deactivating_us, deactivated_us, time_us: 0 };
            unit.limit(&boot);
            (unit.activated_us, unit.deactivating_us, unit.deactivated_us)
        };
        assert_eq!(limit(10, 20, 0, 0), (20, 100, 100));
        assert_eq!(limit(10, 0, 0, 0), (100, 100, 100));
        assert_eq!(limit(10, 20, 30, 40), (20, 30, 40));
        assert_eq!(limit(10, 20, 300, 400), (20, 100, 100));
        assert_eq!(limit(10, 0, 0, 40), (40, 40, 40));
    }
}
