//! A machine that was copied becomes one of its own: another machine id, other host keys. Pure.
//!
//! The instance id of the documents says whether it was copied: it is another one than that of the last boot. Nothing
//! is concluded from documents without one, which may only be missing for once.

use sha2::{Digest, Sha256};

use crate::config::says;
use crate::plan::{Planner, Step};

/// Whose machine this was at the last boot.
const INSTANCE: &str = "/var/lib/ferrite/cloudinit/instance";
/// The instance of a machine whose documents name none.
pub(crate) const NO_INSTANCE: &str = "none";
/// There in the boot in which a new machine found no documents: those that come late in it, from a disk that is plugged
/// in, are its first ones.
pub(crate) const UNNAMED: &str = "/run/ferrite/cloudinit/unnamed";
/// The identity of the machine for its journal, its leases and its cluster.
pub(crate) const MACHINE_ID: &str = "/etc/machine-id";
/// Random text that nothing else in a plan is made of.
const PURPOSE: usize = 15;
const RANDOM_LENGTH: usize = 64;

/// Plans what is new with a new instance.
pub(crate) fn instance(planner: &mut Planner<'_>) {
    let Some(instance) = planner.meta.instance_id.clone() else {
        return;
    };
    let known = planner.facts.text(INSTANCE);
    let known = known.trim();
    if instance == NO_INSTANCE {
        if !known.is_empty() {
            return;
        }
        planner.file(UNNAMED, String::new(), 0o644, "a new machine without documents");
    }
    let gets_a_name = known == NO_INSTANCE && planner.facts.at(UNNAMED).is_some();
    if !known.is_empty() && known != instance && !gets_a_name {
        machine_id(planner);
        if says(&planner.config.root, "ssh_deletekeys") != Some(false) {
            host_keys(planner);
        }
    }
    planner.file(INSTANCE, format!("{instance}\n"), 0o644, "the instance");
}

fn machine_id(planner: &mut Planner<'_>) {
    if planner.facts.at(MACHINE_ID).is_none() {
        // Early boot makes one.
        return;
    }
    let digest = Sha256::digest(planner.facts.random(PURPOSE, RANDOM_LENGTH).as_bytes());
    let id: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    planner.file(MACHINE_ID, format!("{id}\n"), 0o444, "a machine id of its own");
    planner.systemctl(&["restart", "ferrite-journald.service"]);
}

fn host_keys(planner: &mut Planner<'_>) {
    for kind in ["rsa", "dsa", "ecdsa", "ed25519"] {
        for suffix in ["", ".pub", "-cert.pub"] {
            let path = format!("/etc/ssh/ssh_host_{kind}_key{suffix}");
            planner.plan.steps.push(Step::Remove { path });
        }
    }
    planner.systemctl(&["restart", "ferrite-host-keys.service"]);
    // When the documents come late, a server with the old keys runs already.
    planner.systemctl(&["try-restart", "ssh.service"]);
}
