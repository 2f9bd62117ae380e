//! The directives of `[Socket]` and how their values are read. Pure.

use crate::address::{self, Address, SocketType};
use crate::command;
use crate::directive::{Apply, Table, Value};
use crate::name::{UnitKind, UnitName};
use crate::socket::{BindIpv6Only, Listen, Protocol, Socket, Timestamping};
use crate::value::{Parsed, Span, ValueError, boolean, mode, number, size, span, wrong};

/// Sockets of one unit at most.
const PORTS_MAX: usize = 1024;

fn listen(socket: &mut Socket, value: &Value<'_>, kind: SocketType) -> Parsed<()> {
    let Some(text) = value.optional()? else {
        socket.listen.clear();
        return Ok(());
    };
    let address = address::parse(&text)?;
    if kind == SocketType::SequentialPacket && !matches!(address, Address::Unix(_) | Address::Abstract(_)) {
        return Err(wrong(&text, "a local address, which packets in sequence need"));
    }
    push(socket, Listen::Socket(kind, address))
}

fn netlink(socket: &mut Socket, value: &Value<'_>) -> Parsed<()> {
    let Some(text) = value.optional()? else {
        socket.listen.clear();
        return Ok(());
    };
    let address = address::netlink(&text)?;
    push(socket, Listen::Socket(SocketType::Raw, address))
}

fn listen_path(socket: &mut Socket, value: &Value<'_>, make: fn(String) -> Listen) -> Parsed<()> {
    let Some(text) = value.optional()? else {
        socket.listen.clear();
        return Ok(());
    };
    let listen = make(absolute(&text)?);
    let of_kernel = |path: &str| ["/dev", "/proc", "/sys"].iter().any(|d| crate::escape::is_below(path, d));
    match listen {
        Listen::Special(_) => push(socket, listen),
        Listen::Fifo(path) if !of_kernel(&path) => push(socket, Listen::Fifo(address::without_var(path))),
        other if !of_kernel(&other.target()) => push(socket, other),
        _ => Err(wrong(&text, "a place where files can be made")),
    }
}

fn push(socket: &mut Socket, listen: Listen) -> Parsed<()> {
    if socket.listen.len() >= PORTS_MAX {
        return Err(ValueError(format!("more than {PORTS_MAX} sockets")));
    }
    socket.listen.push(listen);
    Ok(())
}

fn absolute(text: &str) -> Parsed<String> {
    let plain = crate::escape::simplify_path(text).filter(|_| text.starts_with('/'));
    plain.map(|path| format!("/{path}")).ok_or_else(|| wrong(text, "an absolute path without '..'"))
}

fn service(socket: &mut Socket, value: &Value<'_>) -> Parsed<()> {
    let text = value.text()?;
    let name = UnitName::parse(&text).map_err(|error| ValueError(error.to_string()))?;
    if name.kind() != UnitKind::Service || name.is_template() {
        return Err(wrong(&text, "the name of a service"));
    }
    socket.service = Some(name);
    Ok(())
}

fn buffer(text: &str) -> Parsed<u64> {
    size(text)?.ok_or_else(|| wrong(text, "a size such as 512 or 64K"))
}

fn counter(text: &str) -> Parsed<u32> {
    u32::try_from(number(text, 0, i64::from(u32::MAX))?).map_err(|_| wrong(text, "a number"))
}

fn whole(text: &str) -> Parsed<Option<i32>> {
    Ok(i32::try_from(number(text, i64::from(i32::MIN), i64::from(i32::MAX))?).ok().filter(|n| *n >= 0))
}

fn tos(text: &str) -> Parsed<Option<i32>> {
    const NAMES: [(&str, i32); 4] = [("low-delay", 0x10), ("throughput", 0x08), ("reliability", 0x04), ("low-cost", 2)];
    match NAMES.iter().find(|(name, _)| *name == text) {
        Some((_, tos)) => Ok(Some(*tos)),
        None if text.is_empty() => Ok(None),
        None => Ok(i32::try_from(number(text, 0, 255)?).ok()),
    }
}

