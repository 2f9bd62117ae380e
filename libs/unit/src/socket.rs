//! `[Socket]`: what is listened on, how, and which service takes it. Pure.

use crate::address::{Address, SocketType};
use crate::command::Command;
use crate::exec::Exec;
use crate::kill::Kill;
use crate::name::{UnitKind, UnitName};
use crate::shared::Shared;
use crate::value::Span;

/// One thing that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `ListenStream=`, `ListenDatagram=`, `ListenSequentialPacket=`, `ListenNetlink=`.
    Socket(SocketType, Address),
    /// `ListenFIFO=`.
    Fifo(String),
    /// `ListenSpecial=`: a device or a file of /proc or /sys.
    Special(String),
    /// `ListenMessageQueue=`.
    MessageQueue(String),
    /// `ListenUSBFunction=`.
    UsbFunction(String),
}

impl Listen {
    /// The directive that makes it.
    pub fn directive(&self) -> &'static str {
        match self {
            Listen::Socket(SocketType::Stream, _) => "ListenStream",
            Listen::Socket(SocketType::Datagram, _) => "ListenDatagram",
            Listen::Socket(SocketType::SequentialPacket, _) => "ListenSequentialPacket",
            Listen::Socket(SocketType::Raw, _) => "ListenNetlink",
            Listen::Fifo(_) => "ListenFIFO",
            Listen::Special(_) => "ListenSpecial",
            Listen::MessageQueue(_) => "ListenMessageQueue",
            Listen::UsbFunction(_) => "ListenUSBFunction",
        }
    }

    /// The word of systemd's `Listen` property.
    pub fn word(&self) -> &'static str {
        match self {
            Listen::Socket(SocketType::Stream, _) => "Stream",
            Listen::Socket(SocketType::Datagram, _) => "Datagram",
            Listen::Socket(SocketType::SequentialPacket, _) => "SequentialPacket",
            Listen::Socket(SocketType::Raw, _) => "Netlink",
            Listen::Fifo(_) => "FIFO",
            Listen::Special(_) => "Special",
            Listen::MessageQueue(_) => "MessageQueue",
            Listen::UsbFunction(_) => "USBFunction",
        }
    }

    /// The address or path as systemd prints it.
    pub fn target(&self) -> String {
        match self {
            Listen::Socket(_, address) => address.to_string(),
            Listen::Fifo(path) | Listen::Special(path) | Listen::MessageQueue(path) | Listen::UsbFunction(path) => {
                path.clone()
            }
        }
    }

    /// Its place in the file system, if it has one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Listen::Socket(_, Address::Unix(path))
            | Listen::Fifo(path)
            | Listen::Special(path)
            | Listen::UsbFunction(path) => Some(path),
            Listen::Socket(..) | Listen::MessageQueue(_) => None,
        }
    }

    /// Can connections be accepted here?
    pub fn accepts(&self) -> bool {
        matches!(self, Listen::Socket(SocketType::Stream | SocketType::SequentialPacket, _))
    }
}

/// `BindIPv6Only=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BindIpv6Only {
    /// As the kernel is set.
    #[default]
    Default,
    /// IPv4 as well.
    Both,
    /// IPv6 only.
    Ipv6Only,
}

impl BindIpv6Only {
    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        match self {
            BindIpv6Only::Default => "default",
            BindIpv6Only::Both => "both",
            BindIpv6Only::Ipv6Only => "ipv6-only",
        }
    }
}

/// `Timestamping=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timestamping {
    /// None.
    #[default]
    Off,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl Timestamping {
    /// The word that systemd prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Timestamping::Off => "off",
            Timestamping::Microseconds => "us",
            Timestamping::Nanoseconds => "ns",
        }
    }
}

/// `SocketProtocol=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// UDP-Lite.
    UdpLite,
    /// SCTP.
    Sctp,
    /// Multipath TCP.
    Mptcp,
}

impl Protocol {
    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::UdpLite => "udplite",
            Protocol::Sctp => "sctp",
            Protocol::Mptcp => "mptcp",
        }
    }
}

/// So many events in an interval; what is not written has a default that hangs on `Accept=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// The interval.
    pub interval: Option<Span>,
    /// The number of events.
    pub burst: Option<u32>,
}

