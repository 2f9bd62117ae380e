//! Tests of the kinds beside service and mount: what their sections mean, and what makes them refuse.

use std::collections::BTreeMap;

use crate::load::{Files, LoadPath, Loaded, Loader};
use crate::name::UnitName;
use crate::path::Watch;
use crate::socket::Listen;
use crate::specifier::Host;
use crate::timer::{Base, Elapse};
use crate::unit::{Config, LoadState, Unit};
use crate::value::Span;

struct Memory(BTreeMap<String, String>);

impl Files for Memory {
    fn read(&self, path: &str) -> Option<Result<Vec<u8>, String>> {
        self.0.get(path).map(|text| Ok(text.clone().into_bytes()))
    }

    fn link(&self, _: &str) -> Option<String> {
        None
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let names = self.0.keys().filter_map(|path| path.strip_prefix(directory)?.strip_prefix('/'));
        names.map(str::to_owned).collect()
    }
}

fn load(name: &str, text: &str) -> Unit {
    let path = LoadPath(vec!["/u".into()]);
    let files = Memory(BTreeMap::from([(format!("/u/{name}"), text.to_owned())]));
    let host = Host::default();
    let loader = Loader { path: &path, files: &files, host: &host, devices: crate::load::DeviceUnits::Absent };
    match loader.load(&UnitName::parse(name).unwrap()) {
        Loaded::Unit(unit) => *unit,
        Loaded::Alias(other) => panic!("an alias of {other}"),
    }
}

#[test]
fn units_that_cannot_work_are_bad_settings() {
    let cases = [
        ("a.socket", "[Socket]\nAccept=no\n", "no Listen setting"),
        ("a.socket", "[Socket]\nListenDatagram=/run/x\nAccept=yes\n", "takes no connections"),
        ("a.socket", "[Socket]\nListenStream=/run/x\nAccept=yes\nService=b.service\n", "Service="),
        ("a.socket", "[Socket]\nListenStream=/run/x\nMaxConnections=0\n", "MaxConnections=0"),
        ("a.socket", "[Socket]\nListenStream=22\nSymlinks=/run/y\n", "Symlinks="),
        ("a.timer", "[Timer]\nPersistent=yes\n", "no time"),
        ("a.timer", "[Timer]\nOnBootSec=5\nOnBootSec=\n", "no time"),
        ("a.path", "[Path]\nMakeDirectory=yes\n", "no path"),
        ("a.path", "[Path]\nPathExists=relative\n", "no path"),
        ("dev-a.swap", "[Swap]\nWhat=/dev/b\n", "does not fit"),
        ("srv.automount", "[Automount]\nWhere=/other\n", "does not fit"),
        ("-.automount", "[Automount]\nWhere=/\n", "root directory"),
        ("a--b.slice", "[Slice]\n", "name of the slice"),
        ("a-b.slice", "[Slice]\nSlice=c.slice\n", "Slice=c.slice"),
    ];
    for (name, text, why) in cases {
        match load(name, text).load {
            LoadState::BadSetting(fault) => assert!(fault.contains(why), "{name}: {text:?}: {fault}"),
            other => panic!("{name}: {text:?}: {other:?}"),
        }
    }
}

#[test]
fn wrong_values_are_told_with_their_line_and_ignored() {
    let unit = load(
        "a.socket",
        "[Socket]\nListenStream=/run/x\nBacklog=-1\nBindIPv6Only=maybe\nListenFIFO=/proc/x\nListenSequentialPacket=5\n\
         FileDescriptorName=a:b\nSocketProtocol=tcp\nService=a.target\nTimestamping=ms\nListenNetlink=moon 1\n",
    );
    assert_eq!(unit.load, LoadState::Loaded);
    let lines: Vec<u32> = unit.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7, 8, 9, 10, 11], "{:?}", unit.problems);
    let timer =
        load("a.timer", "[Timer]\nOnBootSec=later\nOnBootSec=5\nUnit=a.timer\nUnit=b.service\nUnit=c.service\n");
    let lines: Vec<u32> = timer.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 4, 6], "{:?}", timer.problems);
}

