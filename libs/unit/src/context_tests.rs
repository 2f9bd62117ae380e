//! Settings of contexts and control groups as they are written, and as systemd shows what became of them.

use crate::file::parse;
use crate::name::UnitName;
use crate::specifier::Host;
use crate::unit::Unit;

/// A unit with these lines in the section of its kind.
fn unit(name: &str, lines: &str) -> Unit {
    let name = UnitName::parse(name).unwrap();
    let section = name.kind().section();
    let mut unit = Unit::new(name);
    let host = Host { architecture: "x86-64".into(), ..Host::default() };
    for entry in parse("/u", format!("[{section}]\n{lines}\n").as_bytes()).entries {
        if let Err(fault) = unit.apply(&entry, &host) {
            unit.problems.push(fault);
        }
    }
    crate::implied::complete(&mut unit, &host.totals);
    unit
}

/// What is shown of a service with these lines under a name; several lines are joined by `|`.
fn shown(lines: &str, name: &str) -> String {
    let unit = unit("my-x.service", lines);
    let mut properties = crate::show_exec::properties(&unit, unit.exec().unwrap());
    properties.extend(crate::show_resources::properties(&unit));
    let values: Vec<String> = properties.into_iter().filter(|(have, _)| have == name).map(|(_, value)| value).collect();
    values.join("|")
}

/// Each line of these is faulty; what came before it stays.
fn refused(lines: &str) -> usize {
    unit("my-x.service", lines).problems.len()
}

fn check(cases: &[(&str, &str, &str)]) {
    for (lines, name, want) in cases {
        assert_eq!(shown(lines, name), *want, "{lines}");
    }
}

#[test]
fn lists_of_paths_take_prefixes_and_are_emptied() {
    check(&[
        ("ReadWritePaths=-/a //b/./c", "ReadWritePaths", "-/a /b/c"),
        ("ReadOnlyPaths=/a\nReadOnlyPaths=\nReadOnlyPaths=-+/b", "ReadOnlyPaths", "-+/b"),
        ("InaccessiblePaths=/a ../b /c", "InaccessiblePaths", "/a /c"),
        ("InaccessibleDirectories=/a", "InaccessiblePaths", "/a"),
        ("BindPaths=/a -/b:/c /d:/e:norbind", "BindPaths", "/a:/a:rbind|-/b:/c:rbind|/d:/e:norbind"),
        ("BindPaths=/a\nBindReadOnlyPaths=/b:/c:rbind", "BindReadOnlyPaths", "/b:/c:rbind"),
        ("BindPaths=/a\\:b:/c", "BindPaths", "/a:b:/c:rbind"),
        ("TemporaryFileSystem=/var:ro,mode=0700 /opt", "TemporaryFileSystem", "/var:ro,mode=0700|/opt"),
        ("ExecSearchPath=/a:/b\nExecSearchPath=/c", "ExecSearchPath", "/a /b /c"),
        ("RootDirectory=/srv//x/", "RootDirectory", "/srv/x"),
        ("RootDirectory=/srv/x", "MountAPIVFS", "yes"),
        ("RootDirectory=/srv/x\nMountAPIVFS=no", "BindLogSockets", "no"),
        ("MountImages=/a.img:/b:root:ro", "MountImages", "/a.img:/b:root:ro"),
        ("RootImageOptions=ro home:nodev", "RootImageOptions", "root:ro home:nodev"),
    ]);
    assert_eq!(refused("BindPaths=/a:/b:bad\nBindPaths=a\nTemporaryFileSystem=x\nRootHash=abc"), 4);
}

