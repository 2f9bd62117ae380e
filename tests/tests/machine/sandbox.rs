//! B2: every setting of a unit's sandbox that packages use, on the real image: a probe tries what the setting forbids,
//! and the same probe without the setting shows that it would have worked.

use anyhow::ensure;
use ferrite_tests::probe::{self, FOLDER};
use ferrite_tests::{Board, Machine, Probe};

/// The sandbox settings of the packages of Debian; each must have a probe.
const SETTINGS: [&str; 48] = [
    "AmbientCapabilities",
    "BindPaths",
    "BindReadOnlyPaths",
    "CapabilityBoundingSet",
    "DeviceAllow",
    "DevicePolicy",
    "DynamicUser",
    "ExecPaths",
    "InaccessibleDirectories",
    "InaccessiblePaths",
    "KeyringMode",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "MountAPIVFS",
    "NoExecPaths",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateIPC",
    "PrivateMounts",
    "PrivateNetwork",
    "PrivateTmp",
    "PrivateUsers",
    "ProcSubset",
    "ProtectClock",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "ReadOnlyDirectories",
    "ReadOnlyPaths",
    "ReadWriteDirectories",
    "ReadWritePaths",
    "RemoveIPC",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RootDirectory",
    "SecureBits",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "SystemCallFilter",
    "SystemCallLog",
    "TemporaryFileSystem",
];

/// Makes probes of rows: settings, script, what it says with the settings, what without.
macro_rules! probes {
    ($(($settings:expr, $script:expr, $with:expr, $without:expr)),* $(,)?) => {
        [$(Probe { settings: $settings, script: $script, with: $with, without: $without }),*]
    };
}

/// Which files may be seen, written and executed.
const PLACES: [Probe<'static>; 28] = probes![
    // The root is read-only anyway: a file system of the test below it shows the setting.
    ("ProtectSystem=yes", "makes /usr/share/terminfo; makes /etc", "no|yes", "yes|yes"),
    ("ProtectSystem=full", "makes /etc; makes /var/lib", "no|yes", "yes|yes"),
    ("ProtectSystem=strict", "makes /var/lib; makes /home/core; makes /dev/shm", "no|yes|yes", "yes|yes|yes"),
    ("ProtectSystem=strict\nReadWritePaths=/var/lib", "makes /var/lib; makes /var/log", "yes|no", "yes|yes"),
    ("ProtectSystem=strict\nReadWriteDirectories=/var/lib", "makes /var/lib; makes /var/log", "yes|no", "yes|yes"),
    ("ProtectSystem=strict\nStateDirectory=probe-state", "makes /var/lib/probe-state; makes /var", "yes|no", "*"),
    ("ProtectHome=yes", "ls -A /home | wc -l; stat -c %a /root", "0|0", "1|700"),
    ("ProtectHome=yes\nUser=core", "tries ls /home/core", "no", "yes"),
    ("ProtectHome=read-only", "makes /home/core; tries ls /home/core", "no|yes", "yes|yes"),
    ("ProtectHome=tmpfs", "ls -A /home | wc -l; makes /home", "0|no", "1|yes"),
    ("ReadOnlyPaths=/var/lib", "makes /var/lib; makes /var/log", "no|yes", "yes|yes"),
    ("ReadOnlyDirectories=/var/lib", "makes /var/lib; makes /var/log", "no|yes", "yes|yes"),
    ("InaccessiblePaths=/etc/ssh", "tries ls /etc/ssh/sshd_config", "no", "yes"),
    ("InaccessibleDirectories=/etc/ssh", "tries ls /etc/ssh/sshd_config", "no", "yes"),
    ("InaccessiblePaths=/etc/hosts -/nowhere", "tries grep localhost /etc/hosts", "no", "yes"),
    ("BindPaths=/etc:/opt", "tries ls /opt/hosts; makes /opt", "yes|yes", "no|yes"),
    ("BindReadOnlyPaths=/etc:/opt", "tries ls /opt/hosts; makes /opt", "yes|no", "no|yes"),
    ("TemporaryFileSystem=/etc:ro\nBindReadOnlyPaths=/etc/hosts", "ls /etc; makes /etc", "hosts|no", "*"),
    ("TemporaryFileSystem=/var/log", "ls -A /var/log | wc -l; makes /var/log", "0|yes", "*"),
    (
        "NoExecPaths=/\nExecPaths=/usr/bin/bash /usr/lib /usr/lib64",
        "tries /usr/bin/true; tries /usr/bin/bash -c :",
        "no|yes",
        "yes|yes"
    ),
    ("PrivateTmp=yes", "tries ls /tmp/of-the-test /var/tmp/of-the-test; makes /tmp", "no|yes", "yes|yes"),
    ("PrivateTmp=disconnected", "tries ls /tmp/of-the-test; stat -f -c %T /tmp /var/tmp", "no|tmpfs|tmpfs", "*"),
    ("PrivateMounts=yes", "mount -t tmpfs x /media; nsenter -t 1 -m grep -c ' /media ' /proc/1/mounts", "0", "1"),
    (
        "RootDirectory=/var/lib/probe/root\nBindReadOnlyPaths=/usr /bin /lib /lib64 /var/lib/probe",
        "ls /; tries ls /proc/self; tries ls /etc/hosts",
        "bin|dev|etc|lib|lib64|proc|run|sys|usr|var|yes|no",
        "*"
    ),
    (
        "RootDirectory=/var/lib/probe/root\nBindReadOnlyPaths=/usr /bin /lib /lib64 /var/lib/probe\nMountAPIVFS=no",
        "tries ls /proc/self",
        "no",
        "yes"
    ),
    ("ProtectProc=invisible\nUser=core", "tries ls -d /proc/1; tries ls -d /proc/self", "no|yes", "yes|yes"),
    ("ProtectProc=noaccess\nUser=core", "tries cat /proc/1/status; tries ls -d /proc/self", "no|yes", "yes|yes"),
    ("ProcSubset=pid", "tries cat /proc/meminfo; tries ls -d /proc/self", "no|yes", "yes|yes"),
];