/// The settings of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// What is listened on, in the order of the file.
    pub listen: Vec<Listen>,
    /// `Accept=`.
    pub accept: bool,
    /// `Service=`.
    pub service: Option<UnitName>,
    /// `SocketProtocol=`.
    pub protocol: Option<Protocol>,
    /// `BindIPv6Only=`.
    pub bind_ipv6_only: BindIpv6Only,
    /// `Backlog=`.
    pub backlog: u32,
    /// `BindToDevice=`.
    pub bind_to_device: Option<String>,
    /// `SocketUser=`.
    pub user: Option<String>,
    /// `SocketGroup=`.
    pub group: Option<String>,
    /// `SocketMode=`.
    pub mode: u32,
    /// `DirectoryMode=`.
    pub directory_mode: u32,
    /// `MaxConnections=`.
    pub connections_max: u32,
    /// `MaxConnectionsPerSource=`.
    pub connections_per_source_max: u32,
    /// `KeepAlive=`.
    pub keep_alive: bool,
    /// `KeepAliveTimeSec=`.
    pub keep_alive_time: Span,
    /// `KeepAliveIntervalSec=`.
    pub keep_alive_interval: Span,
    /// `KeepAliveProbes=`.
    pub keep_alive_probes: u32,
    /// `NoDelay=`.
    pub no_delay: bool,
    /// `DeferAcceptSec=`.
    pub defer_accept: Span,
    /// `Priority=`.
    pub priority: Option<i32>,
    /// `ReceiveBuffer=`.
    pub receive_buffer: u64,
    /// `SendBuffer=`.
    pub send_buffer: u64,
    /// `IPTOS=`.
    pub ip_tos: Option<i32>,
    /// `IPTTL=`.
    pub ip_ttl: Option<i32>,
    /// `Mark=`.
    pub mark: Option<i32>,
    /// `ReusePort=`.
    pub reuse_port: bool,
    /// `PipeSize=`.
    pub pipe_size: u64,
    /// `FreeBind=`.
    pub free_bind: bool,
    /// `Transparent=`.
    pub transparent: bool,
    /// `Broadcast=`.
    pub broadcast: bool,
    /// `PassCredentials=`.
    pub pass_credentials: bool,
    /// `PassFileDescriptorsToExec=`.
    pub pass_descriptors_to_exec: bool,
    /// `PassSecurity=`.
    pub pass_security: bool,
    /// `PassPacketInfo=`.
    pub pass_packet_info: bool,
    /// `Timestamping=`.
    pub timestamping: Timestamping,
    /// `TCPCongestion=`.
    pub tcp_congestion: Option<String>,
    /// `RemoveOnStop=`.
    pub remove_on_stop: bool,
    /// `Symlinks=`.
    pub symlinks: Vec<String>,
    /// `Writable=`.
    pub writable: bool,
    /// `FlushPending=`.
    pub flush_pending: bool,
    /// `FileDescriptorName=`.
    pub descriptor_name: Option<String>,
    /// `MessageQueueMaxMessages=`.
    pub queue_messages_max: i64,
    /// `MessageQueueMessageSize=`.
    pub queue_message_size: i64,
    /// `TriggerLimitIntervalSec=` and `TriggerLimitBurst=` as written.
    pub trigger_limit: Limit,
    /// `PollLimitIntervalSec=` and `PollLimitBurst=` as written.
    pub poll_limit: Limit,
    /// `SELinuxContextFromNet=`.
    pub selinux_context_from_net: bool,
    /// `SmackLabel=`.
    pub smack_label: Option<String>,
    /// `SmackLabelIPIn=`.
    pub smack_label_in: Option<String>,
    /// `SmackLabelIPOut=`.
    pub smack_label_out: Option<String>,
    /// `TimeoutSec=`.
    pub timeout: Span,
    /// `ExecStartPre=`.
    pub start_pre: Vec<Command>,
    /// `ExecStartPost=`.
    pub start_post: Vec<Command>,
    /// `ExecStopPre=`.
    pub stop_pre: Vec<Command>,
    /// `ExecStopPost=`.
    pub stop_post: Vec<Command>,
    /// Context of the commands.
    pub exec: Shared<Exec>,
    /// How they are stopped.
    pub kill: Kill,
}

