//! Tests of the schedule, without a clock: stories, and one table of all transitions.

use std::fmt::Write as _;

use super::*;

fn quiet() -> Circumstances {
    Circumstances {
        now: 1000,
        chance: 0,
        enabled: true,
        on_trial: false,
        way_back: true,
        strategy: Strategy::Reboot,
        window_wait: 0,
        people: false,
    }
}

fn release(serial: u64) -> ReleaseName {
    ReleaseName { serial, version: format!("1.{serial}") }
}

fn waiting(staged: Option<u64>) -> State {
    State { check_at: 5000, ..State::new(staged.map(release), 0, 0) }
}

/// Takes events in order at their times; the effects of each.
fn play(mut state: State, events: &[(u64, Event)], circumstances: Circumstances) -> (State, Vec<Effect>) {
    let mut all = Vec::new();
    for (now, event) in events {
        let here = Circumstances { now: *now, ..circumstances };
        if let Ok(Some((next, effects))) = step(&state, event, &here) {
            state = next;
            all.extend(effects);
        }
    }
    (state, all)
}

#[test]
fn an_update_goes_from_the_check_to_the_restart_by_itself() {
    let events = [
        (4999, Event::Time),
        (5000, Event::Time),
        (5001, Event::Offered(release(2))),
        (5100, Event::Installed(release(2))),
        (5101, Event::LockTaken),
    ];
    let (state, effects) = play(waiting(None), &events, quiet());
    assert_eq!(effects, [Effect::Check, Effect::Install, Effect::TakeLock, Effect::Reboot]);
    assert_eq!((state.work, state.staged), (Work::Rebooting, Some(release(2))));
}

#[test]
fn the_window_is_looked_at_again_when_the_lock_is_there() {
    let locking = State { work: Work::Locking, ..waiting(Some(2)) };
    let closed = Circumstances { window_wait: 3600, ..quiet() };
    let (state, effects) = play(locking.clone(), &[(1000, Event::LockTaken)], closed);
    assert_eq!((state.work, effects), (Work::Waiting, vec![Effect::ReleaseLock]));
    let off = Circumstances { strategy: Strategy::Off, ..quiet() };
    assert_eq!(play(locking.clone(), &[(1000, Event::LockTaken)], off).1, [Effect::ReleaseLock]);
    let (state, _) = play(locking, &[(1000, Event::LockRefused)], quiet());
    assert_eq!((state.work, state.reboot_at), (Work::Waiting, 1060));
}

#[test]
fn strategies_windows_and_deferrals_say_when_the_machine_restarts() {
    let wait = |strategy, window_wait, staged, reboot_at| {
        let state = State { reboot_at, ..waiting(staged) };
        state.reboot_wait(&Circumstances { strategy, window_wait, ..quiet() })
    };
    assert_eq!(wait(Strategy::Reboot, 0, Some(2), 0), Some(0));
    assert_eq!(wait(Strategy::BestEffort, 60, Some(2), 0), Some(60));
    assert_eq!(wait(Strategy::FleetLock, 60, Some(2), 0), Some(60));
    assert_eq!(wait(Strategy::Reboot, 60, Some(2), 1100), Some(100));
    assert_eq!(wait(Strategy::Reboot, 0, None, 0), None);
    assert_eq!(wait(Strategy::Off, 0, Some(2), 0), None);
    assert_eq!(wait(Strategy::EtcdLock, 0, Some(2), 0), None, "without a lock nobody restarts");
    let circumstances = Circumstances { strategy: Strategy::Reboot, window_wait: 60, ..quiet() };
    assert_eq!(waiting(Some(2)).wake_at(&circumstances), 1060);
    assert_eq!(waiting(None).wake_at(&circumstances), 5000);
}

#[test]
fn who_is_logged_in_may_put_it_off_once() {
    let (state, effects) = play(waiting(Some(2)), &[(1000, Event::AskedDefer(9999)), (1001, Event::Time)], quiet());
    assert_eq!((state.reboot_at, effects), (1000 + DEFER_MAX_S, vec![]));
    assert_eq!(step(&state, &Event::AskedDefer(60), &quiet()), Err(Refusal::DeferredBefore));
    let (_, effects) = play(state, &[(1000 + DEFER_MAX_S, Event::Time)], quiet());
    assert_eq!(effects, [Effect::TakeLock]);
}

#[test]
fn a_restart_waits_ten_minutes_for_those_who_are_logged_in_and_tells_them() {
    let people = Circumstances { people: true, ..quiet() };
    assert_eq!(waiting(Some(2)).wake_at(&people), 1000, "to tell them");
    assert_eq!(waiting(Some(2)).reboot_wait(&people), Some(PEOPLE_S));
    let (told, effects) = play(waiting(Some(2)), &[(1000, Event::Time), (1001, Event::Time)], people);
    assert_eq!((effects, told.work.clone()), (vec![Effect::TellPeople(PEOPLE_S)], Work::Waiting));
    assert_eq!(told.wake_at(&people), 1000 + PEOPLE_S);
    assert_eq!(play(told.clone(), &[(1010, Event::Time)], quiet()).1, [Effect::TakeLock], "they have gone");
    assert_eq!(play(told.clone(), &[(1000 + PEOPLE_S, Event::Time)], people).1, [Effect::TakeLock], "they stay");
    // Who is told may put it off still, and who comes late finds a restart that was told before.
    let (later, _) = play(told.clone(), &[(1590, Event::AskedDefer(600))], people);
    assert_eq!(play(later.clone(), &[(1600, Event::Time)], people).1, []);
    assert_eq!(play(later, &[(2190, Event::Time)], people).1, [Effect::TakeLock]);
    // By hand it is at once; outside of the window and without a restart nobody is told.
    assert_eq!(play(waiting(Some(2)), &[(1000, Event::AskedReboot)], people).1, [Effect::Reboot]);
    for circumstances in
        [Circumstances { window_wait: 60, ..people }, Circumstances { strategy: Strategy::Off, ..people }]
    {
        assert_eq!(play(waiting(Some(2)), &[(1000, Event::Time)], circumstances).1, []);
    }
    // The lock took its time, and somebody came: it is given back.
    let locking = State { work: Work::Locking, ..waiting(Some(2)) };
    assert_eq!(play(locking, &[(1000, Event::LockTaken)], people).1, [Effect::ReleaseLock]);
}