#[test]
fn a_socket_has_what_its_section_says() {
    let unit = load(
        "a.socket",
        "[Socket]\nListenStream=/run/x//y\nListenStream=22\nListenDatagram=@z\nListenFIFO=/run/f\n\
         ListenNetlink=route 5\n\
         SocketMode=0600\nReceiveBuffer=8M\nBindIPv6Only=no\nExecStartPre=/bin/true\nUser=a\nKillMode=process\n",
    );
    let Config::Socket(socket) = &unit.config else { panic!("no socket") };
    let listen: Vec<String> = socket.listen.iter().map(|l| format!("{}={}", l.directive(), l.target())).collect();
    assert_eq!(
        listen,
        [
            "ListenStream=/run/x/y",
            "ListenStream=[::]:22",
            "ListenDatagram=@z",
            "ListenFIFO=/run/f",
            "ListenNetlink=route 5"
        ]
    );
    assert_eq!((socket.mode, socket.receive_buffer), (0o600, 8 << 20));
    assert_eq!((socket.start_pre.len(), socket.exec.user.as_deref()), (1, Some("a")));
    assert_eq!(socket.trigger_limit(), (Span::seconds(2), 20));
    assert_eq!(socket.activates(&unit.name).unwrap().as_str(), "a.service");
    assert!(unit.problems.is_empty(), "{:?}", unit.problems);
    let accepting = load("b.socket", "[Socket]\nListenStream=/run/x\nAccept=yes\n");
    let Config::Socket(socket) = &accepting.config else { panic!("no socket") };
    assert_eq!((socket.activates(&accepting.name), socket.descriptor_name(&accepting.name)), (None, "connection"));
    assert!(matches!(socket.listen[..], [Listen::Socket(..)]));
}

#[test]
fn timers_and_paths_keep_the_order_of_the_file() {
    let unit = load("a.timer", "[Timer]\nOnActiveSec=0\nOnUnitInactiveSec=1h\nOnCalendar=daily\nAccuracySec=1us\n");
    let Config::Timer(timer) = &unit.config else { panic!("no timer") };
    assert_eq!(timer.times[0], Elapse::After(Base::Active, Span::seconds(0)));
    assert_eq!(timer.times[1], Elapse::After(Base::UnitInactive, Span::seconds(3600)));
    assert!(timer.has_calendar() && timer.remain_after_elapse);
    let unit = load("a.path", "[Path]\nPathChanged=/etc/x\nDirectoryNotEmpty=/var/spool/%p/\nUnit=b.target\n");
    let Config::Path(path) = &unit.config else { panic!("no path") };
    assert_eq!(path.watches, [(Watch::Changed, "/etc/x".into()), (Watch::DirectoryNotEmpty, "/var/spool/a".into())]);
    assert_eq!(path.activates(&unit.name).unwrap().as_str(), "b.target");
}

#[test]
fn swap_automount_and_slice_follow_their_names() {
    let swap = load("dev-disk-by\\x2duuid-5.swap", "[Swap]\nWhat=UUID=5\nPriority=7\n");
    let Config::Swap(settings) = &swap.config else { panic!("no swap") };
    assert_eq!((settings.what.as_str(), settings.priority), ("/dev/disk/by-uuid/5", Some(7)));
    assert_eq!(swap.load, LoadState::Loaded);
    let automount = load("srv-data.automount", "[Automount]\nTimeoutIdleSec=5min\n");
    let Config::Automount(settings) = &automount.config else { panic!("no automount") };
    assert_eq!((settings.where_.as_str(), settings.timeout_idle), ("/srv/data", Span::seconds(300)));
    assert_eq!(load("a-b.slice", "[Slice]\nSlice=a.slice\n").load, LoadState::Loaded);
}
