//! `systemd-sysctl`: sets kernel variables as files say.

use std::collections::BTreeSet;
use std::path::Path;

use ferrite_hostconf::variables::Settings;

use crate::configuration;
use crate::options::{Given, Known, flag, value};
use crate::{Command, Environment, Outcome};

const KIND: &str = "sysctl.d";
const PLACE: &str = "/proc/sys";

const OPTIONS: [Known; 7] = [
    Known { long: "help", short: Some('h'), takes_value: false },
    flag("version"),
    flag("cat-config"),
    flag("tldr"),
    value("prefix"),
    flag("no-pager"),
    flag("strict"),
];

const HELP: &str = "\
systemd-sysctl [OPTION...] [FILE...]

Sets kernel variables as sysctl.d says.

  -h --help             Show this help
     --version          Show the version
     --cat-config       Show the files
     --tldr             Show the files without comments
     --prefix=PATH      Only variables below this one
     --no-pager         Nothing: there is no pager
     --strict           Fail where a variable does not exist or may not be set
";

/// The command.
pub(crate) const COMMAND: Command = Command { name: "systemd-sysctl", options: &OPTIONS, help: HELP, run };

fn run(given: &Given, _environment: &Environment) -> Result<Outcome, String> {
    let root = configuration::root(given)?;
    let Some(sources) = configuration::wanted(&root, KIND, given)? else { return Ok(Outcome::Done) };
    let prefixes: Vec<String> = given.values("prefix").map(str::to_string).collect();
    let mut settings = Settings::default();
    for source in &sources {
        settings.read(&source.path, &source.text, &prefixes);
    }
    settings.faults.iter().for_each(|fault| eprintln!("{fault}"));
    let is_good = apply(Path::new(PLACE), &settings, given.has("strict"));
    Ok(if is_good && settings.faults.is_empty() { Outcome::Done } else { Outcome::Failed })
}

/// Sets everything; `false`: something failed that may not.
fn apply(place: &Path, settings: &Settings, is_strict: bool) -> bool {
    let mut is_good = true;
    for (key, setting) in settings.values(&|folder| names(&place.join(folder))) {
        let Some(value) = &setting.value else { continue };
        let Err(error) = set(place, &key, value) else { continue };
        let text = error.to_string();
        let words = text.split(" (os error").next().unwrap_or_default();
        let is_refused =
            matches!(error.kind(), std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem);
        if setting.is_optional || (is_refused && !is_strict) {
            continue;
        }
        if error.kind() == std::io::ErrorKind::NotFound && !is_strict {
            eprintln!("Couldn't write '{value}' to '{key}', ignoring: {words}");
            continue;
        }
        eprintln!("Couldn't write '{value}' to '{key}': {words}");
        is_good = false;
    }
    is_good
}

/// A key never leads out of its place.
fn set(place: &Path, key: &str, value: &str) -> std::io::Result<()> {
    if key.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(std::io::Error::from_raw_os_error(rustix::io::Errno::INVAL.raw_os_error()));
    }
    let mut file = std::fs::OpenOptions::new().write(true).open(place.join(key))?;
    std::io::Write::write_all(&mut file, format!("{value}\n").as_bytes())
}

fn names(folder: &Path) -> Vec<String> {
    // A folder that is none has no variables.
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names: BTreeSet<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_and_failures_are_told_by_weight() {
        let place = tempfile::tempdir().unwrap();
        for name in ["all", "lo"] {
            std::fs::create_dir_all(place.path().join("net/conf").join(name)).unwrap();
            std::fs::write(place.path().join("net/conf").join(name).join("filter"), "0\n").unwrap();
        }
        let settings = |text: &str| {
            let mut settings = Settings::default();
            settings.read("x.conf", text, &[]);
            settings
        };
        let applied = |text: &str, is_strict| apply(place.path(), &settings(text), is_strict);
        let value =
            |name: &str| std::fs::read_to_string(place.path().join("net/conf").join(name).join("filter")).unwrap();
        assert!(applied("net.conf.*.filter = 2\nnet/conf/lo/filter = 7\n", true));
        assert_eq!((value("all"), value("lo")), ("2\n".into(), "7\n".into()));
        assert!(applied("net.none = 1\n", false) && !applied("net.none = 1\n", true));
        assert!(applied("-net.none = 1\n", true));
        assert!(!applied("net = 1\n", false), "a folder is no variable");
        let outside = place.path().join("../outside");
        assert!(!applied("net/../../outside = 1\n", false) && !outside.exists());
    }
}
