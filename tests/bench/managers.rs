//! `ferrite-bench managers`: Ferrite's PID 1 beside systemd, s6 and runit of Debian trixie.
//!
//! Each is process 1 of its own namespaces, on the same root made of packages, one after another in each round. What is
//! printed is the median of the rounds. Processor time counts, not wall time.

pub(crate) mod answers;
mod kind;
mod measure;
mod place;
mod result;

use std::path::PathBuf;

use anyhow::{Context, ensure};

use kind::Kind;
use result::Figures;

/// The peers, and what their services run.
const PACKAGES: &str = "systemd,s6,runit,execline";

/// What is measured, how often, and where the root of the peers is put.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The PID 1 of Ferrite
    #[arg(long, default_value = "target/release/ferrite-init")]
    init: PathBuf,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure only these: ferrite, systemd, s6, runit, shell
    #[arg(long)]
    only: Vec<String>,
    /// Where the root of the peers is put, and what each says
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let kinds = chosen(&arguments.only)?;
    let out = crate::folder(&arguments.out.join("managers"))?;
    let root = crate::peer::packaged_root(&out, PACKAGES)?;
    let init = arguments.init.canonicalize();
    let init = init.with_context(|| format!("finding '{}': build it with `make build`", arguments.init.display()))?;
    let mut all: Vec<(Kind, Vec<Figures>)> = kinds.into_iter().map(|kind| (kind, Vec::new())).collect();
    for (kind, _) in &all {
        kind.write_files(&out.join(kind.name()), &init)?;
    }
    for round in 0..arguments.rounds.max(1) {
        for (kind, figures) in &mut all {
            eprintln!("{}: round {} of {}", kind.name(), round + 1, arguments.rounds.max(1));
            let measured = measure::measure(*kind, &root, &out);
            figures.push(measured.with_context(|| format!("measuring {}", kind.name()))?);
        }
    }
    let columns: Vec<_> = all.into_iter().map(|(kind, figures)| (kind.name(), result::median(&figures))).collect();
    print!("{}", result::render(&columns));
    Ok(())
}

fn chosen(only: &[String]) -> anyhow::Result<Vec<Kind>> {
    for name in only {
        let known = Kind::ALL.iter().any(|kind| kind.name() == name);
        ensure!(known, "no manager '{name}': there are {}", Kind::ALL.map(Kind::name).join(" "));
    }
    let wanted = |kind: &Kind| only.is_empty() || only.iter().any(|name| name == kind.name());
    Ok(Kind::ALL.into_iter().filter(wanted).collect())
}