#[test]
fn switches_take_booleans_and_words() {
    check(&[
        ("PrivateTmp=1", "PrivateTmp", "connected"),
        ("PrivateTmp=disconnected", "PrivateTmp", "disconnected"),
        ("ProtectSystem=true", "ProtectSystem", "yes"),
        ("ProtectSystem=strict\nProtectSystem=off", "ProtectSystem", "no"),
        ("ProtectHome=tmpfs", "ProtectHome", "tmpfs"),
        ("PrivateUsers=yes", "PrivateUsers", "self"),
        ("PrivateUsers=identity", "PrivateUsers", "identity"),
        ("ProtectControlGroups=private", "ProtectControlGroups", "private"),
        ("ProtectProc=noaccess", "ProtectProc", "noaccess"),
        ("KeyringMode=shared", "KeyringMode", "shared"),
        ("", "KeyringMode", "private"),
        ("MemoryKSM=yes\nMemoryKSM=", "MemoryKSM", ""),
    ]);
    assert_eq!(refused("PrivateTmp=maybe\nProtectProc=yes\nPrivateUsers=\nMountFlags=bad"), 4);
}

#[test]
fn capabilities_are_added_and_taken_away() {
    check(&[
        ("CapabilityBoundingSet=CAP_KILL cap_chown", "CapabilityBoundingSet", "cap_chown cap_kill"),
        (
            "CapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=CAP_CHOWN",
            "CapabilityBoundingSet",
            "cap_chown cap_kill",
        ),
        (
            "CapabilityBoundingSet=CAP_KILL CAP_CHOWN\nCapabilityBoundingSet=~CAP_KILL",
            "CapabilityBoundingSet",
            "cap_chown",
        ),
        ("CapabilityBoundingSet=", "CapabilityBoundingSet", ""),
        ("CapabilityBoundingSet=CAP_KILL\nCapabilityBoundingSet=~", "CapabilityBoundingSet", ""),
        (
            "AmbientCapabilities=CAP_KILL CAP_NOPE\nAmbientCapabilities=CAP_CHOWN",
            "AmbientCapabilities",
            "cap_chown cap_kill",
        ),
        ("SecureBits=noroot-locked keep-caps nonsense", "Secure Bits", "keep-caps noroot-locked"),
    ]);
    assert!(shown("CapabilityBoundingSet=~CAP_SYS_ADMIN", "CapabilityBoundingSet").contains("cap_sys_boot"));
    assert!(!shown("ProtectClock=yes", "CapabilityBoundingSet").contains("cap_sys_time"));
}

#[test]
fn system_calls_families_and_namespaces_are_lists_with_two_sides() {
    check(&[
        (
            "SystemCallFilter=~chmod:EACCES fchmod:255 chown:kill",
            "SystemCallFilter",
            "~chmod:EACCES chown:kill fchmod:255",
        ),
        ("SystemCallFilter=~@swap\nSystemCallFilter=swapon", "SystemCallFilter", "~swapoff"),
        ("SystemCallFilter=read\nSystemCallFilter=", "SystemCallFilter", ""),
        ("SystemCallArchitectures=native x86 native", "SystemCallArchitectures", "native x86"),
        ("SystemCallErrorNumber=EPERM", "SystemCallErrorNumber", "EPERM"),
        ("SystemCallErrorNumber=EPERM\nSystemCallErrorNumber=", "SystemCallErrorNumber", "kill"),
        ("RestrictNamespaces=yes", "RestrictNamespaces", "n/a"),
        ("RestrictNamespaces=~user pid", "RestrictNamespaces", "cgroup ipc net mnt uts"),
        ("RestrictNamespaces=user\nRestrictNamespaces=net", "RestrictNamespaces", "net user"),
        ("RestrictNamespaces=no\nRestrictNamespaces=user", "RestrictNamespaces", ""),
        ("RestrictFileSystems=~ext4 @network", "RestrictFileSystems", "ext4|@network"),
    ]);
    let families = |lines: &str| unit("x.service", lines).exec().unwrap().sandbox.address_families.clone().unwrap();
    assert_eq!(families("RestrictAddressFamilies=AF_INET AF_UNIX\nRestrictAddressFamilies=~AF_INET").families, [1]);
    assert_eq!(families("RestrictAddressFamilies=none").families, Vec::<i32>::new());
    assert!(!families("RestrictAddressFamilies=~AF_PACKET").allow);
    assert_eq!(refused("SystemCallFilter=nope\nSystemCallErrorNumber=0\nRestrictNamespaces=nope"), 3);
}

