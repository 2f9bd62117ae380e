//! From a message to an entry: who sent it, whether its unit floods the log, the fields that only the daemon may give.

use ferrite_journal_file::{Id128, Stamp};

use super::clock::Moment;
use super::context::{Processes, Sender};
use super::forward::Forward;
use super::rate::{RateLimit, Verdict};
use super::store::Store;
use super::terminal::Terminal;
use super::wishes::AllWishes;
use crate::fields::Fields;

/// What systemd calls "messages were suppressed".
const DROPPED: &str = "a596d6fe7bfa4994828e72309e95d61e";
const OWN_NAME: &str = "ferrite-journald";

/// What every entry of this run has.
#[derive(Debug)]
pub struct Standing {
    boot: Id128,
    /// `_BOOT_ID`
    boot_text: String,
    /// `_MACHINE_ID`
    machine: String,
    /// `_HOSTNAME`; empty: not looked up yet.
    host: String,
}

impl Standing {
    /// Of this boot of this machine.
    pub fn new(boot: Id128, machine: Id128) -> Self {
        Self { boot, boot_text: boot.to_string(), machine: machine.to_string(), host: String::new() }
    }
}

/// A message besides its own fields.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `_TRANSPORT`
    pub transport: &'a str,
    /// Who sent it.
    pub sender: Sender,
    /// The unit that is believed instead of that of the process.
    pub unit: Option<&'a str>,
    /// 0 to 7.
    pub priority: u8,
    /// As syslog(3) sent it.
    pub raw: Option<&'a [u8]>,
}

/// Makes entries.
#[derive(Debug)]
pub struct Keeper {
    /// What every entry has.
    pub standing: Standing,
    /// The counts of units.
    pub rate: RateLimit,
    /// The wishes of units.
    pub wishes: AllWishes,
    /// The senders.
    pub processes: Processes,
    /// The syslog daemon.
    pub forward: Forward,
    /// The console.
    pub terminal: Terminal,
    /// `MaxLevelStore=`
    pub max_level: u8,
    /// Where entries go.
    pub store: Store,
}

impl Keeper {
    /// Keeps a message of a process, unless its unit sends too many or wants it dropped.
    pub fn keep(&mut self, fields: &mut Fields, message: &Message<'_>) {
        let now = Moment::now();
        let process = self.processes.of(message.sender.pid, now.monotonic_us);
        let unit = message.unit.unwrap_or(&process.unit);
        let wishes = self.wishes.of(unit, now.monotonic_us);
        if wishes.level_max.is_some_and(|max| message.priority > max) {
            return;
        }
        match self.rate.count(unit, now.monotonic_us, &wishes) {
            Verdict::Drop => return,
            Verdict::KeepAfter(count) => self.say_suppressed(unit, count),
            Verdict::Keep => {}
        }
        self.processes.describe(message.sender, &process, unit, fields);
        self.terminal.show(message.priority, fields);
        self.record(fields, message, now);
    }

    /// Keeps a message of the kernel; its sender, if it has one, is described by the kernel's word alone.
    pub fn record(&mut self, fields: &mut Fields, message: &Message<'_>, now: Moment) {
        self.forward.send(message.raw, message.priority, fields, now.realtime_us, now.monotonic_us);
        if message.priority > self.max_level {
            return;
        }
        if self.standing.host.is_empty() {
            self.standing.host = host();
        }
        fields.text("_TRANSPORT", message.transport);
        fields.text("_RUNTIME_SCOPE", "system");
        fields.text("_BOOT_ID", &self.standing.boot_text);
        fields.text("_MACHINE_ID", &self.standing.machine);
        fields.known("_HOSTNAME", &self.standing.host);
        let stamp = Stamp { realtime_us: now.realtime_us, monotonic_us: now.monotonic_us, boot: self.standing.boot };
        self.store.append(stamp, message.priority, fields);
    }

    /// Adds a message of the daemon itself.
    pub fn say(&mut self, text: &str, priority: u8) {
        let mut fields = Fields::default();
        fields.text("MESSAGE", text);
        self.say_fields(fields, priority);
    }

    fn say_fields(&mut self, mut fields: Fields, priority: u8) {
        let now = Moment::now();
        let pid = i32::try_from(std::process::id()).unwrap_or(0);
        let sender = Sender { pid, uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() };
        fields.text("PRIORITY", &priority.to_string());
        fields.text("SYSLOG_FACILITY", "3");
        fields.text("SYSLOG_IDENTIFIER", OWN_NAME);
        let process = self.processes.of(pid, now.monotonic_us);
        self.processes.describe(sender, &process, &process.unit, &mut fields);
        self.terminal.show(priority, &fields);
        let message = Message { transport: "driver", sender, unit: None, priority, raw: None };
        self.record(&mut fields, &message, now);
    }

    fn say_suppressed(&mut self, unit: &str, count: u64) {
        let mut fields = Fields::default();
        fields.text("MESSAGE", &format!("Suppressed {count} messages from {unit}"));
        fields.text("MESSAGE_ID", DROPPED);
        fields.text("N_DROPPED", &count.to_string());
        fields.known("OBJECT_SYSTEMD_UNIT", unit);
        self.say_fields(fields, 4);
    }

    /// Tells of all messages that were suppressed and not told of yet.
    pub fn tell_suppressed(&mut self) {
        for (unit, count) in self.rate.take_suppressed() {
            self.say_suppressed(&unit, count);
        }
    }

    /// Writes what was collected in a turn.
    pub fn finish_turn(&mut self, now: Moment) {
        self.store.flush(now);
        let reports = self.store.take_reports();
        if !reports.is_empty() {
            reports.iter().for_each(|report| self.say(report, 4));
            self.store.flush(now);
        }
        self.rate.set_free_bytes(self.store.free_bytes());
        // It may change; the next turn asks again.
        self.standing.host.clear();
    }
}

fn host() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
