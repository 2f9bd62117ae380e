//! `ferrite-bench journal`: Ferrite's journald and journalctl beside the host's, which are systemd's.
//!
//! Each daemon has its own /run, /etc and /var/log in a mount namespace; both get the same messages from the same
//! sender, one daemon after another in each round. What is printed is the median of the rounds. Processor time counts
//! on a busy machine, wall time does not.

mod daemon;
mod large;
mod result;
mod senders;

use std::path::PathBuf;

use anyhow::Context;

use daemon::{Daemon, Kind};
use result::Figures;
use senders::{Acknowledge, SOURCES};

/// What is measured, how often, and where journals are put.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where Ferrite's programs are
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
    /// The journald beside ours
    #[arg(long, default_value = "/lib/systemd/systemd-journald")]
    peer: PathBuf,
    /// The journalctl beside ours
    #[arg(long, default_value = "/usr/bin/journalctl")]
    peer_journalctl: PathBuf,
    /// Messages of each source in a round
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Size of the journal that is searched, in MiB
    #[arg(long, default_value_t = 1024)]
    searched: u64,
    /// Where the journals are put
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let out = crate::folder(&arguments.out.join("journal"))?;
    let programs = arguments.programs.canonicalize();
    let programs =
        programs.with_context(|| format!("finding '{}': build it with `make build`", arguments.programs.display()))?;
    let ours = Kind { name: "ferrite", daemon: programs.join("ferrite-journald"), reader: programs.join("journalctl") };
    let peer = Kind { name: "systemd", daemon: arguments.peer.clone(), reader: arguments.peer_journalctl.clone() };
    let mut all = [(ours, Vec::new()), (peer, Vec::new())];
    let rounds = arguments.rounds.max(1);
    for round in 0..rounds {
        for (kind, figures) in &mut all {
            eprintln!("{}: round {} of {rounds}", kind.name, round + 1);
            let measured = measure(kind, &out, arguments.messages);
            figures.push(measured.with_context(|| format!("measuring {}", kind.name))?);
        }
    }
    let folder = large::journal(&out, arguments.searched << 20)?;
    for (kind, figures) in &mut all {
        eprintln!("{}: searching {} MiB", kind.name, arguments.searched);
        let search = large::search(kind, &folder).with_context(|| format!("searching with {}", kind.name))?;
        figures.iter_mut().for_each(|figures| figures.search = search);
    }
    let columns: Vec<_> = all.into_iter().map(|(kind, figures)| (kind.name, result::median(&figures))).collect();
    println!("{} messages of each source", arguments.messages);
    print!("{}", result::render(&columns));
    Ok(())
}

/// One round of one daemon.
fn measure(kind: &Kind, out: &std::path::Path, messages: u64) -> anyhow::Result<Figures> {
    let daemon = Daemon::start(kind, out)?;
    let mut figures = Figures::default();
    let mut found = 0;
    for (source, cost) in SOURCES.into_iter().zip(&mut figures.sources) {
        *cost = daemon.cost(messages, |acknowledge: &Acknowledge| {
            senders::send(source, &daemon.path("run/systemd/journal"), messages)?;
            acknowledge.wait()
        })?;
        found += daemon.count(source.name())?;
    }
    let sent = messages * SOURCES.len() as u64;
    figures.memory = daemon.memory()?;
    figures.lost = sent.saturating_sub(found);
    figures.bytes_a_message = daemon.disk_bytes()? as f64 / sent as f64;
    Ok(figures)
}
