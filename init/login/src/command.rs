//! The command line of `ferrite-login`.

use std::path::Path;
use std::{fs, io};

use anyhow::Context;
use clap::{Parser, Subcommand};
use ferrite_notify::Notifier;

use crate::banner;
use crate::follow::{self, Places};
use crate::gather::{self, Paths};
use crate::host_keys;

/// Make the login banner and the host keys of ssh
#[derive(Debug, Parser)]
#[command(name = "ferrite-login", version, max_term_width = 80)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write /run/issue and /run/motd from what is known now
    Banner {
        /// Only print what /run/motd would say
        #[arg(long)]
        print: bool,
        /// Write it again when an address comes or a unit fails, until the boot is over
        #[arg(long, conflicts_with = "print")]
        follow: bool,
    },
    /// Make the host keys in /etc/ssh that are missing or broken (root)
    ///
    /// A key that can be read is never replaced. Without kinds they are those of /etc/ferrite/ssh-host-key-kinds, or
    /// ed25519 and ecdsa.
    HostKeys {
        /// Keys of these kinds; an RSA key takes long to make
        #[arg(value_parser = host_keys::KINDS)]
        kinds: Vec<String>,
    },
}

/// Does what the command line says.
pub fn run(arguments: &Arguments, notifier: &Notifier) -> anyhow::Result<()> {
    match &arguments.verb {
        Verb::Banner { print: true, .. } => {
            print!("{}", banner::render(&gather::gather(&Paths::default())).motd);
            Ok(())
        }
        Verb::Banner { follow: true, .. } => follow::follow(&Paths::default(), &Places::default(), notifier),
        Verb::Banner { print: false, follow: false } => {
            follow::write(&Places::default(), &banner::render(&gather::gather(&Paths::default())))
        }
        Verb::HostKeys { kinds } => {
            let listed = if kinds.is_empty() { listed_kinds() } else { Some(kinds.join(" ")) };
            let (mut kinds, unknown) = host_keys::wanted(listed.as_deref());
            for word in unknown {
                eprintln!("warning: {}: '{word}' is no kind of key: ed25519, ecdsa, rsa", host_keys::KINDS_FILE);
            }
            kinds.extend(host_keys::present(Path::new(host_keys::FOLDER)));
            let made = host_keys::ensure(Path::new(host_keys::FOLDER), &kinds, Path::new(host_keys::KEYGEN))
                .context("making the host keys of ssh")?;
            made.iter().for_each(|line| println!("{line}"));
            Ok(())
        }
    }
}

fn listed_kinds() -> Option<String> {
    match fs::read_to_string(host_keys::KINDS_FILE) {
        Ok(list) => Some(list),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            eprintln!("warning: reading {}: {error}", host_keys::KINDS_FILE);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn help_is_at_most_80_columns_wide() {
        let mut command = Arguments::command();
        command.build();
        let mut helps = vec![command.render_long_help().to_string()];
        helps.extend(command.get_subcommands_mut().map(|verb| verb.render_long_help().to_string()));
        for line in helps.iter().flat_map(|help| help.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
