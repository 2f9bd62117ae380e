//! A clock that is set back a year and forth again: order, numbers, boots, the last entries and what is followed stay
//! right, for our journalctl and for the host's.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ferrite_journal_file::{Id128, Limits, Reader, Stamp, Writer};

const NOW_US: u64 = 1_795_619_045_000_000;
const SECOND_US: u64 = 1_000_000;
const YEAR_US: u64 = 365 * 86_400 * SECOND_US;
const BOOT: Id128 = Id128([3; 16]);
/// Entries before each change of the clock.
const STEP: u64 = 10;

fn open(folder: &Path) -> Writer {
    let limits = Limits { max_use: 1 << 30, keep_free: 0, max_file_size: 8 << 20, max_files: 10 };
    Writer::open(folder, Id128([7; 16]), limits).expect("opened").0
}

/// The clock of the wall at an entry, a second later each: right, then a year late, then right again.
fn realtime_us(number: u64) -> u64 {
    let late = if (STEP..2 * STEP).contains(&number) { YEAR_US } else { 0 };
    NOW_US + number * SECOND_US - late
}

fn append(writer: &mut Writer, number: u64) {
    let stamp = Stamp { realtime_us: realtime_us(number), monotonic_us: (5 + number) * SECOND_US, boot: BOOT };
    let (message, boot) = (format!("number {number}"), BOOT.to_string());
    let fields: [(&[u8], &[u8]); 3] =
        [(b"MESSAGE", message.as_bytes()), (b"_BOOT_ID", boot.as_bytes()), (b"_HOSTNAME", b"box")];
    writer.append(&stamp, &fields).expect("appended");
}

fn journalctl(program: &str, folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["--no-pager", "-q", "--directory"]).arg(folder).args(words).env("TZ", "UTC");
    command
}

/// What both show, which is the same.
fn show(folder: &Path, words: &[&str]) -> String {
    let said = |program: &str| {
        let output = journalctl(program, folder, words).output().expect("journalctl (package systemd) runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let (ours, theirs) = (said(env!("CARGO_BIN_EXE_journalctl")), said("journalctl"));
    assert_eq!(ours, theirs, "{words:?}");
    ours
}

fn lines(numbers: impl Iterator<Item = u64>) -> String {
    numbers.map(|number| format!("number {number}\n")).collect()
}

#[test]
fn what_a_clock_that_was_set_back_wrote_stays_in_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let folder = directory.path().join("log");
    let mut writer = open(&folder);
    (0..3 * STEP).for_each(|number| append(&mut writer, number));
    drop(writer);
    let files = std::fs::read_dir(&folder).expect("a folder").count();
    assert_eq!(files, 2, "the entries of a file are in the order of their times");
    show(&folder, &["--verify"]);
    let all = 3 * STEP;
    assert_eq!(show(&folder, &["-o", "cat"]), lines(0..all));
    assert_eq!(show(&folder, &["-o", "cat", "-r"]), lines((0..all).rev()));
    // Over both changes of the clock.
    assert_eq!(show(&folder, &["-o", "cat", "-n", "25"]), lines(all - 25..all));
    assert_eq!(show(&folder, &["-o", "cat", "-b", "-n", "1"]), lines(all - 1..all));
    let mut reader = Reader::open_folders(&[&folder]).expect("readable");
    reader.seek_head();
    let mut numbers = Vec::new();
    while reader.next().expect("readable") {
        numbers.push((reader.seqnum(), reader.realtime_us(), reader.monotonic().0));
    }
    let wanted = (0..all).map(|number| (number + 1, realtime_us(number), (5 + number) * SECOND_US));
    assert_eq!(numbers, wanted.collect::<Vec<_>>());
    let boots = reader.boots().expect("readable");
    let ends: Vec<_> = boots.iter().map(|boot| (boot.id, boot.first_us, boot.last_us)).collect();
    assert_eq!(ends, [(BOOT, realtime_us(0), realtime_us(all - 1))]);
}

#[test]
fn the_last_entry_of_a_boot_is_the_one_that_was_written_last() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut writer = open(directory.path());
    (0..2 * STEP).for_each(|number| append(&mut writer, number));
    let boots = Reader::open_folders(&[directory.path()]).expect("readable").boots().expect("readable");
    assert_eq!(boots.iter().map(|boot| boot.last_us).collect::<Vec<_>>(), [realtime_us(2 * STEP - 1)]);
}

/// Ends with its value.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn who_follows_sees_every_entry_once_over_the_changes_of_the_clock() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut writer = open(directory.path());
    append(&mut writer, 0);
    let mut command = journalctl(env!("CARGO_BIN_EXE_journalctl"), directory.path(), &["-f", "-n", "all", "-o", "cat"]);
    let mut child = Ending(command.stdout(Stdio::piped()).spawn().expect("journalctl runs"));
    let mut lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
    for number in 0..3 * STEP {
        if number > 0 {
            append(&mut writer, number);
        }
        assert_eq!(lines.next().expect("a line").expect("text"), format!("number {number}"));
    }
}
