//! What a process of a unit may see and do: namespaces, paths, capabilities, system calls, scheduling. Pure.
//!
//! Together with [`crate::exec`] this is all of systemd's execution context. `None` means "not written".

use crate::capability::CapabilitySet;
use crate::cpu_set::CpuSet;
use crate::syscall::SyscallFilter;
use crate::value::Span;

/// `PrivateTmp=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrivateTmp {
    /// The /tmp of the machine.
    #[default]
    No,
    /// Directories of its own, kept on the file systems of /tmp and /var/tmp.
    Connected,
    /// A tmpfs of its own.
    Disconnected,
}

/// `ProtectSystem=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProtectSystem {
    /// Nothing is protected.
    #[default]
    No,
    /// /usr and the boot loader are read-only.
    Yes,
    /// /etc is, too.
    Full,
    /// Everything is, but the interfaces of the kernel.
    Strict,
}

/// `ProtectHome=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProtectHome {
    /// Homes are as they are.
    #[default]
    No,
    /// Homes cannot be seen.
    Yes,
    /// Homes cannot be changed.
    ReadOnly,
    /// An empty file system takes their place.
    Tmpfs,
}

/// `ProtectProc=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProtectProc {
    /// /proc as it is.
    #[default]
    Default,
    /// Processes of others cannot be read.
    NoAccess,
    /// Processes of others are hidden.
    Invisible,
    /// Only what may be traced is seen.
    Ptraceable,
}

/// `ProcSubset=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProcSubset {
    /// All of /proc.
    #[default]
    All,
    /// Only what speaks of processes.
    Pid,
}

/// `ProtectControlGroups=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProtectControlGroups {
    /// As they are.
    #[default]
    No,
    /// Read-only.
    Yes,
    /// In a namespace of their own.
    Private,
    /// In a namespace of their own, read-only.
    Strict,
}

/// `PrivateUsers=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrivateUsers {
    /// The users of the machine.
    #[default]
    No,
    /// Root and the unit's own user only.
    Own,
    /// The first 65,536 users as they are.
    Identity,
}

/// `KeyringMode=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyringMode {
    /// PID 1's session keyring.
    Inherit,
    /// One of its own.
    #[default]
    Private,
    /// One of its own that is linked to the user's.
    Shared,
}

/// `MountFlags=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Mounts inside and outside are seen on both sides.
    Shared,
    /// Mounts outside are seen inside.
    Slave,
    /// Neither.
    Private,
}

/// `UtmpMode=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UtmpMode {
    /// A terminal that waits.
    #[default]
    Init,
    /// A login.
    Login,
    /// A user.
    User,
}

/// A path with its prefixes `-` (may be missing) and `+` (below `RootDirectory=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacePath {
    /// The absolute path.
    pub path: String,
    /// `-`.
    pub optional: bool,
    /// `+`.
    pub below_root: bool,
}

/// `BindPaths=` and `BindReadOnlyPaths=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// What is shown.
    pub source: String,
    /// Where.
    pub destination: String,
    /// `BindReadOnlyPaths=`.
    pub read_only: bool,
    /// With the mounts below it.
    pub recursive: bool,
    /// `-`: may be missing.
    pub optional: bool,
}

/// `TemporaryFileSystem=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemporaryFileSystem {
    /// Where.
    pub path: String,
    /// Mount options; empty for none.
    pub options: String,
}

/// An image that is mounted for the unit (`MountImages=`, `ExtensionImages=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMount {
    /// The file.
    pub source: String,
    /// Where; empty for extensions.
    pub destination: String,
    /// `-`: may be missing.
    pub optional: bool,
    /// Partition and mount options.
    pub options: Vec<(String, String)>,
}

/// A credential that a setting carries (`SetCredential=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCredential {
    /// Its name.
    pub name: String,
    /// Its content.
    pub data: Vec<u8>,
    /// Does it have to be decrypted first?
    pub encrypted: bool,
}

