//! Every setting of the sandbox tries what it forbids, and does the same without the setting: what it says must differ.

use std::fs;

use ferrite_control::JobVerb;

#[path = "support/machine.rs"]
#[allow(dead_code)]
mod machine;
use machine::Machine;

/// Settings, a shell script, what it says with the settings and what without; `*` is anything else.
type Probe<'a> = (&'a str, &'a str, &'a str, &'a str);

/// Runs all probes on one machine. What they say is told before any of it fails the test.
fn probe(probes: &[Probe<'_>]) {
    let names: Vec<[String; 2]> = (0..probes.len()).map(|n| [format!("with{n}"), format!("without{n}")]).collect();
    let unit = |name: &str, settings: &str, number: usize| {
        format!(
            "[Service]\nType=oneshot\nStandardOutput=file:/run/out/{name}\nStandardError=file:/run/out/{name}.err\n\
             {settings}\nExecStart=/bin/sh /run/out/{number}.sh\n"
        )
    };
    let mut files = Vec::new();
    for (number, ((settings, script, ..), [with, without])) in probes.iter().zip(&names).enumerate() {
        files.push((format!("run/out/{number}.sh"), format!("{script}\n")));
        files.push((format!("{with}.service"), unit(with, settings, number)));
        files.push((format!("{without}.service"), unit(without, "", number)));
    }
    let borrowed: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let machine = Machine::boot(&borrowed);
    let run = |name: &str| {
        // What a probe's own exit status is does not matter: some are killed, as they should be.
        let outcome = machine.job(JobVerb::Start, &format!("{name}.service"));
        let read = |end: &str| fs::read_to_string(machine.output(&format!("run/out/{name}{end}"))).unwrap_or_default();
        let status = machine.show(&format!("{name}.service")).properties["ExecMainStatus"].clone();
        (read("").trim().replace('\n', "|"), format!("{outcome:?} {status} {}", read(".err")))
    };
    let mut faults = String::new();
    for ((settings, script, with_settings, without_settings), [with, without]) in probes.iter().zip(&names) {
        for (name, wanted) in [(with, *with_settings), (without, *without_settings)] {
            let (said, more) = run(name);
            let right = if wanted == "*" { said != *with_settings } else { said == wanted };
            if !right {
                faults.push_str(&format!("{settings}\n  {script}\n  {name} wants '{wanted}', says '{said}' {more}\n"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}\n{}", machine.log());
}

#[test]
fn places_are_protected() {
    let touch = |path: &str| {
        format!("touch {path}/probe-of-ferrite 2>/dev/null && rm {path}/probe-of-ferrite && echo yes || echo no")
    };
    let (usr, etc, opt, home, var) = (touch("/usr"), touch("/etc"), touch("/opt"), touch("/root"), touch("/var/lib"));
    probe(&[
        ("ProtectSystem=yes", &usr, "no", "yes"),
        ("ProtectSystem=yes", &etc, "yes", "yes"),
        ("ProtectSystem=full", &etc, "no", "yes"),
        ("ProtectSystem=strict", &opt, "no", "yes"),
        ("ProtectSystem=strict", &home, "yes", "yes"),
        ("ProtectSystem=strict\nReadWritePaths=/var/lib", &var, "yes", "yes"),
        ("ProtectSystem=strict\nReadWritePaths=-/nowhere", &var, "no", "yes"),
        ("ProtectHome=read-only", &home, "no", "yes"),
        ("ProtectHome=yes", "ls /root >/dev/null 2>&1; stat -c %a /root", "0", &root_mode()),
        ("ProtectHome=tmpfs", "ls -A /root | wc -l; touch /root/x 2>/dev/null || echo ro", "0|ro", &root_files()),
        ("ReadOnlyPaths=/var", &var, "no", "yes"),
        (
            "InaccessiblePaths=/etc/passwd",
            "wc -c < /etc/passwd | grep -q ^0 && echo empty || echo full",
            "empty",
            "full",
        ),
        (
            "InaccessiblePaths=/etc",
            "ls /etc 2>/dev/null | wc -l | grep -q ^0 && echo empty || echo full",
            "empty",
            "full",
        ),
        ("TemporaryFileSystem=/opt:mode=0701", "stat -f -c %T /opt; stat -c %a /opt", "tmpfs|701", &opt_kind()),
        ("BindPaths=/etc:/opt", "ls /opt/passwd 2>/dev/null", "/opt/passwd", ""),
        ("BindReadOnlyPaths=/usr:/opt", &opt, "no", "yes"),
        (
            "BindReadOnlyPaths=/etc:/var/made/folder\nTemporaryFileSystem=/var",
            "ls /var/made/folder/passwd 2>/dev/null",
            "/var/made/folder/passwd",
            "",
        ),
        ("BindPaths=-/nowhere:/opt", "echo on", "on", "on"),
        (
            "NoExecPaths=/usr/bin\nExecPaths=/usr/bin/dash /usr/bin/echo",
            "/usr/bin/ls / >/dev/null 2>&1 && echo yes || echo no",
            "no",
            "yes",
        ),
        ("PrivateMounts=yes", "mount -t tmpfs t /opt; nsenter -t 1 -m grep -c ' /opt ' /proc/1/mounts", "0", "1"),
    ]);
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains("/stage/"));
}

fn root_mode() -> String {
    use std::os::unix::fs::PermissionsExt;
    format!("{:o}", fs::metadata("/root").unwrap().permissions().mode() & 0o7777)
}

fn root_files() -> String {
    format!("{}", fs::read_dir("/root").unwrap().count())
}

fn opt_kind() -> String {
    use std::os::unix::fs::PermissionsExt;
    format!("ext2/ext3|{:o}", fs::metadata("/opt").unwrap().permissions().mode() & 0o7777)
}

#[test]
fn interfaces_of_the_kernel_are_protected() {
    let write = |path: &str| format!("( : >> {path} ) 2>/dev/null && echo yes || echo no");
    let (tunable, groups) = (
        write("/proc/sys/kernel/printk"),
        "mkdir /sys/fs/cgroup/unified/probe 2>/dev/null && rmdir /sys/fs/cgroup/unified/probe && echo yes || echo no",
    );
    probe(&[
        ("ProtectKernelTunables=yes", &tunable, "no", "yes"),
        (
            "ProtectKernelTunables=yes",
            "wc -c < /proc/kallsyms | grep -q '^0' && echo empty || echo full",
            "empty",
            "full",
        ),
        ("ProtectKernelTunables=yes", groups, "yes", "yes"),
        ("ProtectControlGroups=yes", groups, "no", "yes"),
        (
            "ProtectKernelModules=yes",
            "ls -A /usr/lib/modules 2>/dev/null | wc -l; grep CapBnd /proc/self/status | cut -c16-",
            "0|ffefeffff",
            &modules(),
        ),
        (
            "ProtectKernelLogs=yes",
            "test -c /dev/kmsg && dd if=/dev/kmsg of=/dev/null count=0 2>/dev/null && echo yes || echo \
             no; dmesg >/dev/null 2>&1 && echo yes || echo no",
            "no|no",
            "yes|yes",
        ),
        ("ProtectProc=invisible\nUser=65534", "test -d /proc/1 && echo yes || echo no", "no", "yes"),
        (
            "ProcSubset=pid",
            "test -e /proc/meminfo && echo yes || echo no; test -e /proc/self && echo yes",
            "no|yes",
            "yes|yes",
        ),
        (
            "PrivateDevices=yes",
            "ls /dev/vda /dev/kmsg 2>/dev/null; echo x > /dev/null && head -c4 /dev/urandom | wc -c; \
             touch /dev/x 2>/dev/null && echo made",
            "4",
            "/dev/kmsg|/dev/vda|4|made",
        ),
        ("ProtectHostname=yes", "hostname $(hostname) 2>/dev/null && echo yes || echo no", "no", "yes"),
        ("ProtectClock=yes", "grep CapBnd /proc/self/status | cut -c12-17", "001f7f", "001fff"),
    ]);
}

fn modules() -> String {
    let count = fs::read_dir("/usr/lib/modules").map(Iterator::count).unwrap_or(0);
    format!("{count}|ffeffffff")
}

/// A python program that makes one system call and prints 0 or the name of the error.
fn call(number: u32, arguments: &str) -> String {
    format!(
        "python3 -c \"import ctypes, errno; c = ctypes.CDLL(None, use_errno=True); \
         r = c.syscall({number}, {arguments}); \
         print(0 if r >= 0 else errno.errorcode[ctypes.get_errno()])\" || echo killed"
    )
}

#[test]
fn system_calls_are_filtered() {
    let user = call(272, "0x10000000");
    let socket = |family: u32| call(41, &format!("{family}, 2, 0"));
    let fifo = "python3 -c \"import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); \
     print('fifo')\" 2>/dev/null || echo no";
    let suid = "touch /tmp/probe$$ && chmod 4755 /tmp/probe$$ 2>/dev/null && echo yes || echo no; rm /tmp/probe$$";
    let map = "python3 -c \"import mmap; mmap.mmap(-1, 4096, prot=7); print('yes')\" 2>/dev/null || echo no";
    // The compatible call `getpid` of 32-bit programs.
    let persona = call(135, "8");
    let (uname, acct) = (call(63, "ctypes.create_string_buffer(400)"), call(163, "0"));
    probe(&[
        ("RestrictNamespaces=yes", &user, "EPERM", "0"),
        ("RestrictNamespaces=~net", &user, "0", "0"),
        ("RestrictNamespaces=net", "unshare --net true && echo yes || echo no", "yes", "yes"),
        ("RestrictNamespaces=~net", "unshare --net true 2>/dev/null && echo yes || echo no", "no", "yes"),
        ("RestrictAddressFamilies=AF_UNIX", &socket(2), "EAFNOSUPPORT", "0"),
        ("RestrictAddressFamilies=AF_UNIX", &socket(1), "0", "0"),
        ("RestrictAddressFamilies=~AF_INET", &socket(10), "0", "0"),
        ("RestrictAddressFamilies=~AF_INET", &socket(2), "EAFNOSUPPORT", "0"),
        ("RestrictRealtime=yes", fifo, "no", "fifo"),
        ("RestrictSUIDSGID=yes", suid, "no", "yes"),
        ("MemoryDenyWriteExecute=yes", map, "no", "yes"),
        ("LockPersonality=yes", &persona, "EPERM", "0"),
        ("SystemCallFilter=~@mount", "mount -t tmpfs t /opt 2>/dev/null && echo yes || echo no", "no", "yes"),
        ("SystemCallFilter=~uname\nSystemCallErrorNumber=ENOTTY", &uname, "ENOTTY", "0"),
        ("SystemCallFilter=~uname:EILSEQ", &uname, "EILSEQ", "0"),
        ("SystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM", &uname, "0", "0"),
        ("SystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM", &acct, "EPERM", "0"),
        ("SystemCallFilter=@system-service", &call(999, "0"), "ENOSYS", "ENOSYS"),
        ("SystemCallFilter=~acct", &acct, "killed", "0"),
        ("ProtectKernelModules=yes", &call(175, "0, 0, 0"), "EPERM", "*"),
        ("ProtectClock=yes", &call(227, "99, 0"), "EPERM", "EINVAL"),
        ("PrivateDevices=yes", &call(173, "0, 0, 0"), "EPERM", "*"),
        ("ProtectHostname=yes", &call(170, "0, -1"), "EPERM", "EINVAL"),
        ("SystemCallLog=uname", &uname, "0", "0"),
    ]);
}

#[test]
fn filters_of_a_unit_with_a_user_are_installed_without_taking_its_programs_rights() {
    let seccomp = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'; id -u";
    probe(&[
        ("User=65534\nLockPersonality=yes", seccomp, "NoNewPrivs:0|Seccomp:2|65534", "NoNewPrivs:0|Seccomp:0|0"),
        (
            "User=65534\nSystemCallFilter=@system-service",
            seccomp,
            "NoNewPrivs:0|Seccomp:2|65534",
            "NoNewPrivs:0|Seccomp:0|0",
        ),
        ("User=65534\nNoNewPrivileges=yes", seccomp, "NoNewPrivs:1|Seccomp:0|65534", "NoNewPrivs:0|Seccomp:0|0"),
        (
            "User=65534\nLockPersonality=yes",
            "grep Cap[EPI] /proc/self/status | tr -d '\\t'",
            "CapInh:0000000000000000|CapPrm:0000000000000000|CapEff:0000000000000000",
            &own_capabilities(),
        ),
    ]);
}

fn own_capabilities() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let lines: Vec<String> = status
        .lines()
        .filter(|line| ["CapI", "CapP", "CapE"].iter().any(|n| line.starts_with(n)))
        .map(|line| line.replace('\t', ""))
        .collect();
    lines.join("|")
}

#[test]
fn capabilities_are_taken_and_given() {
    let sets = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2 | sed 's/^0*//' | tr '\\n' ' '";
    let bounding = |bits: u64| format!("{bits:x}");
    let all = u64::from_str_radix(own_capabilities().split("CapEff:").nth(1).unwrap(), 16).unwrap();
    let whole = format!(" {} {} {} ", bounding(all), bounding(all), bounding(all)).trim().to_owned();
    probe(&[
        ("CapabilityBoundingSet=CAP_CHOWN CAP_KILL", sets, "21 21 21", &whole),
        ("CapabilityBoundingSet=", sets, "", &whole),
        (
            "User=65534\nAmbientCapabilities=CAP_NET_RAW",
            sets,
            &format!("2000 2000 2000 {} 2000", bounding(all)),
            &whole,
        ),
        (
            "User=65534\nAmbientCapabilities=CAP_NET_RAW\nCapabilityBoundingSet=CAP_NET_RAW\nLockPersonality=yes",
            sets,
            "2000 2000 2000 2000 2000",
            &whole,
        ),
        (
            "User=65534\nAmbientCapabilities=CAP_NET_RAW CAP_CHOWN\nCapabilityBoundingSet=~CAP_CHOWN",
            sets,
            &format!("2000 2000 2000 {} 2000", bounding(all & !1)),
            &whole,
        ),
        (
            "SecureBits=noroot noroot-locked",
            "grep CapEff /proc/self/status | cut -f2",
            "0000000000000000",
            &format!("{all:016x}"),
        ),
    ]);
}

#[test]
fn namespaces_are_private() {
    let users = "cat /proc/self/uid_map | tr -s ' '; stat -c %U:%u /usr";
    probe(&[
        ("PrivateNetwork=yes", "ip -o link | grep -c UP; ls /sys/class/net", "1|lo", "*"),
        (
            "PrivateIPC=yes",
            "ipcs -q | grep -c 0x; readlink /proc/self/ns/ipc | cut -c1-4; ls -A /dev/mqueue | wc -l",
            "0|ipc:|0",
            "0|ipc:|0",
        ),
        ("PrivateUsers=yes\nUser=65534", users, "0 0 1| 65534 65534 1|root:0", "0 0 4294967295|root:0"),
        ("PrivateUsers=yes", users, "0 0 1|root:0", "0 0 4294967295|root:0"),
        ("PrivateUsers=identity", users, "0 0 65536|root:0", "0 0 4294967295|root:0"),
        ("PrivateTmp=yes", "ls -A /tmp | wc -l; stat -c %a /tmp", "0|1777", "*"),
        (
            "PrivateTmp=disconnected",
            "ls -A /tmp /var/tmp | grep -vc :; stat -f -c %T /tmp; stat -c %a /var/tmp",
            "1|tmpfs|1777",
            "*",
        ),
        (
            "ProtectControlGroups=private",
            "readlink /proc/self/ns/cgroup | cut -c1-7; cat /proc/self/cgroup | tail -1",
            "cgroup:|0::/",
            "*",
        ),
    ]);
}

#[test]
fn a_dynamic_user_is_nobody_else_and_leaves_nothing_behind() {
    let state = "/var/lib/ferrite-probe";
    let service = "[Service]\nType=oneshot\nDynamicUser=yes\nUser=ferrite-probe\nStateDirectory=ferrite-probe\n\
                   StandardOutput=file:/run/out\nExecStart=/bin/sh -c 'id -un; id -u; touch $STATE_DIRECTORY/x /tmp/y; \
                   stat -c %%U $STATE_DIRECTORY/x; touch /var/x 2>/dev/null || echo ro; \
                    ls -A /root 2>/dev/null | wc -l'\n";
    let machine = Machine::boot(&[("d.service", service), ("e.service", service)]);
    let said = || fs::read_to_string(machine.output("run/out")).unwrap().replace('\n', "|");
    assert_eq!(format!("{:?}", machine.job(JobVerb::Start, "d.service")), "Done", "{}", machine.log());
    let first = said();
    let number: u32 = first.split('|').nth(1).unwrap().parse().unwrap();
    assert!((61_184..=65_519).contains(&number), "{first}");
    assert!(first.starts_with(&format!("ferrite-probe|{number}|ferrite-probe|ro|")), "{first}");
    machine.wait_for("end of the user", |machine| !machine.output("run/ferrite/dynamic/ferrite-probe").exists());
    // What it left belongs to the same user the next time.
    assert_eq!(format!("{:?}", machine.job(JobVerb::Start, "e.service")), "Done", "{}", machine.log());
    assert_eq!(said(), first);
    assert_eq!(fs::read_link(state).unwrap().to_str(), Some("private/ferrite-probe"));
    fs::remove_file(state).unwrap();
    fs::remove_dir_all("/var/lib/private/ferrite-probe").unwrap();
}

#[test]
fn processes_of_a_unit_share_its_tmp_and_its_network_until_it_is_over() {
    let machine = Machine::boot(&[(
        "s.service",
        "[Service]\nPrivateTmp=yes\nPrivateNetwork=yes\nStandardOutput=append:/run/out\n\
         ExecStartPre=/bin/sh -c 'touch /tmp/x; readlink /proc/self/ns/net'\n\
         ExecStart=/bin/sh -c 'ls /tmp; readlink /proc/self/ns/net; exec sleep 1000'\n\
         ExecStop=/bin/sh -c 'ls /tmp; readlink /proc/self/ns/net'\n",
    )]);
    assert_eq!(format!("{:?}", machine.job(JobVerb::Start, "s.service")), "Done", "{}", machine.log());
    machine.wait_for("output", |machine| machine::lines(&machine.output("run/out")).len() >= 3);
    let folder = fs::read_to_string(machine.output("run/ferrite/shared/s.service/tmp")).unwrap();
    assert!(fs::metadata(format!("{folder}/tmp/x")).is_ok());
    assert_eq!(format!("{:?}", machine.job(JobVerb::Stop, "s.service")), "Done", "{}", machine.log());
    let lines = machine::lines(&machine.output("run/out"));
    let network = lines[0].clone();
    assert_eq!(lines, [network.as_str(), "x", &network, "x", &network]);
    machine.wait_for("removal", |_| fs::metadata(&folder).is_err());
    machine.wait_for("removal of the rest", |machine| {
        fs::read_dir(machine.output("run/ferrite/shared")).unwrap().next().is_none()
    });
}

#[test]
fn processes_are_scheduled_as_their_unit_says() {
    let first = "grep Cpus_allowed_list /proc/self/status | cut -f2";
    probe(&[
        ("CPUAffinity=0", first, "0", "*"),
        ("CPUSchedulingPolicy=batch", "chrt -p $$ | head -1 | cut -d: -f2", "SCHED_BATCH", "SCHED_OTHER"),
        ("CPUSchedulingPolicy=fifo\nCPUSchedulingPriority=7", "chrt -p $$ | tail -1 | cut -d: -f2", "7", "0"),
        ("IOSchedulingClass=idle", "ionice", "idle", "*"),
        ("IOSchedulingPriority=6", "ionice", "best-effort: prio 6", "*"),
        ("Nice=5", "nice", "5", "0"),
        ("TimerSlackNSec=1ms", "cat /proc/self/timerslack_ns", "1000000", "50000"),
        ("Personality=x86", "uname -m", "i686", "x86_64"),
        ("CoredumpFilter=private-anonymous", "cat /proc/self/coredump_filter", "00000001", "*"),
        ("MemoryKSM=yes", "grep -c ksm_merge_any /proc/self/ksm_stat", "*", "*"),
        ("KeyringMode=inherit", "true", "", ""),
        ("KeyringMode=shared", "true", "", ""),
        ("StandardInputText=hello\\nyou\nStandardInputData=eA==", "cat", "hello|you|x", ""),
        ("LimitRTPRIO=0\nRestrictRealtime=yes", "ulimit -r", "0", "0"),
    ]);
}

#[test]
fn a_root_of_its_own_shows_nothing_of_the_machine() {
    let root = tempfile::tempdir().unwrap();
    for folder in ["usr", "etc", "bin", "lib64", "lib"] {
        fs::create_dir(root.path().join(folder)).unwrap();
    }
    let settings = format!(
        "RootDirectory={}\nBindReadOnlyPaths=/usr /bin /lib /lib64 /run/out\nMountAPIVFS=yes",
        root.path().display()
    );
    let bare = format!("{settings}\nMountAPIVFS=no");
    probe(&[
        (
            &settings,
            "ls -d /etc/* /home /root 2>/dev/null; ls / | tr '\\n' ' '",
            "bin dev etc lib lib64 proc run sys usr",
            "*",
        ),
        (
            &settings,
            "ls -d /proc/self /dev/null /sys/kernel",
            "/dev/null|/proc/self|/sys/kernel",
            "/dev/null|/proc/self|/sys/kernel",
        ),
        (&bare, "ls -d /proc/self 2>/dev/null; echo on", "on", "/proc/self|on"),
    ]);
}

#[test]
fn devices_are_allowed_by_name_only() {
    let open = |device: &str| format!("( : < {device} ) 2>/dev/null && echo yes || echo no");
    let (zero, log) = (open("/dev/zero"), open("/dev/kmsg"));
    let make = "mknod /run/out/node$$ c 1 9 2>/dev/null && echo yes || echo no; rm -f /run/out/node$$";
    probe(&[
        ("DevicePolicy=closed", &log, "no", "yes"),
        ("DevicePolicy=closed", &zero, "yes", "yes"),
        ("DevicePolicy=strict\nDeviceAllow=/dev/null rw", &zero, "no", "yes"),
        ("DeviceAllow=/dev/kmsg r", &log, "yes", "yes"),
        ("DeviceAllow=block-virtblk rw\nDeviceAllow=block-blkext rw", &zero, "yes", "yes"),
        ("DeviceAllow=/dev/null", &log, "no", "yes"),
        ("DeviceAllow=char-mem rw\nDevicePolicy=strict", make, "no", "yes"),
        ("PrivateDevices=yes", &zero, "yes", "yes"),
    ]);
}
