//! The properties of all kinds beside service and mount, under systemd's names.
//!
//! Moments are microseconds: whoever prints them knows the zone.

use std::collections::BTreeMap;

use ferrite_unit::path::PathUnit;
use ferrite_unit::socket::Socket;
use ferrite_unit::timer::{Elapse, Timer};
use ferrite_unit::value::span_text;
use ferrite_unit::{Config, timespan};

use crate::engine::Engine;
use crate::jobs::UnitId;

fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

/// What only units that start others have.
pub fn of(engine: &Engine, id: UnitId) -> BTreeMap<String, String> {
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    let Some(runtime) = engine.units.get(id) else { return out };
    if let Some(unit) = runtime.unit.activates() {
        out.insert("Unit".to_owned(), unit.to_string());
    }
    out.extend(match &runtime.unit.config {
        Config::Timer(timer) => of_timer(engine, id, timer),
        Config::Socket(socket) => of_socket(engine, id, socket),
        Config::Path(path) => of_path(path),
        Config::Swap(swap) => pairs([
            ("What", swap.what.clone()),
            ("Priority", swap.priority.map_or("-1".to_owned(), |priority| priority.to_string())),
            ("Options", swap.options.clone().unwrap_or_default()),
            ("TimeoutUSec", span_text(swap.timeout)),
            ("ControlPID", runtime.control_pid.unwrap_or(0).to_string()),
        ]),
        Config::Automount(automount) => pairs([
            ("Where", automount.where_.clone()),
            ("ExtraOptions", automount.extra_options.clone().unwrap_or_default()),
            ("DirectoryMode", octal(automount.directory_mode)),
            ("TimeoutIdleUSec", span_text(automount.timeout_idle)),
        ]),
        Config::Scope(scope) => pairs([
            ("TimeoutStopUSec", span_text(scope.timeout_stop)),
            ("RuntimeMaxUSec", span_text(scope.runtime_max)),
            ("RuntimeRandomizedExtraUSec", span_text(scope.runtime_extra)),
            ("OOMPolicy", scope.oom_policy.as_str().to_owned()),
        ]),
        Config::Device => {
            pairs([("SysFSPath", crate::device_unit::sysfs_path(&runtime.unit.name).unwrap_or_default())])
        }
        Config::Service(_) | Config::Mount(_) | Config::Target | Config::Slice(_) => BTreeMap::new(),
    });
    out
}

fn pairs<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

