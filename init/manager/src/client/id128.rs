//! `systemd-id128`: identifiers of 128 bits, new ones, those of the machine, the boot and the invocation, and those of
//! types of partitions.

mod partitions;

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Caller;
use super::json::{self, Form};
use super::options::{Flag, Line, Order, Takes, parse};

const HELP: &str = "\
systemd-id128 [OPTIONS...] COMMAND

Generate and print 128-bit identifiers.

Commands:
  new                     Generate a new ID
  machine-id              Print the ID of current machine
  boot-id                 Print the ID of current boot
  invocation-id           Print the ID of current invocation
  var-partition-uuid      Print the UUID for the /var/ partition
  show [NAME|UUID]        Print one or more UUIDs
  help                    Show this help

Options:
  -h --help               Show this help
     --version            Show package version
     --no-pager           Accepted: there is no pager
     --no-legend          Do not show the headers
     --json=FORMAT        Output as JSON: pretty, short or off
  -j                      Equivalent to --json=pretty (on TTY) or
                          --json=short (otherwise)
  -p --pretty             Generate samples of program code
  -P --value              Only print the value
  -a --app-specific=ID    Generate app-specific IDs
  -u --uuid               Output in UUID format
";

const FLAGS: [Flag; 10] = [
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    ('p', "pretty", Takes::Nothing),
    ('P', "value", Takes::Nothing),
    ('a', "app-specific", Takes::Value),
    ('u', "uuid", Takes::Nothing),
    (' ', "no-pager", Takes::Nothing),
    (' ', "no-legend", Takes::Nothing),
    (' ', "json", Takes::Value),
    ('j', "json-auto", Takes::Nothing),
];

/// The type of partitions that hold /var.
const VAR_PARTITION: u128 = 0x4d21b016_b53445c2_a9fb5c16_e091fd2d;

type Id = [u8; 16];

/// How an identifier is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Plain,
    Uuid,
    Pretty,
}

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    super::finish(caller.words().and_then(|words| run(caller, &words)))
}

fn run(caller: &Caller, words: &[String]) -> Result<u8> {
    let line = parse(words, &FLAGS, Order::Anywhere)?;
    let verb = line.operands.first().map_or("help", String::as_str);
    if line.has("help") || verb == "help" {
        return super::print(HELP);
    }
    if line.has("version") {
        return super::print_version();
    }
    let look = look(&line);
    let app = match line.value("app-specific") {
        None => None,
        Some(text) => match parse_id(text) {
            Some(id) if id == [0; 16] => bail!("Application ID cannot be all zeros."),
            Some(id) => Some(id),
            None => bail!("Failed to parse \"{text}\" as application-ID: Invalid argument"),
        },
    };
    let own = |id: Id| app.map_or(id, |app| specific(&id, &app));
    let rest = line.operands.get(1..).unwrap_or_default();
    if verb != "show" && !rest.is_empty() {
        bail!("Too many arguments.");
    }
    if app.is_some() && matches!(verb, "invocation-id" | "var-partition-uuid") {
        bail!("Verb \"{verb}\" cannot be combined with --app-specific=.");
    }
    let machine = || read_id("/etc/machine-id").context("Failed to get machine-ID");
    let id = match verb {
        "new" => new_id()?,
        "machine-id" => own(machine()?),
        "var-partition-uuid" => specific(&machine()?, &VAR_PARTITION.to_be_bytes()),
        "boot-id" => own(read_id("/proc/sys/kernel/random/boot_id").context("Failed to get boot-ID")?),
        "invocation-id" => caller
            .variable("INVOCATION_ID")
            .and_then(parse_id)
            .ok_or_else(|| anyhow!("Failed to get invocation-ID: No such device or address"))?,
        "show" => return super::print(&show(rest, &line, own)?),
        other => bail!("Unknown command verb '{other}'."),
    };
    super::print(&printed(&id, look, "XYZ"))
}

fn look(line: &Line) -> Look {
    line.options.iter().fold(Look::Plain, |look, (name, _)| match (*name, look) {
        ("pretty", _) => Look::Pretty,
        ("uuid", _) => Look::Uuid,
        ("value", Look::Pretty) => Look::Plain,
        _ => look,
    })
}