#[test]
fn scheduling_is_normalized() {
    check(&[
        ("IOSchedulingClass=idle", "IOPriority", "4"),
        ("IOSchedulingPriority=2", "IOSchedulingClass", "best-effort"),
        ("IOSchedulingClass=3\nIOSchedulingClass=none", "IOSchedulingClass", "best-effort"),
        ("CPUSchedulingPolicy=fifo", "CPUSchedulingPriority", "1"),
        ("CPUSchedulingPriority=50\nCPUSchedulingPolicy=rr", "CPUSchedulingPriority", "50"),
        ("CPUSchedulingPriority=50\nCPUSchedulingPolicy=batch", "CPUSchedulingPriority", "0"),
        ("CPUAffinity=0-2 5,7", "CPUAffinity", "0-2 5 7"),
        ("CPUAffinity=1\nCPUAffinity=\nCPUAffinity=3", "CPUAffinity", "3"),
        ("NUMAPolicy=bind\nNUMAMask=0-1", "NUMAMask", "0-1"),
        ("TimerSlackNSec=50us", "TimerSlackNSec", "50000"),
        ("TimerSlackNSec=7", "TimerSlackNSec", "7"),
        ("CoredumpFilter=private-anonymous 0x10", "CoredumpFilter", "0x11"),
        ("CoredumpFilter=default", "CoredumpFilter", "0x33"),
        ("Personality=x86", "Personality", "x86"),
    ]);
    assert_eq!(refused("Personality=s390\nIOSchedulingPriority=8\nCPUSchedulingPolicy=nope\nCPUAffinity=x"), 4);
}

#[test]
fn the_rest_of_the_context_is_read_as_systemd_reads_it() {
    check(&[
        ("StateDirectory=b/c b a:link:ro", "StateDirectory", "a (ro)|b|b/c"),
        ("StateDirectory=a:x a:y", "StateDirectorySymlink", "a:x|a:y"),
        ("RuntimeDirectory=private/x ../y /z ok", "RuntimeDirectory", "ok"),
        ("ConfigurationDirectory=a:b", "ConfigurationDirectory", ""),
        ("LimitNOFILE=1024:4096", "LimitNOFILE", "4096"),
        ("LimitCORE=1.5G", "LimitCORESoft", "1610612736"),
        ("LimitNICE=+5", "LimitNICE", "15"),
        ("LimitNICE=-5", "LimitNICE", "25"),
        ("LimitCPU=1min", "LimitCPU", "60"),
        ("LimitRTTIME=1500", "LimitRTTIME", "1500"),
        ("StandardInputText=a", "StandardInput", "data"),
        ("StandardInput=socket", "StandardOutput", "inherit"),
        ("StandardOutput=append:/a/b", "StandardOutputFileToAppend", "/a/b"),
        ("WorkingDirectory=~", "WorkingDirectory", "/"),
        ("UnsetEnvironment=A B=c A", "UnsetEnvironment", "A|B=c"),
        ("DynamicUser=yes", "User", "my-x"),
        ("DynamicUser=yes", "PrivateTmp", "disconnected"),
        ("DynamicUser=yes\nProtectHome=yes", "ProtectHome", "yes"),
        ("TTYPath=/dev/tty1\nTTYRows=20", "TTYRows", "20"),
        ("SyslogFacility=local3\nLogLevelMax=3", "SyslogFacility", "local3"),
        ("LogExtraFields=A=b _C=d", "LogExtraFields", "A=b"),
    ]);
    assert_eq!(refused("LimitNOFILE=\nLimitNOFILE=5:4\nUser=a:b\nEnvironmentFile=rel\nUMask=8"), 5);
}

