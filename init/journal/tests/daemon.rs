//! The daemon and the command as real processes over real sockets in a temporary folder.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;

#[path = "support/journald.rs"]
mod support;

use support::{DEADLINE, HEADER, Journald};

#[test]
fn all_three_sockets_end_in_the_log_with_what_the_kernel_knows_of_the_sender() {
    let mut journald = Journald::start(&[]);
    let mut stream = journald.stream("demo\ndemo.service\n30\n1\n0\n0\n0\n");
    stream.write_all(b"from stdout\n<3>an error\nunfinished").expect("written");
    let socket = UnixDatagram::unbound().expect("a socket");
    let link = fs::read_link(journald.path("log-link")).expect("a link");
    socket.send_to(b"<13>Nov 25 15:04:05 tool[1]: from syslog", link).expect("sent");
    let native =
        b"PRIORITY=4\nSYSLOG_IDENTIFIER=native\nMESSAGE=from journal\n_PID=1\nBLOB\n\x03\0\0\0\0\0\0\0\0\n\xff\n";
    socket.send_to(native, journald.path("run/socket")).expect("sent");
    drop(stream);
    journald.stop();
    let text = journald.show(&["-o", "cat"]);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["an error", "from journal", "from stdout", "from syslog", "unfinished"]);
    let errors = journald.show(&["-p", "err"]);
    let pid = std::process::id();
    assert!(errors.ends_with(&format!(" demo[{pid}]: an error\n")), "{errors}");
    let entry: serde_json::Value = serde_json::from_str(&journald.show(&["-t", "native", "-o", "json"])).expect("json");
    for (name, value) in [
        ("PRIORITY", "4".to_owned()),
        ("_PID", pid.to_string()),
        ("_UID", nix::unistd::getuid().to_string()),
        ("_GID", nix::unistd::getgid().to_string()),
        ("_TRANSPORT", "journal".into()),
        ("_COMM", fs::read_to_string("/proc/self/comm").expect("a name").trim().into()),
        ("_EXE", fs::read_link("/proc/self/exe").expect("a link").display().to_string()),
        ("_BOOT_ID", fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("an id").trim().replace('-', "")),
        ("_MACHINE_ID", support::MACHINE.into()),
    ] {
        assert_eq!(entry[name], value, "{name}");
    }
    assert_eq!(entry["BLOB"], serde_json::json!([0, 10, 255]));
    let streamed: serde_json::Value = serde_json::from_str(&journald.show(&["-p", "err", "-o", "json"])).expect("json");
    assert_eq!((streamed["_TRANSPORT"].as_str(), streamed["SYSLOG_FACILITY"].as_str()), (Some("stdout"), Some("3")));
    assert_eq!(streamed["_STREAM_ID"].as_str().map(str::len), Some(32));
    let syslog = journald.show(&["-t", "tool", "-o", "export"]);
    assert!(syslog.contains("\nSYSLOG_PID=1\n") && syslog.contains("\nSYSLOG_FACILITY=1\n"), "{syslog}");
    // The header of a stream is believed from root only.
    let of_unit = journald.show(&["-u", "demo", "-o", "cat"]);
    assert_eq!(of_unit.contains("from stdout"), nix::unistd::getuid().is_root(), "{of_unit}");
}

#[test]
fn a_large_message_comes_in_a_sealed_file_and_in_a_datagram() {
    let mut journald = Journald::start(&[]);
    let body = "x".repeat(1 << 20);
    let message = format!("SYSLOG_IDENTIFIER=large\nMESSAGE={body}\n");
    support::send_memory_file(&journald.path("run/socket"), message.as_bytes(), true);
    support::send_memory_file(&journald.path("run/socket"), b"MESSAGE=not sealed\n", false);
    let socket = UnixDatagram::unbound().expect("a socket");
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, 1 << 18).expect("a buffer");
    let half = format!("SYSLOG_IDENTIFIER=half\nMESSAGE={}\n", "y".repeat(100_000));
    socket.send_to(half.as_bytes(), journald.path("run/socket")).expect("sent");
    journald.stop();
    assert!(journald.show(&["-t", "large", "-o", "cat"]) == format!("{body}\n"), "the large message is whole");
    assert_eq!(journald.show(&["-t", "half", "-o", "cat"]).len(), 100_001);
    let own = journald.show(&["-t", "ferrite-journald", "-o", "cat"]);
    assert!(own.contains("is no sealed file"), "{own}");
}

