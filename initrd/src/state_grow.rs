//! Lets the file system of the state fill its partition, while it is mounted.
//!
//! In steps, because one system call for a large slow disk may take longer than the watchdog waits. What is
//! left when the time is over follows at the next start; a cut loses nothing, as ext4 journals each step.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::Context;
use ferrite_sys::block;

use crate::report::{Reporter, size};
use crate::stage::Stage;
use crate::state_kind::{self, Content, HEAD_BYTES};
use crate::watchdog::Guard;

/// A multiple of the size of ext4's groups of groups, so that no step leaves a broken one.
const UNIT_BYTES: u64 = 2 << 30;
const QUICK: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_secs(5);
const BUDGET: Duration = Duration::from_secs(90);

/// What was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// It filled its partition already.
    None,
    /// It fills its partition now; its size in bytes.
    Full(u64),
    /// There was not enough time.
    Partial {
        /// Size in bytes now.
        reached: u64,
        /// Size in bytes of the partition.
        wanted: u64,
    },
}

/// Grows the ext4 on `device` that is mounted at `mounted`.
pub fn grow(device: &str, mounted: &str, guard: &Guard, report: &Reporter) -> anyhow::Result<Growth> {
    let file = File::open(device).with_context(|| format!("opening '{device}'"))?;
    let mut head = vec![0; HEAD_BYTES];
    file.read_exact_at(&mut head, 0).with_context(|| format!("reading '{device}'"))?;
    let Content::Ext4 { blocks, block_bytes, .. } = state_kind::classify(&head) else { return Ok(Growth::None) };
    let bytes = block::size_bytes(&file).with_context(|| format!("asking for the size of '{device}'"))?;
    let wanted = bytes / block_bytes * block_bytes;
    let mut reached = blocks.saturating_mul(block_bytes);
    if wanted <= reached {
        return Ok(Growth::None);
    }
    let folder = File::open(mounted).context("opening the state")?;
    let started = Instant::now();
    let (mut step, mut told) = (UNIT_BYTES, false);
    while reached < wanted {
        if started.elapsed() > BUDGET {
            return Ok(Growth::Partial { reached, wanted });
        }
        let next = target(reached, wanted, step);
        let before = Instant::now();
        block::grow_ext4(&folder, next / block_bytes)
            .with_context(|| format!("growing the file system on '{device}'"))?;
        guard.ping();
        if !told && started.elapsed() > SLOW {
            report.say(Stage::State, &format!("{device} mounted, still growing it to {}", size(wanted)));
            told = true;
        }
        step = pace(step, before.elapsed());
        reached = next;
    }
    Ok(Growth::Full(wanted))
}

/// Where the next step ends: at a whole unit, or at the end.
fn target(reached: u64, wanted: u64, step: u64) -> u64 {
    let end = reached.saturating_add(step) / UNIT_BYTES * UNIT_BYTES;
    if end.saturating_add(UNIT_BYTES) > wanted { wanted } else { end.max(reached) }
}

/// The next step, given how long this one took.
fn pace(step: u64, took: Duration) -> u64 {
    if took < QUICK {
        step.saturating_mul(2)
    } else if took > SLOW {
        (step / 2).max(UNIT_BYTES)
    } else {
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn steps_end_at_whole_units_and_the_last_one_at_the_end() {
        for (reached, wanted, step, expected) in [
            (GIB / 4, 6 * GIB, 2 * GIB, 2 * GIB),
            (2 * GIB, 6 * GIB, 2 * GIB, 4 * GIB),
            (4 * GIB, 6 * GIB, 2 * GIB, 6 * GIB),
            (GIB / 4, 3 * GIB, 2 * GIB, 3 * GIB),
            (5 * GIB, 100 * GIB, 2 * GIB, 6 * GIB),
        ] {
            assert_eq!(target(reached, wanted, step), expected, "{reached} {wanted} {step}");
        }
    }

    #[test]
    fn every_step_gets_nearer_to_the_end() {
        let (mut reached, wanted, mut steps) = (GIB / 4, 1000 * GIB + 4096, 0);
        while reached < wanted {
            let next = target(reached, wanted, UNIT_BYTES);
            assert!(next > reached && next <= wanted);
            (reached, steps) = (next, steps + 1);
        }
        assert_eq!(steps, 500);
    }

    #[test]
    fn quick_steps_become_larger_and_slow_ones_smaller() {
        assert_eq!(pace(4, Duration::ZERO), 8);
        assert_eq!(pace(8 * GIB, Duration::from_secs(2)), 8 * GIB);
        assert_eq!(pace(8 * GIB, Duration::from_secs(6)), 4 * GIB);
        assert_eq!(pace(UNIT_BYTES, Duration::from_secs(60)), UNIT_BYTES);
    }
}