/// What the kernel and its devices offer.
const KERNEL: [Probe<'static>; 23] = probes![
    ("ProtectKernelTunables=yes", "writes /proc/sys/kernel/printk; writes /sys/kernel/profiling", "no|no", "yes|yes"),
    ("ProtectKernelModules=yes", "tries modprobe dummy; ls -A /usr/lib/modules | wc -l", "no|0", "yes|1"),
    ("ProtectKernelLogs=yes", "tries dmesg; tries head -n 1 /dev/kmsg", "no|no", "yes|yes"),
    ("ProtectControlGroups=yes", "tries mkdir /sys/fs/cgroup/probe; rmdir /sys/fs/cgroup/probe", "no", "yes"),
    ("ProtectControlGroups=private", "tail -1 /proc/self/cgroup", "0::/", "*"),
    ("ProtectHostname=yes", "tries hostname $(cat /proc/sys/kernel/hostname)", "no", "yes"),
    ("ProtectClock=yes", "tries date -s @$(date +%s); call clock", "no|EPERM", "yes|EINVAL"),
    ("PrivateDevices=yes", "tries ls /dev/vda; tries head -c 1 /dev/urandom; makes /dev", "no|yes|no", "yes|yes|yes"),
    ("PrivateDevices=yes", "tries mknod /var/lib/probe/node-$$ b 1 1; rm -f /var/lib/probe/node-$$", "no", "yes"),
    ("DevicePolicy=closed", "tries head -n 1 /dev/kmsg; tries head -c 1 /dev/zero", "no|yes", "yes|yes"),
    ("DevicePolicy=closed", "tries head -c 1 /dev/vda", "no", "yes"),
    ("DevicePolicy=strict\nDeviceAllow=/dev/null rw", "tries head -c 1 /dev/zero", "no", "yes"),
    ("DevicePolicy=auto\nDeviceAllow=/dev/null rw", "tries head -c 1 /dev/vda", "no", "yes"),
    ("DeviceAllow=/dev/vda r", "tries head -c 1 /dev/vda; writes /dev/vda", "yes|no", "yes|yes"),
    ("DeviceAllow=block-virtblk r", "tries head -c 1 /dev/vda; tries head -n 1 /dev/kmsg", "yes|no", "yes|yes"),
    (
        "DeviceAllow=char-mem rw\nDevicePolicy=strict",
        "tries mknod /var/lib/probe/node-$$ c 1 9; rm -f /var/lib/probe/node-$$",
        "no",
        "yes"
    ),
    ("PrivateNetwork=yes", "ls /sys/class/net | tr '\\n' ' '; tries ip route get 10.0.2.2", "lo no", "*"),
    ("PrivateIPC=yes", "ipcs -m | grep -c 0x; ls -A /dev/mqueue | wc -l", "0|0", "1|1"),
    ("PrivateUsers=yes", "stat -c %u /home/core; tries chown 1000 /var/lib/probe/owned", "65534|no", "1000|yes"),
    ("PrivateUsers=yes\nUser=sshd", "stat -c %u /home/core /usr; id -u", "65534|0|101", "*"),
    ("RestrictRealtime=yes", "tries chrt -f 1 true; tries chrt -r 1 true", "no|no", "yes|yes"),
    ("RestrictSUIDSGID=yes", "touch /tmp/p-$$; tries chmod u+s /tmp/p-$$; rm /tmp/p-$$", "no", "yes"),
    ("KeyringMode=shared", "call find-key-of-the-user", "0", "ENOKEY"),
];

