//! `hostnamectl`: the names of the machine, and what it is. It changes files and the kernel itself: no daemon is asked.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use ferrite_files::Durability;
use ferrite_unit::timestamp;
use ferrite_unit::zone::Zones;
use serde_json::{Map, Value};

use super::Caller;
use super::json::Form;
use super::options::{Flag, Line, Order, Takes, parse};
use crate::disk::read_text;
use crate::{host, virtualization};

const HELP: &str = "\
hostnamectl [OPTIONS...] COMMAND ...

Query or change system hostname.

Commands:
  status                 Show current hostname settings
  hostname [NAME]        Get/set system hostname
  icon-name [NAME]       Get/set icon name for host
  chassis [NAME]         Get/set chassis type for host
  deployment [NAME]      Get/set deployment environment for host
  location [NAME]        Get/set location for host

Options:
  -h --help              Show this help
     --version           Show package version
     --no-ask-password   Accepted: nothing is asked
     --transient         Only set transient hostname
     --static            Only set static hostname
     --pretty            Only set pretty hostname
     --json=pretty|short|off
                         Generate JSON output
  -j                     Same as --json=pretty on tty, --json=short otherwise
";

const FLAGS: [Flag; 8] = [
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    (' ', "no-ask-password", Takes::Nothing),
    (' ', "transient", Takes::Nothing),
    (' ', "static", Takes::Nothing),
    (' ', "pretty", Takes::Nothing),
    (' ', "json", Takes::Value),
    ('j', "json-auto", Takes::Nothing),
];

/// Longest name that the kernel takes.
const NAME_MAX: usize = 64;
/// Verbs about a line of machine-info: the verb, its old name, the variable.
const INFO_VERBS: [(&str, &str, &str); 4] = [
    ("icon-name", "set-icon-name", "ICON_NAME"),
    ("chassis", "set-chassis", "CHASSIS"),
    ("deployment", "set-deployment", "DEPLOYMENT"),
    ("location", "set-location", "LOCATION"),
];
const PRETTY: &str = "PRETTY_HOSTNAME";
const CHASSIS: [&str; 11] =
    ["desktop", "laptop", "convertible", "server", "tablet", "handset", "watch", "embedded", "vm", "container", ""];

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    super::finish(caller.words().and_then(|words| run(&words)))
}

fn run(words: &[String]) -> Result<u8> {
    let line = parse(words, &FLAGS, Order::Anywhere)?;
    if let Some(told) = super::told(&line, HELP) {
        return told;
    }
    let verb = line.operands.first().map_or("status", String::as_str);
    let value = match &line.operands[line.operands.len().min(1)..] {
        [] => None,
        [value] => Some(value.as_str()),
        _ => bail!("Too many arguments."),
    };
    if let Some((_, _, key)) = INFO_VERBS.iter().find(|(new, old, _)| *new == verb || *old == verb) {
        return information(key, value);
    }
    match (verb, value) {
        ("status", None) => status(&line),
        ("hostname", None) => super::print(&format!("{}\n", shown_name(&line))),
        ("hostname" | "set-hostname", Some(name)) => set_name(&line, name),
        ("set-hostname", None) => bail!("Too few arguments."),
        ("status", Some(_)) => bail!("Too many arguments."),
        _ => bail!("Unknown command verb '{verb}', see hostnamectl --help."),
    }
}

fn static_name() -> String {
    host::static_host_name().unwrap_or_default()
}

fn kernel_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn info(key: &str) -> String {
    host::machine_info(key).unwrap_or_default()
}

fn shown_name(line: &Line) -> String {
    match (line.has("static"), line.has("pretty"), static_name()) {
        (true, _, name) => name,
        (false, true, _) => info(PRETTY),
        (false, false, name) if name.is_empty() || line.has("transient") => kernel_name(),
        (false, false, name) => name,
    }
}

/// A name that the kernel and resolvers take.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= NAME_MAX && name.split('.').all(is_label)
}

/// A name made of any text: blanks become hyphens, what cannot stand in a name goes.
fn simplified(text: &str) -> String {
    let letters = text.chars().map(|letter| if letter == ' ' || letter == '_' { '-' } else { letter });
    let kept: String = letters.filter(|letter| letter.is_ascii_alphanumeric() || "-.".contains(*letter)).collect();
    let labels = kept.split('.').map(|label| label.trim_matches('-')).filter(|label| !label.is_empty());
    labels.collect::<Vec<_>>().join(".").chars().take(NAME_MAX).collect()
}

