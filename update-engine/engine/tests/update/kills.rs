//! The real engine, killed and cut off at any moment, again and again: it ends, and what is fetched a second time is
//! what was not noted (row 13 of the acceptance numbers: `FERRITE_LONG=1` does it a thousand times).

use std::time::Duration;

use ferrite_layout::{Slot, SlotState};

use crate::cuts::Chance;
use crate::machine::{Machine, Site};
use crate::release::{Release, verified};
use crate::web::{Fault, Web};

/// Progress is noted after so many bytes of the slot: as 64 MiB are to a real payload.
const NOTE_BYTES: u64 = 64 << 10;
/// Bytes that the server sends at once.
const STEP: usize = 3000;

#[test]
fn an_engine_that_is_killed_and_cut_off_all_the_time_ends_and_fetches_little_again() {
    let cuts = if std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1") { 1000 } else { 8 };
    let (old, new) = (Release::new(1), Release::new(2));
    let payload = new.payload(None);
    let opened = verified(&payload);
    let longest = opened.manifest().ops.iter().map(|op| u64::from(op.blob_length)).max().expect("there are some");
    let once = NOTE_BYTES + longest + opened.head_bytes() + 3 * STEP as u64;
    let mut site = Site::new();
    site.publish(&new);
    let web = Web::new(site.folder.path());
    let mut machine = Machine::new(&old);
    machine.words = vec!["--note-bytes".into(), NOTE_BYTES.to_string()];
    machine.configure(&format!("SERVER=http://{}/\nREBOOT_STRATEGY=off\n", web.address));
    let mut chance = Chance(13);
    let (mut done, mut ends, mut again) = (0, 0, 0);
    let mut of_this_install = 0;
    while done < cuts {
        web.set(Fault::SlowAndBreaks(STEP, 20_000 + chance.below(60_000)));
        machine.start();
        let pause = Duration::from_millis(chance.below(900) as u64);
        std::thread::scope(|scope| {
            // It ends with an error when the engine is killed.
            let client = scope.spawn(|| machine.client(&["ferrite-update", "update"]));
            // The moment is what is tested: any one.
            std::thread::sleep(pause);
            machine.kill();
            drop(client.join());
        });
        machine.stop();
        (done, of_this_install) = (done + 1, of_this_install + 1);
        assert!(machine.holds(Slot::A, &old));
        let waits = machine.flags() != SlotState::fresh();
        assert!(!waits || machine.holds(Slot::B, &new), "a slot that starts next is whole");
        if waits || done == cuts {
            web.set(Fault::None);
            machine.start();
            assert!(machine.update(&["update"]).0 && machine.holds(Slot::B, &new));
            let sent: u64 = web.take_asked().iter().filter(|one| one.path.ends_with(".fup")).map(|one| one.sent).sum();
            let most = opened.total_bytes() + (of_this_install + 1) * once;
            assert!(sent <= most, "{sent} bytes were sent over {of_this_install} cuts, {most} at most");
            again += sent.saturating_sub(opened.total_bytes());
            assert!(machine.update(&["reset"]).0);
            (ends, of_this_install) = (ends + 1, 0);
        }
    }
    println!("{done} cuts, {ends} installs ended, {again} bytes were sent again, {} a cut", again / done);
}
