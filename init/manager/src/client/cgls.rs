//! `systemd-cgls`: the control groups and the processes in them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use ferrite_control::Client;

use super::Caller;
use super::group_tree::{Look, Wishes, read, render};
use super::options::{Flag, Line, Order, Takes, boolean, parse};
use super::processes::{CGROUP_ROOT, folder_of};
use super::style::Colour;
use super::unit_names::full_name;
use super::verbs::{details, terminal_width};

const HELP: &str = "\
systemd-cgls [OPTIONS...] [CGROUP...]

Recursively show control group contents.

  -h --help           Show this help
     --version        Show package version
     --no-pager       Accepted: there is no pager
  -a --all            Show all groups, including empty
  -u --unit           Show the subtrees of specified system units
  -l --full           Do not ellipsize output
  -k                  Include kernel threads in output
";

const FLAGS: [Flag; 7] = [
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    (' ', "no-pager", Takes::Nothing),
    ('a', "all", Takes::Nothing),
    ('u', "unit", Takes::Maybe),
    ('l', "full", Takes::Maybe),
    ('k', "kernel-threads", Takes::Nothing),
];

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    super::finish(caller.words().and_then(|words| run(caller, &words)))
}

fn run(caller: &Caller, words: &[String]) -> Result<u8> {
    let line = parse(words, &FLAGS, Order::Anywhere)?;
    if let Some(told) = super::told(&line, HELP) {
        return told;
    }
    let full = match line.options.iter().rev().find(|(name, _)| *name == "full") {
        Some((_, value)) => boolean("full", value.as_deref())?,
        None => false,
    };
    let width = if full { None } else { terminal_width() };
    let look = Look { colour: Colour::of_stdout(), width, is_utf8: caller.is_utf8() };
    let wishes = Wishes { empty: line.has("all"), kernel: line.has("kernel-threads") };
    for (heading, folder) in places(caller, &line)? {
        let tree = render(&read(&folder, wishes), "", look);
        super::print(&format!("{heading}:\n{tree}"))?;
    }
    Ok(0)
}

/// What is to be shown, with the words above it.
fn places(caller: &Caller, line: &Line) -> Result<Vec<(String, PathBuf)>> {
    let of_path = |path: &str| {
        let inner = path.strip_prefix(CGROUP_ROOT).unwrap_or(path).trim_start_matches('/');
        let folder = folder_of(inner);
        match folder.is_dir() {
            true => Ok((format!("CGroup /{inner}"), folder)),
            false => bail!("Failed to list cgroup tree /{inner}: No such file or directory"),
        }
    };
    if line.options.iter().any(|(name, _)| *name == "unit") {
        let units = line.values("unit").chain(line.operands.iter().map(String::as_str));
        return units.map(|unit| of_unit(caller, unit)).collect();
    }
    if line.operands.is_empty() {
        return Ok(vec![of_path("/")?]);
    }
    line.operands.iter().map(|path| of_path(path)).collect()
}

fn of_unit(caller: &Caller, unit: &str) -> Result<(String, PathBuf)> {
    let name = full_name(unit);
    let details = details(&mut Client::connect(&caller.socket())?, &name)?;
    match details.control_group.map(|group| group.path).filter(|path| !path.is_empty()) {
        Some(path) => Ok((format!("Unit {name} ({path})"), folder_of(&path))),
        None => bail!("Unit {name} has no control group: it is not running."),
    }
}
