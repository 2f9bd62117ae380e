//! `ferrite-update`: what people use. The table is pure.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Parser, Subcommand};
use ferrite_cli::Table;

use crate::bar::{Bar, megabytes};
use crate::places::{Places, SOCKET_PATH};
use crate::protocol::{Request, SlotStatus, Status};
use crate::talk::Talk;
use crate::view::moment;

/// Show and control the updates of this machine
///
/// Releases are installed into the slot that does not run and started with the
/// next restart. A release that does not start well is left again by itself.
#[derive(Debug, Parser)]
#[command(name = "ferrite-update", version, max_term_width = 80)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Folder that stands for the root of the machine
    #[arg(long, value_name = "DIR", default_value = "/", global = true, hide = true)]
    root: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show slots, channel, last and next check, what waits, what is blocked
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look for an update and install nothing (root)
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look for an update and install it (root)
    Update {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Install a payload from a file, without a network (root)
    ///
    /// Its signatures and its serial are checked as ever.
    Install {
        /// The payload (*.fup)
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Go back to the other slot, with a restart (root)
    ///
    /// What runs now is blocked for 7 days, or until `unblock`.
    Rollback,
    /// Forget that releases failed, so that they are installed again (root)
    Unblock {
        /// Only this one
        serial: Option<u64>,
    },
    /// Restart into the release that waits for it (root)
    Reboot,
    /// Put the restart off, once (root)
    Defer {
        /// For how long; 600 at most
        #[arg(default_value_t = 600)]
        seconds: u64,
    },
    /// Stop what is under way and give up what waits for a restart (root)
    Reset,
}

/// Does what the command line says.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut talk = Talk::connect(&Places::below(&arguments.root).path(SOCKET_PATH))?;
    let (request, as_json) = match &arguments.verb {
        Verb::Status { json } => {
            let status = talk.status(None)?;
            return print(&status, *json);
        }
        Verb::Check { json } => (Request::Check, *json),
        Verb::Update { json } => (Request::Update, *json),
        Verb::Install { file, json } => {
            let path = std::path::absolute(file)?.display().to_string();
            (Request::Install { path }, *json)
        }
        Verb::Rollback => return order(&mut talk, &Request::Rollback),
        Verb::Unblock { serial } => return order(&mut talk, &Request::Unblock { serial: *serial }),
        Verb::Reboot => return order(&mut talk, &Request::Reboot),
        Verb::Defer { seconds } => return order(&mut talk, &Request::Defer { seconds: *seconds }),
        Verb::Reset => return order(&mut talk, &Request::Reset),
    };
    let mut bar = Bar::new();
    let status = talk.follow(&request, |status| bar.show(status))?;
    drop(bar);
    if as_json {
        print(&status, true)?;
    }
    if let Some(error) = &status.error {
        bail!("{error}");
    }
    if !as_json {
        println!("{}", status.outcome.as_deref().unwrap_or("done"));
        if let Some(line) = reboot_line(&status) {
            println!("{line}");
        }
    }
    Ok(())
}

fn order(talk: &mut Talk, request: &Request) -> anyhow::Result<()> {
    println!("{}", talk.order(request)?);
    Ok(())
}

fn print(status: &Status, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(status)?);
    } else {
        print!("{}", text(status));
    }
    Ok(())
}

/// The status for a person.
pub fn text(status: &Status) -> String {
    let mut text = slot_table(&status.slots);
    let mut table = Table::without_heading();
    let mut row = |name: &str, value: String| table.row([name.to_string(), value]);
    row("running", format!("{} (serial {}) on board {}", status.version, status.serial, status.board));
    row("channel", channel(status));
    row("last check", last_check(status));
    if let Some(off) = &status.off {
        row("updates", off.clone());
    } else {
        row("next check", status.next_check.map_or("after what is under way".into(), moment));
    }
    row("state", state(status));
    if let Some(line) = reboot_line(status) {
        row("restart", line);
    }
    if let Some(lock) = &status.lock {
        row("lock", lock.clone());
    }
    for blocked in &status.blocked {
        let since = moment(blocked.since);
        let times = if blocked.count > 1 { format!(", failed {} times", blocked.count) } else { String::new() };
        let release = format!("{} (serial {})", blocked.version, blocked.serial);
        row("blocked", format!("{release} since {since}{times}: {}", blocked.reason));
    }
    if let Some(fallback) = &status.fallback {
        row("last fallback", fallback.clone());
    }
    if status.floor > 0 {
        row("floor", format!("nothing below serial {}", status.floor));
    }
    for fault in &status.faults {
        row("update.conf", fault.clone());
    }
    text.push('\n');
    text.push_str(&table.render());
    text
}

fn slot_table(slots: &[SlotStatus]) -> String {
    let mut table = Table::with_heading(["SLOT", "STATE", "VERSION", "SERIAL", ""]);
    for slot in slots {
        let mark = match (slot.running, slot.next) {
            (true, true) => "running, starts next",
            (true, false) => "running",
            (false, true) => "starts next",
            (false, false) => "",
        };
        let serial = slot.serial.map_or("-".to_string(), |serial| serial.to_string());
        let version = slot.version.clone().unwrap_or("-".into());
        table.row([slot.slot.clone(), slot.state.clone(), version, serial, mark.to_string()]);
    }
    table.render()
}

