//! Servers that break, lie and dawdle (D6): an update ends well or not at all, and no byte is fetched twice that was
//! received.

use std::fs;
use std::time::{Duration, Instant};

use ferrite_layout::{Slot, SlotState};

use crate::machine::{Machine, Site};
use crate::release::Release;
use crate::web::{Fault, Web};

fn prepare(more: &str) -> (Machine, Web, u64, Site) {
    let mut site = Site::new();
    let size = site.publish(&Release::new(2));
    let web = Web::new(site.folder.path());
    let mut machine = Machine::new(&Release::new(1));
    machine.configure(&format!("SERVER=http://{}\nREBOOT_STRATEGY=off\n{more}", web.address));
    machine.start();
    (machine, web, size, site)
}

#[test]
fn a_link_that_drops_all_the_time_brings_every_byte_once() {
    let (machine, web, size, _site) = prepare("");
    web.set(Fault::BreaksAfter(size as usize / 4));
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    assert!(machine.holds(Slot::B, &Release::new(2)));
    let mut end = 0;
    let mut requests = 0;
    for asked in web.take_asked().into_iter().filter(|asked| asked.path.ends_with(".fup")) {
        assert_eq!(asked.from, end, "it goes on where the link broke");
        end = asked.from + asked.sent;
        requests += 1;
    }
    assert_eq!(end, size);
    assert!(requests >= 4, "the link broke {requests} times");
}

/// A link that is throttled and drops: no byte that came is asked for again, whatever it was.
#[test]
fn a_throttled_link_that_drops_brings_every_byte_once() {
    let (machine, web, size, _site) = prepare("RATE_LIMIT=60K\n");
    web.set(Fault::BreaksAfter(size as usize / 9 + 1));
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    let asked: Vec<_> = web.take_asked().into_iter().filter(|asked| asked.path.ends_with(".fup")).collect();
    let ends = asked.iter().scan(0, |end, asked| {
        let from = std::mem::replace(end, asked.from + asked.sent);
        Some((asked.from, from))
    });
    let torn: Vec<_> = ends.filter(|(from, end)| from != end).collect();
    assert!(torn.is_empty() && asked.len() >= 9, "{asked:?}");
    assert_eq!(asked.iter().map(|asked| asked.sent).sum::<u64>(), size);
}

#[test]
fn what_is_short_endless_or_changed_is_refused_and_the_running_slot_stays() {
    let (machine, web, size, _site) = prepare("");
    for (fault, told) in
        [(Fault::Short(size as usize - 7), "its manifest says"), (Fault::Endless, "is longer than its manifest says")]
    {
        web.set(fault);
        let (good, text) = machine.update(&["update"]);
        assert!(!good && text.contains(told), "{text}");
        assert!(machine.holds(Slot::A, &Release::new(1)));
        assert_eq!(machine.flags(), SlotState::fresh(), "the other slot is not started");
        assert_eq!(machine.status()["reboot_pending"], false);
    }
    web.set(Fault::None);
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
}

#[test]
fn a_slow_link_can_be_watched_and_stopped_and_what_was_begun_is_taken_up() {
    let (machine, web, _, _site) = prepare("");
    web.set(Fault::Slow(2000));
    let update = ["ferrite-update", "update"];
    let stopped = std::thread::scope(|scope| {
        let client = scope.spawn(|| machine.client(&update));
        machine.wait_for("some progress", || {
            let status = machine.status();
            (status["operation"] == "UPDATE_STATUS_DOWNLOADING" && status["new_serial"] == 2).then_some(())
        });
        let (good, text) = machine.update(&["check"]);
        assert!(!good && text.contains("the engine is at work"), "{text}");
        assert!(machine.update(&["reset"]).0);
        client.join().expect("it ends")
    });
    assert!(!stopped.status.success());
    assert!(String::from_utf8_lossy(&stopped.stderr).contains("cancelled"), "{stopped:?}");
    web.set(Fault::None);
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
}

#[test]
fn a_rate_limit_holds() {
    let (machine, _web, size, _site) = prepare("RATE_LIMIT=30K\n");
    let begin = Instant::now();
    let (good, text) = machine.update(&["update"]);
    assert!(good, "{text}");
    // What a buffer holds is not counted, the rest takes its time.
    let least = Duration::from_millis(size.saturating_sub(20_000) * 1000 / (30 << 10));
    assert!(begin.elapsed() >= least, "{} bytes in {:?}, not before {least:?}", size, begin.elapsed());
}

#[test]
fn a_delta_is_enough_for_a_whole_running_slot_and_a_damaged_one_takes_the_full_payload_by_itself() {
    let (old, new) = (Release::new(1), Release::new(2));
    let mut site = Site::new();
    site.publish(&new);
    let delta = site.publish_delta(&new, &old);
    let web = Web::new(site.folder.path());
    for (is_damaged, taken) in [(false, vec![delta.as_str()]), (true, vec![delta.as_str(), "payloads/2.fup"])] {
        let mut machine = Machine::new(&old);
        machine.configure(&format!("SERVER=http://{}\nREBOOT_STRATEGY=off\n", web.address));
        if is_damaged {
            let root = machine.path("dev/vda5");
            let mut bytes = fs::read(&root).expect("it can be read");
            bytes[86_116..94_308].fill(0x77);
            fs::write(&root, bytes).expect("it can be written");
        }
        machine.start();
        web.take_asked();
        let (good, text) = machine.update(&["update"]);
        assert!(good && text.contains("1.2 was installed"), "{text}");
        assert!(machine.holds(Slot::B, &new));
        let asked = web.take_asked();
        let paths: Vec<&str> = asked.iter().map(|asked| asked.path.trim_start_matches('/')).collect();
        let payloads: Vec<&str> = paths.into_iter().filter(|path| path.ends_with(".fup")).collect();
        assert_eq!(payloads, taken, "damaged: {is_damaged}");
    }
}
