//! Services of `Type=dbus`: they wait for their name on a real message bus, and for nothing where there is none.

use std::fs::{File, OpenOptions};
use std::io::Write;

use ferrite_control::{JobOutcome, JobVerb, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, outcome, start};

const CONFIGURATION: &str = "<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN'
 'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'>
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context='default'><allow user='*'/><allow own='*'/><allow send_type='method_call'/>
<allow send_requested_reply='true' send_type='method_return'/><allow send_requested_reply='true' send_type='error'/>
<allow receive_type='method_call'/><allow receive_type='signal'/><allow receive_type='method_return'/>
<allow receive_type='error'/></policy></busconfig>
";

/// Takes a name when it is told to, and gives it back when it is told to, but lives on.
const OWNER: &str = "import socket, struct, signal
NAME = 'org.example.Test'
bus = socket.socket(socket.AF_UNIX)
serial = 0
def text(value, kind='<I'):
    return struct.pack(kind, len(value)) + value.encode() + bytes(1)
def pad(data, to=8):
    return data + bytes(-len(data) % to)
def call(member, signature='', body=b''):
    global serial
    serial += 1
    fields = b''
    for code, kind, value in [(1, 'o', '/org/freedesktop/DBus'), (2, 's', 'org.freedesktop.DBus'), (3, 's', member),
                              (6, 's', 'org.freedesktop.DBus')]:
        fields = pad(fields) + bytes([code, 1]) + kind.encode() + bytes(1) + text(value)
    if signature:
        fields = pad(fields) + bytes([8, 1]) + b'g' + bytes(1) + text(signature, 'B')
    bus.sendall(pad(struct.pack('<cBBBIII', b'l', 1, 0, 1, len(body), serial, len(fields)) + fields) + body)
def wait(name):
    with open('/run/' + name) as told:
        told.read()
wait('take')
bus.connect('/run/dbus/system_bus_socket')
bus.sendall(bytes(1) + b'AUTH EXTERNAL 30\\r\\n')
bus.recv(1000)
bus.sendall(b'BEGIN\\r\\n')
call('Hello')
call('RequestName', 'su', pad(text(NAME), 4) + struct.pack('<I', 4))
wait('give')
call('ReleaseName', 's', text(NAME))
signal.pause()
";

const SERVICE: &str = "[Service]\nType=dbus\nBusName=org.example.Test\nTimeoutStartSec=60\n\
                       ExecStart=/usr/bin/env python3 /run/owner.py\n";

fn with_bus() -> Machine {
    Machine::boot_with(
        &[
            ("run/bus.conf", CONFIGURATION),
            ("run/owner.py", OWNER),
            ("dbus.socket", "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n"),
            (
                "dbus.service",
                "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nExecStart=/usr/bin/dbus-daemon \
                 --config-file=/run/bus.conf --address=systemd: --nofork --nopidfile\n",
            ),
            ("x.service", SERVICE),
        ],
        &[],
        "mkfifo /run/take /run/give && command -v dbus-daemon",
    )
}

/// Opens a pipe as soon as somebody reads from it.
fn pipe(machine: &Machine, name: &str) -> File {
    OpenOptions::new().write(true).open(machine.output(&format!("run/{name}"))).unwrap()
}

#[test]
fn it_has_started_once_its_name_is_taken_and_ends_when_it_is_given_back() {
    let machine = with_bus();
    let waiting = machine.send(&start("x.service"));
    // Its program runs, and reads from this pipe.
    let mut take = pipe(&machine, "take");
    assert_eq!(machine.state("x.service"), "activating start");
    // The next image of process 1 waits on.
    machine.ask(&Request::DaemonReexec);
    assert_eq!(machine.state("x.service"), "activating start");
    take.write_all(b"now").unwrap();
    drop(take);
    assert_eq!(outcome(machine.answer(waiting)), JobOutcome::Done, "{}", machine.log());
    assert_eq!(machine.state("x.service"), "active running");
    assert_eq!(machine.show("x.service").unsupported, [""; 0]);
    drop(pipe(&machine, "give"));
    machine.wait_for("its end", |machine| machine.state("x.service") == "inactive dead");
}

#[test]
fn when_the_bus_ends_nobody_waits_any_longer() {
    let machine = with_bus();
    let waiting = machine.send(&start("x.service"));
    let _take = pipe(&machine, "take");
    assert_eq!(machine.state("x.service"), "activating start");
    assert_eq!(machine.job(JobVerb::Stop, "dbus.service"), JobOutcome::Done);
    assert_eq!(outcome(machine.answer(waiting)), JobOutcome::Done, "{}", machine.log());
    assert_eq!(machine.state("x.service"), "active running");
}

#[test]
fn without_a_bus_it_has_started_once_it_is_executed_and_says_so() {
    let machine = Machine::boot_with(
        &[
            ("x.service", &SERVICE.replace("[Service]", "[Unit]\nDefaultDependencies=no\n[Service]")),
            ("dbus.socket", "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/elsewhere\n"),
            ("dbus.service", "[Service]\nExecStart=/bin/true\n"),
            ("run/owner.py", OWNER),
        ],
        &[],
        "mkfifo /run/take /run/give",
    );
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done, "{}", machine.log());
    assert_eq!(machine.state("x.service"), "active running");
    let told = machine.show("x.service").unsupported;
    assert!(told.len() == 1 && told[0].ends_with("/x.service:5: BusName="), "{told:?}");
    assert!(machine.log().contains("/x.service:5: "), "{}", machine.log());
    machine.job(JobVerb::Restart, "x.service");
    assert_eq!(machine.log().matches("no message bus at").count(), 1, "{}", machine.log());
}