fn set_name(line: &Line, wish: &str) -> Result<u8> {
    need_root("hostname")?;
    let chosen = ["static", "transient", "pretty"].map(|kind| line.has(kind));
    let [is_static, is_transient, is_pretty] = if chosen == [false; 3] { [true; 3] } else { chosen };
    // Without a word on which, a text that is no name is the pretty one, and the others are made of it.
    let mut name = wish.to_owned();
    if is_pretty {
        let pretty = if !chosen[2] && is_name(wish) { "" } else { wish };
        set_information(PRETTY, pretty)?;
        name = if is_name(wish) || wish.is_empty() { name } else { simplified(wish) };
    }
    if (is_static || is_transient) && !name.is_empty() && !is_name(&name) {
        bail!("Could not set hostname: Invalid hostname '{wish}'; letters, digits, '-' and '.', at most {NAME_MAX}.");
    }
    if is_static {
        replace(host::HOST_NAME, &if name.is_empty() { String::new() } else { format!("{name}\n") })?;
    }
    if is_transient && !name.is_empty() {
        nix::unistd::sethostname(&name).context("Could not set the hostname of the kernel")?;
    }
    Ok(0)
}

fn information(key: &str, value: Option<&str>) -> Result<u8> {
    let Some(value) = value else { return super::print(&format!("{}\n", info(key))) };
    need_root("machine information")?;
    if key == "CHASSIS" && !CHASSIS.contains(&value) {
        bail!("Could not set chassis: Invalid chassis '{value}'; it is one of {}.", CHASSIS[..10].join(" "));
    }
    set_information(key, value)?;
    Ok(0)
}

/// Changes one line of machine-info; others and comments stay.
fn set_information(key: &str, value: &str) -> Result<()> {
    let old = read_text(host::MACHINE_INFO);
    let new = with_line(&old, key, value);
    if new == old { Ok(()) } else { replace(host::MACHINE_INFO, &new) }
}

fn with_line(text: &str, key: &str, value: &str) -> String {
    let is_it = |line: &&str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with('='));
    let mut out: String = text.lines().filter(|line| !is_it(line)).flat_map(|line| [line, "\n"]).collect();
    if !value.is_empty() {
        let quoted: String = value
            .chars()
            .filter(|letter| !letter.is_control())
            .flat_map(|letter| "\"\\$`".contains(letter).then_some('\\').into_iter().chain([letter]))
            .collect();
        out.push_str(&format!("{key}=\"{quoted}\"\n"));
    }
    out
}

fn replace(path: &str, text: &str) -> Result<()> {
    ferrite_files::replace(Path::new(path), text.as_bytes(), 0o644, Durability::Durable)?;
    Ok(())
}

fn need_root(what: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!("Could not set {what}: Access denied; it needs root: sudo hostnamectl ...");
}

