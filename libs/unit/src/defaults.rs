//! Dependencies that a unit has by its kind and by its other settings, as systemd adds them. Pure.

use crate::dependency::{Dependency, Origin};
use crate::exec::Stream;
use crate::name::{UnitKind, UnitName};
use crate::service::ServiceType;
use crate::unit::{Config, MountNeed, Unit};

fn add(unit: &mut Unit, dependencies: &[Dependency], other: &str, origin: Origin) {
    // The names here are ours and well formed.
    if let Ok(name) = UnitName::parse(other) {
        for dependency in dependencies {
            unit.add(*dependency, name.clone(), origin);
        }
    }
}

/// Adds everything that the files leave unsaid. Call once, after all entries were taken.
pub(crate) fn complete(unit: &mut Unit) {
    slice(unit);
    if unit.exec().is_some() {
        process(unit);
    }
    match unit.name.kind() {
        UnitKind::Service => service(unit),
        UnitKind::Mount => mount(unit),
        UnitKind::Target => target(unit),
        UnitKind::Slice => {
            // These two are there as long as the system is: stopping them would stop all services, journald among them.
            let perpetual = matches!(unit.name.as_str(), "-.slice" | "system.slice");
            if unit.default_dependencies && !perpetual {
                add(unit, &[Dependency::Conflicts, Dependency::Before], "shutdown.target", Origin::Default);
            }
        }
        UnitKind::Socket | UnitKind::Timer | UnitKind::Path => {
            if unit.default_dependencies {
                add(unit, &[Dependency::Requires, Dependency::After], "sysinit.target", Origin::Default);
                add(unit, &[Dependency::Conflicts, Dependency::Before], "shutdown.target", Origin::Default);
            }
        }
        UnitKind::Device | UnitKind::Automount | UnitKind::Swap | UnitKind::Scope => {}
    }
}

fn slice(unit: &mut Unit) {
    let parent = match unit.name.kind() {
        UnitKind::Slice => parent_slice(&unit.name),
        _ => unit.slice(),
    };
    if let Some(parent) = parent {
        unit.add(Dependency::Requires, parent.clone(), Origin::File);
        unit.add(Dependency::After, parent, Origin::File);
    }
}

/// `a.slice` for `a-b.slice`, the root slice for `a.slice`, nothing for the root slice.
pub(crate) fn parent_slice(name: &UnitName) -> Option<UnitName> {
    if name.as_str() == "-.slice" {
        return None;
    }
    match name.stem().rsplit_once('-') {
        Some((parent, _)) if !parent.is_empty() => UnitName::parse(&format!("{parent}.slice")).ok(),
        _ => UnitName::parse("-.slice").ok(),
    }
}

/// What the context of the processes needs.
fn process(unit: &mut Unit) {
    let Some(exec) = unit.exec() else { return };
    let mut mounts: Vec<String> = exec.working_directory.iter().filter(|d| d.starts_with('/')).cloned().collect();
    let bases = [
        ("/run", &exec.runtime),
        ("/var/lib", &exec.state),
        ("/var/cache", &exec.cache),
        ("/var/log", &exec.logs),
        ("/etc", &exec.configuration),
    ];
    for (base, directories) in bases {
        mounts.extend(directories.names.iter().map(|name| format!("{base}/{name}")));
    }
    let directories = mounts.len() > usize::from(exec.working_directory.is_some());
    let journal = exec.uses_journal();
    for path in mounts {
        unit.need_mounts(MountNeed::Requires, &path, Origin::File);
    }
    if journal {
        add(unit, &[Dependency::After], "systemd-journald.socket", Origin::File);
    }
    if directories && unit.default_dependencies {
        add(unit, &[Dependency::After], "systemd-tmpfiles-setup.service", Origin::File);
    }
}

fn service(unit: &mut Unit) {
    let Config::Service(service) = &unit.config else { return };
    let activated = service.exec.input == Stream::Socket;
    let idle = service.kind == ServiceType::Idle;
    if activated && let Some(socket) = socket_of(&unit.name) {
        unit.add(Dependency::Requires, socket.clone(), Origin::File);
        unit.add(Dependency::After, socket, Origin::File);
    }
    if idle {
        // The wait for the end of the boot's rush is the manager's; nothing is ordered by it.
        add(unit, &[], "idle.target", Origin::Default);
    }
    if unit.default_dependencies {
        add(unit, &[Dependency::Requires, Dependency::After], "sysinit.target", Origin::Default);
        add(unit, &[Dependency::After], "basic.target", Origin::Default);
        add(unit, &[Dependency::Conflicts, Dependency::Before], "shutdown.target", Origin::Default);
    }
}

fn socket_of(name: &UnitName) -> Option<UnitName> {
    UnitName::parse(&format!("{}.socket", name.prefix())).ok()
}

const NETWORK_FILE_SYSTEMS: [&str; 12] =
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "gfs2", "ocfs2", "9p", "sshfs", "afs", "pvfs2"];

fn mount(unit: &mut Unit) {
    let Config::Mount(mount) = &unit.config else { return };
    let network = mount.kind.as_deref().is_some_and(|kind| NETWORK_FILE_SYSTEMS.contains(&kind))
        || mount.options.as_deref().is_some_and(|o| o.split(',').any(|word| word == "_netdev"));
    let nofail = mount.options.as_deref().is_some_and(|o| o.split(',').any(|word| word == "nofail"));
    let parent = mount.where_.rsplit_once('/').map(|(parent, _)| parent.to_owned()).filter(|p| !p.is_empty());
    let what = mount.what.clone();
    let extrinsic = matches!(mount.where_.as_str(), "/" | "/usr") || mount.where_.starts_with("/run/initramfs");
    if let Some(parent) = parent {
        unit.need_mounts(MountNeed::Requires, &parent, Origin::Implicit);
    }
    if what.starts_with('/') && !what.starts_with("/dev/") {
        unit.need_mounts(MountNeed::Requires, &what, Origin::File);
    }
    if !unit.default_dependencies || extrinsic {
        return;
    }
    let (after, before) =
        if network { ("remote-fs-pre.target", "remote-fs.target") } else { ("local-fs-pre.target", "local-fs.target") };
    add(unit, &[Dependency::After], after, Origin::Default);
    if network {
        add(unit, &[Dependency::Wants, Dependency::After], "network-online.target", Origin::Default);
        add(unit, &[Dependency::After], "network.target", Origin::Default);
    }
    if !nofail {
        add(unit, &[Dependency::Before], before, Origin::Default);
    }
    add(unit, &[Dependency::Conflicts, Dependency::Before], "umount.target", Origin::Default);
}

/// A target comes after what it pulls in, unless one of both says otherwise.
fn target(unit: &mut Unit) {
    if !unit.default_dependencies {
        return;
    }
    let pulled: Vec<UnitName> = unit
        .dependencies
        .iter()
        .filter(|(kind, ..)| {
            matches!(
                kind,
                Dependency::Wants
                    | Dependency::Requires
                    | Dependency::Requisite
                    | Dependency::BindsTo
                    | Dependency::PartOf
                    | Dependency::Upholds
            )
        })
        .map(|(_, name, _)| name.clone())
        .collect();
    for other in pulled {
        if !unit.has(Dependency::Before, other.as_str()) {
            unit.add(Dependency::After, other, Origin::Default);
        }
    }
    if unit.name.as_str() != "shutdown.target" {
        add(unit, &[Dependency::Conflicts, Dependency::Before], "shutdown.target", Origin::Default);
    }
}
