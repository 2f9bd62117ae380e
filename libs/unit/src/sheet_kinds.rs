//! The sheets of sockets, timers, paths, mounts, swaps, automounts and scopes. Pure.

use crate::automount::Automount;
use crate::calendar::CalendarSpec;
use crate::mount::Mount;
use crate::path::PathUnit;
use crate::scope::Scope;
use crate::sheet::Sheet;
use crate::sheet_service::{Forms, accounts, commands};
use crate::socket::{Protocol, Socket};
use crate::swap::Swap;
use crate::timer::{Elapse, Timer};
use crate::unit::Unit;
use crate::value::span_text;
use crate::zone::Zones;

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

fn or_minus(value: Option<i32>) -> String {
    value.unwrap_or(-1).to_string()
}

pub(crate) fn socket(sheet: &mut Sheet, unit: &Unit, socket: &Socket) {
    sheet.put("BindIPv6Only", socket.bind_ipv6_only.as_str());
    sheet.put("Backlog", socket.backlog.to_string());
    sheet.span("TimeoutUSec", socket.timeout);
    sheet.optional("BindToDevice", socket.bind_to_device.as_ref());
    sheet.optional("SocketUser", socket.user.as_ref());
    sheet.optional("SocketGroup", socket.group.as_ref());
    sheet.put("SocketMode", octal(socket.mode));
    sheet.put("DirectoryMode", octal(socket.directory_mode));
    sheet.flag("Accept", socket.accept);
    sheet.flag("FlushPending", socket.flush_pending);
    sheet.flag("Writable", socket.writable);
    socket_options(sheet, socket);
    sheet.flag("RemoveOnStop", socket.remove_on_stop);
    for listen in &socket.listen {
        sheet.put("Listen", format!("{} ({})", listen.target(), listen.word()));
    }
    sheet.list("Symlinks", &socket.symlinks);
    sheet.put("Mark", or_minus(socket.mark));
    sheet.put("MaxConnections", socket.connections_max.to_string());
    sheet.put("MaxConnectionsPerSource", socket.connections_per_source_max.to_string());
    sheet.put("MessageQueueMaxMessages", socket.queue_messages_max.to_string());
    sheet.put("MessageQueueMessageSize", socket.queue_message_size.to_string());
    sheet.optional("TCPCongestion", socket.tcp_congestion.as_ref());
    sheet.flag("ReusePort", socket.reuse_port);
    sheet.optional("SmackLabel", socket.smack_label.as_ref());
    sheet.optional("SmackLabelIPIn", socket.smack_label_in.as_ref());
    sheet.optional("SmackLabelIPOut", socket.smack_label_out.as_ref());
    sheet.put("ControlPID", "0");
    sheet.put("Result", "success");
    for name in ["NConnections", "NAccepted", "NRefused"] {
        sheet.put(name, "0");
    }
    sheet.put("FileDescriptorName", socket.descriptor_name(&unit.name));
    let protocol = match socket.protocol {
        None => 0,
        Some(Protocol::UdpLite) => 136,
        Some(Protocol::Sctp) => 132,
        Some(Protocol::Mptcp) => 262,
    };
    sheet.put("SocketProtocol", protocol.to_string());
    let ((trigger, trigger_burst), (poll, poll_burst)) = (socket.trigger_limit(), socket.poll_limit());
    sheet.span("TriggerLimitIntervalUSec", trigger);
    sheet.put("TriggerLimitBurst", trigger_burst.to_string());
    sheet.span("PollLimitIntervalUSec", poll);
    sheet.put("PollLimitBurst", poll_burst.to_string());
    accounts(sheet);
    for (name, list) in [
        ("ExecStartPre", &socket.start_pre),
        ("ExecStartPost", &socket.start_post),
        ("ExecStopPre", &socket.stop_pre),
        ("ExecStopPost", &socket.stop_post),
    ] {
        commands(sheet, name, list, Forms::Plain);
    }
}

/// What is set on the files themselves.
fn socket_options(sheet: &mut Sheet, socket: &Socket) {
    sheet.flag("KeepAlive", socket.keep_alive);
    sheet.span("KeepAliveTimeUSec", socket.keep_alive_time);
    sheet.span("KeepAliveIntervalUSec", socket.keep_alive_interval);
    sheet.put("KeepAliveProbes", socket.keep_alive_probes.to_string());
    sheet.span("DeferAcceptUSec", socket.defer_accept);
    sheet.flag("NoDelay", socket.no_delay);
    sheet.put("Priority", or_minus(socket.priority));
    sheet.put("ReceiveBuffer", socket.receive_buffer.to_string());
    sheet.put("SendBuffer", socket.send_buffer.to_string());
    sheet.put("IPTOS", or_minus(socket.ip_tos));
    sheet.put("IPTTL", or_minus(socket.ip_ttl));
    sheet.put("PipeSize", socket.pipe_size.to_string());
    sheet.flag("FreeBind", socket.free_bind);
    sheet.flag("Transparent", socket.transparent);
    sheet.flag("Broadcast", socket.broadcast);
    sheet.flag("PassCredentials", socket.pass_credentials);
    sheet.flag("PassFileDescriptorsToExec", socket.pass_descriptors_to_exec);
    sheet.flag("PassSecurity", socket.pass_security);
    sheet.flag("PassPacketInfo", socket.pass_packet_info);
    sheet.put("Timestamping", socket.timestamping.as_str());
}

