//! Our journalctl and the host's show the same of the same files.
//!
//! The host's is of systemd 252: what later versions print otherwise (a colon in the zone of `short-iso`, sequence
//! numbers in `export` and JSON) is taken out before the comparison. It also ends values at a zero byte, and forgets
//! `--until` with `-n`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ferrite_journal_file::{Id128, Limits, Stamp, Writer};
use serde_json::Value;

/// Seconds between two entries.
const STEP: u64 = 7;
const START_US: u64 = 1_795_619_045_123_456;

type Field<'a> = (&'a [u8], &'a [u8]);

fn append(writer: &mut Writer, number: u64, boot: u8, fields: &[Field<'_>]) {
    let us = number * STEP * 1_000_000;
    let stamp = Stamp { realtime_us: START_US + us, monotonic_us: 5_000_001 + us, boot: Id128([boot; 16]) };
    let boot_id = stamp.boot.to_string();
    let mut all = vec![(&b"_BOOT_ID"[..], boot_id.as_bytes()), (b"_HOSTNAME", b"box")];
    all.extend_from_slice(fields);
    writer.append(&stamp, &all).expect("appended");
}

/// Messages of every kind, of three boots.
fn write_journal(folder: &Path) {
    let limits = Limits { max_use: 1 << 30, keep_free: 0, max_file_size: 8 << 20, max_files: 10 };
    let (mut writer, _) = Writer::open(folder, Id128([7; 16]), limits).expect("opened");
    let long = vec![b'x'; 5000];
    let odd: [&[Field<'_>]; 14] = [
        &[(b"MESSAGE", b"plain"), (b"SYSLOG_IDENTIFIER", b"tool"), (b"_PID", b"12"), (b"PRIORITY", b"6")],
        &[(b"MESSAGE", b"two\nlines"), (b"_COMM", b"by-name"), (b"SYSLOG_PID", b"77"), (b"PRIORITY", b"3")],
        &[(b"MESSAGE", b"a\ttab and \x1b[31mcolour\x1b[0m"), (b"SYSLOG_IDENTIFIER", b"tool")],
        &[(b"MESSAGE", b"binary \x01\xff"), (b"SYSLOG_IDENTIFIER", b"tool")],
        &[(b"MESSAGE", b""), (b"SYSLOG_IDENTIFIER", b"empty")],
        &[(b"NOTHING", b"no message"), (b"SYSLOG_IDENTIFIER", b"none")],
        &[(b"MESSAGE", &long), (b"SYSLOG_IDENTIFIER", b"long")],
        &[(b"MESSAGE", b"ends with a newline\n"), (b"SYSLOG_IDENTIFIER", b"tool"), (b"PRIORITY", b"5")],
        &[(b"MESSAGE", "umlaut \u{e4}\u{2713}".as_bytes()), (b"_SYSTEMD_UNIT", b"a.service"), (b"_PID", b"5")],
        &[
            (b"MESSAGE", b"Started a.service."),
            (b"_PID", b"1"),
            (b"UNIT", b"a.service"),
            (b"SYSLOG_IDENTIFIER", b"init"),
        ],
        &[(b"MESSAGE", b"many"), (b"TWICE", b"1"), (b"TWICE", b"2"), (b"TWICE", b"3"), (b"MULTI", b"x\ny\tz")],
        &[(b"MESSAGE", b"from the kernel"), (b"_TRANSPORT", b"kernel"), (b"SYSLOG_IDENTIFIER", b"kernel")],
        &[(b"MESSAGE", b"earlier"), (b"_SOURCE_REALTIME_TIMESTAMP", b"1795619045000001"), (b"PRIORITY", b"7")],
        &[(b"MESSAGE", b"control \x07 \xc2\x85"), (b"_SYSTEMD_SLICE", b"x.slice"), (b"_SYSTEMD_UNIT", b"b.service")],
    ];
    for (number, fields) in (0..).zip(odd) {
        append(&mut writer, number, 1, fields);
    }
    writer.rotate().expect("rotated");
    for number in 20..40 {
        let text = format!("number {number}");
        let unit: &[u8] = if number % 3 == 0 { b"a.service" } else { b"c@1.service" };
        let fields: [Field<'_>; 3] = [(b"MESSAGE", text.as_bytes()), (b"_SYSTEMD_UNIT", unit), (b"PRIORITY", b"4")];
        append(&mut writer, number, if number < 30 { 2 } else { 3 }, &fields);
    }
}

struct Both {
    directory: tempfile::TempDir,
}

impl Both {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        write_journal(&directory.path().join("log"));
        Self { directory }
    }

    fn run(&self, program: &str, words: &[&str]) -> Output {
        Command::new(program)
            .arg("--no-pager")
            .arg("--directory")
            .arg(self.directory.path().join("log"))
            .args(words)
            .env("TZ", "UTC")
            .env("SYSTEMD_COLORS", "0")
            .output()
            .unwrap_or_else(|error| panic!("{program} (package systemd) does not run: {error}"))
    }

    fn ours(&self, words: &[&str]) -> Output {
        self.run(env!("CARGO_BIN_EXE_journalctl"), words)
    }

    fn theirs(&self, words: &[&str]) -> Output {
        self.run("journalctl", words)
    }

    fn same(&self, words: &[&str], normal: impl Fn(&[u8]) -> Vec<u8>) {
        let (ours, theirs) = (self.ours(words), self.theirs(words));
        let text = |bytes: &[u8]| String::from_utf8_lossy(&normal(bytes)).into_owned();
        let (a, b) = (text(&ours.stdout), text(&theirs.stdout));
        if a != b {
            let at = a.lines().zip(b.lines()).position(|(a, b)| a != b);
            let line = |text: &str| {
                at.and_then(|at| text.lines().nth(at)).unwrap_or("(its end)").chars().take(300).collect::<String>()
            };
            panic!("{words:?}\nours:   {}\ntheirs: {}\n{}", line(&a), line(&b), String::from_utf8_lossy(&ours.stderr));
        }
        assert_eq!(ours.status.success(), theirs.status.success(), "{words:?}");
        assert!(!a.is_empty() || ours.stdout.is_empty(), "{words:?}");
    }
}

fn as_is(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

#[test]
fn the_forms_for_people_are_the_same() {
    let both = Both::new();
    for form in [
        "short",
        "short-full",
        "short-iso",
        "short-iso-precise",
        "short-precise",
        "short-monotonic",
        "short-unix",
        "with-unit",
        "verbose",
        "cat",
    ] {
        let normal = |bytes: &[u8]| {
            if form.starts_with("short-iso") {
                let text = String::from_utf8_lossy(bytes).replace("+00:00 ", "+0000 ");
                // Further lines are indented by one more.
                text.lines().map(|line| format!("{}\n", line.trim_start())).collect::<String>().into_bytes()
            } else {
                bytes.to_vec()
            }
        };
        for more in [&[][..], &["-a"], &["--no-hostname"], &["-q", "-r"], &["-n", "5", "--utc"]] {
            both.same(&[&["-o", form], more].concat(), normal);
        }
    }
    for fields in ["MESSAGE,PRIORITY", "TWICE"] {
        both.same(&["-o", "verbose", "--output-fields", fields], as_is);
        // The host's has no order of fields.
        both.same(&["-o", "cat", "--output-fields", fields], sorted);
    }
}

#[test]
fn the_same_entries_are_chosen() {
    let both = Both::new();
    let since = "2026-11-25 15:04:30";
    let until = "2026-11-25 15:06:40";
    for words in [
        &["-u", "a"][..],
        &["-u", "a.service", "-n", "3"],
        &["-u", "a", "-u", "b"],
        &["-u", "c@*"],
        &["-u", "x.slice"],
        &["-u", "nothing"],
        &["-t", "tool"],
        &["-t", "tool", "-t", "long", "-r"],
        &["-p", "err"],
        &["-p", "warning..err"],
        &["-p", "4", "-n", "2"],
        &["-b"],
        &["-b", "-1"],
        &["-b", "1"],
        &["-b", "-9"],
        &["-b", "02020202020202020202020202020202"],
        &["-b", "02020202020202020202020202020202-1"],
        &["-k", "-b", "1"],
        &["--since", since],
        &["--until", until],
        &["--since", since, "--until", until],
        &["--since", since, "--until", until, "-r"],
        &["--since", "@1795619100", "-u", "a"],
        &["-n"],
        &["-n", "0"],
        &["-n", "1"],
        &["-n", "1000"],
        &["-r", "-n", "3"],
        &["-g", "number 2."],
        &["-g", "NUMBER"],
        &["-g", "Number", "--case-sensitive=no"],
        &["-g", "started", "--case-sensitive"],
        &["-g", "nothing of the kind"],
        &["_PID=1"],
        &["_SYSTEMD_UNIT=a.service", "PRIORITY=4"],
        &["_SYSTEMD_UNIT=a.service", "_SYSTEMD_UNIT=b.service"],
        &["_PID=1", "+", "SYSLOG_IDENTIFIER=tool"],
        &["_PID=1", "+", "SYSLOG_IDENTIFIER=tool", "_PID=12"],
        &["-u", "a", "+", "_PID=12"],
        &["NO=1"],
        &["-n", "2", "--show-cursor"],
        &["-e", "-q"],
        &["-e", "-n", "1000"],
        &["-e", "-n", "all"],
        &["-e", "-u", "a"],
        &["-m"],
        &["-F", "_SYSTEMD_UNIT"],
        &["-F", "TWICE"],
        &["--list-boots"],
        &["--list-boots", "-q"],
    ] {
        both.same(words, |bytes| match words {
            // Values have no order of their own.
            ["-F", _] => sorted(bytes),
            _ => bytes.to_vec(),
        });
    }
    both.same(&["-N"], sorted);
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n").into_bytes()
}

#[test]
fn cursors_of_one_lead_the_other() {
    let both = Both::new();
    let cursors = |program: Output| -> Vec<String> {
        let text = String::from_utf8_lossy(&program.stdout).into_owned();
        text.lines().filter_map(|line| Some(line.strip_prefix("__CURSOR=")?.to_owned())).collect()
    };
    let ours = cursors(both.ours(&["-o", "export"]));
    assert_eq!(ours, cursors(both.theirs(&["-o", "export"])));
    assert_eq!(ours.len(), 34);
    for cursor in [&ours[0], &ours[13], &ours[14], &ours[33]] {
        for option in ["--cursor", "--after-cursor"] {
            for more in [&[][..], &["-r"], &["-u", "a"], &["-n", "2"]] {
                if option == "--after-cursor" && more == ["-u", "a"] {
                    // The host's skips an entry when that of the cursor does not fit.
                    continue;
                }
                both.same(&[&[option, cursor.as_str(), "-o", "cat", "-q"], more].concat(), as_is);
            }
        }
    }
}

/// Without what only later versions print.
fn without_numbers(bytes: &[u8]) -> Vec<u8> {
    let kept = |line: &&[u8]| !line.starts_with(b"__SEQNUM");
    bytes.split_inclusive(|byte| *byte == b'\n').filter(kept).flatten().copied().collect()
}

#[test]
fn export_is_the_same_byte_for_byte() {
    let both = Both::new();
    for words in [&["-o", "export"][..], &["-o", "export", "--output-fields", "MESSAGE,TWICE"], &["-o", "export", "-b"]]
    {
        both.same(words, without_numbers);
    }
}

#[test]
fn json_says_the_same_in_every_frame() {
    let both = Both::new();
    let parsed = |bytes: &[u8], form: &str| -> Vec<Value> {
        let text = String::from_utf8_lossy(bytes).replace('\u{1e}', "");
        let text = if form == "json-sse" { text.replace("data: ", "") } else { text };
        let stream = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let strip = |value: Value| match value {
            Value::Object(mut fields) => {
                fields.remove("__SEQNUM");
                fields.remove("__SEQNUM_ID");
                // Values of one field have no order of their own.
                fields.values_mut().filter_map(Value::as_array_mut).for_each(|all| all.sort_by_key(Value::to_string));
                Value::Object(fields)
            }
            other => other,
        };
        stream.map(|value| strip(value.expect("json"))).collect()
    };
    for form in ["json", "json-pretty", "json-sse", "json-seq"] {
        for more in [&[][..], &["-a"], &["--output-fields=MESSAGE,TWICE"]] {
            let words = [&["-o", form], more].concat();
            let (ours, theirs) = (both.ours(&words), both.theirs(&words));
            let (a, b) = (parsed(&ours.stdout, form), parsed(&theirs.stdout, form));
            assert_eq!(a.len(), 34, "{words:?}");
            for (a, b) in a.iter().zip(&b) {
                assert!(a == b, "{words:?}\n{}\n{}", cut(a), cut(b));
            }
        }
    }
}

fn cut(value: &Value) -> String {
    value.to_string().chars().take(1000).collect()
}

#[test]
fn single_files_and_patterns_are_read() {
    let both = Both::new();
    let files: Vec<PathBuf> = std::fs::read_dir(both.directory.path().join("log"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(files.len(), 2, "{files:?}");
    let run = |program: &str, file: &str| {
        let output = Command::new(program).args(["--file", file, "-o", "cat"]).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let pattern = both.directory.path().join("log/*.journal").display().to_string();
    for file in files.iter().map(|file| file.display().to_string()).chain([pattern]) {
        let ours = run(env!("CARGO_BIN_EXE_journalctl"), &file);
        assert!(!ours.is_empty() && ours == run("journalctl", &file), "{file}");
    }
    for words in [&["--disk-usage"][..], &["--verify"]] {
        let (ours, theirs) = (both.ours(words), both.theirs(words));
        assert_eq!(
            (ours.status.success(), ours.stdout.len()),
            (theirs.status.success(), theirs.stdout.len()),
            "{words:?}"
        );
    }
}
