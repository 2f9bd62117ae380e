//! networkctl: shows links from networkd's state, and gives it orders by its socket.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use ferrite_pattern::matches;

use crate::control::ask;
use crate::networkctl_text as text;
use crate::state::{Interface, State};

/// Query and control the networking subsystem
#[derive(Debug, Parser)]
#[command(name = "networkctl", version, max_term_width = 80)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Verb>,
    /// Print as JSON
    #[arg(long, global = true, value_name = "FORMAT", default_value = "off")]
    json: Json,
    /// Print neither heading nor footer
    #[arg(long, global = true)]
    no_legend: bool,
    /// Accepted: nothing is ever shown through a pager
    #[arg(long, global = true)]
    no_pager: bool,
    /// Show the status of all links
    #[arg(short, long, global = true)]
    all: bool,
    /// Accepted: nothing is ever cut
    #[arg(short = 'l', long, global = true)]
    full: bool,
    /// Read networkd's state from this file
    #[arg(long, global = true, value_name = "FILE", default_value = "/run/ferrite/network.json", hide = true)]
    state: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Json {
    /// With line breaks
    Pretty,
    /// In one line
    Short,
    /// Not at all
    Off,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List links
    List {
        /// Names or patterns of links
        patterns: Vec<String>,
    },
    /// Show the status of links, or of the whole machine
    Status {
        /// Names or patterns of links
        patterns: Vec<String>,
    },
    /// Print the files that links get
    Cat {
        /// Names of links or of files; none: all files that are in use
        names: Vec<String>,
    },
    /// Read .network, .netdev and .link files again
    Reload,
    /// Configure links anew
    Reconfigure {
        /// Names of links
        #[arg(required = true)]
        links: Vec<String>,
    },
    /// Ask DHCP servers again
    Renew {
        /// Names of links
        #[arg(required = true)]
        links: Vec<String>,
    },
    /// Switch links on
    Up {
        /// Names of links
        #[arg(required = true)]
        links: Vec<String>,
    },
    /// Switch links off
    Down {
        /// Names of links
        #[arg(required = true)]
        links: Vec<String>,
    },
    /// Remove links that were made
    ///
    /// A link that a .netdev file makes is made again at the next reload.
    Delete {
        /// Names of links
        #[arg(required = true)]
        links: Vec<String>,
    },
    /// A verb that is refused
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Verbs of systemd's that are not there, and what to do instead.
const REFUSED: [(&str, &str); 6] = [
    ("lldp", "neighbours are not listened to"),
    ("label", "use 'ip addrlabel'"),
    ("forcerenew", "there is no DHCP server"),
    ("edit", "edit the file below /etc/systemd/network, then 'networkctl reload'"),
    ("mask", "link the file's name below /etc/systemd/network to /dev/null"),
    ("unmask", "remove the link below /etc/systemd/network"),
];

/// Does what was asked.
pub fn networkctl(arguments: &Arguments) -> anyhow::Result<()> {
    let list = Verb::List { patterns: Vec::new() };
    let order = |verb: &str, links: &[String]| {
        ask(&arguments.state.with_extension("sock"), &format!("{verb} {}\n", links.join(" ")))
    };
    match arguments.command.as_ref().unwrap_or(&list) {
        Verb::List { patterns } => {
            let state = read(arguments)?;
            let links = selected(&state, patterns)?;
            if arguments.json != Json::Off {
                return json(arguments, &serde_json::json!({ "Interfaces": links }));
            }
            say(&text::list(&links, !arguments.no_legend))
        }
        Verb::Status { patterns } => status(arguments, patterns),
        Verb::Cat { names } => cat(&read(arguments)?, names),
        Verb::Reload => order("reload", &[]),
        Verb::Reconfigure { links } => order("reconfigure", links),
        Verb::Renew { links } => order("renew", links),
        Verb::Up { links } => order("up", links),
        Verb::Down { links } => order("down", links),
        Verb::Delete { links } => order("delete", links),
        Verb::Other(words) => {
            let verb = words.first().map(String::as_str).unwrap_or_default();
            match REFUSED.iter().find(|(name, _)| *name == verb) {
                Some((_, instead)) => bail!("'{verb}' is not supported: {instead}"),
                None => bail!("unknown command verb '{verb}', see 'networkctl --help'"),
            }
        }
    }
}

fn status(arguments: &Arguments, patterns: &[String]) -> anyhow::Result<()> {
    let state = read(arguments)?;
    if patterns.is_empty() && !arguments.all {
        if arguments.json != Json::Off {
            return json(arguments, &serde_json::to_value(&state).context("writing JSON")?);
        }
        return say(&text::machine(&state));
    }
    let links = selected(&state, patterns)?;
    if arguments.json != Json::Off {
        return match links.as_slice() {
            [link] if !arguments.all => json(arguments, &serde_json::to_value(link).context("writing JSON")?),
            links => json(arguments, &serde_json::json!({ "Interfaces": links })),
        };
    }
    let texts: Vec<String> = links.iter().map(|link| text::link(link)).collect();
    say(&texts.join("\n"))
}

fn read(arguments: &Arguments) -> anyhow::Result<State> {
    let path = &arguments.state;
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("reading '{}' (is ferrite-networkd.service running?)", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading '{}'", path.display()))
}

/// Links by patterns, or by number; all without patterns.
fn selected<'a>(state: &'a State, patterns: &[String]) -> anyhow::Result<Vec<&'a Interface>> {
    let is_named = |link: &Interface, pattern: &String| {
        let other = link.alternative_names.iter().any(|name| matches(pattern, name));
        matches(pattern, &link.name) || other || *pattern == link.index.to_string()
    };
    for pattern in patterns {
        if !state.interfaces.iter().any(|link| is_named(link, pattern)) {
            bail!("no link '{pattern}'");
        }
    }
    let all = state.interfaces.iter();
    Ok(all.filter(|link| patterns.is_empty() || patterns.iter().any(|pattern| is_named(link, pattern))).collect())
}

fn cat(state: &State, names: &[String]) -> anyhow::Result<()> {
    let mut paths: Vec<&String> = Vec::new();
    for link in &state.interfaces {
        let files = [&link.netdev_file, &link.link_file, &link.network_file];
        for path in files.into_iter().flatten().chain(&link.network_file_dropins) {
            let is_wanted = |name: &String| *name == link.name || path.rsplit('/').next() == Some(name);
            if !paths.contains(&path) && (names.is_empty() || names.iter().any(is_wanted)) {
                paths.push(path);
            }
        }
    }
    if paths.is_empty() {
        bail!("no link gets such a file");
    }
    for (number, path) in paths.into_iter().enumerate() {
        let content = std::fs::read_to_string(path).with_context(|| format!("reading '{path}'"))?;
        say(&format!("{}# {path}\n{content}", if number > 0 { "\n" } else { "" }))?;
    }
    Ok(())
}

fn json(arguments: &Arguments, value: &serde_json::Value) -> anyhow::Result<()> {
    match arguments.json {
        Json::Short => say(&format!("{value}\n")),
        Json::Pretty | Json::Off => say(&format!("{value:#}\n")),
    }
}

/// Who reads may have had enough.
fn say(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("writing to stdout"),
        Ok(()) | Err(_) => Ok(()),
    }
}