impl Default for Socket {
    fn default() -> Self {
        Socket {
            listen: Vec::new(),
            accept: false,
            service: None,
            protocol: None,
            bind_ipv6_only: BindIpv6Only::Default,
            // The kernel cuts it down to net.core.somaxconn.
            backlog: i32::MAX.unsigned_abs(),
            bind_to_device: None,
            user: None,
            group: None,
            mode: 0o666,
            directory_mode: 0o755,
            connections_max: 64,
            connections_per_source_max: 0,
            keep_alive: false,
            keep_alive_time: Span::seconds(0),
            keep_alive_interval: Span::seconds(0),
            keep_alive_probes: 0,
            no_delay: false,
            defer_accept: Span::seconds(0),
            priority: None,
            receive_buffer: 0,
            send_buffer: 0,
            ip_tos: None,
            ip_ttl: None,
            mark: None,
            reuse_port: false,
            pipe_size: 0,
            free_bind: false,
            transparent: false,
            broadcast: false,
            pass_credentials: false,
            pass_descriptors_to_exec: false,
            pass_security: false,
            pass_packet_info: false,
            timestamping: Timestamping::Off,
            tcp_congestion: None,
            remove_on_stop: false,
            symlinks: Vec::new(),
            writable: false,
            flush_pending: false,
            descriptor_name: None,
            queue_messages_max: 0,
            queue_message_size: 0,
            trigger_limit: Limit::default(),
            poll_limit: Limit::default(),
            selinux_context_from_net: false,
            smack_label: None,
            smack_label_in: None,
            smack_label_out: None,
            timeout: Span::seconds(90),
            start_pre: Vec::new(),
            start_post: Vec::new(),
            stop_pre: Vec::new(),
            stop_post: Vec::new(),
            exec: Shared::default(),
            kill: Kill::default(),
        }
    }
}

impl Socket {
    /// The service that takes the sockets; with `Accept=yes` there is one an instance, and none here.
    pub fn activates(&self, name: &UnitName) -> Option<UnitName> {
        if self.accept && !self.listen.is_empty() && self.listen.iter().all(Listen::accepts) {
            return None;
        }
        self.service.clone().or_else(|| name.with_kind(UnitKind::Service).ok())
    }

    /// The name under which the service finds the sockets.
    pub fn descriptor_name<'a>(&'a self, name: &'a UnitName) -> &'a str {
        match &self.descriptor_name {
            Some(own) => own,
            None if self.accept => "connection",
            None => name.as_str(),
        }
    }

    /// How often the socket may start its service: (interval, number).
    pub fn trigger_limit(&self) -> (Span, u32) {
        let burst = if self.accept { 200 } else { 20 };
        (self.trigger_limit.interval.unwrap_or(Span::seconds(2)), self.trigger_limit.burst.unwrap_or(burst))
    }

    /// How often one descriptor may wake PID 1 before it rests: (interval, number).
    pub fn poll_limit(&self) -> (Span, u32) {
        let burst = if self.accept { 150 } else { 15 };
        (self.poll_limit.interval.unwrap_or(Span::seconds(2)), self.poll_limit.burst.unwrap_or(burst))
    }

    /// The one place in the file system that `Symlinks=` lead to.
    pub fn link_target(&self) -> Option<&str> {
        let mut places = self.listen.iter().filter_map(|listen| match listen {
            Listen::Socket(_, Address::Unix(path)) | Listen::Fifo(path) => Some(path.as_str()),
            _ => None,
        });
        let first = places.next();
        if places.next().is_some() { None } else { first }
    }

    /// Why this socket cannot run, if it cannot.
    pub(crate) fn verify(&self) -> Result<(), String> {
        if self.listen.is_empty() {
            return Err("socket has no Listen setting such as ListenStream=, refusing".into());
        }
        if self.accept && !self.listen.iter().all(Listen::accepts) {
            return Err("Accept=yes, but one of the sockets takes no connections, refusing".into());
        }
        if self.connections_max == 0 {
            return Err("MaxConnections=0 would take no connection, refusing".into());
        }
        if self.accept && self.service.is_some() {
            return Err("Service= cannot be set with Accept=yes, which starts instances of a template, refusing".into());
        }
        if !self.symlinks.is_empty() && self.link_target().is_none() {
            return Err("Symlinks= needs exactly one socket in the file system to lead to, refusing".into());
        }
        Ok(())
    }
}
