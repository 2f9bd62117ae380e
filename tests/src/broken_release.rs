//! Ways in which a release can be bad. Each is built, packed, signed and published like a good one, and taken by a
//! machine itself.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::Context;

use crate::broken_slot::{BrokenSlot, edits_of_boot};
use crate::publisher::Publisher;
use crate::tiny_elf;

/// What is wrong with the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenRelease {
    /// Its boot partition has no kernel file.
    NoKernel,
    /// Its kernel file is full of zeros.
    ZeroKernel,
    /// Its command line asks for another root.
    WrongRootHash,
    /// A block of the root that PID 1 needs turns bad after the release was installed.
    CorruptRoot,
    /// PID 1 is no program.
    NoInit,
    /// PID 1 exits at once.
    InitExits,
    /// PID 1 does nothing.
    InitHangs,
    /// The kernel panics while services start.
    KernelPanics,
    /// A unit that the boot needs fails.
    UnitFails,
    /// A unit that the boot needs never gets ready.
    UnitHangs,
    /// A health check fails.
    CheckFails,
}

const INIT: &str = "/usr/lib/ferrite/ferrite-init";
const SSH: &str = "/usr/lib/systemd/system/ssh.service.d/50-broken.conf";
const CHECK: &str = "/usr/lib/ferrite/healthcheck.d/required.d/10-never";

impl BrokenRelease {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NoKernel,
        Self::CheckFails,
        Self::ZeroKernel,
        Self::InitExits,
        Self::CorruptRoot,
        Self::KernelPanics,
        Self::WrongRootHash,
        Self::NoInit,
        Self::UnitFails,
        Self::InitHangs,
        Self::UnitHangs,
    ];

    /// What the reason of the fallback says.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoKernel | Self::ZeroKernel => "never reached early boot: the boot loader could not load it",
            Self::WrongRootHash => "wrong root hash",
            Self::CorruptRoot => "does not match its hash",
            Self::NoInit => "executing '/usr/lib/ferrite/ferrite-init'",
            Self::InitExits | Self::InitHangs => "started 3 times, last reached early boot",
            Self::KernelPanics => "started 3 times, last reached the start of services",
            Self::UnitFails | Self::UnitHangs => "ssh.service",
            Self::CheckFails => "health check 10-never: exit status: 7",
        }
    }

    /// What the console may say because of it.
    pub fn expected_trouble(self) -> &'static [&'static str] {
        match self {
            Self::NoKernel | Self::ZeroKernel | Self::WrongRootHash | Self::NoInit | Self::InitHangs => &[],
            Self::UnitFails | Self::UnitHangs | Self::CheckFails => &[],
            Self::CorruptRoot => &["is corrupted", "I/O error", "Kernel panic", "Buffer I/O error", "verity"],
            Self::InitExits | Self::KernelPanics => &["Kernel panic", "sysrq", "end Kernel panic"],
        }
    }

    /// Builds the release and publishes it.
    pub fn publish(self, publisher: &Publisher, serial: u64) -> anyhow::Result<()> {
        let files = self.files();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (*path, bytes.as_slice())).collect();
        publisher.build(serial, &files)?;
        if let Some(fault) = self.fault_of_boot() {
            let path = publisher.slot(serial).boot;
            let boot = std::fs::read(&path).with_context(|| format!("reading '{}'", path.display()))?;
            let file = File::options().write(true).open(&path).context("opening a boot partition")?;
            for (offset, bytes) in edits_of_boot(fault, &boot)? {
                file.write_all_at(&bytes, offset).context("breaking a boot partition")?;
            }
        }
        publisher.publish(serial)
    }

    fn fault_of_boot(self) -> Option<BrokenSlot> {
        match self {
            Self::NoKernel => Some(BrokenSlot::NoKernel),
            Self::ZeroKernel => Some(BrokenSlot::ZeroKernel),
            Self::WrongRootHash => Some(BrokenSlot::WrongRootHash),
            Self::CorruptRoot | Self::NoInit | Self::InitExits | Self::InitHangs | Self::KernelPanics => None,
            Self::UnitFails | Self::UnitHangs | Self::CheckFails => None,
        }
    }

    fn files(self) -> Vec<(&'static str, Vec<u8>)> {
        let text = |path, text: &str| vec![(path, text.as_bytes().to_vec())];
        match self {
            Self::NoKernel | Self::ZeroKernel | Self::WrongRootHash | Self::CorruptRoot => Vec::new(),
            Self::NoInit => text(INIT, "this is no program\n"),
            Self::InitExits => vec![(INIT, tiny_elf::exits())],
            Self::InitHangs => vec![(INIT, tiny_elf::hangs())],
            Self::KernelPanics => text(SSH, "[Service]\nExecStartPre=/bin/sh -c \"echo c > /proc/sysrq-trigger\"\n"),
            Self::UnitFails => text(SSH, "[Service]\nExecStart=\nExecStart=/bin/false\n"),
            Self::UnitHangs => text(SSH, "[Service]\nTimeoutStartSec=infinity\nExecStartPre=/bin/sleep infinity\n"),
            // A start under test has the severe settings of the kernel.
            Self::CheckFails => text(
                CHECK,
                "#!/bin/sh\ncd /proc/sys/kernel && cat panic_on_oops softlockup_panic hung_task_panic | tr -d '\\n' | \
                 grep -qx 111 || exit 6\necho this release is bad; exit 7\n",
            ),
        }
    }
}