/// The named types of partitions, or all of them; what is an identifier already is shown as it is.
fn show(words: &[String], line: &Line, own: impl Fn(Id) -> Id) -> Result<String> {
    let known = partitions::all();
    let of_word = |word: &String| match (parse_id(word), known.iter().find(|(name, _)| name == word)) {
        (Some(id), _) => {
            let name = known.iter().find(|(_, known)| known.to_be_bytes() == id).map(|(name, _)| name.as_str());
            Ok((name.unwrap_or("XYZ"), own(id)))
        }
        (None, Some((name, id))) => Ok((name.as_str(), own(id.to_be_bytes()))),
        (None, None) => Err(anyhow!("Unknown identifier \"{word}\".")),
    };
    let rows: Vec<(&str, Id)> = match words {
        [] => known.iter().map(|(name, id)| (name.as_str(), own(id.to_be_bytes()))).collect(),
        words => words.iter().map(of_word).collect::<Result<_>>()?,
    };
    let look = look(line);
    let macro_name = |name: &str| name.replace('-', "_").to_uppercase();
    if look == Look::Pretty {
        let samples: Vec<String> = rows.iter().map(|(name, id)| printed(id, look, &macro_name(name))).collect();
        return Ok(samples.join("\n"));
    }
    let shown = |id: &Id| if look == Look::Uuid { uuid(id) } else { plain(id) };
    if line.has("value") && line.value("json").is_none() {
        return Ok(rows.iter().map(|(_, id)| format!("{}\n", shown(id))).collect());
    }
    let form = Form::of_line(line)?;
    if form != Form::Table {
        let row = |(name, id): &(&'_ str, Id)| vec![("name", Value::from(*name)), ("id", Value::from(shown(id)))];
        return Ok(json::text(&rows.iter().map(row).collect::<Vec<_>>(), form));
    }
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("NAME".len());
    let mut text = if line.has("no-legend") { String::new() } else { format!("{:width$} ID\n", "NAME") };
    for (name, id) in &rows {
        text.push_str(&format!("{name:width$} {}\n", shown(id)));
    }
    Ok(text)
}

fn plain(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn uuid(id: &Id) -> String {
    let text = plain(id);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

fn printed(id: &Id, look: Look, name: &str) -> String {
    match look {
        Look::Plain => format!("{}\n", plain(id)),
        Look::Uuid => format!("{}\n", uuid(id)),
        Look::Pretty => {
            let bytes: Vec<String> = id.iter().map(|byte| format!("{byte:02x}")).collect();
            format!(
                "As string:\n{text}\n\nAs UUID:\n{uuid}\n\n\
                 As systemd-id128(1) macro:\n#define {name} SD_ID128_MAKE({bytes})\n\n\
                 As Python constant:\n>>> import uuid\n>>> {name} = uuid.UUID('{text}')\n",
                text = plain(id),
                uuid = uuid(id),
                bytes = bytes.join(",")
            )
        }
    }
}

/// 32 hexadecimal digits, or a UUID with its four dashes.
fn parse_id(text: &str) -> Option<Id> {
    let digits = match text.len() {
        32 => text.to_owned(),
        36 if [8, 13, 18, 23].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-')) => text.replace('-', ""),
        _ => return None,
    };
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut id = [0; 16];
    for (byte, at) in id.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(id)
}

fn read_id(path: &str) -> Result<Id> {
    let text = std::fs::read_to_string(path)?;
    parse_id(text.trim()).ok_or_else(|| anyhow!("'{path}' holds no identifier"))
}

fn new_id() -> Result<Id> {
    let mut id = [0; 16];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).context("Failed to generate ID")?;
    Ok(version_4(id))
}

/// Marks bytes as a random UUID.
fn version_4(mut id: Id) -> Id {
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    id
}

/// An identifier that tells nothing about the one it was made from: HMAC-SHA-256 under it.
fn specific(base: &Id, app: &Id) -> Id {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(base).for_each(|(block, base)| *block ^= base);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(app).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    let mut id = [0; 16];
    id.iter_mut().zip(outer).for_each(|(id, byte)| *id = byte);
    version_4(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_read_and_printed() {
        let id = parse_id("c7c7a4e5-c0a8-4a63-9d5e-1f2c3b4a5968").expect("a UUID");
        assert_eq!(plain(&id), "c7c7a4e5c0a84a639d5e1f2c3b4a5968");
        assert_eq!(uuid(&id), "c7c7a4e5-c0a8-4a63-9d5e-1f2c3b4a5968");
        assert!(printed(&id, Look::Pretty, "XYZ").contains("SD_ID128_MAKE(c7,c7,a4,"));
        for bad in ["", "c7c7", "c7c7a4e5c0a84a639d5e1f2c3b4a596g", "c7c7a4e5-c0a8-4a63-9d5e1-f2c3b4a5968"] {
            assert!(parse_id(bad).is_none(), "{bad}");
        }
    }

    fn shown(text: &str) -> Result<String> {
        let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let line = parse(&words, &FLAGS, Order::Anywhere)?;
        show(line.operands.get(1..).unwrap_or_default(), &line, |id| id)
    }

    #[test]
    fn types_of_partitions_are_shown_by_name_and_by_number() {
        let table = "NAME ID\nesp  c12a7328-f81f-11d2-ba4b-00a0c93ec93b\nXYZ  01010101-0101-0101-0101-010101010101\n";
        assert_eq!(shown("x show -u esp 01010101010101010101010101010101").expect("shown"), table);
        assert_eq!(shown("x show -P swap").expect("shown"), "0657fd6da4ab43c484e50933c84b4f4f\n");
        let json = "[{\"name\":\"home\",\"id\":\"933ac7e12eb44f13b8440e14e2aef915\"}]\n";
        assert_eq!(shown("x show --json=short 933ac7e1-2eb4-4f13-b844-0e14e2aef915").expect("shown"), json);
        let all = shown("x show --no-legend").expect("shown");
        assert_eq!(all.lines().count(), 147);
        let line = format!("{:27} {}", "root-x86-64-verity-sig", "41092b059fc84523994f2def0408b176");
        assert!(all.lines().any(|have| have == line), "{all}");
        assert!(shown("x show -p root-arm64 usr").expect("shown").contains("\n\nAs string:"));
        assert_eq!(shown("x show nope").expect_err("unknown").to_string(), "Unknown identifier \"nope\".");
    }

    #[test]
    fn identifiers_of_an_application_follow_the_known_answer() {
        let base = parse_id("51df0b4bc3b04c9780e299b98ca373b8").expect("an id");
        let app = parse_id("f03daaebd1334ef7bc7f7bde1d0b6c8b").expect("an id");
        let machine = parse_id("3d1219c7c4c5404aaa1f6d2a48adfda4").expect("an id");
        let var = specific(&machine, &VAR_PARTITION.to_be_bytes());
        assert_eq!(plain(&var), "24e43059973449cda32ebcae30d648ed");
        let made = specific(&base, &app);
        assert_eq!((made[6] >> 4, made[8] >> 6), (4, 2));
        assert_ne!(made, specific(&app, &base));
    }
}