#[test]
fn a_syslog_daemon_gets_every_message() {
    let mut journald = Journald::start(&[]);
    // It comes later than the daemon and may go again.
    let syslog = UnixDatagram::bind(journald.path("run/syslog")).expect("a socket");
    syslog.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let received = || {
        let mut bytes = [0; 200];
        let length = syslog.recv(&mut bytes).expect("a message in time");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.send_to(b"<13>Nov 25 15:04:05 tool[1]: from syslog", journald.path("run/dev-log")).expect("sent");
    assert_eq!(received(), "<13>Nov 25 15:04:05 tool[1]: from syslog");
    let mut stream = journald.stream("demo\ndemo.service\n30\n1\n0\n0\n0\n");
    stream.write_all(b"<3>from stdout\n").expect("written");
    let text = received();
    assert!(text.starts_with("<27>") && text.ends_with(": from stdout"), "{text}");
    fs::remove_file(journald.path("run/syslog")).expect("removed");
    stream.write_all(b"to nobody\n").expect("written");
    drop(stream);
    journald.stop();
    assert!(journald.show(&["-o", "cat"]).contains("to nobody"));
}

#[test]
fn what_readers_saw_survives_kill() {
    let mut journald = Journald::start(&[]);
    let mut stream = journald.stream(HEADER);
    stream.write_all(b"first\n").expect("written");
    journald.order("--sync");
    stream.write_all(b"seen\n").expect("written");
    let mut follower = journald.follow(&["-t", "demo"]);
    assert_eq!((follower.next(), follower.next()), ("first".to_owned(), "seen".to_owned()));
    journald.child.kill().expect("killed");
    journald.child.wait().expect("ended");
    let directory = journald.take_directory();
    let mut again = Journald::start_in(directory, &[]);
    again.stream(HEADER).write_all(b"second\n").expect("written");
    again.stop();
    assert_eq!(again.show(&["-o", "cat", "-t", "demo"]), "first\nseen\nsecond\n");
    assert_eq!(again.show(&["-o", "cat", "-r", "-n", "1", "-t", "demo"]), "second\n");
    let notes = again.show(&["-o", "cat", "-t", "ferrite-journald"]);
    assert!(notes.contains("was not closed"), "{notes}");
    assert!(again.run(&["--verify"]).status.success());
}

#[test]
fn a_follower_that_came_before_the_first_entry_sees_it() {
    // The folder of the machine is made while the follower looks, before, or after.
    for _ in 0..8 {
        let journald = Journald::start(&[]);
        let mut follower = journald.follow(&["-t", "demo"]);
        journald.stream(HEADER).write_all(b"line 0\n").expect("written");
        assert_eq!(follower.next(), "line 0");
    }
}

#[test]
fn a_follower_sees_lines_as_they_come_over_rotations() {
    let journald = Journald::start(&[]);
    let mut stream = journald.stream(HEADER);
    stream.write_all(b"line 0\n").expect("written");
    journald.order("--sync");
    let mut follower = journald.follow(&["-t", "demo"]);
    assert_eq!(follower.next(), "line 0");
    for number in 1..100 {
        stream.write_all(format!("line {number}\n").as_bytes()).expect("written");
        if number % 20 == 0 {
            journald.order("--rotate");
        }
        assert_eq!(follower.next(), format!("line {number}"));
    }
    assert!(journald.files().len() >= 5, "{:?}", journald.files());
}

#[test]
fn a_flood_and_endless_lines_are_bounded_and_told_of() {
    let mut journald = Journald::start(&["--rate-burst", "1000"]);
    let mut stream = journald.stream("demo\nflood.service\n6\n0\n0\n0\n0\n");
    for number in 0..20_000 {
        stream.write_all(format!("flood {number}\n").as_bytes()).expect("written");
    }
    let mut endless = journald.stream("");
    let _ = endless.write_all(&[b'x'; 100_000]);
    let mut rest = Vec::new();
    // The header is too long: the daemon closes the stream.
    let _ = endless.read_to_end(&mut rest);
    journald.stop();
    let text = journald.show(&["-o", "cat"]);
    let kept = text.lines().filter(|line| line.starts_with("flood")).count();
    // The more room the disk has, the larger is the burst: up to six times.
    assert!((1000..=6000).contains(&kept) && kept % 1000 == 0, "{kept}");
    assert!(text.contains(&format!("Suppressed {} messages from", 20_000 - kept)), "{text}");
    assert!(text.contains("closing a log stream of process"), "{text}");
}

#[test]
fn without_a_disk_the_journal_is_in_memory_until_it_is_flushed() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("log"), "in the way").expect("written");
    let mut journald = Journald::start_in(directory, &[]);
    let mut stream = journald.stream(HEADER);
    stream.write_all(b"kept in memory\n").expect("written");
    journald.order("--sync");
    assert_eq!(journald.show_in("memory", &["-o", "cat", "-t", "demo"]), "kept in memory\n");
    fs::remove_file(journald.path("log")).expect("removed");
    fs::create_dir(journald.path("log")).expect("made");
    journald.order("--flush");
    assert_eq!(journald.show(&["-o", "cat", "-t", "demo"]), "kept in memory\n");
    assert!(fs::read_dir(journald.path("memory")).expect("a folder").next().is_none());
    assert!(journald.path("run/flushed").exists());
    stream.write_all(b"on the disk\n").expect("written");
    journald.order("--relinquish-var");
    stream.write_all(b"in memory again\n").expect("written");
    journald.stop();
    assert_eq!(journald.show(&["-o", "cat", "-t", "demo"]), "kept in memory\non the disk\n");
    assert_eq!(journald.show_in("memory", &["-o", "cat", "-t", "demo"]), "in memory again\n");
    assert_eq!(journald.show(&["-t", "other"]), "-- No entries --\n");
}

