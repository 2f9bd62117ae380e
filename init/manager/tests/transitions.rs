//! The whole table of service transitions as text, so that a changed one shows in the diff.
//!
//! `UPDATE_GOLDEN=1 cargo test -p ferrite-init --test transitions` rewrites it.

use ferrite_init::machine::{Event, Exit, Machine, MainProcess, State, View, step};
use ferrite_unit::kill::KillMode;
use ferrite_unit::service::{Restart, Service, ServiceType};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/transitions.txt");

fn command(path: &str) -> ferrite_unit::command::Command {
    ferrite_unit::command::Command { path: path.into(), words: vec![path.into()], ..Default::default() }
}

fn service(kind: ServiceType) -> Service {
    Service {
        kind,
        start: vec![command("/main")],
        reload: vec![command("/reload")],
        stop: vec![command("/stop")],
        stop_post: vec![command("/stop-post")],
        ..Service::default()
    }
}

const EVENTS: [Event; 14] = [
    Event::Start,
    Event::Stop,
    Event::Reload,
    Event::MainExited(Exit::Code(0)),
    Event::MainExited(Exit::Code(1)),
    Event::MainExited(Exit::Signal(9)),
    Event::ControlExited(Exit::Code(0)),
    Event::ControlExited(Exit::Code(1)),
    Event::MainExecuted,
    Event::Ready { reloaded: false },
    Event::Stopping,
    Event::GroupEmpty,
    Event::TimedOut,
    Event::WatchdogExpired,
];

const STATES: [(State, bool, bool); 18] = [
    (State::Dead, false, false),
    (State::Condition(0), false, true),
    (State::StartPre(0), false, true),
    (State::Start(0), true, false),
    (State::StartPost(0), true, true),
    (State::Running, true, false),
    (State::Exited, false, false),
    (State::Reload(0), true, true),
    (State::ReloadSignal, true, false),
    (State::Stop(0), true, true),
    (State::StopWatchdog, true, false),
    (State::StopSigterm, true, false),
    (State::StopSigkill, true, false),
    (State::StopPost(0), false, true),
    (State::FinalSigterm, false, false),
    (State::FinalSigkill, false, false),
    (State::Failed, false, false),
    (State::AutoRestart, false, false),
];

fn table() -> String {
    let mut text = String::new();
    let kinds =
        [ServiceType::Simple, ServiceType::Exec, ServiceType::Oneshot, ServiceType::Notify, ServiceType::Forking];
    for kind in kinds {
        let service = service(kind);
        text.push_str(&format!("# Type={}\n", kind.as_str()));
        for (state, main, control) in STATES {
            let main = if main && kind != ServiceType::Forking { MainProcess::Alive } else { MainProcess::Unknown };
            let machine = Machine { state, main, control, ..Machine::default() };
            for event in EVENTS {
                let populated = main == MainProcess::Alive || control;
                let Some((next, effects)) = step(
                    machine,
                    event,
                    View { service: &service, populated, stop_queued: false, pinned: false, bus_tells: false },
                ) else {
                    continue;
                };
                let (from, to) = (format!("{state:?}"), format!("{:?} {}", next.state, next.result.as_str()));
                text.push_str(&format!("{from:<14} {:<27} {to:<28} {effects:?}\n", format!("{event:?}")));
            }
        }
    }
    text
}

#[test]
fn the_table_of_transitions_is_the_reviewed_one() {
    let have = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &have).unwrap();
    }
    let want = std::fs::read_to_string(GOLDEN).unwrap();
    for (number, (have, want)) in have.lines().zip(want.lines()).enumerate() {
        assert_eq!(have, want, "line {}", number + 1);
    }
    assert_eq!(have.lines().count(), want.lines().count());
}

