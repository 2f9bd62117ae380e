//! What a published document says of a release, what the machine remembers, and the time: through the engine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ferrite_layout::{Slot, SlotFlags};
use ferrite_payload::channel::{Delta, Payload, Rollout};
use ferrite_update_engine::host::clock;

use crate::machine::{Machine, Site};
use crate::release::{Release, verified};
use crate::web::Web;

const DAY: u64 = 86_400;
/// What a server that has moved may send.
const PAGE: &[u8] = b"<html>a page of some other kind</html>";

fn on_web(site: &Site) -> (Machine, Web) {
    let web = Web::new(site.folder.path());
    let machine = Machine::new(&Release::new(1));
    machine.configure(&format!("SERVER=http://{}\nREBOOT_STRATEGY=off\n", web.address));
    (machine, web)
}

#[test]
fn a_machine_goes_by_withdrawals_waves_urgency_and_steps() {
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let (mut machine, web) = on_web(&site);
    machine.start();
    let far = Rollout { start: clock() + 30 * DAY, hours: 0, percent: 100 };
    let nobody = Rollout { start: 0, hours: 0, percent: 0 };
    type Change = Box<dyn Fn(&mut ferrite_payload::channel::Release)>;
    let cases: [(Change, &str); 5] = [
        (Box::new(|release| release.withdrawn = true), "up to date"),
        (Box::new(move |release| release.rollout = Some(far)), "serial 2 is there, this machine's turn comes later"),
        (Box::new(move |release| release.rollout = Some(nobody)), "serial 2 is there, this machine's turn comes later"),
        (Box::new(|release| (release.withdrawn, release.minimum) = (false, 2)), "serial 2 needs serial 2 first"),
        (Box::new(|release| release.board = "metal".into()), "up to date"),
    ];
    let good = site.releases.clone();
    for (change, wanted) in cases {
        site.releases = good.clone();
        site.releases.iter_mut().for_each(change);
        site.sign(3600);
        let (good, text) = machine.update(&["update"]);
        assert!(good && text.contains(wanted), "{text}, not {wanted}");
    }
    assert!(web.take_asked().iter().all(|asked| !asked.path.ends_with(".fup")), "no payload was asked for");
    site.releases = good;
    site.releases[0].rollout = Some(nobody);
    site.releases[0].urgent = true;
    site.sign(3600);
    assert!(machine.update(&["update"]).1.contains("1.2 was installed"));
    // It waits for the restart when it is withdrawn: nothing newer takes its place, and an administrator decides.
    site.releases[0].withdrawn = true;
    site.sign(3600);
    assert!(machine.update(&["update"]).1.contains("up to date"));
    assert_eq!(machine.status()["reboot_pending"], true);
}

#[test]
fn a_floor_above_the_old_release_takes_its_slot_out_of_use_once_the_new_one_is_good() {
    for (floor, usable) in [(2, false), (1, true)] {
        let mut site = Site::new();
        let mut new = Release::new(2);
        new.floor = floor;
        site.publish(&new);
        let (mut machine, _web) = on_web(&site);
        machine.start();
        assert!(machine.update(&["update"]).0);
        machine.stop();
        machine.change_flags(Slot::A, |flags| flags.with(Slot::B, SlotFlags::Trying(2)));
        machine.boot(Slot::B, &new);
        machine.start();
        assert!(machine.status()["floor"] == 0 && machine.flags().flags(Slot::A).good(), "on trial it is the way back");
        machine.change_flags(Slot::B, |flags| flags.mark_good(Slot::B));
        machine.wait_for("the floor", || (machine.status()["floor"] == floor).then_some(()));
        let flags = machine.flags();
        assert_eq!((flags.flags(Slot::A).usable(), flags.flags(Slot::B)), (usable, SlotFlags::Good));
        assert_eq!(flags.order.first(), Slot::B);
        let (good, text) = machine.update(&["rollback"]);
        assert_eq!(good, usable, "{text}");
        // A release is remembered as too old over a restart of the engine, and an older one is no update.
        machine.start();
        assert_eq!(machine.status()["floor"], floor);
    }
}

#[test]
fn a_block_is_over_after_a_week_and_the_next_failure_is_counted() {
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let (mut machine, _web) = on_web(&site);
    machine.start();
    for count in [1, 2] {
        assert!(machine.update(&["update"]).1.contains("1.2 was installed"));
        machine.stop();
        machine.change_flags(Slot::A, |flags| flags.demote(Slot::B));
        machine.start();
        assert_eq!(machine.status()["blocked"][0]["count"], count);
        assert!(machine.update(&["update"]).1.contains("it is blocked"));
        machine.change_memory(|memory| memory["blocked"][0]["since"] = (clock() - 8 * DAY).into());
        machine.start();
        assert_eq!(machine.status()["blocked"].as_array().map(Vec::len), Some(0));
    }
    assert!(machine.update(&["check"]).1.contains("1.2 is there"));
}