fn channel(status: &Status) -> String {
    let server = status.server.as_deref().unwrap_or("no server");
    let verified = match (status.key_set, status.channel_number) {
        (None, _) => "not verified: no keys".to_string(),
        (Some(set), 0) => format!("key set {set}, nothing verified yet"),
        (Some(set), number) => format!("document {number} verified by key set {set}"),
    };
    format!("{} of {server}, {verified}", status.group)
}

fn last_check(status: &Status) -> String {
    let Some(at) = status.last_check else {
        let stale = if status.stale { ": STALE, what was believed last has expired" } else { "" };
        return format!("none since the engine started{stale}");
    };
    match (&status.error, status.stale) {
        (_, true) => format!("{}: STALE, the channel document has expired", moment(at)),
        (Some(error), false) => format!("{}: {error}", moment(at)),
        (None, false) => format!("{}: {}", moment(at), status.outcome.as_deref().unwrap_or("believed")),
    }
}

fn state(status: &Status) -> String {
    let release = match (&status.new_version, status.new_serial) {
        (Some(version), Some(serial)) => format!(", {version} (serial {serial}), {}", megabytes(status.new_size)),
        _ => String::new(),
    };
    let progress = if status.progress > 0.0 && status.progress < 1.0 {
        format!(", {:.0} %", status.progress * 100.0)
    } else {
        String::new()
    };
    format!("{}{release}{progress}", status.operation.word())
}

fn reboot_line(status: &Status) -> Option<String> {
    if !status.reboot_pending {
        return None;
    }
    let window = status.window.as_ref().map(|window| format!(", window {window}")).unwrap_or_default();
    Some(match (&status.reboot_held, status.reboot_at) {
        (Some(held), _) => format!("pending: {held}"),
        (None, Some(at)) => format!("pending: at {}{window}", moment(at)),
        (None, None) => format!("pending{window}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Operation;
    use crate::store::Blocked;
    use clap::CommandFactory;

    fn slot(slot: &str, state: &str, version: &str, running: bool) -> SlotStatus {
        let (slot, state, version) = (slot.into(), state.into(), Some(version.into()));
        SlotStatus { slot, state, version, serial: running.then_some(2), running, next: running }
    }

    #[test]
    fn a_person_sees_slots_channel_checks_and_what_is_blocked() {
        let status = Status {
            board: "qemu".into(),
            version: "1.2".into(),
            serial: 2,
            slots: vec![slot("a", "failed", "1.3", false), slot("b", "good", "1.2", true)],
            group: "stable".into(),
            server: Some("http://10.0.2.2:8080/".into()),
            key_set: Some(1),
            channel_number: 3,
            last_check: Some(1_767_225_600),
            outcome: Some("up to date".into()),
            next_check: Some(1_767_228_300),
            blocked: vec![Blocked {
                serial: 3,
                version: "1.3".into(),
                reason: "started 3 times: health check x failed".into(),
                since: 1_767_225_000,
                count: 1,
            }],
            floor: 2,
            ..Status::default()
        };
        let wanted = "\
SLOT  STATE   VERSION  SERIAL
a     failed  1.3      -
b     good    1.2      2       running, starts next

running     1.2 (serial 2) on board qemu
channel     stable of http://10.0.2.2:8080/, document 3 verified by key set 1
last check  2026-01-01 00:00:00 UTC: up to date
next check  2026-01-01 00:45:00 UTC
state       UPDATE_STATUS_IDLE
blocked     1.3 (serial 3) since 2025-12-31 23:50:00 UTC: started 3 times: health check x failed
floor       nothing below serial 2
";
        assert_eq!(text(&status), wanted);
    }

    #[test]
    fn what_is_off_stale_or_held_is_told_plainly() {
        let off = Status { off: Some("no keys: updates are off".into()), ..Status::default() };
        assert!(text(&off).contains("updates     no keys: updates are off"), "{}", text(&off));
        assert!(text(&off).contains("not verified: no keys"));
        let stale = Status { stale: true, last_check: Some(1), error: Some("x".into()), ..Status::default() };
        assert!(text(&stale).contains("STALE, the channel document has expired"), "{}", text(&stale));
        let held = Status {
            operation: Operation::NeedReboot,
            reboot_pending: true,
            reboot_held: Some("REBOOT_STRATEGY=off".into()),
            new_version: Some("1.3".into()),
            new_serial: Some(3),
            new_size: 3 << 20,
            ..Status::default()
        };
        assert!(text(&held).contains("state       UPDATE_STATUS_UPDATED_NEED_REBOOT, 1.3 (serial 3), 3.0 MiB"));
        assert!(text(&held).contains("restart     pending: REBOOT_STRATEGY=off"), "{}", text(&held));
    }

    #[test]
    fn help_is_at_most_80_columns_wide() {
        for mut command in [Arguments::command(), crate::compatible::Arguments::command()] {
            command.build();
            let mut helps = vec![command.render_long_help().to_string(), command.render_help().to_string()];
            helps.extend(command.get_subcommands_mut().map(|verb| verb.render_long_help().to_string()));
            for line in helps.iter().flat_map(|help| help.lines()) {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