#[test]
fn storage_and_limits_come_from_the_configuration() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("root/etc/systemd/journald.conf.d");
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join("10-x.conf"), "[Journal]\nStorage=volatile\nMaxLevelStore=warning\nSeal=yes\n")
        .expect("written");
    let mut journald = Journald::start_in(directory, &[]);
    let socket = UnixDatagram::unbound().expect("a socket");
    for (level, text) in [(12, "a warning"), (14, "by the way")] {
        socket.send_to(format!("<{level}>tool: {text}").as_bytes(), journald.path("run/dev-log")).expect("sent");
    }
    journald.stop();
    assert!(!journald.path("log").exists());
    let text = journald.show_in("memory", &["-o", "cat"]);
    assert!(text.contains("a warning\n") && !text.contains("by the way"), "{text}");
    assert!(text.contains("10-x.conf:4: Seal= is not supported by this version, write no, ignoring"), "{text}");
}

#[test]
fn cursors_resume_without_loss_or_repetition_over_a_restart() {
    let mut journald = Journald::start(&[]);
    let mut stream = journald.stream(HEADER);
    (0..10).for_each(|number| stream.write_all(format!("n {number}\n").as_bytes()).expect("written"));
    journald.order("--sync");
    let export = journald.show(&["-o", "export", "-n", "1", "-t", "demo"]);
    let cursor = export.lines().find_map(|line| line.strip_prefix("__CURSOR=")).expect("a cursor").to_owned();
    journald.stop();
    let mut again = Journald::start_in(journald.take_directory(), &[]);
    let mut stream = again.stream(HEADER);
    (10..20).for_each(|number| stream.write_all(format!("n {number}\n").as_bytes()).expect("written"));
    again.stop();
    let rest = again.show(&["-o", "cat", "-t", "demo", "--after-cursor", &cursor]);
    assert_eq!(rest, (10..20).map(|number| format!("n {number}\n")).collect::<String>());
    let from = again.show(&["-o", "cat", "-t", "demo", "-c", &cursor]);
    assert!(from.starts_with("n 9\nn 10\n"), "{from}");
    let file = again.path("cursor");
    let file = file.to_str().expect("text");
    assert_eq!(again.show(&["-o", "cat", "-t", "demo", "--cursor-file", file]).lines().count(), 20);
    assert_eq!(again.show(&["-o", "cat", "-t", "demo", "--cursor-file", file]), "");
    assert!(again.show(&["-t", "demo", "-n", "1", "--show-cursor"]).contains("\n-- cursor: s="));
}