/// System calls, capabilities and users.
const RIGHTS: [Probe<'static>; 32] = probes![
    ("NoNewPrivileges=yes\nUser=core", "/usr/share/terminfo/as-root -c 'id -u' -p", "1000", "*"),
    ("MemoryDenyWriteExecute=yes", "call map-to-write-and-execute", "EACCES", "0"),
    ("LockPersonality=yes", "call personality; tries setarch i686 true", "EPERM|no", "0|yes"),
    ("RestrictNamespaces=yes", "call unshare-user; tries unshare -m true", "EPERM|no", "0|yes"),
    ("RestrictNamespaces=~net", "tries unshare -n true; tries unshare -m true", "no|yes", "yes|yes"),
    ("RestrictNamespaces=net", "tries unshare -n true; tries unshare -m true", "yes|no", "yes|yes"),
    (
        "RestrictAddressFamilies=AF_UNIX",
        "call socket-unix; call socket-inet; call socket-inet6",
        "0|EAFNOSUPPORT|EAFNOSUPPORT",
        "0|0|0"
    ),
    ("RestrictAddressFamilies=~AF_INET", "call socket-inet; call socket-inet6", "EAFNOSUPPORT|0", "0|0"),
    ("RestrictAddressFamilies=none", "call socket-unix; call socket-inet", "EAFNOSUPPORT|EAFNOSUPPORT", "0|0"),
    ("SystemCallArchitectures=native", "call getpid-of-32-bits; call uname", "killed|0", "0|0"),
    ("SystemCallFilter=~@mount", "tries mount -t tmpfs x /mnt; umount /mnt", "no", "yes"),
    ("SystemCallFilter=~acct", "call acct; call uname", "killed|0", "0|0"),
    ("SystemCallFilter=~uname\nSystemCallErrorNumber=ENOTTY", "call uname", "ENOTTY", "0"),
    ("SystemCallFilter=~uname:EILSEQ", "call uname", "EILSEQ", "0"),
    ("SystemCallFilter=@system-service", "call uname; call acct", "0|killed", "0|0"),
    ("SystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM", "call acct; call unknown", "EPERM|ENOSYS", "*"),
    ("SystemCallFilter=@system-service\nSystemCallFilter=~@privileged", "tries chown 0 /var/lib/probe", "no", "yes"),
    ("SystemCallLog=uname", "call uname; grep Seccomp: /proc/self/status | tr -d '\\t'", "0|Seccomp:2", "0|Seccomp:0"),
    ("CapabilityBoundingSet=~CAP_CHOWN", "tries chown 1000 /var/lib/probe/owned", "no", "yes"),
    (
        "CapabilityBoundingSet=CAP_CHOWN",
        "tries chown 1000 /var/lib/probe/owned; tries date -s @$(date +%s)",
        "yes|no",
        "*"
    ),
    ("CapabilityBoundingSet=", "tries chown 1000 /var/lib/probe/owned; tries mount -t tmpfs x /mnt", "no|no", "*"),
    ("CapabilityBoundingSet=~CAP_SYS_TIME", "tries date -s @$(date +%s)", "no", "yes"),
    ("User=core", "tries chown 0 /var/lib/probe/owned", "no", "yes"),
    ("User=core\nAmbientCapabilities=CAP_CHOWN", "tries chown 0 /var/lib/probe/owned; id -u", "yes|1000", "yes|0"),
    ("User=core\nAmbientCapabilities=CAP_SYSLOG", "tries dmesg; id -u", "yes|1000", "yes|0"),
    ("SecureBits=noroot noroot-locked", "tries chown 1000 /var/lib/probe/owned; id -u", "no|0", "yes|0"),
    ("DynamicUser=yes", "[ $(id -u) -ge 61184 ] && echo own; makes /var/lib; makes /tmp", "own|no|yes", "yes|yes"),
    ("DynamicUser=yes\nUser=probe-user", "id -un; tries ls /tmp/of-the-test", "probe-user|no", "*"),
    (
        "DynamicUser=yes\nStateDirectory=probe-dynamic",
        "touch $STATE_DIRECTORY/x && readlink /var/lib/probe-dynamic; \
         stat -c %u $STATE_DIRECTORY/x | grep -cw $(id -u)",
        "private/probe-dynamic|1",
        "*"
    ),
    ("DynamicUser=yes\nRemoveIPC=no", "tries chmod u+s /tmp; grep NoNewPrivs /proc/self/status | cut -f2", "no|1", "*"),
    ("UMask=0027", "touch /tmp/m-$$; stat -c %a /tmp/m-$$; rm /tmp/m-$$", "640", "644"),
    (
        "LimitNOFILE=20",
        "ulimit -n; tries bash -c 'for n in {10..40}; do eval \"exec $n</dev/null\"; done'",
        "20|no",
        "*"
    ),
];

