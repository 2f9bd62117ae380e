//! `systemctl cat`: the files of a unit, each under its path.

use std::fs;

use anyhow::{Context, Result, bail};

use super::arguments::Arguments;
use super::print;
use super::verbs::{connect, details, named_units};

/// Prints the fragment and the drop-ins of each unit.
pub fn run(arguments: &Arguments) -> Result<u8> {
    if arguments.operands.is_empty() {
        bail!("cat needs the name of a unit");
    }
    let mut client = connect(arguments)?;
    let mut code = 0;
    let mut is_first = true;
    for name in named_units(&mut client, &arguments.operands)? {
        let unit = details(&mut client, &name)?;
        let paths: Vec<&String> = unit.fragment_path.iter().chain(&unit.drop_in_paths).collect();
        if paths.is_empty() {
            eprintln!("No files found for {name}.");
            code = 1;
        }
        for path in paths {
            let bytes = fs::read(path).with_context(|| format!("reading '{path}'"))?;
            let text = String::from_utf8_lossy(&bytes);
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            print(&format!("{}# {path}\n{text}{end}", if is_first { "" } else { "\n" }))?;
            is_first = false;
        }
    }
    Ok(code)
}
