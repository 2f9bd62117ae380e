//! Makes the changes of a plan, in order. Safe to repeat: each file is replaced whole or not at all.

use anyhow::Context;
use ferrite_files::{Attributes, Root};

use crate::plan::{Plan, Step};

/// Applies the plan; a step that fails is returned and the rest goes on, so that one bad file never costs the keys.
pub(crate) fn apply(plan: &Plan, root: &Root) -> Vec<anyhow::Error> {
    plan.steps.iter().filter_map(|step| act(step, root).with_context(|| format!("applying '{step}'")).err()).collect()
}

fn act(step: &Step, root: &Root) -> anyhow::Result<()> {
    match step {
        Step::Folder { path, mode, owner } => {
            root.make_folder(path, &Attributes { mode: *mode, owner: Some(*owner) })?;
        }
        Step::File { path, content, mode, owner, .. } => {
            root.replace(path, content, &Attributes { mode: *mode, owner: Some(*owner) })?;
        }
        // Never the name of the machine that only builds a root.
        Step::Hostname { name } if root.is_machine() => nix::unistd::sethostname(name.as_str())?,
        Step::Hostname { .. } => {}
    }
    Ok(())
}
