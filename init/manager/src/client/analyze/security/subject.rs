//! A service as the questions of `systemd-analyze security` see it. Pure.

use std::net::IpAddr;

use ferrite_unit::Unit;
use ferrite_unit::capability::CapabilitySet;
use ferrite_unit::exec::Exec;
use ferrite_unit::resources::DevicePolicy;
use ferrite_unit::sandbox::{
    KeyringMode, PrivateTmp, PrivateUsers, ProcSubset, ProtectControlGroups, ProtectHome, ProtectProc, ProtectSystem,
    Sandbox,
};
use ferrite_unit::service::NotifyAccess;
use ferrite_unit::syscall::{self, Machine};

/// Families of sockets that are asked about apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Internet,
    Unix,
    Netlink,
    Packet,
    Other,
}

impl Family {
    fn of_number(number: i32) -> Family {
        match number {
            1 => Family::Unix,
            2 | 10 => Family::Internet,
            16 => Family::Netlink,
            17 => Family::Packet,
            _ => Family::Other,
        }
    }
}

/// Whose view of the settings counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// What the files say.
    Offline,
    /// What a running manager says of a loaded unit: a view of its own comes with much else.
    Online,
}

/// A service.
pub struct Subject<'a> {
    pub unit: &'a Unit,
    exec: &'a Exec,
    pub private_mounts: bool,
}