/// Everything that is known, by the names of the JSON output and of the table; empty ones are not shown.
fn facts() -> Vec<(&'static str, &'static str, String)> {
    let host = host::read();
    let release = |key: &str| {
        let found = host.os_release.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let dmi = |name: &str| read_text(&format!("/sys/class/dmi/id/{name}")).trim().to_owned();
    let (fixed, kernel) = (static_name(), kernel_name());
    let detected = virtualization::detect().unwrap_or_default();
    let chassis = host::machine_info("CHASSIS").unwrap_or_else(|| chassis(&dmi("chassis_type")));
    let icon = match chassis.as_str() {
        "" => "computer".to_owned(),
        chassis => format!("computer-{chassis}"),
    };
    vec![
        ("StaticHostname", "Static hostname", if fixed.is_empty() { "(unset)".into() } else { fixed.clone() }),
        ("PrettyHostname", "Pretty hostname", info(PRETTY)),
        ("Hostname", "Transient hostname", if kernel == fixed { String::new() } else { kernel }),
        ("IconName", "Icon name", host::machine_info("ICON_NAME").unwrap_or(icon)),
        ("Chassis", "Chassis", chassis),
        ("Deployment", "Deployment", info("DEPLOYMENT")),
        ("Location", "Location", info("LOCATION")),
        ("MachineID", "Machine ID", host.machine_id.clone()),
        ("BootID", "Boot ID", host.boot_id.clone()),
        ("Virtualization", "Virtualization", detected.to_owned()),
        ("OperatingSystemPrettyName", "Operating System", release("PRETTY_NAME")),
        ("OperatingSystemCPEName", "CPE OS Name", release("CPE_NAME")),
        ("KernelRelease", "Kernel", format!("Linux {}", host.kernel_release)),
        ("Architecture", "Architecture", host.architecture.clone()),
        ("HardwareVendor", "Hardware Vendor", dmi("sys_vendor")),
        ("HardwareModel", "Hardware Model", dmi("product_name")),
        ("FirmwareVersion", "Firmware Version", dmi("bios_version")),
        ("FirmwareDate", "Firmware Date", firmware_date(&dmi("bios_date"))),
    ]
}

/// The date of the firmware, which writes it as month/day/year.
fn firmware_date(text: &str) -> String {
    let zones = Zones::utc();
    let parts: Vec<&str> = text.split('/').collect();
    let [month, day, year] = parts[..] else { return String::new() };
    let moment = timestamp::parse(&format!("{year}-{month}-{day}"), 0, &zones);
    let shown = moment.map(|us| timestamp::weekday_stamp(us, zones.local())).unwrap_or_default();
    shown.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// The kind of machine by the number of the firmware (SMBIOS specification, 7.4.1).
fn chassis(number: &str) -> String {
    if virtualization::container().is_some() {
        return "container".into();
    }
    if virtualization::Signs::see().machine().is_some() {
        return "vm".into();
    }
    let word = match number.parse::<u8>().unwrap_or(0) {
        3 | 4 | 6 | 7 | 13 | 35 | 36 => "desktop",
        8 | 9 | 10 | 14 => "laptop",
        11 => "handset",
        17 | 28 | 29 => "server",
        30 => "tablet",
        31 | 32 => "convertible",
        33 | 34 => "embedded",
        _ => "",
    };
    word.into()
}

fn status(line: &Line) -> Result<u8> {
    let facts = facts();
    let form = Form::of_line(line)?;
    if form == Form::Table {
        let shown = facts.iter().filter(|(_, _, value)| !value.is_empty());
        let width = shown.clone().map(|(_, label, _)| label.len()).max().unwrap_or(0).max(17);
        let lines: String = shown.map(|(_, label, value)| format!("{label:>width$}: {value}\n")).collect();
        return super::print(&lines);
    }
    let value = |text: &str| if text.is_empty() { Value::Null } else { Value::from(text) };
    let object: Map<String, Value> = facts.iter().map(|(key, _, text)| ((*key).to_owned(), value(text))).collect();
    let text =
        if form == Form::Pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
    super::print(&format!("{}\n", text?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_unit::environment::parse_file;

    #[test]
    fn names_are_checked_and_made_of_any_text() {
        assert!(is_name("a") && is_name("web-1.example.com") && !is_name("") && !is_name("a..b"));
        assert!(!is_name("-a") && !is_name("a.") && !is_name("a b") && !is_name(&"a".repeat(65)));
        assert_eq!(simplified("Lennart's Computer_1"), "Lennarts-Computer-1");
        assert_eq!(simplified("...ü"), "");
    }

    #[test]
    fn one_line_changes_and_the_others_stay() {
        let text = "# mine\nPRETTY_HOSTNAME=\"a\"\nLOCATION=x\n";
        assert_eq!(with_line(text, PRETTY, "b \"c\" $d"), "# mine\nLOCATION=x\nPRETTY_HOSTNAME=\"b \\\"c\\\" \\$d\"\n");
        assert_eq!(with_line(text, PRETTY, ""), "# mine\nLOCATION=x\n");
        let written = with_line("", PRETTY, "it's `x` \\ \"y\" $z");
        assert_eq!(parse_file(&written), [(PRETTY.to_owned(), "it's `x` \\ \"y\" $z".to_owned())]);
    }

    #[test]
    fn the_date_of_the_firmware_is_told_as_others() {
        assert_eq!(firmware_date("04/01/2014"), "Tue 2014-04-01");
        assert_eq!(firmware_date("unknown") + &firmware_date("99/99/2014"), "");
    }

    #[test]
    fn every_fact_has_a_name_of_its_own() {
        let facts = facts();
        let names: std::collections::BTreeSet<_> = facts.iter().map(|(key, _, _)| *key).collect();
        assert_eq!(names.len(), facts.len());
        assert!(run(&["hostnamectl".into(), "fly".into()]).is_err());
    }
}
