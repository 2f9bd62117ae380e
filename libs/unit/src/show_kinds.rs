//! The properties of sockets, timers, paths, automounts, swaps and scopes. Pure.

use crate::automount::Automount;
use crate::calendar::CalendarSpec;
use crate::path::PathUnit;
use crate::scope::Scope;
use crate::show::{Lines, kill};
use crate::show_service::command_lines;
use crate::socket::{Socket, Timestamping};
use crate::swap::Swap;
use crate::timer::{Elapse, Timer};
use crate::unit::Unit;
use crate::value::{Span, span_text};
use crate::zone::Zones;

pub(crate) fn socket(lines: &mut Lines, unit: &Unit, socket: &Socket) {
    lines.put("Socket State", "dead");
    lines.put("BindIPv6Only", socket.bind_ipv6_only.as_str());
    lines.put("Backlog", socket.backlog.to_string());
    lines.put("SocketMode", format!("{:04o}", socket.mode));
    lines.put("DirectoryMode", format!("{:04o}", socket.directory_mode));
    for (name, value) in [
        ("KeepAlive", socket.keep_alive),
        ("NoDelay", socket.no_delay),
        ("FreeBind", socket.free_bind),
        ("Transparent", socket.transparent),
        ("Broadcast", socket.broadcast),
        ("PassCredentials", socket.pass_credentials),
        ("PassFileDescriptorsToExec", socket.pass_descriptors_to_exec),
        ("PassSecurity", socket.pass_security),
        ("PassPacketInfo", socket.pass_packet_info),
    ] {
        lines.flag(name, value);
    }
    lines.put("TCPCongestion", socket.tcp_congestion.as_deref().unwrap_or("n/a"));
    lines.flag("RemoveOnStop", socket.remove_on_stop);
    lines.flag("Writable", socket.writable);
    lines.put("FileDescriptorName", socket.descriptor_name(&unit.name));
    lines.flag("SELinuxContextFromNet", socket.selinux_context_from_net);
    socket_options(lines, socket);
    for listen in &socket.listen {
        lines.put(listen.directive(), listen.target());
    }
    let ((trigger, trigger_burst), (poll, poll_burst)) = (socket.trigger_limit(), socket.poll_limit());
    lines.span("TriggerLimitIntervalSec", trigger);
    lines.put("TriggerLimitBurst", trigger_burst.to_string());
    lines.span("PollLimitIntervalSec", poll);
    lines.put("PollLimitBurst", poll_burst.to_string());
    lines.put("SocketProtocol", socket.protocol.map_or("ip", |protocol| protocol.as_str()));
    if !socket.symlinks.is_empty() {
        lines.put("Symlinks", socket.symlinks.join(" "));
    }
    lines.span("TimeoutSec", socket.timeout);
    lines.extend(crate::show_exec::properties(unit, &socket.exec));
    kill(lines, &socket.kill);
    for (name, commands) in [
        ("ExecStartPre", &socket.start_pre),
        ("ExecStartPost", &socket.start_post),
        ("ExecStopPre", &socket.stop_pre),
        ("ExecStopPost", &socket.stop_post),
    ] {
        command_lines(lines, name, commands);
    }
    lines.extend(crate::show_resources::properties(unit));
}

/// The options of a socket that are only shown when they are set.
fn socket_options(lines: &mut Lines, socket: &Socket) {
    if socket.timestamping != Timestamping::Off {
        lines.put("Timestamping", socket.timestamping.as_str());
    }
    if let Some(device) = &socket.bind_to_device {
        lines.put("BindToDevice", device);
    }
    if socket.accept {
        lines.put("Accepted", "0");
        lines.put("NConnections", "0");
        lines.put("MaxConnections", socket.connections_max.to_string());
        lines.put("MaxConnectionsPerSource", socket.connections_per_source_max.to_string());
    } else {
        lines.flag("FlushPending", socket.flush_pending);
    }
    let positive = |value: u64| i64::try_from(value).ok().filter(|value| *value > 0);
    for (name, value) in [
        ("Priority", socket.priority.map(i64::from)),
        ("ReceiveBuffer", positive(socket.receive_buffer)),
        ("SendBuffer", positive(socket.send_buffer)),
        ("IPTOS", socket.ip_tos.map(i64::from)),
        ("IPTTL", socket.ip_ttl.map(i64::from)),
        ("PipeSize", positive(socket.pipe_size)),
        ("Mark", socket.mark.map(i64::from)),
        ("MessageQueueMaxMessages", Some(socket.queue_messages_max).filter(|value| *value > 0)),
        ("MessageQueueMessageSize", Some(socket.queue_message_size).filter(|value| *value > 0)),
    ] {
        if let Some(value) = value {
            lines.put(name, value.to_string());
        }
    }
    if socket.reuse_port {
        lines.flag("ReusePort", true);
    }
    for (name, label) in [
        ("SmackLabel", &socket.smack_label),
        ("SmackLabelIPIn", &socket.smack_label_in),
        ("SmackLabelIPOut", &socket.smack_label_out),
    ] {
        if let Some(label) = label {
            lines.put(name, label);
        }
    }
    if socket.user.is_some() || socket.group.is_some() {
        lines.put("SocketUser", socket.user.as_deref().unwrap_or("n/a"));
        lines.put("SocketGroup", socket.group.as_deref().unwrap_or("n/a"));
    }
    let set = |span: Span| span != Span::seconds(0);
    if set(socket.keep_alive_time) && socket.keep_alive_time != Span::Infinite {
        lines.span("KeepAliveTimeSec", socket.keep_alive_time);
    }
    if set(socket.keep_alive_interval) {
        lines.span("KeepAliveIntervalSec", socket.keep_alive_interval);
    }
    if socket.keep_alive_probes > 0 {
        lines.put("KeepAliveProbes", socket.keep_alive_probes.to_string());
    }
    if set(socket.defer_accept) {
        lines.span("DeferAcceptSec", socket.defer_accept);
    }
}