/// A credential that is read somewhere (`LoadCredential=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadCredential {
    /// Its name.
    pub name: String,
    /// A file, a socket, a folder, or the name of one that PID 1 got.
    pub source: String,
    /// Does it have to be decrypted first?
    pub encrypted: bool,
}

/// Credentials that are found by name (`ImportCredential=`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportCredential {
    /// A name, or its beginning and `*`.
    pub glob: String,
    /// What the matching part is called then; empty: as before.
    pub rename: String,
}

/// A class of input and output (`IOSchedulingClass=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IoClass {
    /// None chosen.
    None,
    /// Before all others.
    Realtime,
    /// As usual.
    #[default]
    BestEffort,
    /// When nobody else wants to.
    Idle,
}

impl IoClass {
    /// The kernel's number (linux/ioprio.h).
    pub fn number(self) -> u8 {
        match self {
            IoClass::None => 0,
            IoClass::Realtime => 1,
            IoClass::BestEffort => 2,
            IoClass::Idle => 3,
        }
    }
}

/// `IOSchedulingClass=` and `IOSchedulingPriority=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoPriority {
    /// The class.
    pub class: IoClass,
    /// 0 (first) to 7.
    pub level: u8,
}

impl Default for IoPriority {
    fn default() -> Self {
        IoPriority { class: IoClass::BestEffort, level: 4 }
    }
}

/// `CPUSchedulingPolicy=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum CpuPolicy {
    #[default]
    Other,
    Batch,
    Idle,
    Fifo,
    RoundRobin,
    Ext,
}

impl CpuPolicy {
    /// The kernel's number (linux/sched.h).
    pub fn number(self) -> i32 {
        match self {
            CpuPolicy::Other => 0,
            CpuPolicy::Fifo => 1,
            CpuPolicy::RoundRobin => 2,
            CpuPolicy::Batch => 3,
            CpuPolicy::Idle => 5,
            CpuPolicy::Ext => 7,
        }
    }
}

/// `CPUScheduling*=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuScheduling {
    /// Is there anything to set?
    pub written: bool,
    /// The policy.
    pub policy: CpuPolicy,
    /// The priority.
    pub priority: i32,
    /// Do children start with the usual policy?
    pub reset_on_fork: bool,
}

/// `NUMAPolicy=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NumaPolicy {
    Default,
    Preferred,
    Bind,
    Interleave,
    Local,
    PreferredMany,
    WeightedInterleave,
}

/// A set of nodes or processors as it is written, `all` not counted yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NumaNodes {
    /// `all`.
    pub all: bool,
    /// Those named.
    pub nodes: CpuSet,
}

/// `SystemCallErrorNumber=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyscallError {
    /// Kills the process.
    #[default]
    Kill,
    /// Lets the call fail.
    Errno(i32),
}

/// Address families that sockets may have or not (`RestrictAddressFamilies=`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressFamilies {
    /// Does the list name what is allowed?
    pub allow: bool,
    /// The families.
    pub families: Vec<i32>,
}

/// File systems that may be opened or not (`RestrictFileSystems=`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSystems {
    /// Does the list name what is allowed?
    pub allow: bool,
    /// The names and groups.
    pub names: Vec<String>,
}

/// A label of a security module; `-`: an error does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The label.
    pub name: String,
    /// `-`.
    pub optional: bool,
}