fn bind(text: &str) -> Parsed<BindIpv6Only> {
    match text {
        "default" => Ok(BindIpv6Only::Default),
        "both" => Ok(BindIpv6Only::Both),
        "ipv6-only" => Ok(BindIpv6Only::Ipv6Only),
        other => match boolean(other) {
            Ok(true) => Ok(BindIpv6Only::Ipv6Only),
            Ok(false) => Ok(BindIpv6Only::Both),
            Err(_) => Err(wrong(other, "default, both or ipv6-only")),
        },
    }
}

fn timestamping(text: &str) -> Parsed<Timestamping> {
    match text {
        "off" => Ok(Timestamping::Off),
        "us" | "usec" | "µs" | "μs" => Ok(Timestamping::Microseconds),
        "ns" | "nsec" => Ok(Timestamping::Nanoseconds),
        other => match boolean(other) {
            Ok(true) => Ok(Timestamping::Nanoseconds),
            Ok(false) => Ok(Timestamping::Off),
            Err(_) => Err(wrong(other, "off, us or ns")),
        },
    }
}

fn protocol(text: &str) -> Parsed<Option<Protocol>> {
    match text {
        "" => Ok(None),
        "udplite" => Ok(Some(Protocol::UdpLite)),
        "sctp" => Ok(Some(Protocol::Sctp)),
        "mptcp" => Ok(Some(Protocol::Mptcp)),
        other => Err(wrong(other, "udplite, sctp or mptcp")),
    }
}

fn device(text: &str) -> Parsed<Option<String>> {
    match text {
        "" | "*" => Ok(None),
        link if address::is_link(link) => Ok(Some(link.to_owned())),
        other => Err(wrong(other, "the name of a network interface")),
    }
}

fn descriptor_name(value: &Value<'_>) -> Parsed<Option<String>> {
    let fits = |name: &str| name.len() <= 255 && name.chars().all(|c| (' '..='~').contains(&c) && c != ':');
    match value.optional()? {
        Some(name) if !fits(&name) => Err(wrong(&name, "a name of at most 255 plain characters without ':'")),
        other => Ok(other),
    }
}

fn symlinks(socket: &mut Socket, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        socket.symlinks.clear();
        return Ok(());
    }
    for word in value.words()? {
        let path = absolute(&word)?;
        if !socket.symlinks.contains(&path) {
            socket.symlinks.push(path);
        }
    }
    Ok(())
}

/// A user or group as unit files name them.
pub(crate) fn account(value: &Value<'_>) -> Parsed<Option<String>> {
    match value.optional()? {
        Some(name) if name.contains([':', '/', ' ', '\n']) => Err(wrong(&name, "a user or group")),
        other => Ok(other),
    }
}

macro_rules! set {
    ($field:ident, $read:expr) => {{
        let apply: Apply<Socket> = |socket, value| {
            socket.$field = $read(value.raw)?;
            Ok(())
        };
        apply
    }};
}