pub(crate) fn timer(lines: &mut Lines, timer: &Timer, triggered: &str) {
    lines.put("Timer State", "dead");
    lines.put("Unit", triggered);
    lines.flag("Persistent", timer.persistent);
    lines.flag("WakeSystem", timer.wake_system);
    lines.put("Accuracy", span_text(timer.accuracy));
    lines.flag("RemainAfterElapse", timer.remain_after_elapse);
    lines.flag("FixedRandomDelay", timer.fixed_random_delay);
    lines.flag("OnClockChange", timer.on_clock_change);
    lines.flag("OnTimeZoneChange", timer.on_timezone_change);
    lines.flag("DeferReactivation", timer.defer_reactivation);
    for time in &timer.times {
        match time {
            Elapse::After(base, span) => lines.put(base.directive(), span_text(*span)),
            Elapse::Calendar(text) => lines.put("OnCalendar", normal_event(text)),
        }
    }
}

/// A calendar event in its normal form; the time zone, which only the machine knows, stays as it is.
fn normal_event(text: &str) -> String {
    let zones = Zones::utc();
    if let Ok(event) = CalendarSpec::parse(text, &zones) {
        return event.to_string();
    }
    match text.rsplit_once(' ').map(|(event, zone)| (CalendarSpec::parse(event, &zones), zone)) {
        Some((Ok(event), zone)) => format!("{event} {zone}"),
        Some((Err(_), _)) | None => text.to_owned(),
    }
}

pub(crate) fn path(lines: &mut Lines, path: &PathUnit, triggered: &str) {
    lines.put("Path State", "dead");
    lines.put("Unit", triggered);
    lines.flag("MakeDirectory", path.make_directory);
    lines.put("DirectoryMode", format!("{:04o}", path.directory_mode));
    lines.span("TriggerLimitIntervalSec", path.trigger_interval);
    lines.put("TriggerLimitBurst", path.trigger_burst.to_string());
    for (watch, place) in &path.watches {
        lines.put(watch.directive(), place);
    }
}

pub(crate) fn automount(lines: &mut Lines, automount: &Automount) {
    lines.put("Automount State", "dead");
    lines.put("Where", &automount.where_);
    lines.put("ExtraOptions", automount.extra_options.as_deref().unwrap_or("(null)"));
    lines.put("DirectoryMode", format!("{:04o}", automount.directory_mode));
    lines.span("TimeoutIdleUSec", automount.timeout_idle);
}

pub(crate) fn swap(lines: &mut Lines, unit: &Unit, swap: &Swap) {
    lines.put("Swap State", "dead");
    lines.put("What", &swap.what);
    lines.flag("From /proc/swaps", false);
    lines.flag("From fragment", unit.fragment.is_some());
    lines.flag("Extrinsic", false);
    if unit.fragment.is_some() {
        lines.put("Priority", swap.priority.unwrap_or(0).to_string());
        lines.put("Options", swap.options.as_deref().unwrap_or(""));
    }
    lines.span("TimeoutSec", swap.timeout);
    lines.extend(crate::show_exec::properties(unit, &swap.exec));
    kill(lines, &swap.kill);
    lines.extend(crate::show_resources::properties(unit));
}

pub(crate) fn scope(lines: &mut Lines, unit: &Unit, scope: &Scope) {
    lines.put("Scope State", if unit.perpetual { "running" } else { "dead" });
    lines.span("RuntimeMaxSec", scope.runtime_max);
    lines.span("RuntimeRandomizedExtraSec", scope.runtime_extra);
    lines.put("OOMPolicy", scope.oom_policy.as_str());
    lines.extend(crate::show_resources::properties(unit));
    kill(lines, &scope.kill);
}
