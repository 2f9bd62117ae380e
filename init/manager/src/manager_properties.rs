//! The properties of PID 1 itself, as `systemctl show` without a unit prints them.

use ferrite_control::Properties;
use ferrite_unit::sheet::{Sheet, default_limits, words_text};
use rustix::fs::FileType;

use crate::engine::Engine;
use crate::server::read_some;

/// What systemd can be built with. Here: what this program itself does, and nothing through a library of somebody else.
const FEATURES: &str = "-PAM -AUDIT -SELINUX -APPARMOR -IMA -IPE -SMACK +SECCOMP -GCRYPT -GNUTLS -OPENSSL -ACL -BLKID \
    -CURL -ELFUTILS -FIDO2 -IDN2 -IDN -IPTC -KMOD -LIBCRYPTSETUP -LIBCRYPTSETUP_PLUGINS -LIBFDISK -PCRE2 -PWQUALITY \
    -P11KIT -QRENCODE -TPM2 -BZIP2 -LZ4 -XZ -ZLIB -ZSTD +BPF_FRAMEWORK -BTF -XKBCOMMON -UTMP -SYSVINIT -LIBARCHIVE";

/// Moments that are told, in order; those that this manager does not know are never.
const MOMENTS: [&str; 20] = [
    "Firmware",
    "Loader",
    "Kernel",
    "InitRD",
    "Userspace",
    "Finish",
    "ShutdownStart",
    "SecurityStart",
    "SecurityFinish",
    "GeneratorsStart",
    "GeneratorsFinish",
    "UnitsLoadStart",
    "UnitsLoadFinish",
    "UnitsLoad",
    "InitRDSecurityStart",
    "InitRDSecurityFinish",
    "InitRDGeneratorsStart",
    "InitRDGeneratorsFinish",
    "InitRDUnitsLoadStart",
    "InitRDUnitsLoadFinish",
];

impl Engine {
    /// All of them.
    pub fn manager_properties(&self) -> Properties {
        let mut sheet = Sheet::default();
        sheet.put("Version", format!("Ferrite {}", env!("CARGO_PKG_VERSION")));
        sheet.put("Features", FEATURES);
        sheet.put("Virtualization", crate::virtualization::detect().unwrap_or_default());
        sheet.put("ConfidentialVirtualization", "");
        sheet.put("Architecture", crate::host::architecture());
        sheet.put("Tainted", taints().join(":"));
        for name in MOMENTS {
            sheet.moment(&format!("{name}Timestamp"), self.moments.named(name));
        }
        sheet.put("LogLevel", self.log.level());
        sheet.put("LogTarget", self.log.target());
        self.counters(&mut sheet);
        self.watchdogs(&mut sheet);
        self.unit_defaults(&mut sheet);
        sheet.put("CtrlAltDelBurstAction", "reboot-force");
        sheet.put("SoftRebootsCount", self.moments.soft_reboots.to_string());
        Properties(sheet.0)
    }

    fn counters(&self, sheet: &mut Sheet) {
        let installed = self.next_job.saturating_sub(1);
        let waiting = u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
        sheet.put("NNames", self.units.ids().len().to_string());
        sheet.put("NFailedUnits", self.failed_units().to_string());
        sheet.put("NJobs", waiting.to_string());
        sheet.put("NInstalledJobs", installed.to_string());
        sheet.put("NFailedJobs", self.manager.failed_jobs.to_string());
        let over = self.moments.finish.1 > 0 || installed == 0;
        let progress = if over { 1.0 } else { 1.0 - f64::from(waiting) / f64::from(installed) };
        sheet.put("Progress", shortest(progress));
        sheet.put("Environment", words_text(self.environment_words()));
        sheet.put("ConfirmSpawn", "no");
        sheet.put("ShowStatus", "yes");
        sheet.put("UnitPath", words_text(&self.settings.load_path.0));
        sheet.put("DefaultStandardOutput", "journal");
        sheet.put("DefaultStandardError", "inherit");
    }