/// All that `RestrictNamespaces=` speaks of (CLONE_NEW*); the kernel's namespace of time is none of them.
pub const NAMESPACES_ALL: u64 = 0x7e02_0000;

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sandbox {
    /// Root, images and paths.
    pub mounts: Mounts,
    /// `PrivateTmp=`.
    pub private_tmp: PrivateTmp,
    /// `PrivateDevices=`.
    pub private_devices: bool,
    /// `ProtectKernelTunables=`.
    pub protect_kernel_tunables: bool,
    /// `ProtectKernelModules=`.
    pub protect_kernel_modules: bool,
    /// `ProtectKernelLogs=`.
    pub protect_kernel_logs: bool,
    /// `ProtectClock=`.
    pub protect_clock: bool,
    /// `ProtectControlGroups=`.
    pub protect_control_groups: ProtectControlGroups,
    /// `ProtectHome=`.
    pub protect_home: ProtectHome,
    /// `ProtectSystem=`.
    pub protect_system: ProtectSystem,
    /// `ProtectHostname=`.
    pub protect_hostname: bool,
    /// `ProtectProc=`.
    pub protect_proc: ProtectProc,
    /// `ProcSubset=`.
    pub proc_subset: ProcSubset,
    /// `PrivateNetwork=`.
    pub private_network: bool,
    /// `PrivateUsers=`.
    pub private_users: PrivateUsers,
    /// `PrivatePIDs=`.
    pub private_pids: bool,
    /// `PrivateIPC=`.
    pub private_ipc: bool,
    /// `NetworkNamespacePath=`.
    pub network_namespace_path: Option<String>,
    /// `IPCNamespacePath=`.
    pub ipc_namespace_path: Option<String>,
    /// `DynamicUser=`.
    pub dynamic_user: bool,
    /// `RemoveIPC=`.
    pub remove_ipc: bool,
    /// `SetLoginEnvironment=`.
    pub set_login_environment: Option<bool>,
    /// `NoNewPrivileges=`.
    pub no_new_privileges: bool,
    /// `SecureBits=`.
    pub secure_bits: u32,
    /// `CapabilityBoundingSet=`.
    pub bounding_set: Option<CapabilitySet>,
    /// `AmbientCapabilities=`.
    pub ambient_set: CapabilitySet,
    /// `KeyringMode=`; unwritten, a service has one of its own and others share the user's.
    pub keyring_mode: Option<KeyringMode>,
    /// `MemoryDenyWriteExecute=`.
    pub memory_deny_write_execute: bool,
    /// `RestrictRealtime=`.
    pub restrict_realtime: bool,
    /// `RestrictSUIDSGID=`.
    pub restrict_suid_sgid: bool,
    /// `RestrictNamespaces=`: the namespaces that may still be made (CLONE_NEW*).
    pub allowed_namespaces: Option<u64>,
    /// `RestrictAddressFamilies=`.
    pub address_families: Option<AddressFamilies>,
    /// `RestrictFileSystems=`.
    pub file_systems: Option<FileSystems>,
    /// `LockPersonality=`.
    pub lock_personality: bool,
    /// `SystemCallFilter=`.
    pub syscall_filter: Option<SyscallFilter>,
    /// `SystemCallLog=`.
    pub syscall_log: Option<SyscallFilter>,
    /// `SystemCallArchitectures=`.
    pub syscall_architectures: Vec<String>,
    /// `SystemCallErrorNumber=`.
    pub syscall_error: SyscallError,
    /// `SELinuxContext=`.
    pub selinux_context: Option<Label>,
    /// `AppArmorProfile=`.
    pub apparmor_profile: Option<Label>,
    /// `SmackProcessLabel=`.
    pub smack_label: Option<Label>,
    /// `PAMName=`.
    pub pam_name: Option<String>,
    /// `UtmpIdentifier=`.
    pub utmp_identifier: Option<String>,
    /// `UtmpMode=`.
    pub utmp_mode: UtmpMode,
    /// `SetCredential=`, `SetCredentialEncrypted=`.
    pub set_credentials: Vec<SetCredential>,
    /// `LoadCredential=`, `LoadCredentialEncrypted=`.
    pub load_credentials: Vec<LoadCredential>,
    /// `ImportCredential=`.
    pub import_credentials: Vec<ImportCredential>,
    /// Processor, memory and disk.
    pub scheduling: Scheduling,
    /// What becomes of its messages.
    pub logging: Logging,
}

crate::shared::common_default!(Sandbox);

impl Sandbox {
    /// The namespaces that may still be made, if not all may.
    pub fn restricted_namespaces(&self) -> Option<u64> {
        self.allowed_namespaces.map(|allowed| allowed & NAMESPACES_ALL).filter(|allowed| *allowed != NAMESPACES_ALL)
    }
}

