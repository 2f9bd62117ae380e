//! `systemd-detect-virt`: what the machine runs in, as one word and an exit code for scripts.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::Caller;
use super::options::{Flag, Order, Takes, parse};
use crate::virtualization::{self, CONTAINERS, MACHINES, Signs};

const HELP: &str = "\
systemd-detect-virt [OPTIONS...]

Detect execution in a virtualized environment.

  -h --help             Show this help
     --version          Show package version
  -c --container        Only detect whether we are run in a container
  -v --vm               Only detect whether we are run in a VM
  -r --chroot           Detect whether we are run in a chroot() environment
     --private-users    Only detect whether we are running in a user namespace
     --cvm              Only detect whether we are run in a confidential VM
  -q --quiet            Don't output anything, just set return value
     --list             List all known and detectable types of virtualization
     --list-cvm         List all known and detectable types of confidential
                        virtualization
";

const FLAGS: [Flag; 10] = [
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    ('c', "container", Takes::Nothing),
    ('v', "vm", Takes::Nothing),
    ('r', "chroot", Takes::Nothing),
    (' ', "private-users", Takes::Nothing),
    (' ', "cvm", Takes::Nothing),
    ('q', "quiet", Takes::Nothing),
    (' ', "list", Takes::Nothing),
    (' ', "list-cvm", Takes::Nothing),
];

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    super::finish(caller.words().and_then(|words| run(&words)))
}

fn run(words: &[String]) -> Result<u8> {
    let line = parse(words, &FLAGS, Order::Anywhere)?;
    let listed = |words: &[&str]| super::print(&format!("{}\n", words.join("\n")));
    if let Some(operand) = line.operands.first() {
        bail!("systemd-detect-virt takes no arguments, but was given '{operand}'.");
    }
    // The last of these is the one that counts.
    let asks = ["container", "vm", "chroot", "private-users", "cvm"];
    let asked = line.options.iter().rev().map(|(name, _)| *name).find(|name| asks.contains(name));
    let found = match asked {
        _ if line.has("help") => return super::print(HELP),
        _ if line.has("version") => return super::print_version(),
        _ if line.has("list") => return listed(&[&["none"], &MACHINES[..], &CONTAINERS[..]].concat()),
        _ if line.has("list-cvm") => return listed(&["none"]),
        Some("chroot") => return Ok(u8::from(!is_chroot())),
        Some("private-users") => return Ok(u8::from(!virtualization::has_private_users())),
        Some("container") => virtualization::container(),
        Some("vm") => Signs::see().machine(),
        // No processor feature of that kind is looked for.
        Some(_) => None,
        None => virtualization::detect(),
    };
    if !line.has("quiet") {
        super::print(&format!("{}\n", found.unwrap_or("none")))?;
    }
    Ok(u8::from(found.is_none()))
}

/// Is the root of this process another one than that of PID 1? Who may not look thinks it is not.
fn is_chroot() -> bool {
    let identity = |path: &str| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
    match (identity("/proc/1/root/"), identity("/")) {
        (Ok(first), Ok(own)) => first != own,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(words: &[&str]) -> Result<u8> {
        run(&["systemd-detect-virt"].iter().chain(words).map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_exit_code_says_whether_something_was_found() {
        assert_eq!(code(&["-q"]).unwrap(), u8::from(virtualization::detect().is_none()));
        assert_eq!(code(&["-q", "--cvm"]).unwrap(), 1);
        assert_eq!(code(&["--chroot"]).unwrap(), 1);
        assert!(code(&["what"]).is_err() && code(&["--what"]).is_err());
    }
}
