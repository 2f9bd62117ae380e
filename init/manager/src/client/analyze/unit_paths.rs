//! `systemd-analyze unit-paths`: the directories where units are searched, most important first.

use anyhow::{Context, Result};

use super::Call;
use super::loading::search_path;
use crate::client::print;

/// Of all users; what is the administrator's before what is the system's.
const GLOBAL: [&str; 6] = [
    "/etc/systemd/user",
    "/run/systemd/user",
    "/usr/local/share/systemd/user",
    "/usr/share/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
];

/// Prints one directory a line.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let directories = match call.line.options.iter().rev().find(|(name, _)| ["user", "global", "system"].contains(name))
    {
        Some(("user", _)) => {
            of_user(&|name| call.caller.variable(name)).context("neither HOME nor XDG_CONFIG_HOME is set")?
        }
        Some(("global", _)) => GLOBAL.map(str::to_owned).to_vec(),
        _ => search_path(call).0,
    };
    print(&directories.iter().map(|directory| format!("{directory}\n")).collect::<String>())
}

/// Those of one user's manager: the user's own come first, what is made at run time lies between.
fn of_user<'a>(variable: &dyn Fn(&str) -> Option<&'a str>) -> Option<Vec<String>> {
    let home = |name: &str, below: &str| {
        let own = variable(name).map(str::to_owned);
        own.or_else(|| variable("HOME").map(|home| format!("{home}/{below}"))).map(|place| format!("{place}/systemd"))
    };
    let (config, data) = (home("XDG_CONFIG_HOME", ".config")?, home("XDG_DATA_HOME", ".local/share")?);
    let runtime = variable("XDG_RUNTIME_DIR").map(|place| format!("{place}/systemd"));
    let at_run_time = |names: &[&str]| -> Vec<String> {
        runtime.iter().flat_map(|place| names.iter().map(move |name| format!("{place}/{name}"))).collect()
    };
    let [etc, run, vendor @ ..] = GLOBAL.map(str::to_owned);
    let mut paths = vec![format!("{config}/user.control")];
    paths.extend(at_run_time(&["user.control", "transient", "generator.early"]));
    paths.extend([format!("{config}/user"), etc]);
    paths.extend(at_run_time(&["user"]));
    paths.push(run);
    paths.extend(at_run_time(&["generator"]));
    paths.push(format!("{data}/user"));
    paths.extend(vendor);
    paths.extend(at_run_time(&["generator.late"]));
    Some(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_own_directories_come_before_those_of_all() {
        let plain = of_user(&|name| (name == "HOME").then_some("/h")).expect("a home");
        assert_eq!(plain.first().map(String::as_str), Some("/h/.config/systemd/user.control"));
        assert_eq!(plain.iter().filter(|path| path.starts_with("/h/")).count(), 3);
        let set = |name: &str| match name {
            "XDG_CONFIG_HOME" => Some("/c"),
            "XDG_DATA_HOME" => Some("/d"),
            "XDG_RUNTIME_DIR" => Some("/r"),
            _ => None,
        };
        let full = of_user(&set).expect("all is named");
        assert_eq!(full.len(), plain.len() + 6);
        assert_eq!(full.last().map(String::as_str), Some("/r/systemd/generator.late"));
        assert!(of_user(&|_| None).is_none());
    }
}