pub(crate) const TABLE: Table<Socket> = &[
    ("ListenStream", |socket, value| listen(socket, value, SocketType::Stream)),
    ("ListenDatagram", |socket, value| listen(socket, value, SocketType::Datagram)),
    ("ListenSequentialPacket", |socket, value| listen(socket, value, SocketType::SequentialPacket)),
    ("ListenFIFO", |socket, value| listen_path(socket, value, Listen::Fifo)),
    ("ListenNetlink", netlink),
    ("ListenSpecial", |socket, value| listen_path(socket, value, Listen::Special)),
    ("ListenMessageQueue", |socket, value| listen_path(socket, value, Listen::MessageQueue)),
    ("ListenUSBFunction", |socket, value| listen_path(socket, value, Listen::UsbFunction)),
    ("SocketProtocol", set!(protocol, protocol)),
    ("BindIPv6Only", set!(bind_ipv6_only, bind)),
    ("Backlog", set!(backlog, counter)),
    ("BindToDevice", set!(bind_to_device, device)),
    ("ExecStartPre", |socket, value| command::assign(&mut socket.start_pre, value)),
    ("ExecStartPost", |socket, value| command::assign(&mut socket.start_post, value)),
    ("ExecStopPre", |socket, value| command::assign(&mut socket.stop_pre, value)),
    ("ExecStopPost", |socket, value| command::assign(&mut socket.stop_post, value)),
    ("TimeoutSec", set!(timeout, |t| span(t).map(Span::zero_is_infinite))),
    ("SocketUser", |socket, value| account(value).map(|user| socket.user = user)),
    ("SocketGroup", |socket, value| account(value).map(|group| socket.group = group)),
    ("SocketMode", set!(mode, mode)),
    ("DirectoryMode", set!(directory_mode, mode)),
    ("Accept", set!(accept, boolean)),
    ("FlushPending", set!(flush_pending, boolean)),
    ("Writable", set!(writable, boolean)),
    ("MaxConnections", set!(connections_max, counter)),
    ("MaxConnectionsPerSource", set!(connections_per_source_max, counter)),
    ("KeepAlive", set!(keep_alive, boolean)),
    ("KeepAliveTimeSec", set!(keep_alive_time, span)),
    ("KeepAliveIntervalSec", set!(keep_alive_interval, span)),
    ("KeepAliveProbes", set!(keep_alive_probes, counter)),
    ("DeferAcceptSec", set!(defer_accept, span)),
    ("NoDelay", set!(no_delay, boolean)),
    ("Priority", set!(priority, whole)),
    ("ReceiveBuffer", set!(receive_buffer, buffer)),
    ("SendBuffer", set!(send_buffer, buffer)),
    ("IPTOS", set!(ip_tos, tos)),
    ("IPTTL", set!(ip_ttl, whole)),
    ("Mark", set!(mark, whole)),
    ("PipeSize", set!(pipe_size, buffer)),
    ("FreeBind", set!(free_bind, boolean)),
    ("Transparent", set!(transparent, boolean)),
    ("Broadcast", set!(broadcast, boolean)),
    ("PassCredentials", set!(pass_credentials, boolean)),
    ("PassFileDescriptorsToExec", set!(pass_descriptors_to_exec, boolean)),
    ("PassSecurity", set!(pass_security, boolean)),
    ("PassPacketInfo", set!(pass_packet_info, boolean)),
    ("Timestamping", set!(timestamping, timestamping)),
    ("TCPCongestion", set!(tcp_congestion, |t: &str| Ok(Some(t.to_owned()).filter(|t| !t.is_empty())))),
    ("ReusePort", set!(reuse_port, boolean)),
    ("MessageQueueMaxMessages", set!(queue_messages_max, |t| number(t, i64::MIN, i64::MAX))),
    ("MessageQueueMessageSize", set!(queue_message_size, |t| number(t, i64::MIN, i64::MAX))),
    ("RemoveOnStop", set!(remove_on_stop, boolean)),
    ("Symlinks", symlinks),
    ("FileDescriptorName", |socket, value| descriptor_name(value).map(|name| socket.descriptor_name = name)),
    ("Service", service),
    ("TriggerLimitIntervalSec", |socket, value| span(value.raw).map(|s| socket.trigger_limit.interval = Some(s))),
    ("TriggerLimitBurst", |socket, value| counter(value.raw).map(|n| socket.trigger_limit.burst = Some(n))),
    ("PollLimitIntervalSec", |socket, value| span(value.raw).map(|s| socket.poll_limit.interval = Some(s))),
    ("PollLimitBurst", |socket, value| counter(value.raw).map(|n| socket.poll_limit.burst = Some(n))),
    // Labels of security modules that this system does not have.
    ("SmackLabel", |socket, value| value.optional().map(|label| socket.smack_label = label)),
    ("SmackLabelIPIn", |socket, value| value.optional().map(|label| socket.smack_label_in = label)),
    ("SmackLabelIPOut", |socket, value| value.optional().map(|label| socket.smack_label_out = label)),
    ("SELinuxContextFromNet", |socket, value| boolean(value.raw).map(|flag| socket.selinux_context_from_net = flag)),
];