/// The times of a timer of one sort in the order in which `show` tells them: the last written first. With their places
/// among all times.
fn times(timer: &Timer, calendar: bool) -> impl Iterator<Item = (usize, &Elapse)> {
    let of_sort = move |(_, time): &(usize, &Elapse)| matches!(time, Elapse::Calendar(_)) == calendar;
    timer.times.iter().enumerate().rev().filter(of_sort)
}

/// `TimersMonotonic`: each time and when it comes next, told by its place.
pub fn monotonic_times(timer: &Timer, next_us: impl Fn(usize) -> u64) -> Vec<String> {
    let line = |(place, time): (usize, &Elapse)| match time {
        Elapse::After(base, span) => {
            let name = base.directive().replace("Sec", "USec");
            let next = crate::timespan::text(next_us(place), 1);
            Some(format!("{{ {name}={} ; next_elapse={next} }}", span_text(*span)))
        }
        Elapse::Calendar(_) => None,
    };
    times(timer, false).filter_map(line).collect()
}

/// `TimersCalendar`: the same with moments.
pub fn calendar_times(timer: &Timer, next_us: impl Fn(usize) -> u64) -> Vec<String> {
    let zones = Zones::new(None, |_| None);
    let line = |(place, time): (usize, &Elapse)| match time {
        Elapse::Calendar(text) => {
            let text = CalendarSpec::parse(text, &zones).map_or_else(|_| text.clone(), |spec| spec.to_string());
            Some(format!("{{ OnCalendar={text} ; next_elapse=@{} }}", next_us(place)))
        }
        Elapse::After(..) => None,
    };
    times(timer, true).filter_map(line).collect()
}

pub(crate) fn timer(sheet: &mut Sheet, unit: &Unit, timer: &Timer) {
    activated(sheet, unit);
    for line in monotonic_times(timer, |_| 0) {
        sheet.put("TimersMonotonic", line);
    }
    for line in calendar_times(timer, |_| 0) {
        sheet.put("TimersCalendar", line);
    }
    sheet.flag("OnClockChange", timer.on_clock_change);
    sheet.flag("OnTimezoneChange", timer.on_timezone_change);
    sheet.put("NextElapseUSecRealtime", "@0");
    sheet.put("NextElapseUSecMonotonic", "infinity");
    sheet.put("LastTriggerUSec", "@0");
    sheet.put("LastTriggerUSecMonotonic", "0");
    sheet.put("Result", "success");
    sheet.span("AccuracyUSec", timer.accuracy);
    sheet.span("RandomizedDelayUSec", timer.randomized_delay);
    sheet.flag("FixedRandomDelay", timer.fixed_random_delay);
    sheet.flag("Persistent", timer.persistent);
    sheet.flag("WakeSystem", timer.wake_system);
    sheet.flag("RemainAfterElapse", timer.remain_after_elapse);
    sheet.flag("DeferReactivation", timer.defer_reactivation);
}

fn activated(sheet: &mut Sheet, unit: &Unit) {
    sheet.put("Unit", unit.activates().map(|name| name.to_string()).unwrap_or_default());
}

pub(crate) fn path(sheet: &mut Sheet, unit: &Unit, path: &PathUnit) {
    activated(sheet, unit);
    for (watch, place) in path.watches.iter().rev() {
        sheet.put("Paths", format!("{place} ({})", watch.directive()));
    }
    sheet.flag("MakeDirectory", path.make_directory);
    sheet.put("DirectoryMode", octal(path.directory_mode));
    sheet.put("Result", "success");
    sheet.span("TriggerLimitIntervalUSec", path.trigger_interval);
    sheet.put("TriggerLimitBurst", path.trigger_burst.to_string());
}

pub(crate) fn mount(sheet: &mut Sheet, mount: &Mount) {
    sheet.put("Where", mount.where_.as_str());
    sheet.put("What", mount.what.as_str());
    sheet.optional("Options", mount.options.as_ref());
    sheet.optional("Type", mount.kind.as_ref());
    sheet.span("TimeoutUSec", mount.timeout);
    sheet.put("ControlPID", "0");
    sheet.put("DirectoryMode", octal(mount.directory_mode));
    sheet.flag("SloppyOptions", mount.sloppy_options);
    sheet.flag("LazyUnmount", mount.lazy_unmount);
    sheet.flag("ForceUnmount", mount.force_unmount);
    sheet.flag("ReadWriteOnly", mount.read_write_only);
    sheet.put("Result", "success");
    accounts(sheet);
}

pub(crate) fn swap(sheet: &mut Sheet, swap: &Swap) {
    sheet.put("What", swap.what.as_str());
    sheet.put("Priority", or_minus(swap.priority));
    sheet.optional("Options", swap.options.as_ref());
    sheet.span("TimeoutUSec", swap.timeout);
    sheet.put("ControlPID", "0");
    sheet.put("Result", "success");
    accounts(sheet);
}

pub(crate) fn automount(sheet: &mut Sheet, automount: &Automount) {
    sheet.put("Where", automount.where_.as_str());
    sheet.optional("ExtraOptions", automount.extra_options.as_ref());
    sheet.put("DirectoryMode", octal(automount.directory_mode));
    sheet.put("Result", "success");
    sheet.span("TimeoutIdleUSec", automount.timeout_idle);
}

pub(crate) fn scope(sheet: &mut Sheet, scope: &Scope) {
    sheet.put("Controller", "");
    sheet.span("TimeoutStopUSec", scope.timeout_stop);
    sheet.put("Result", "success");
    sheet.span("RuntimeMaxUSec", scope.runtime_max);
    sheet.span("RuntimeRandomizedExtraUSec", scope.runtime_extra);
    sheet.put("OOMPolicy", scope.oom_policy.as_str());
}
