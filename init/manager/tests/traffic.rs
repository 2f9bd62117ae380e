//! Programs in the kernel decide which packets and ports a unit's processes have: real sockets, in a network of their
//! own and in that of the machine.

use std::fs;
use std::net::{TcpListener, UdpSocket};

use ferrite_control::{JobOutcome, JobVerb};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

/// A python program that says what becomes of one attempt.
fn attempt(code: &str) -> String {
    format!("python3 -c \"import socket; {code}\" 2>/dev/null && echo yes || echo no")
}

/// Sends to a socket of its own at an address of IPv4 or IPv6, and waits for what comes.
fn echo(family: &str, address: &str) -> String {
    attempt(&format!(
        "a = socket.socket(socket.{family}, socket.SOCK_DGRAM); a.bind(('{address}', 0)); a.settimeout(0.5); \
         a.sendto(b'x', a.getsockname()[:2]); a.recv(1)"
    ))
}

fn bind(kind: &str, address: &str, port: u16) -> String {
    let family = if address.contains(':') { "AF_INET6" } else { "AF_INET" };
    attempt(&format!(
        "s = socket.socket(socket.{family}, socket.SOCK_{kind}); s.setsockopt(socket.SOL_SOCKET, \
         socket.SO_REUSEADDR, 1); s.bind(('{address}', {port}))"
    ))
}

/// Settings, a script, and what it says with them; without them it says yes.
type Probe = (&'static str, String, &'static str);

fn probes() -> Vec<Probe> {
    let (local, other, six) = (echo("AF_INET", "127.0.0.1"), echo("AF_INET", "127.9.9.9"), echo("AF_INET6", "::1"));
    vec![
        ("IPAddressDeny=any", local.clone(), "no"),
        ("IPAddressDeny=any", six.clone(), "no"),
        ("IPAddressDeny=127.0.0.1/32", local.clone(), "no"),
        ("IPAddressDeny=127.0.0.1/32", other.clone(), "yes"),
        ("IPAddressDeny=127.9.0.0/16", other.clone(), "no"),
        ("IPAddressDeny=127.9.0.0/16", local.clone(), "yes"),
        ("IPAddressDeny=any\nIPAddressAllow=localhost", local.clone(), "yes"),
        ("IPAddressDeny=any\nIPAddressAllow=localhost", six.clone(), "yes"),
        ("IPAddressDeny=any\nIPAddressAllow=127.9.9.0/24", other.clone(), "yes"),
        ("IPAddressDeny=any\nIPAddressAllow=127.9.9.0/24", local.clone(), "no"),
        ("IPAddressDeny=::/0", local.clone(), "yes"),
        ("IPAddressDeny=::/0", six.clone(), "no"),
        ("IPAddressDeny=::2/128", six.clone(), "yes"),
        ("RestrictNetworkInterfaces=lo", local.clone(), "yes"),
        ("RestrictNetworkInterfaces=~lo", local.clone(), "no"),
        ("RestrictNetworkInterfaces=nothing0", local, "no"),
        ("Slice=strict.slice", other, "no"),
        ("Slice=strict.slice\nIPAddressAllow=::1", six, "yes"),
        ("SocketBindDeny=any", bind("STREAM", "127.0.0.1", 47011), "no"),
        ("SocketBindDeny=any", bind("DGRAM", "::1", 47012), "no"),
        ("SocketBindDeny=ipv4:tcp:47013", bind("STREAM", "127.0.0.1", 47013), "no"),
        ("SocketBindDeny=ipv4:tcp:47013", bind("STREAM", "127.0.0.1", 47014), "yes"),
        ("SocketBindDeny=ipv4:tcp:47013", bind("DGRAM", "127.0.0.1", 47013), "yes"),
        ("SocketBindDeny=ipv4:tcp:47013", bind("STREAM", "::1", 47013), "yes"),
        ("SocketBindDeny=any\nSocketBindAllow=tcp:47015-47017", bind("STREAM", "127.0.0.1", 47016), "yes"),
        ("SocketBindDeny=any\nSocketBindAllow=tcp:47015-47017", bind("STREAM", "127.0.0.1", 47018), "no"),
    ]
}