/// Files that the processes see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts {
    /// `RootDirectory=`.
    pub root_directory: Option<String>,
    /// `RootImage=`.
    pub root_image: Option<String>,
    /// `RootImageOptions=`: partition and options.
    pub root_image_options: Vec<(String, String)>,
    /// `RootHash=`: hexadecimal digits or a path.
    pub root_hash: Option<String>,
    /// `RootHashSignature=`: `base64:` and data, or a path.
    pub root_hash_signature: Option<String>,
    /// `RootVerity=`.
    pub root_verity: Option<String>,
    /// `RootEphemeral=`.
    pub root_ephemeral: bool,
    /// `ExtensionDirectories=`.
    pub extension_directories: Vec<NamespacePath>,
    /// `ExtensionImages=`.
    pub extension_images: Vec<ImageMount>,
    /// `MountImages=`.
    pub mount_images: Vec<ImageMount>,
    /// `RootImagePolicy=`, `MountImagePolicy=`, `ExtensionImagePolicy=` as written.
    pub image_policies: Vec<(String, String)>,
    /// `ReadWritePaths=`.
    pub read_write: Vec<NamespacePath>,
    /// `ReadOnlyPaths=`.
    pub read_only: Vec<NamespacePath>,
    /// `InaccessiblePaths=`.
    pub inaccessible: Vec<NamespacePath>,
    /// `ExecPaths=`.
    pub exec: Vec<NamespacePath>,
    /// `NoExecPaths=`.
    pub no_exec: Vec<NamespacePath>,
    /// `ExecSearchPath=`.
    pub exec_search_path: Vec<String>,
    /// `BindPaths=`, `BindReadOnlyPaths=`.
    pub bind: Vec<BindMount>,
    /// `TemporaryFileSystem=`.
    pub temporary: Vec<TemporaryFileSystem>,
    /// `MountFlags=`.
    pub propagation: Option<Propagation>,
    /// `PrivateMounts=`.
    pub private_mounts: Option<bool>,
    /// `MountAPIVFS=`.
    pub api_vfs: Option<bool>,
    /// `BindLogSockets=`.
    pub bind_log_sockets: Option<bool>,
}

/// Scheduling and memory of the processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scheduling {
    /// `CoredumpFilter=`.
    pub coredump_filter: Option<u64>,
    /// `IOSchedulingClass=`, `IOSchedulingPriority=`.
    pub io: Option<IoPriority>,
    /// `CPUSchedulingPolicy=` and what belongs to it.
    pub cpu: CpuScheduling,
    /// `CPUAffinity=`.
    pub cpu_affinity: Option<CpuSet>,
    /// `CPUAffinity=numa`.
    pub cpu_affinity_from_numa: bool,
    /// `NUMAPolicy=`.
    pub numa_policy: Option<NumaPolicy>,
    /// `NUMAMask=`.
    pub numa_mask: NumaNodes,
    /// `TimerSlackNSec=`.
    pub timer_slack_ns: Option<u64>,
    /// `Personality=`, by name.
    pub personality: Option<String>,
    /// `MemoryKSM=`.
    pub memory_ksm: Option<bool>,
}

/// How messages of the processes are marked and thinned out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// `SyslogFacility=`.
    pub facility: u8,
    /// `LogLevelMax=`.
    pub level_max: Option<u8>,
    /// `LogRateLimitIntervalSec=`.
    pub rate_interval: Span,
    /// `LogRateLimitBurst=`.
    pub rate_burst: u32,
    /// `LogExtraFields=`.
    pub extra_fields: Vec<String>,
    /// `LogFilterPatterns=`; `true`: what is kept.
    pub filter_patterns: Vec<(bool, String)>,
    /// `LogNamespace=`.
    pub namespace: Option<String>,
}

impl Default for Logging {
    fn default() -> Self {
        Logging {
            facility: 3,
            level_max: None,
            rate_interval: Span::seconds(0),
            rate_burst: 0,
            extra_fields: Vec::new(),
            filter_patterns: Vec::new(),
            namespace: None,
        }
    }
}