fn end_of(service: &Service, exit: Exit) -> Machine {
    let machine = Machine { state: State::Running, main: MainProcess::Alive, ..Machine::default() };
    let view = View { service, populated: false, stop_queued: false, pinned: false, bus_tells: false };
    let (mut machine, _) = step(machine, Event::MainExited(exit), view).unwrap();
    while let Some((next, _)) = step(machine, Event::ControlExited(Exit::Code(0)), view) {
        machine = next;
    }
    machine
}

#[test]
fn restart_follows_its_setting() {
    let cases = [
        (Restart::No, Exit::Code(1), State::Failed),
        (Restart::No, Exit::Code(0), State::Dead),
        (Restart::OnFailure, Exit::Code(1), State::AutoRestart),
        (Restart::OnFailure, Exit::Code(0), State::Dead),
        (Restart::OnFailure, Exit::Signal(15), State::Dead),
        (Restart::OnAbnormal, Exit::Code(1), State::Failed),
        (Restart::OnAbnormal, Exit::Signal(11), State::AutoRestart),
        (Restart::Always, Exit::Code(0), State::AutoRestart),
        (Restart::OnSuccess, Exit::Code(0), State::AutoRestart),
        (Restart::OnAbort, Exit::Dumped(11), State::AutoRestart),
    ];
    for (restart, exit, end) in cases {
        let service = Service { restart, ..service(ServiceType::Simple) };
        assert_eq!(end_of(&service, exit).state, end, "{restart:?} {exit:?}");
    }
}

#[test]
fn a_status_that_prevents_the_restart_is_heeded() {
    let mut service = Service { restart: Restart::OnFailure, ..service(ServiceType::Simple) };
    service.restart_prevent.add("255").unwrap();
    assert_eq!(end_of(&service, Exit::Code(255)).state, State::Failed);
    assert_eq!(end_of(&service, Exit::Code(254)).state, State::AutoRestart);
}

#[test]
fn a_stop_that_times_out_is_killed() {
    let service = Service { stop: vec![], ..service(ServiceType::Simple) };
    let view = View { service: &service, populated: true, stop_queued: false, pinned: false, bus_tells: false };
    let running = Machine { state: State::Running, main: MainProcess::Alive, ..Machine::default() };
    let (stopping, _) = step(running, Event::Stop, view).unwrap();
    assert_eq!(stopping.state, State::StopSigterm);
    let (killing, effects) = step(stopping, Event::TimedOut, view).unwrap();
    assert_eq!(killing.state, State::StopSigkill);
    assert!(format!("{effects:?}").contains("Kill(Kill)"));
}

#[test]
fn with_kill_mode_process_the_rest_of_the_group_is_left_alone() {
    let mut service = Service { stop: vec![], stop_post: vec![], ..service(ServiceType::Simple) };
    service.kill.mode = KillMode::Process;
    let view = View { service: &service, populated: true, stop_queued: false, pinned: false, bus_tells: false };
    let running = Machine { state: State::Running, main: MainProcess::Alive, ..Machine::default() };
    let (stopping, _) = step(running, Event::Stop, view).unwrap();
    let (ended, _) = step(stopping, Event::MainExited(Exit::Signal(15)), view).unwrap();
    assert_eq!(ended.state, State::Dead);
}

#[test]
fn no_sequence_of_events_breaks_the_machine() {
    // A plain generator with a fixed seed: the same sequences on every machine.
    let mut seed: u64 = 1;
    for kind in [ServiceType::Simple, ServiceType::Oneshot, ServiceType::Notify, ServiceType::Forking] {
        let service = Service { restart: Restart::OnFailure, ..service(kind) };
        let mut machine = Machine::default();
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let event = EVENTS[usize::try_from(seed >> 33).unwrap() % EVENTS.len()];
            let view = View {
                service: &service,
                populated: seed & 1 << 20 != 0,
                stop_queued: false,
                pinned: false,
                bus_tells: false,
            };
            if let Some((next, _)) = step(machine, event, view) {
                machine = next;
            }
        }
    }
}