/// Probes that run at the same time: none changes what another one looks at.
const TOGETHER: usize = 12;
/// What the probes expect to be there.
const SCENE: &str = "mkdir -p /var/lib/probe/root/etc && touch /var/lib/probe/owned && \
    touch /tmp/of-the-test /var/tmp/of-the-test && \
    mount -t tmpfs x /usr/share/terminfo && cp /usr/bin/bash /usr/share/terminfo/as-root && \
    chmod 4755 /usr/share/terminfo/as-root && \
    ipcmk -M 100 >/dev/null && touch /dev/mqueue/of-the-test";

#[test]
fn every_setting_of_the_sandbox_forbids_what_it_says() -> anyhow::Result<()> {
    let all: Vec<Probe<'_>> = PLACES.into_iter().chain(KERNEL).chain(RIGHTS).collect();
    for setting in SETTINGS.iter().filter(|setting| **setting != "RemoveIPC") {
        let line = format!("{setting}=");
        ensure!(all.iter().any(|probe| probe.settings.lines().any(|l| l.starts_with(&line))), "no probe of {setting}=");
    }
    let mut machine = Machine::boot(Board::Qemu)?;
    machine.sudo(SCENE)?;
    probe::run(&mut machine, &all, TOGETHER)?;
    ipc_objects_of_a_user_end_with_its_service(&mut machine)?;
    let failed = machine.ssh("systemctl list-units --state=failed --no-legend")?;
    ensure!(failed.trim().is_empty(), "units failed:\n{failed}");
    machine.power_off()
}

fn ipc_objects_of_a_user_end_with_its_service(machine: &mut Machine) -> anyhow::Result<()> {
    let unit = |setting: &str| {
        format!(
            "[Service]\nType=oneshot\nUser=leaves\n{setting}\n\
             ExecStart=/bin/sh -c 'ipcmk -M 100; touch /dev/shm/of-a-user'\n"
        )
    };
    machine.sudo("echo leaves:x:777:777::/:/bin/sh >> /etc/passwd; echo leaves:x:777: >> /etc/group")?;
    for (name, setting, left) in [("keep", "", "1 /dev/shm/of-a-user"), ("remove", "RemoveIPC=yes", "0")] {
        machine.send(&format!("/etc/systemd/system/{name}.service"), unit(setting).as_bytes())?;
        machine.sudo(&format!("systemctl daemon-reload; systemctl start {name}"))?;
        let said = machine.sudo("echo $(ipcs -m | grep -c leaves) $(ls /dev/shm/of-a-user 2>/dev/null)")?;
        assert_eq!(said.trim(), left, "{setting} ({FOLDER})");
    }
    Ok(())
}
