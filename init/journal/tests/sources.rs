//! The kernel's log and its audit as sources, the console and the size of the files as configured.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt, socket,
};
use nix::sys::stat::Mode;
use nix::sys::time::{TimeVal, TimeValLike};

#[path = "support/journald.rs"]
mod support;

use support::{HEADER, Journald};

/// A daemon with this configuration.
fn configured(text: &str) -> Journald {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("root/etc/systemd");
    fs::create_dir_all(&folder).expect("folders");
    fs::create_dir(directory.path().join("log")).expect("a folder");
    fs::write(folder.join("journald.conf"), format!("[Journal]\n{text}")).expect("written");
    Journald::start_in(directory, &[])
}

#[test]
fn messages_of_the_kernel_that_were_overwritten_are_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("log")).expect("a folder");
    let path = directory.path().join("kmsg");
    nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("a pipe");
    // Open for both, so that nobody waits for the other side.
    let mut kernel = fs::File::options().read(true).write(true).open(&path).expect("opened");
    let mut journald = Journald::start_in(directory, &[]);
    kernel.write_all(b"6,10,5,-;one\n6,11,5,-;two\n").expect("written");
    journald.order("--sync");
    kernel.write_all(b"6,16,6,-;three\n").expect("written");
    journald.stop();
    let shown = journald.show(&["-o", "cat", "-k"]);
    assert_eq!(shown, "one\ntwo\nthree\n");
    let own = journald.show(&["-o", "cat", "-t", "ferrite-journald"]);
    assert!(own.contains("Missed 4 kernel messages"), "{own}");
}

/// Gives the kernel's audit a record of a program; whether the kernel tells of it, which not every host's does.
fn give_to_audit(text: &str) -> bool {
    const USER_AVC: u16 = 1107;
    const REQUEST: u16 = 1;
    const READERS: u32 = 1;
    let mut message = u32::try_from(16 + text.len() + 1).expect("short").to_ne_bytes().to_vec();
    message.extend(USER_AVC.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.resize(16, 0);
    message.extend(text.as_bytes());
    message.push(0);
    let netlink = || {
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkAudit).ok()?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, READERS)).ok()?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(5)).ok()?;
        sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).ok()?;
        let mut buffer = [0; 8192];
        while let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            if String::from_utf8_lossy(&buffer[..length]).contains(text) {
                return Some(());
            }
        }
        None
    };
    netlink().is_some()
}

#[test]
fn records_of_the_audit_are_kept_where_the_kernel_has_one() {
    let mut journald = configured("Audit=keep\n");
    let word = format!("probe-{}", std::process::id());
    let is_there = give_to_audit(&format!("op={word} pid=1"));
    if is_there {
        journald.follow_until(&journald.path("log"), &word);
    }
    journald.stream(HEADER).write_all(b"still here\n").expect("written");
    journald.stop();
    assert_eq!(journald.show(&["-t", "demo", "-o", "cat"]), "still here\n");
    if is_there {
        let export = journald.show(&["-o", "export", "_TRANSPORT=audit", &format!("AUDIT_FIELD_OP={word}")]);
        for field in [
            "_AUDIT_TYPE_NAME=USER_AVC",
            "SYSLOG_IDENTIFIER=audit",
            "AUDIT_FIELD_PID=1",
            &format!("_PID={}", std::process::id()),
        ] {
            assert!(export.lines().any(|line| line == field), "{field}: {export}");
        }
    }
}

#[test]
fn messages_go_to_a_terminal_that_is_configured() {
    let directory = tempfile::tempdir().expect("a directory");
    let terminal = directory.path().join("tty");
    fs::write(&terminal, "").expect("written");
    let text = format!("ForwardToConsole=yes\nTTYPath={}\nMaxLevelConsole=warning\n", terminal.display());
    let mut journald = configured(&text);
    let mut stream = journald.stream("demo\n\n6\n1\n0\n0\n0\n");
    stream.write_all(b"<4>shown\n<5>not shown\n").expect("written");
    journald.stop();
    let shown = fs::read_to_string(terminal).expect("text");
    assert!(shown.contains(&format!("demo[{}]: shown", std::process::id())) && !shown.contains("not shown"), "{shown}");
}

#[test]
fn long_fields_are_compressed_unless_configured_otherwise() {
    let long = vec![b'x'; 5000];
    for (text, is_plain) in [("", false), ("Compress=no\n", true), ("Compress=6000\n", true), ("Compress=4K\n", false)]
    {
        let mut journald = configured(text);
        let mut stream = journald.stream(HEADER);
        stream.write_all(&[&long[..], b"\n"].concat()).expect("written");
        journald.order("--rotate");
        stream.write_all(&[&long[..], b"\n"].concat()).expect("written");
        journald.stop();
        let files = journald.files();
        assert!(files.len() >= 2, "{files:?}");
        for file in files {
            let bytes = fs::read(file).expect("readable");
            let found = bytes.windows(long.len()).any(|window| window == long);
            assert_eq!(found, is_plain, "{text}");
        }
    }
}