    fn watchdogs(&self, sheet: &mut Sheet) {
        sheet.put("WatchdogDevice", "");
        sheet.moment("WatchdogLastPingTimestamp", (0, 0));
        for (name, value) in [
            ("RuntimeWatchdogUSec", "0"),
            ("RuntimeWatchdogPreUSec", "0"),
            ("RuntimeWatchdogPreGovernor", ""),
            ("RebootWatchdogUSec", "10min"),
            ("KExecWatchdogUSec", "0"),
            ("ServiceWatchdogs", if self.manager.service_watchdogs { "yes" } else { "no" }),
        ] {
            sheet.put(name, value);
        }
        // The root of all groups is no word, as in systemd.
        let group = self.groups.root().unwrap_or_default();
        let below = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].iter().find_map(|mount| group.strip_prefix(mount));
        sheet.put("ControlGroup", below.unwrap_or(group));
        sheet.put("SystemState", self.system_state());
        // A byte, for which there is no text.
        sheet.put("ExitCode", ferrite_unit::sheet::UNPRINTABLE);
    }

    fn unit_defaults(&self, sheet: &mut Sheet) {
        for (name, value) in [
            ("DefaultTimerAccuracyUSec", "1min"),
            ("DefaultTimeoutStartUSec", "1min 30s"),
            ("DefaultTimeoutStopUSec", "1min 30s"),
            ("DefaultTimeoutAbortUSec", "1min 30s"),
            ("DefaultDeviceTimeoutUSec", "1min 30s"),
            ("DefaultRestartUSec", "100ms"),
            ("DefaultStartLimitIntervalUSec", "10s"),
            ("DefaultStartLimitBurst", "5"),
            ("DefaultCPUAccounting", "yes"),
            ("DefaultBlockIOAccounting", "no"),
            ("DefaultIOAccounting", "no"),
            ("DefaultIPAccounting", "no"),
            ("DefaultMemoryAccounting", "yes"),
            ("DefaultTasksAccounting", "yes"),
        ] {
            sheet.put(name, value);
        }
        let defaults = self.defaults();
        default_limits(sheet, &defaults);
        let totals = crate::totals::read();
        let share = ferrite_unit::resources::Amount::Share(ferrite_unit::resources::TASKS_SHARE);
        let tasks = totals.tasks(share).finite().unwrap_or(u64::MAX);
        sheet.put("DefaultTasksMax", tasks.to_string());
        sheet.put("DefaultMemoryPressureThresholdUSec", "200ms");
        sheet.put("DefaultMemoryPressureWatch", "auto");
        sheet.put("TimerSlackNSec", defaults.timer_slack_ns.to_string());
        sheet.put("DefaultOOMPolicy", "stop");
        sheet.put("DefaultOOMScoreAdjust", defaults.oom_score_adjust.to_string());
    }
}

/// A number with as few digits as tell it, six at most.
fn shortest(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What of this system is not as systemd wants it, in its words.
fn taints() -> Vec<&'static str> {
    let link = |path: &str| rustix::fs::readlink(path, Vec::new()).ok();
    let is_link_to = |path: &str, ends: &[&str]| {
        link(path).is_none_or(|target| ends.iter().any(|end| target.as_bytes() == end.as_bytes()))
    };
    let is_directory = |path: &str| {
        rustix::fs::lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    };
    let number = |path: &str| String::from_utf8_lossy(&read_some(path, 32)).trim().parse::<u64>().ok();
    let differs = |path: &str| number(path).is_some_and(|number| number != 65_534);
    let mut taints = Vec::new();
    if is_directory("/bin") {
        taints.push("unmerged-usr");
    }
    if is_directory("/usr/sbin") {
        taints.push("unmerged-bin");
    }
    if !is_link_to("/var/run", &["../run", "/run"]) {
        taints.push("var-run-bad");
    }
    if differs("/proc/sys/kernel/overflowuid") {
        taints.push("overflowuid-not-65534");
    }
    if differs("/proc/sys/kernel/overflowgid") {
        taints.push("overflowgid-not-65534");
    }
    taints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_without_needless_digits() {
        for (value, text) in [(1.0, "1"), (0.5, "0.5"), (2.0 / 3.0, "0.666667"), (0.0, "0")] {
            assert_eq!(shortest(value), text);
        }
    }
}
