//! Which controllers of control groups a unit, and the units below a slice, make use of. Pure.

use std::collections::BTreeSet;

use crate::dependency::Dependency;
use crate::graph::{Graph, Node};
use crate::name::UnitKind;
use crate::resources::{Amount, Controllers, DevicePolicy, Memory, Resources};
use crate::unit::{LoadState, Unit};

fn named(names: &[&str]) -> Controllers {
    Controllers(names.iter().filter_map(|name| Controllers::named(name)).fold(0, |sum, one| sum | one.0))
}

/// Processor and its accounting come together.
fn joined(mask: Controllers) -> Controllers {
    let processor = named(&["cpu", "cpuacct"]);
    if mask.0 & processor.0 == 0 { mask } else { Controllers(mask.0 | processor.0) }
}

/// What the unit uses for itself.
pub(crate) fn own(graph: &Graph, node: &Node) -> Controllers {
    if node.unit.load != LoadState::Loaded || node.unit.slice().is_none() && node.unit.name.as_str() != "-.slice" {
        return Controllers::default();
    }
    let resources = &node.unit.resources;
    let mut mask = settings(resources).0 | delegated(&node.unit).0;
    if resources.ip_accounting || filters_addresses(resources) || slices_above(graph, node) {
        mask |= named(&["bpf-firewall"]).0;
    }
    Controllers(mask)
}

/// What all units below a slice use.
pub(crate) fn members(graph: &Graph, node: &Node) -> Controllers {
    let mut mask = Controllers::default();
    let mut seen = BTreeSet::new();
    let mut open = vec![node];
    while let Some(slice) = open.pop() {
        for index in slice.links.get(&Dependency::SliceOf).into_iter().flat_map(|members| members.keys()) {
            if let Some(member) = graph.get(*index).filter(|_| seen.insert(*index)) {
                mask.0 |= own(graph, member).0;
                open.push(member);
            }
        }
    }
    mask
}

/// What the unit's processes may manage themselves.
pub(crate) fn delegated(unit: &Unit) -> Controllers {
    let may_delegate = matches!(unit.name.kind(), UnitKind::Service | UnitKind::Scope);
    if may_delegate && unit.resources.delegate { joined(unit.resources.delegated) } else { Controllers::default() }
}

fn filters_addresses(resources: &Resources) -> bool {
    let filters = [&resources.ip_ingress_filters, &resources.ip_egress_filters];
    has_address_lists(resources) || filters.into_iter().any(|list| !list.is_empty())
}

fn has_address_lists(resources: &Resources) -> bool {
    !resources.ip_allow.is_empty() || !resources.ip_deny.is_empty()
}

/// Does a slice above restrict addresses? That holds for all units in it.
fn slices_above(graph: &Graph, node: &Node) -> bool {
    let mut slice = node.unit.slice();
    while let Some(above) = slice.as_ref().and_then(|name| graph.find(name)) {
        if has_address_lists(&above.unit.resources) {
            return true;
        }
        slice = above.unit.slice();
    }
    false
}

fn settings(resources: &Resources) -> Controllers {
    let processor = [
        resources.cpu_weight,
        resources.startup_cpu_weight,
        resources.cpu_shares,
        resources.startup_cpu_shares,
        resources.cpu_quota,
    ];
    let sets = [&resources.cpus, &resources.startup_cpus, &resources.memory_nodes, &resources.startup_memory_nodes];
    let devices = !resources.devices.is_empty() || resources.device_policy != DevicePolicy::Auto;
    let uses = [
        (processor.iter().any(Option::is_some), &["cpu", "cpuacct"][..]),
        (sets.into_iter().any(Option::is_some), &["cpuset"]),
        (uses_disks(resources), &["io", "blkio"]),
        (uses_memory(resources), &["memory"]),
        (devices, &["devices", "bpf-devices"]),
        (resources.tasks_accounting || resources.tasks_max.is_some(), &["pids"]),
        (!resources.bpf_programs.is_empty(), &["bpf-foreign"]),
        (!resources.bind_allow.is_empty() || !resources.bind_deny.is_empty(), &["bpf-socket-bind"]),
        (resources.interfaces.is_some(), &["bpf-restrict-network-interfaces"]),
    ];
    Controllers(uses.iter().filter(|(used, _)| *used).fold(0, |mask, (_, names)| mask | named(names).0))
}

fn uses_disks(resources: &Resources) -> bool {
    let weights = [
        resources.io_weight,
        resources.startup_io_weight,
        resources.block_io_weight,
        resources.startup_block_io_weight,
    ];
    resources.io_accounting
        || resources.block_io_accounting
        || weights.iter().any(Option::is_some)
        || !resources.io_device_weights.is_empty()
        || !resources.io_device_latencies.is_empty()
        || !resources.io_device_limits.is_empty()
        || !resources.block_io_device_weights.is_empty()
        || !resources.block_io_device_limits.is_empty()
}

fn uses_memory(resources: &Resources) -> bool {
    let protects = |amount: Option<Amount>| amount.is_some_and(|amount| amount != Amount::Fixed(0));
    let limits = |amount: Option<Amount>| amount.is_some_and(|amount| amount != Amount::Infinite);
    let any = |memory: &Memory| {
        [memory.min, memory.low].into_iter().any(protects)
            || [memory.high, memory.max, memory.swap_max, memory.zswap_max].into_iter().any(limits)
    };
    resources.memory_accounting
        || limits(resources.memory_limit)
        || any(&resources.memory)
        || any(&resources.startup_memory)
}