#[test]
fn control_groups_are_read_as_systemd_reads_them() {
    check(&[
        ("CPUWeight=idle", "CPUWeight", "0"),
        ("CPUWeight=5\nCPUWeight=", "CPUWeight", "18446744073709551615"),
        ("CPUQuota=150%", "CPUQuotaPerSecSec", "1.500000s"),
        ("CPUQuota=20%\nCPUQuotaPeriodSec=10ms", "CPUQuotaPeriodSec", "10ms"),
        ("MemoryMax=50%", "MemoryMax", "536870912"),
        ("MemoryHigh=1G", "MemoryHigh", "1073741824"),
        ("MemoryMin=", "MemoryMin", "0"),
        ("MemorySwapMax=0", "MemorySwapMax", "0"),
        ("TasksMax=33%", "TasksMax", "10813"),
        ("TasksMax=infinity", "TasksMax", "18446744073709551615"),
        ("Delegate=yes", "Delegate", "cpu cpuset io memory pids"),
        ("Delegate=", "Delegate", "(none)"),
        ("Delegate=memory nonsense pids", "Delegate", "memory pids"),
        ("PrivateDevices=yes", "DevicePolicy", "closed"),
        ("PrivateDevices=yes\nProtectClock=yes", "DeviceAllow", "char-rtc r"),
        ("DeviceAllow=/dev/null\nDeviceAllow=char-* rw", "DeviceAllow", "char-* rw|/dev/null rwm"),
        ("IOReadBandwidthMax=/dev/sda 5M", "IOReadBandwidthMax", "/dev/sda 4.7M"),
        ("IODeviceWeight=/dev/sda 200", "IODeviceWeight", "/dev/sda 200"),
        ("IPAddressDeny=any\nIPAddressAllow=10.1.2.3/8 localhost", "IPAddressAllow", "10.0.0.0/8|127.0.0.0/8|::1/128"),
        ("SocketBindDeny=ipv6:tcp:80-90\nSocketBindDeny=any", "SocketBindDeny", "any ipv6:tcp:80-90"),
        ("DisableControllers=cpu io", "DisableControllers", "cpu io"),
        ("AllowedCPUs=0 2-3", "AllowedCPUs", "0 2-3"),
        ("ManagedOOMMemoryPressureLimit=45.5%", "ManagedOOMMemoryPressureLimit", "45.50%"),
        ("MemoryPressureWatch=skip", "MemoryPressureWatch", "skip"),
    ]);
    assert_eq!(refused("CPUWeight=0\nMemoryMax=0\nTasksMax=0\nDeviceAllow=/tmp/x\nIPAddressAllow=300.1.1.1"), 5);
    let slice = unit("a.slice", "MemoryMax=1M\nDelegate=yes");
    assert_eq!((slice.resources.tasks_max, slice.problems.len()), (None, 1));
}

#[test]
fn credentials_have_names_and_sources() {
    let lines = "SetCredential=a:x\\ny:z\nLoadCredential=b\nLoadCredential=c:/etc/c\nImportCredential=d.*:e.\n\
                 SetCredentialEncrypted=f:YWJj\nLoadCredential=../x\nSetCredential=nothing";
    let unit = unit("my-x.service", lines);
    let sandbox = &unit.exec().unwrap().sandbox;
    assert_eq!(sandbox.set_credentials[0].data, b"x\ny:z");
    assert_eq!((sandbox.set_credentials[1].data.as_slice(), sandbox.set_credentials[1].encrypted), (&b"abc"[..], true));
    let sources: Vec<_> = sandbox.load_credentials.iter().map(|c| c.source.as_str()).collect();
    assert_eq!((sources, unit.problems.len()), (vec!["b", "/etc/c"], 2));
    assert_eq!(sandbox.import_credentials[0].rename, "e.");
}
