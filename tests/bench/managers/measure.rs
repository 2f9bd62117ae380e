//! One round of one manager: what is done to it, in which order, and what is read before and after.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::answers::Asking;
use super::kind::Kind;
use super::place::{Memory, Place, memory};
use super::result::Figures;

/// Services that do nothing.
pub(crate) const SERVICES: usize = 1_000;
/// Services in the chain.
pub(crate) const CHAIN: usize = 200;
/// Orphans.
const ORPHANS: usize = 5_000;
/// How the program of a service is called.
const PROGRAM: &str = "sleep";

/// Measures one manager: in one life the services and the reload, in another the chain and the orphans.
pub(crate) fn measure(kind: Kind, root: &Path, out: &Path) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let mut place = Place::start(kind, root, out)?;
    if kind != Kind::Shell {
        figures.empty = Some(memory(place.pid));
    }
    services(kind, &mut place, &mut figures).context("starting services")?;
    if let Some(command) = kind.reload() {
        reload(kind, command, &mut place, &mut figures).context("reloading")?;
    }
    drop(place);
    if kind != Kind::Shell {
        let mut place = Place::start(kind, root, out)?;
        if let Some(command) = kind.start_chain() {
            let (tree, _) = cost(&mut place, |place| place.run(&command)).context("starting the chain")?;
            figures.chain = Some(tree);
        }
        orphans(&mut place, &mut figures).context("making orphans")?;
    }
    Ok(figures)
}

/// What an action costs the whole tree, and process 1 alone, until everything is quiet again.
fn cost(
    place: &mut Place,
    action: impl FnOnce(&mut Place) -> anyhow::Result<()>,
) -> anyhow::Result<(Duration, Duration)> {
    let (tree, first) = (place.used()?, place.used_by_first()?);
    action(place)?;
    place.settle()?;
    Ok((place.used()?.saturating_sub(tree), place.used_by_first()?.saturating_sub(first)))
}

fn services(kind: Kind, place: &mut Place, figures: &mut Figures) -> anyhow::Result<()> {
    let are_there = |place: &mut Place| {
        let count = place.processes().values().filter(|name| *name == PROGRAM).count();
        (count == SERVICES).then_some(())
    };
    let (tree, first) = cost(place, |place| {
        place.run(kind.start_services())?;
        place.wait("all services", are_there)
    })?;
    figures.start = Some(tree);
    if kind == Kind::Shell {
        return Ok(());
    }
    figures.start_first = Some(first);
    figures.full = Some(memory(place.pid));
    let others = place.processes().into_iter().filter(|(pid, name)| *pid != place.pid && name != PROGRAM);
    figures.others = Some(others.map(|(pid, _)| memory(pid)).fold(Memory::default(), |sum, next| Memory {
        rss_kib: sum.rss_kib + next.rss_kib,
        pss_kib: sum.pss_kib + next.pss_kib,
    }));
    Ok(())
}

fn reload(kind: Kind, command: &str, place: &mut Place, figures: &mut Figures) -> anyhow::Result<()> {
    let asking = Asking::begin(kind, place)?;
    let mut silence = None;
    let (tree, _) = cost(place, |place| {
        place.run(command)?;
        // Answers cost something, too: nobody asks while the rest is waited for.
        silence = asking.map(Asking::end).transpose()?;
        Ok(())
    })?;
    figures.reload = Some(tree);
    figures.silence = silence;
    Ok(())
}

/// Each is the child of a process that ended at once, so that it becomes one of process 1.
fn orphans(place: &mut Place, figures: &mut Figures) -> anyhow::Result<()> {
    let command = format!("number=0; while [ $number -lt {ORPHANS} ]; do (: &); number=$((number + 1)); done");
    let (_, first) = cost(place, |place| place.run(&command))?;
    figures.orphans = Some(first);
    figures.zombies = Some(place.zombies());
    Ok(())
}