#[test]
fn failures_wait_longer_each_time_up_to_four_hours_and_success_ends_that() {
    let mut state = waiting(None);
    let mut waits = Vec::new();
    for _ in 0..9 {
        let checking = State { work: Work::Checking(Wish::Update), ..state };
        let (next, _) = play(checking, &[(1000, Event::Failed(None))], quiet());
        waits.push((next.check_at - 1000) / 60);
        state = next;
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 180, 180, 180]);
    for chance in [0, 1, u32::MAX] {
        let checking = State { work: Work::Checking(Wish::Update), ..state.clone() };
        let chances = Circumstances { chance, ..quiet() };
        let (failed, _) = play(checking.clone(), &[(1000, Event::Failed(None))], chances);
        assert!(failed.check_at - 1000 <= BACKOFF_MAX_S, "{chance}");
        let (good, _) = play(checking, &[(1000, Event::NothingNew)], chances);
        assert!((35 * 60..=55 * 60).contains(&(good.check_at - 1000)), "{chance}");
        assert_eq!(good.failures, 0);
    }
}

#[test]
fn a_slot_under_test_and_a_machine_that_is_off_do_not_look() {
    let trial = Circumstances { on_trial: true, ..quiet() };
    let (state, effects) = play(waiting(None), &[(5000, Event::Time)], trial);
    assert_eq!((state.check_at, effects), (5030, vec![]));
    assert_eq!(step(&state, &Event::Asked(Wish::Update), &trial), Err(Refusal::OnTrial));
    let off = Circumstances { enabled: false, ..quiet() };
    let (state, effects) = play(waiting(None), &[(5000, Event::Time)], off);
    assert_eq!((state.check_at, effects), (5000 + INTERVAL_S, vec![]));
    assert_eq!(step(&state, &Event::Asked(Wish::Look), &off), Err(Refusal::Off));
}

#[test]
fn a_newer_release_takes_the_place_of_one_that_waits_and_an_older_does_not() {
    let off = Circumstances { strategy: Strategy::Off, ..quiet() };
    let offered = |serial| [(5000, Event::Time), (5001, Event::Offered(release(serial)))];
    let (state, effects) = play(waiting(Some(2)), &offered(3), off);
    assert_eq!((state.staged, effects), (None, vec![Effect::Check, Effect::Install]));
    let (state, effects) = play(waiting(Some(3)), &offered(3), off);
    assert_eq!((state.staged, state.work, effects), (Some(release(3)), Work::Waiting, vec![Effect::Check]));
    // The install failed before it wrote: what waited waits on.
    let installing = State { work: Work::Installing(None), ..waiting(None) };
    let (state, _) = play(installing, &[(1000, Event::Failed(Some(release(2))))], off);
    assert_eq!(state.staged, Some(release(2)));
}

#[test]
fn every_transition_is_in_the_golden_table() {
    let works = [
        Work::Waiting,
        Work::Checking(Wish::Look),
        Work::Checking(Wish::Update),
        Work::Installing(Some(release(3))),
        Work::Locking,
        Work::Rebooting,
    ];
    let events = [
        Event::Time,
        Event::Asked(Wish::Look),
        Event::Asked(Wish::Update),
        Event::AskedFile("/x.fup".into()),
        Event::Offered(release(3)),
        Event::NothingNew,
        Event::Failed(None),
        Event::Installed(release(3)),
        Event::AskedReset,
        Event::AskedRollback,
        Event::AskedReboot,
        Event::AskedDefer(60),
        Event::LockTaken,
        Event::LockRefused,
        Event::RebootRefused,
    ];
    let mut text = String::new();
    for work in &works {
        for staged in [None, Some(2)] {
            let state = State { work: work.clone(), ..waiting(staged) };
            writeln!(text, "{work:?} staged={staged:?}").expect("text grows");
            for event in &events {
                let told = match step(&state, event, &quiet()) {
                    Ok(None) => continue,
                    Ok(Some((next, effects))) => {
                        let staged = next.staged.map(|staged| staged.serial);
                        format!("{:?} staged={staged:?} {effects:?}", next.work)
                    }
                    Err(refusal) => format!("refused: {refusal:?}"),
                };
                writeln!(text, "  {event:?} -> {told}").expect("text grows");
            }
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schedule.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("it can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "'{}' differs (UPDATE_GOLDEN=1 rewrites it):\n{text}", path.display());
}