#[test]
fn packets_and_ports_are_those_that_the_unit_may_have() {
    let unit = |name: &str, settings: &str, number: usize| {
        format!(
            "[Service]\nType=oneshot\nStandardOutput=file:/run/out/{name}\n{settings}\n\
             ExecStart=/bin/sh /run/out/{number}.sh\n"
        )
    };
    let mut files = vec![("strict.slice".to_owned(), "[Slice]\nIPAddressDeny=any\n".to_owned())];
    let probes = probes();
    for (number, (settings, script, _)) in probes.iter().enumerate() {
        files.push((format!("run/out/{number}.sh"), format!("{script}\n")));
        files.push((format!("with{number}.service"), unit(&format!("with{number}"), settings, number)));
        files.push((format!("free{number}.service"), unit(&format!("free{number}"), "", number)));
    }
    let borrowed: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let machine = Machine::boot(&borrowed);
    let mut faults = String::new();
    for (number, (settings, script, wanted)) in probes.iter().enumerate() {
        for (name, wanted) in [(format!("with{number}"), *wanted), (format!("free{number}"), "yes")] {
            machine.job(JobVerb::Start, &format!("{name}.service"));
            let said = fs::read_to_string(machine.output(&format!("run/out/{name}"))).unwrap_or_default();
            if said.trim() != wanted {
                faults.push_str(&format!("{settings}\n  {script}\n  {name} wants '{wanted}', says '{said}'\n"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}\n{}", machine.log());
}

#[test]
fn the_rules_hold_inside_a_network_of_its_own_as_well() {
    let script = "ip link set lo up; for a in 127.0.0.1 127.9.9.9; do ping -c1 -W1 $a >/dev/null 2>&1 && echo yes || \
                  echo no; done";
    let unit = format!(
        "[Service]\nType=oneshot\nPrivateNetwork=yes\nIPAddressDeny=127.9.9.9\nStandardOutput=file:/run/x\n\
         ExecStart=/bin/sh -c '{}'\n",
        script.replace("ping -c1 -W1 $a", "python3 /run/echo.py $a")
    );
    let python = "import socket, sys\na = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\na.bind((sys.argv[1], 0))\n\
                  a.settimeout(0.5)\na.sendto(b'x', a.getsockname())\na.recv(1)\n";
    let machine = Machine::boot(&[("x.service", &unit), ("run/echo.py", python)]);
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done, "{}", machine.log());
    assert_eq!(machine::lines(&machine.output("run/x")), ["yes", "no"], "{}", machine.log());
}

#[test]
fn packets_are_counted_and_the_count_outlives_a_new_image() {
    let send = "import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                for _ in range(5): s.sendto(b'x' * 72, ('127.0.0.1', int(sys.argv[1])))\n";
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_read_timeout(Some(machine::PATIENCE)).unwrap();
    let port = receiver.local_addr().unwrap().port();
    let unit = format!(
        "[Service]\nIPAccounting=yes\nExecStart=/bin/sh -c 'python3 /run/send.py {port}; exec sleep 1000'\n\
         ExecReload=/bin/sh -c 'python3 /run/send.py {port}'\n"
    );
    let machine = Machine::boot(&[("x.service", &unit), ("run/send.py", send)]);
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done);
    let receive = || (0..5).for_each(|_| assert_eq!(receiver.recv(&mut [0; 100]).unwrap(), 72));
    receive();
    let counts = || {
        let properties = machine.show("x.service").properties;
        let number = |name: &str| properties[name].parse::<u64>().unwrap_or_else(|_| panic!("{name} {properties:?}"));
        [number("IPEgressPackets"), number("IPEgressBytes"), number("IPIngressPackets")]
    };
    // 20 bytes of IP and 8 of UDP come with each.
    assert_eq!(counts(), [5, 500, 0]);
    machine.ask(&ferrite_control::Request::DaemonReexec);
    assert_eq!(counts(), [5, 500, 0]);
    assert_eq!(machine.job(JobVerb::Reload, "x.service"), JobOutcome::Done);
    receive();
    assert_eq!(counts(), [10, 1000, 0]);
    // Nothing of it concerns whoever is in no such unit.
    assert!(TcpListener::bind("127.0.0.1:0").is_ok());
}