#[test]
fn a_clock_that_went_back_revives_no_document_and_an_old_one_shows_as_stale() {
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let (mut machine, _web) = on_web(&site);
    machine.start();
    assert!(machine.update(&["check"]).0);
    // Somebody signed something ten days from now: that time has been, whatever the clock says.
    let later = clock() + 10 * DAY;
    machine.change_memory(|memory| memory["channels"]["stable"]["issued"] = later.into());
    machine.start();
    site.sign(3600);
    let (good, text) = machine.update(&["update"]);
    assert!(!good && text.contains("channel document expired"), "{text}");
    assert_eq!(machine.status()["stale"], true);
    // What was believed last has expired, and no server is there to be asked.
    let before = clock() - DAY;
    machine.change_memory(|memory| {
        memory["channels"]["stable"]["issued"] = before.into();
        memory["channels"]["stable"]["expires"] = (before + 60).into();
    });
    machine.configure("SERVER=http://127.0.0.1:1/\n");
    machine.start();
    assert_eq!(machine.status()["stale"], true);
    let (good, text) = machine.update(&["status"]);
    assert!(good && text.contains("STALE"), "{text}");
    let (good, text) = machine.update(&["check"]);
    assert!(!good && text.contains("looking for updates"), "{text}");
}

#[test]
fn what_cannot_be_noted_is_not_started_and_the_engine_goes_on() {
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let (mut machine, _web) = on_web(&site);
    machine.start();
    assert!(machine.update(&["check"]).0);
    // A file cannot take the place of a folder: as good as a full disk, and it can be emptied again.
    let memory = machine.path("var/lib/update-engine/state.json");
    fs::remove_file(&memory).expect("it was there");
    fs::create_dir_all(memory.join("full")).expect("a folder");
    let (good, text) = machine.update(&["update"]);
    assert!(!good && text.contains("noting "), "{text}");
    let flags = machine.flags();
    assert_eq!((flags.order.first(), flags.flags(Slot::B)), (Slot::A, SlotFlags::Unusable));
    assert_eq!(machine.status()["reboot_pending"], false);
    fs::remove_dir_all(&memory).expect("it was there");
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
}

/// A delta that is missing, damaged or of another release costs a request, not the update.
#[test]
fn a_bad_delta_leads_to_the_full_payload() {
    let (old, new) = (Release::new(1), Release::new(2));
    let delta = new.payload(Some(&old));
    let mut damaged = delta.clone();
    *damaged.last_mut().expect("it has bytes") ^= 1;
    let other = Release::new(3).payload(Some(&old));
    let shorter = delta[..delta.len() - 9].to_vec();
    for bytes in [None, Some(damaged), Some(other), Some(shorter), Some(PAGE.to_vec()), Some(delta.clone())] {
        let whole = bytes.as_ref() == Some(&delta);
        let mut site = Site::new();
        site.publish(&new);
        let path = "payloads/2-from-1.fup".to_string();
        if let Some(bytes) = bytes {
            fs::write(site.folder.path().join(&path), bytes).expect("it can be written");
        }
        let payload = Payload { path, size_bytes: delta.len() as u64, id: verified(&delta).id() };
        site.releases[0].deltas.push(Delta { from: 1, payload });
        site.sign(3600);
        let (mut machine, web) = on_web(&site);
        machine.start();
        let (good, text) = machine.update(&["update"]);
        assert!(good && text.contains("1.2 was installed"), "{text}");
        assert!(machine.holds(Slot::B, &new));
        let asked = web.take_asked();
        let full = asked.iter().any(|asked| asked.path.ends_with("/2.fup"));
        assert_eq!(full, !whole, "{asked:?}");
    }
}

#[test]
fn drop_ins_win_by_their_names() {
    let site = Site::new();
    let (mut machine, _web) = on_web(&site);
    let folder = machine.path("etc/coreos/update.conf.d");
    fs::create_dir_all(&folder).expect("a folder");
    for (name, text) in
        [("20-b.conf", "GROUP=beta\nCOLOUR=red\n"), ("10-a.conf", "GROUP=alpha\n"), ("x.txt", "GROUP=x")]
    {
        fs::write(folder.join(name), text).expect("it can be written");
    }
    machine.start();
    let status = machine.status();
    assert_eq!(status["group"], "beta");
    assert!(status["strategy"] == "off", "the other lines stay");
    let fault = status["faults"][0].as_str().unwrap_or_default();
    assert!(fault.starts_with("/etc/coreos/update.conf.d/20-b.conf:2: key COLOUR is not known"), "{fault}");
}

/// Every file below a folder, and what tells that it was written.
fn traces(folder: &Path) -> BTreeMap<PathBuf, (u64, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("it is there").flatten() {
        let data = entry.metadata().expect("it is there");
        found.insert(entry.path(), (data.ino(), data.mtime(), data.mtime_nsec(), data.len()));
        if data.is_dir() {
            found.append(&mut traces(&entry.path()));
        }
    }
    found
}

#[test]
fn a_look_that_finds_nothing_writes_nowhere_on_the_disk() {
    let mut site = Site::new();
    site.publish(&Release::new(1));
    let (mut machine, web) = on_web(&site);
    machine.start();
    assert!(machine.update(&["check"]).0);
    web.take_asked();
    let before = ["var", "etc", "dev", "usr"].map(|name| traces(&machine.path(name)));
    for verb in ["check", "update", "update"] {
        assert!(machine.update(&[verb]).1.contains("up to date"));
    }
    assert_eq!(["var", "etc", "dev", "usr"].map(|name| traces(&machine.path(name))), before);
    let asked = web.take_asked();
    assert!(asked.len() == 3 && asked.iter().all(|asked| asked.sent <= 16 << 10), "{asked:?}");
}