impl<'a> Subject<'a> {
    /// `None`: the unit is no service.
    pub fn new(unit: &'a Unit, view: View) -> Option<Subject<'a>> {
        let exec = &unit.service()?.exec;
        let (sandbox, mounts) = (&exec.sandbox, &exec.sandbox.mounts);
        let implied = sandbox.private_devices
            || sandbox.private_tmp != PrivateTmp::No
            || sandbox.protect_control_groups != ProtectControlGroups::No
            || sandbox.protect_kernel_tunables
            || sandbox.protect_kernel_modules
            || sandbox.protect_home != ProtectHome::No
            || sandbox.protect_system != ProtectSystem::No
            || mounts.root_image.is_some();
        let private_mounts = mounts.private_mounts == Some(true) || (view == View::Online && implied);
        Some(Subject { unit, exec, private_mounts })
    }

    pub fn sandbox(&self) -> &Sandbox {
        &self.exec.sandbox
    }

    /// Does it run as root?
    pub fn is_privileged(&self) -> bool {
        match self.exec.user.as_deref() {
            Some("root" | "0") => true,
            None | Some("") => !self.sandbox().dynamic_user,
            Some(_) => false,
        }
    }

    pub fn user(&self) -> (u64, &'static str) {
        match self.exec.user.as_deref() {
            Some("nobody") => (9, "runs as nobody, whom services should not share"),
            Some("root" | "0") => (10, "runs as root"),
            _ if self.sandbox().dynamic_user => (0, "runs as a user that exists only while it runs"),
            Some(user) if !user.is_empty() => (0, "runs as a user without the rights of root"),
            Some(_) | None => (10, "runs as root"),
        }
    }

    pub fn no_groups(&self) -> bool {
        self.exec.supplementary_groups.is_empty()
    }

    pub fn private_tmp(&self) -> bool {
        self.sandbox().private_tmp != PrivateTmp::No
    }

    pub fn private_users(&self) -> bool {
        self.sandbox().private_users != PrivateUsers::No
    }

    pub fn protect_groups(&self) -> bool {
        self.sandbox().protect_control_groups != ProtectControlGroups::No
    }

    pub fn home(&self) -> (u64, &'static str) {
        match self.sandbox().protect_home {
            ProtectHome::No => (10, "may read and write all homes"),
            ProtectHome::ReadOnly => (5, "may read all homes"),
            ProtectHome::Tmpfs => (1, "sees empty homes"),
            ProtectHome::Yes => (0, "sees no homes"),
        }
    }

    pub fn system(&self) -> (u64, &'static str) {
        match self.sandbox().protect_system {
            ProtectSystem::No => (10, "may change all system directories"),
            ProtectSystem::Yes => (5, "may change system directories but /usr and /boot"),
            ProtectSystem::Full => (3, "may change system directories but /usr, /boot and /etc"),
            ProtectSystem::Strict => (0, "may change no system directory"),
        }
    }

    pub fn own_root(&self) -> bool {
        let mounts = &self.sandbox().mounts;
        [&mounts.root_directory, &mounts.root_image]
            .into_iter()
            .flatten()
            .any(|path| !path.trim_matches('/').is_empty())
    }

    pub fn umask(&self) -> (u64, &'static str) {
        let umask = self.exec.umask;
        let free = |bits: u32| umask & bits == 0;
        if free(0o002) {
            (10, "its new files can be written by everybody")
        } else if free(0o004) {
            (5, "its new files can be read by everybody")
        } else if free(0o020) {
            (2, "its new files can be written by its group")
        } else if free(0o040) {
            (1, "its new files can be read by its group")
        } else {
            (0, "its new files are its own")
        }
    }

    pub fn own_keyring(&self) -> bool {
        matches!(self.sandbox().keyring_mode, None | Some(KeyringMode::Private))
    }

    pub fn proc(&self) -> (u64, &'static str) {
        match self.sandbox().protect_proc {
            ProtectProc::Default => (3, "sees the processes of others"),
            ProtectProc::NoAccess => (1, "cannot read the processes of others"),
            ProtectProc::Invisible | ProtectProc::Ptraceable => (0, "does not see the processes of others"),
        }
    }

    pub fn proc_subset(&self) -> bool {
        self.sandbox().proc_subset == ProcSubset::Pid
    }

    pub fn strict_notify(&self) -> bool {
        self.unit.service().is_none_or(|service| service.notify_access != NotifyAccess::All)
    }

    /// Can it have this capability?
    pub fn may_have(&self, number: u8) -> bool {
        self.sandbox().bounding_set.unwrap_or(CapabilitySet::ALL).has(number)
    }

    /// Can it make this namespace?
    pub fn may_make(&self, kind: u64) -> bool {
        self.sandbox().allowed_namespaces.unwrap_or(u64::MAX) & kind != 0
    }

    /// Are sockets of this family forbidden? As in systemd, one named family decides for its kind.
    pub fn denies(&self, family: Family) -> bool {
        let Some(families) = &self.sandbox().address_families else { return false };
        let named = families.families.iter().any(|number| Family::of_number(*number) == family);
        named != families.allow
    }

    pub fn architectures(&self) -> (u64, &'static str) {
        match self.sandbox().syscall_architectures.as_slice() {
            [] => (10, "may use system calls of all architectures"),
            names if names.iter().any(|name| name == "native") => (0, "may use system calls of this architecture only"),
            _ => (8, "may use system calls of several architectures"),
        }
    }

    /// What the filter says of a group of system calls.
    pub fn calls(&self, group: &str) -> (u64, String) {
        let filter = match &self.sandbox().syscall_filter {
            Some(filter) if filter.allow || !filter.calls.is_empty() => filter,
            Some(_) | None => return (10, "uses any system call".into()),
        };
        let machine = if cfg!(target_arch = "x86_64") { Machine::X86_64 } else { Machine::Arm64 };
        let members = syscall::group(group).unwrap_or_default();
        let mut here = members.into_iter().filter(|call| syscall::number(call, machine).is_some());
        match here.find(|call| filter.calls.contains_key(call) == filter.allow) {
            Some(call) if filter.allow => (9, format!("its list of allowed calls has some of {group}, such as {call}")),
            Some(call) => (10, format!("its list of forbidden calls lacks some of {group}, such as {call}")),
            None => (0, format!("cannot use the calls of {group}")),
        }
    }

    pub fn addresses(&self) -> (u64, &'static str) {
        let resources = &self.unit.resources;
        if !resources.ip_ingress_filters.is_empty() || !resources.ip_egress_filters.is_empty() {
            return (0, "filters its packets with programs of its own");
        }
        let denies = |v6: bool| resources.ip_deny.iter().any(|net| net.prefix == 0 && net.address.is_ipv6() == v6);
        let is_local = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.octets().first() == Some(&127),
            IpAddr::V6(address) => address.is_loopback(),
        };
        if !denies(true) || !denies(false) {
            (10, "may talk to any address")
        } else if resources.ip_allow.iter().any(|net| !is_local(&net.address)) {
            (5, "may talk to some addresses")
        } else if !resources.ip_allow.is_empty() {
            (2, "may talk to this machine only")
        } else {
            (0, "may talk to no address")
        }
    }

    pub fn devices(&self) -> (u64, &'static str) {
        match (self.unit.resources.device_policy, self.unit.resources.devices.is_empty()) {
            (DevicePolicy::Auto, _) => (10, "may use any device"),
            (DevicePolicy::Closed | DevicePolicy::Strict, false) => (5, "may use the devices that are named"),
            (DevicePolicy::Closed | DevicePolicy::Strict, true) => (0, "may use harmless devices only"),
        }
    }
}
