//! Socket units in PID 1's own namespaces: activation with and without `Accept=`, limits, owners, re-execution.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use ferrite_control::{JobMode, JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, PATIENCE, lines};

/// A service that answers one connection at its only socket and ends.
const ECHO: &str = "[Service]\nExecStart=/usr/bin/python3 -c \"import os,socket; \
     s=socket.socket(fileno=3); c,_=s.accept(); \
     c.sendall((os.environ['LISTEN_FDS']+' '+os.environ['LISTEN_FDNAMES']+' '+\
     str(int(os.environ['LISTEN_PID'])==os.getpid())+' ').encode()+c.recv(100))\"\n";

fn ask(machine: &Machine, socket: &str, text: &str) -> String {
    let mut stream = UnixStream::connect(machine.output(socket)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{error}\n{}", machine.log()));
    answer
}

#[test]
fn a_service_is_started_by_its_first_connection_and_gets_the_socket() {
    let machine = Machine::boot(&[
        ("echo.socket", "[Socket]\nListenStream=/run/echo/sock\nSocketMode=0600\nSymlinks=/run/link\n"),
        ("echo.service", ECHO),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "echo.socket"), JobOutcome::Done);
    assert_eq!(machine.state("echo.socket"), "active listening");
    assert_eq!(machine.state("echo.service"), "inactive dead");
    let mode = fs::metadata(machine.output("run/echo/sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(ask(&machine, "run/echo/sock", "one"), "1 echo.socket True one");
    // The service ended, and the socket takes the next connection.
    machine.wait_for("listening", |machine| machine.state("echo.socket") == "active listening");
    assert_eq!(ask(&machine, "run/echo/sock", "two"), "1 echo.socket True two");
    assert_eq!(fs::read_link(machine.output("run/link")).unwrap().to_str(), Some("/run/echo/sock"));
    assert_eq!(machine.job(JobVerb::Stop, "echo.socket"), JobOutcome::Done);
    assert_eq!(machine.state("echo.socket"), "inactive dead");
    assert!(UnixStream::connect(machine.output("run/echo/sock")).is_err());
}

#[test]
fn each_connection_gets_an_instance_that_is_forgotten_afterwards() {
    let machine = Machine::boot(&[
        ("cat.socket", "[Socket]\nListenStream=/run/cat\nAccept=yes\nMaxConnections=2\nRemoveOnStop=yes\n"),
        ("cat@.service", "[Unit]\nDescription=Cat\n[Service]\nExecStart=-/bin/cat\nStandardInput=socket\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "cat.socket"), JobOutcome::Done);
    let open = || {
        let mut stream = UnixStream::connect(machine.output("run/cat")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"x").unwrap();
        stream
    };
    let instances = || {
        let Reply::Units(units) = machine.ask(&Request::ListUnits).remove(0) else { panic!("no units") };
        units.into_iter().filter(|unit| unit.name.starts_with("cat@")).collect::<Vec<_>>()
    };
    let mut byte = [0; 1];
    let mut first = open();
    let mut second = open();
    first.read_exact(&mut byte).unwrap();
    second.read_exact(&mut byte).unwrap();
    let names: Vec<String> = instances().into_iter().map(|unit| unit.name).collect();
    assert!(names.len() == 2 && names[0].starts_with("cat@0-") && names[1].starts_with("cat@1-"), "{names:?}");
    // A third connection is one too many.
    let mut third = UnixStream::connect(machine.output("run/cat")).unwrap();
    assert!(matches!(third.read(&mut byte), Ok(0) | Err(_)));
    assert_eq!(machine.state("cat.socket"), "active listening");
    drop(first);
    drop(second);
    machine.wait_for("end of the instances", |_| instances().is_empty());
    let mut again = open();
    again.read_exact(&mut byte).unwrap();
    let properties = machine.show("cat.socket").properties;
    for (name, value) in [("NAccepted", "3"), ("NRefused", "1"), ("NConnections", "1"), ("MaxConnections", "2")] {
        assert_eq!(properties.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(machine.job(JobVerb::Stop, "cat.socket"), JobOutcome::Done);
    assert!(!machine.output("run/cat").exists());
    // Who is served already is served on.
    again.write_all(b"y").unwrap();
    again.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"y");
}

#[test]
fn several_sockets_come_in_order_with_their_names_and_a_running_service_keeps_them() {
    let script = "import os,time,socket; open('/run/names','w').write(os.environ['LISTEN_FDS']+' '+\
                  os.environ['LISTEN_FDNAMES']+'\\\\n'); time.sleep(1000)";
    let machine = Machine::boot(&[
        (
            "a.socket",
            "[Socket]\nListenStream=/run/a1\nListenDatagram=@kinds-a2\nListenFIFO=/run/a3\n\
             ListenNetlink=kobject-uevent 1\nFileDescriptorName=first\nService=s.service\n",
        ),
        ("b.socket", "[Socket]\nListenSequentialPacket=/run/b\nService=s.service\n"),
        ("s.service", &format!("[Service]\nExecStart=/usr/bin/python3 -c \"{script}\"\n")),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "a.socket"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "b.socket"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    machine.wait_for("names", |machine| !lines(&machine.output("run/names")).is_empty());
    assert_eq!(lines(&machine.output("run/names")), ["5 first:first:first:first:b.socket"]);
    machine.wait_for("sockets", |machine| machine.state("a.socket") == "active running");
    assert_eq!(machine.state("b.socket"), "active running");
    // What is open already cannot be opened beside a running service.
    assert_eq!(machine.job(JobVerb::Stop, "b.socket"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "b.socket"), JobOutcome::Failed);
    assert!(machine.log().contains("s.service is active already"), "{}", machine.log());
}

#[test]
fn a_service_that_takes_nothing_hits_the_limit_and_the_socket_fails() {
    let machine = Machine::boot(&[
        ("deaf.socket", "[Socket]\nListenStream=/run/deaf\nTriggerLimitBurst=3\nTriggerLimitIntervalSec=60\n"),
        ("deaf.service", "[Unit]\nStartLimitBurst=0\n[Service]\nExecStart=/bin/true\n"),
        ("weak.socket", "[Socket]\nListenStream=/run/weak\n"),
        ("weak.service", "[Unit]\nStartLimitBurst=2\n[Service]\nExecStart=/bin/true\n"),
    ]);
    for (socket, path, result) in
        [("deaf.socket", "run/deaf", "trigger-limit-hit"), ("weak.socket", "run/weak", "service-start-limit-hit")]
    {
        assert_eq!(machine.job(JobVerb::Start, socket), JobOutcome::Done);
        let _stream = UnixStream::connect(machine.output(path)).unwrap();
        machine.wait_for("failure", |machine| machine.state(socket) == "failed failed");
        assert_eq!(machine.show(socket).result, result);
    }
    assert_eq!(machine.ask(&Request::ResetFailed { units: vec!["deaf.socket".into()] }), [Reply::Done]);
    machine.wait_for("reset", |machine| machine.state("deaf.socket") == "inactive dead");
}

#[test]
fn sockets_belong_to_their_user_and_commands_surround_them() {
    let machine = Machine::boot(&[
        (
            "u.socket",
            "[Socket]\nListenStream=/run/u.sock\nSocketUser=nobody\nSocketMode=0640\n\
             ExecStartPre=/bin/sh -c 'test ! -e /run/u.sock'\n\
             ExecStartPost=/bin/sh -c 'stat -c %%U:%%a /run/u.sock > /run/seen'\n\
             ExecStopPost=/bin/sh -c 'echo over >> /run/seen'\n",
        ),
        ("u.service", "[Service]\nExecStart=/bin/true\n"),
        ("bad.socket", "[Socket]\nListenStream=/run/bad.sock\nSocketUser=nobody-here\n"),
        ("bad.service", "[Service]\nExecStart=/bin/true\n"),
        ("pre.socket", "[Socket]\nListenStream=/run/pre.sock\nExecStartPre=/bin/false\n"),
        ("pre.service", "[Service]\nExecStart=/bin/true\n"),
        ("alone.socket", "[Socket]\nListenStream=/run/alone.sock\n"),
        ("null.socket", "[Socket]\nListenSpecial=/dev/null\nService=u.service\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "u.socket"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Stop, "u.socket"), JobOutcome::Done);
    assert_eq!(lines(&machine.output("run/seen")), ["nobody:640", "over"]);
    for (unit, result) in [("bad.socket", "exit-code"), ("pre.socket", "exit-code")] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Failed);
        assert_eq!((machine.state(unit), machine.show(unit).result), ("failed failed".into(), result.into()));
    }
    assert_eq!(machine.job(JobVerb::Start, "alone.socket"), JobOutcome::Failed);
    // Nothing can be waited for there.
    assert_eq!(machine.job(JobVerb::Start, "null.socket"), JobOutcome::Failed);
    assert!(machine.log().contains("no user 'nobody-here'"), "{}", machine.log());
}

#[test]
fn sockets_and_connections_outlive_a_re_execution() {
    let machine = Machine::boot(&[
        ("echo.socket", "[Socket]\nListenStream=/run/echo\n"),
        ("echo.service", ECHO),
        ("cat.socket", "[Socket]\nListenStream=/run/cat\nAccept=yes\nMaxConnections=1\n"),
        ("cat@.service", "[Service]\nExecStart=-/bin/cat\nStandardInput=socket\n"),
    ]);
    for unit in ["echo.socket", "cat.socket"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    let inode =
        |machine: &Machine| fs::metadata(machine.output("run/echo")).map(|m| std::os::unix::fs::MetadataExt::ino(&m));
    let before = inode(&machine).unwrap();
    let mut byte = [0; 1];
    let mut cat = UnixStream::connect(machine.output("run/cat")).unwrap();
    cat.set_read_timeout(Some(PATIENCE)).unwrap();
    cat.write_all(b"x").unwrap();
    cat.read_exact(&mut byte).unwrap();
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    assert_eq!(machine.state("echo.socket"), "active listening");
    assert_eq!(inode(&machine).unwrap(), before);
    assert_eq!(ask(&machine, "run/echo", "one"), "1 echo.socket True one");
    cat.write_all(b"y").unwrap();
    cat.read_exact(&mut byte).unwrap();
    // The connection still counts.
    let mut second = UnixStream::connect(machine.output("run/cat")).unwrap();
    assert!(matches!(second.read(&mut byte), Ok(0) | Err(_)));
    drop(cat);
    let units = |machine: &Machine| match machine.ask(&Request::ListUnits).remove(0) {
        Reply::Units(units) => units.iter().filter(|unit| unit.name.starts_with("cat@")).count(),
        other => panic!("{other:?}"),
    };
    machine.wait_for("end", |machine| units(machine) == 0);
}

#[test]
fn sockets_start_before_the_services_that_they_start() {
    let machine = Machine::boot(&[
        ("default.target", "[Unit]\nWants=z.service a.socket\n"),
        ("a.socket", "[Socket]\nListenStream=/run/a\nService=z.service\n"),
        ("z.service", "[Service]\nExecStart=/bin/sh -c 'echo $LISTEN_FDS > /run/fds; sleep 1000'\n"),
    ]);
    machine.wait_for("files", |machine| !lines(&machine.output("run/fds")).is_empty());
    assert_eq!(lines(&machine.output("run/fds")), ["1"]);
    let stop =
        Request::Job { verb: JobVerb::Restart, units: vec!["z.service".into()], mode: JobMode::Replace, wait: true };
    assert!(matches!(&machine.ask(&stop)[..], [Reply::Jobs(_)]));
    machine.wait_for("running", |machine| machine.state("a.socket") == "active running");
}

#[test]
fn a_service_names_the_sockets_that_it_takes() {
    let script = "import os,time; open('/run/names','w').write(os.environ['LISTEN_FDNAMES']+' '+\
                  str(os.get_blocking(3))+'\\\\n'); time.sleep(1000)";
    let machine = Machine::boot(&[
        ("one.socket", "[Socket]\nListenStream=/run/one\nService=s.service\n"),
        ("two.socket", "[Socket]\nListenStream=/run/two\nService=s.service\n"),
        (
            "s.service",
            &format!(
                "[Service]\nSockets=one.socket two.socket\nNonBlocking=yes\n\
                 ExecStart=/usr/bin/python3 -c \"{script}\"\n"
            ),
        ),
    ]);
    // Starting the service alone opens both before it.
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    machine.wait_for("names", |machine| !lines(&machine.output("run/names")).is_empty());
    assert_eq!(lines(&machine.output("run/names")), ["one.socket:two.socket False"]);
    machine.wait_for("sockets", |machine| machine.state("two.socket") == "active running");
    let triggers = |unit: &str, name: &str| machine.show(unit).properties.get(name).cloned().unwrap_or_default();
    assert_eq!(triggers("one.socket", "Triggers"), "s.service");
    assert_eq!(triggers("s.service", "TriggeredBy"), "one.socket two.socket");
}

#[test]
fn what_a_service_stores_comes_back_to_its_next_start() {
    // The first run stores a pipe with bytes in it, the second reads them; nobody holds its other end meanwhile.
    let script = "import os,socket,array,time\n\
        n=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\n\
        if 'LISTEN_FDS' in os.environ:\n \
        open('/run/seen','w').write(os.environ['LISTEN_FDS']+' '+os.environ['LISTEN_FDNAMES']+' '\
        +os.read(3,100).decode()+'\\n')\n\
        else:\n r,w=os.pipe(); os.write(w,b'kept')\n \
        n.sendmsg([b'FDSTORE=1\\nFDNAME=pipe\\nFDPOLL=0'],\
        [(socket.SOL_SOCKET,socket.SCM_RIGHTS,array.array('i',[r]))],0,\
        os.environ['NOTIFY_SOCKET'].replace('@','\\0'))\n\
        n.sendto(b'READY=1',os.environ['NOTIFY_SOCKET'].replace('@','\\0'))\n\
        time.sleep(1000)\n";
    let machine = Machine::boot(&[(
        "store.service",
        "[Service]\nType=notify\nFileDescriptorStoreMax=2\nExecStart=/usr/bin/python3 /run/store.py\n",
    )]);
    fs::write(machine.output("run/store.py"), script).unwrap();
    assert_eq!(machine.job(JobVerb::Start, "store.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Restart, "store.service"), JobOutcome::Done);
    assert_eq!(lines(&machine.output("run/seen")), ["1 pipe kept"]);
    // A stop gives up what is stored: the next start begins anew.
    fs::remove_file(machine.output("run/seen")).unwrap();
    assert_eq!(machine.job(JobVerb::Stop, "store.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "store.service"), JobOutcome::Done);
    assert!(!machine.output("run/seen").exists());
}
