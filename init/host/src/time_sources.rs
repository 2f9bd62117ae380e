//! `ferrite-time-sources`: writes the sources that chrony asks, before it starts.

use std::path::Path;

use ferrite_files::Durability;
use ferrite_hostconf::time_sources::{Surroundings, TimeServers};

use crate::configuration::{self, chain};
use crate::options::{Given, Known, flag, value};
use crate::{Command, Environment, Outcome};

const MAIN: &str = "systemd/timesyncd.conf";
const DROP_INS: &str = "systemd/timesyncd.conf.d";
/// Where administrators put sources of chrony.
const OWN: [&str; 2] = ["/etc/chrony/sources.d", "/etc/chrony/conf.d"];
const VENDOR: &str = "/sys/class/dmi/id/sys_vendor";
/// What is written; chrony.conf names its folder.
const FILE: &str = "/run/ferrite/chrony/ferrite.sources";
const FILE_MAX: usize = 64 << 10;

const OPTIONS: [Known; 5] = [
    Known { long: "help", short: Some('h'), takes_value: false },
    flag("version"),
    flag("print"),
    flag("cat-config"),
    value("root"),
];

const HELP: &str = "\
ferrite-time-sources [OPTION...]

Writes the servers of timesyncd.conf as sources for chrony.

  -h --help             Show this help
     --version          Show the version
     --print            Show the sources, write nothing
     --cat-config       Show the drop-ins
     --root=PATH        Work below this folder
";

/// The command.
pub(crate) const COMMAND: Command = Command { name: "ferrite-time-sources", options: &OPTIONS, help: HELP, run };

fn run(given: &Given, _environment: &Environment) -> Result<Outcome, String> {
    let root = configuration::root(given)?;
    let Some(drop_ins) = configuration::wanted(&root, DROP_INS, given)? else { return Ok(Outcome::Done) };
    let mut servers = TimeServers::default();
    let main =
        configuration::strongest(&root, MAIN).map_err(|error| format!("Failed to open {MAIN}: {}", chain(&error)))?;
    for source in main.iter().chain(&drop_ins) {
        servers.read(&source.path, &source.text);
    }
    servers.faults.iter().for_each(|fault| eprintln!("{fault}"));
    let has_file = |folder: &&str| {
        let names = root.list(folder).unwrap_or_default();
        names.iter().any(|name| name.ends_with(".sources") || name.ends_with(".conf"))
    };
    let vendor = root.read(VENDOR, FILE_MAX).ok().flatten().unwrap_or_default();
    let around =
        Surroundings { is_amazon: vendor.starts_with(b"Amazon EC2"), has_own_sources: OWN.iter().any(has_file) };
    let text = servers.render(around);
    if given.has("print") {
        print!("{text}");
        return Ok(Outcome::Done);
    }
    let path = root.path().join(FILE.trim_start_matches('/'));
    write(&path, &text)?;
    Ok(Outcome::Done)
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    if let Some(folder) = path.parent() {
        let made = std::fs::create_dir_all(folder);
        made.map_err(|error| format!("Failed to create '{}': {error}", folder.display()))?;
    }
    ferrite_files::replace(path, text.as_bytes(), 0o644, Durability::Volatile).map_err(|error| chain(&error))
}