fn written(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn of_timer(engine: &Engine, id: UnitId, timer: &Timer) -> BTreeMap<String, String> {
    let data = engine.kinds.timers.get(&id).cloned().unwrap_or_default();
    let (mut monotonic, mut calendar) = (Vec::new(), Vec::new());
    for (place, time) in timer.times.iter().enumerate() {
        let next = data.next.each.get(place).copied().flatten();
        match time {
            Elapse::After(base, span) => {
                let name = base.directive().replace("Sec", "USec");
                let next = timespan::text(next.unwrap_or(0), 1);
                monotonic.push(format!("{{ {name}={} ; next_elapse={next} }}", span_text(*span)));
            }
            // A moment is printed by whoever knows the zone.
            Elapse::Calendar(text) => {
                calendar.push(format!("{{ OnCalendar={text} ; next_elapse=@{} }}", next.unwrap_or(0)));
            }
        }
    }
    pairs([
        ("TimersMonotonic", monotonic.join("\n")),
        ("TimersCalendar", calendar.join("\n")),
        ("NextElapseUSecRealtime", data.next.wall.unwrap_or(0).to_string()),
        ("NextElapseUSecMonotonic", data.next.monotonic.unwrap_or(0).to_string()),
        ("LastTriggerUSec", data.last.wall.to_string()),
        ("LastTriggerUSecMonotonic", data.last.monotonic.to_string()),
        ("AccuracyUSec", span_text(timer.accuracy)),
        ("RandomizedDelayUSec", span_text(timer.randomized_delay)),
        ("FixedRandomDelay", yes(timer.fixed_random_delay)),
        ("Persistent", yes(timer.persistent)),
        ("WakeSystem", yes(timer.wake_system)),
        ("RemainAfterElapse", yes(timer.remain_after_elapse)),
        ("OnClockChange", yes(timer.on_clock_change)),
        ("OnTimezoneChange", yes(timer.on_timezone_change)),
        ("DeferReactivation", yes(timer.defer_reactivation)),
    ])
}

fn of_path(path: &PathUnit) -> BTreeMap<String, String> {
    let paths = path.watches.iter().map(|(watch, path)| format!("{path} ({})", watch.directive()));
    pairs([
        ("Paths", paths.collect::<Vec<_>>().join("\n")),
        ("MakeDirectory", yes(path.make_directory)),
        ("DirectoryMode", octal(path.directory_mode)),
        ("TriggerLimitIntervalUSec", span_text(path.trigger_interval)),
        ("TriggerLimitBurst", path.trigger_burst.to_string()),
    ])
}

fn of_socket(engine: &Engine, id: UnitId, socket: &Socket) -> BTreeMap<String, String> {
    let Some(runtime) = engine.units.get(id) else { return BTreeMap::new() };
    let listen = socket.listen.iter().map(|listen| format!("{} ({})", listen.target(), listen.word()));
    let open = engine.kinds.sockets.get(&id);
    let connections = engine.kinds.connections.values().filter(|connection| connection.socket == id).count();
    let (trigger_interval, trigger_burst) = socket.trigger_limit();
    let (poll_interval, poll_burst) = socket.poll_limit();
    let mut out = pairs([
        ("Listen", listen.collect::<Vec<_>>().join("\n")),
        ("Accept", yes(socket.accept)),
        ("NConnections", connections.to_string()),
        ("NAccepted", open.map_or(0, |open| open.accepted).to_string()),
        ("NRefused", open.map_or(0, |open| open.refused).to_string()),
        ("ControlPID", runtime.control_pid.unwrap_or(0).to_string()),
        ("Backlog", socket.backlog.to_string()),
        ("BindIPv6Only", socket.bind_ipv6_only.as_str().to_owned()),
        ("BindToDevice", written(&socket.bind_to_device)),
        ("SocketUser", written(&socket.user)),
        ("SocketGroup", written(&socket.group)),
        ("SocketMode", octal(socket.mode)),
        ("DirectoryMode", octal(socket.directory_mode)),
        ("SocketProtocol", socket.protocol.map_or("", |protocol| protocol.as_str()).to_owned()),
        ("FileDescriptorName", socket.descriptor_name(&runtime.unit.name).to_owned()),
        ("MaxConnections", socket.connections_max.to_string()),
        ("MaxConnectionsPerSource", socket.connections_per_source_max.to_string()),
        ("TriggerLimitIntervalUSec", span_text(trigger_interval)),
        ("TriggerLimitBurst", trigger_burst.to_string()),
        ("PollLimitIntervalUSec", span_text(poll_interval)),
        ("PollLimitBurst", poll_burst.to_string()),
        ("RemoveOnStop", yes(socket.remove_on_stop)),
        ("Symlinks", socket.symlinks.join(" ")),
        ("Writable", yes(socket.writable)),
        ("FlushPending", yes(socket.flush_pending)),
        ("TimeoutUSec", span_text(socket.timeout)),
    ]);
    out.extend(options_of(socket));
    out
}

/// What is set on the files themselves.
fn options_of(socket: &Socket) -> BTreeMap<String, String> {
    let or_minus = |value: Option<i32>| value.unwrap_or(-1).to_string();
    pairs([
        ("KeepAlive", yes(socket.keep_alive)),
        ("KeepAliveTimeUSec", span_text(socket.keep_alive_time)),
        ("KeepAliveIntervalUSec", span_text(socket.keep_alive_interval)),
        ("KeepAliveProbes", socket.keep_alive_probes.to_string()),
        ("NoDelay", yes(socket.no_delay)),
        ("DeferAcceptUSec", span_text(socket.defer_accept)),
        ("Priority", or_minus(socket.priority)),
        ("ReceiveBuffer", socket.receive_buffer.to_string()),
        ("SendBuffer", socket.send_buffer.to_string()),
        ("IPTOS", or_minus(socket.ip_tos)),
        ("IPTTL", or_minus(socket.ip_ttl)),
        ("Mark", or_minus(socket.mark)),
        ("PipeSize", socket.pipe_size.to_string()),
        ("FreeBind", yes(socket.free_bind)),
        ("Transparent", yes(socket.transparent)),
        ("Broadcast", yes(socket.broadcast)),
        ("ReusePort", yes(socket.reuse_port)),
        ("PassCredentials", yes(socket.pass_credentials)),
        ("PassFileDescriptorsToExec", yes(socket.pass_descriptors_to_exec)),
        ("PassSecurity", yes(socket.pass_security)),
        ("PassPacketInfo", yes(socket.pass_packet_info)),
        ("Timestamping", socket.timestamping.as_str().to_owned()),
        ("TCPCongestion", written(&socket.tcp_congestion)),
        ("MessageQueueMaxMessages", socket.queue_messages_max.to_string()),
        ("MessageQueueMessageSize", socket.queue_message_size.to_string()),
        ("SmackLabel", written(&socket.smack_label)),
        ("SmackLabelIPIn", written(&socket.smack_label_in)),
        ("SmackLabelIPOut", written(&socket.smack_label_out)),
    ])
}
