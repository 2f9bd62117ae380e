//! What a machine does with good releases, bad ones, and none.

use std::fs;
use std::os::unix::fs::MetadataExt;

use ferrite_layout::{Slot, SlotFlags};

use crate::machine::{Machine, Site, key_set};
use crate::release::Release;
use crate::web::Web;

fn on_web(site: &Site, more: &str) -> (Machine, Web) {
    let web = Web::new(site.folder.path());
    let machine = Machine::new(&Release::new(1));
    machine.configure(&format!("GROUP=stable\nSERVER=http://{}\n{more}", web.address));
    (machine, web)
}

#[test]
fn a_release_is_installed_started_confirmed_and_raises_the_floor() {
    let mut site = Site::new();
    let new = Release::new(2);
    site.publish(&new);
    let (mut machine, _web) = on_web(&site, "");
    machine.start();
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    assert!(machine.holds(Slot::B, &new) && machine.holds(Slot::A, &Release::new(1)));
    assert_eq!(machine.order().as_deref(), Some(r#"{"shutdown":{"action":"reboot","force":0,"argument":null}}"#));
    machine.stop();
    // The boot loader spends a try.
    machine.change_flags(Slot::A, |flags| flags.with(Slot::B, SlotFlags::Trying(2)));
    machine.boot(Slot::B, &new);
    machine.start();
    let status = machine.status();
    assert_eq!((&status["serial"], &status["floor"]), (&2.into(), &0.into()));
    assert!(machine.update(&["update"]).1.contains("not marked good yet"), "there would be no way back");
    machine.change_flags(Slot::B, |flags| flags.mark_good(Slot::B));
    assert_eq!(
        machine.wait_for("the floor", || Some(machine.status()["floor"].clone()).filter(|floor| *floor == 1)),
        1
    );
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("up to date"), "{text}");
    let old = machine.client(&["update_engine_client", "-status"]);
    let old = String::from_utf8_lossy(&old.stdout).into_owned();
    assert!(old.contains("CURRENT_OP=UPDATE_STATUS_IDLE\nNEW_VERSION=0.0.0\nNEW_SIZE=0\n"), "{old}");
}

#[test]
fn a_release_that_failed_is_blocked_until_told_or_a_newer_one_is_there() {
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let (mut machine, _web) = on_web(&site, "REBOOT_STRATEGY=off\n");
    machine.start();
    assert!(machine.update(&["update"]).0);
    let status = machine.status();
    assert_eq!(status["operation"], "UPDATE_STATUS_UPDATED_NEED_REBOOT");
    assert!(status["reboot_held"].as_str().is_some_and(|text| text.contains("REBOOT_STRATEGY=off")), "{status:#}");
    assert!(machine.no_order());
    machine.stop();
    // All tries are spent, the old release runs again.
    machine.change_flags(Slot::A, |flags| flags.demote(Slot::B));
    machine.start();
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("it is blocked"), "{text}");
    let (_, text) = machine.update(&["status"]);
    assert!(text.contains("blocked     1.2 (serial 2)"), "{text}");
    // It is remembered over a restart of the engine.
    machine.start();
    assert_eq!(machine.status()["blocked"][0]["serial"], 2);
    site.publish(&Release::new(3));
    assert!(machine.update(&["check"]).1.contains("1.3 is there"));
    assert!(machine.update(&["unblock", "2"]).1.contains("1 release is not blocked"));
    assert!(machine.update(&["update"]).1.contains("1.3 was installed"));
    // And given up again.
    assert!(machine.update(&["reset"]).0);
    let flags = machine.flags();
    assert_eq!((flags.order.first(), flags.flags(Slot::B)), (Slot::A, SlotFlags::Unusable));
    assert_eq!(machine.status()["reboot_pending"], false);
}

#[test]
fn going_back_blocks_what_runs_and_starts_the_other_slot() {
    let mut site = Site::new();
    site.publish(&Release::new(1));
    let (mut machine, _web) = on_web(&site, "");
    machine.start();
    assert!(machine.update(&["rollback"]).1.contains("the other slot is not marked good"));
    machine.change_flags(Slot::A, |flags| flags.with(Slot::B, SlotFlags::Good));
    let (good, text) = machine.update(&["rollback"]);
    assert!(good, "{text}");
    assert!(machine.order().is_some_and(|order| order.contains("reboot")));
    assert_eq!(machine.flags().order.first(), Slot::B);
    machine.stop();
    machine.boot(Slot::B, &Release::new(0));
    machine.start();
    assert!(machine.update(&["update"]).1.contains("it is blocked"), "it would be installed again at once");
}

#[test]
fn a_look_that_finds_nothing_is_one_small_request_and_writes_nothing() {
    let mut site = Site::new();
    site.publish(&Release::new(1));
    let (mut machine, web) = on_web(&site, "");
    machine.start();
    assert!(machine.update(&["check"]).0);
    web.take_asked();
    let before = fs::metadata(machine.path("var/lib/update-engine/state.json")).expect("it is there");
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("up to date"), "{text}");
    let asked = web.take_asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].sent <= 16 << 10, "{asked:?}");
    let after = fs::metadata(machine.path("var/lib/update-engine/state.json")).expect("it is there");
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
}

#[test]
fn without_keys_without_a_server_and_when_disabled_the_engine_says_so_and_does_nothing() {
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let (mut machine, web) = on_web(&site, "");
    fs::remove_dir_all(machine.path("usr/share/ferrite")).expect("it was there");
    machine.start();
    let (good, text) = machine.update(&["update"]);
    assert!(!good && text.contains("no keys: updates are off"), "{text}");
    assert!(machine.update(&["status"]).1.contains("no keys: updates are off"));
    let file = site.folder.path().join("payloads/2.fup");
    let (good, text) = machine.update(&["install", file.to_str().expect("text")]);
    assert!(!good && text.contains("no keys"), "{text}");
    assert!(web.take_asked().is_empty());
    for (text, told) in [("", "no SERVER"), ("SERVER=disabled\n", "SERVER=disabled")] {
        let mut machine = Machine::new(&Release::new(1));
        machine.configure(text);
        machine.start();
        let (good, text) = machine.update(&["check"]);
        assert!(!good && text.contains(told), "{text}");
    }
}

#[test]
fn a_file_is_installed_without_a_network_and_a_stick_is_a_server() {
    let mut site = Site::new();
    let new = Release::new(2);
    site.publish(&new);
    let mut machine = Machine::new(&Release::new(1));
    machine.configure("SERVER=disabled\nREBOOT_STRATEGY=off\n");
    let file = machine.path("stick/payloads/2.fup");
    fs::create_dir_all(machine.path("stick/payloads")).expect("a folder");
    fs::create_dir_all(machine.path("stick/channel")).expect("a folder");
    for name in ["payloads/2.fup", "channel/stable.json"] {
        fs::copy(site.folder.path().join(name), machine.path("stick").join(name)).expect("it is there");
    }
    machine.start();
    // The engine looks below its root.
    let (good, text) = machine.update(&["install", "/stick/payloads/2.fup"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    assert!(machine.holds(Slot::B, &new) && file.exists());
    assert!(machine.update(&["reset"]).0);
    machine.configure("SERVER=file:///stick\nREBOOT_STRATEGY=off\n");
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    let (good, text) = machine.update(&["install", "/absent.fup"]);
    assert!(!good && text.contains("absent.fup' is not there"), "{text}");
    machine.configure("SERVER=file:///absent\n");
    let (good, text) = machine.update(&["check"]);
    assert!(!good && text.contains("is the medium mounted?"), "{text}");
}

#[test]
fn expired_and_old_documents_are_refused_and_new_keys_are_learned_and_kept() {
    let mut site = Site::new();
    site.publish(&Release::new(1));
    let (mut machine, _web) = on_web(&site, "");
    machine.start();
    assert!(machine.update(&["check"]).0);
    let old = fs::read(site.folder.path().join("channel/stable.json")).expect("it is there");
    site.sign(-10);
    let (good, text) = machine.update(&["update"]);
    assert!(!good && text.contains("channel document expired"), "{text}");
    assert!(machine.status()["stale"].as_bool().unwrap_or_default());
    site.channel_seed = 22;
    site.publish(&Release::new(2));
    let (good, text) = machine.update(&["check"]);
    assert!(!good && text.contains("by unknown keys"), "{text}");
    fs::write(site.folder.path().join("root.2.json"), key_set(2, &[22])).expect("it can be written");
    let (good, text) = machine.update(&["check"]);
    assert!(good && text.contains("1.2 is there"), "{text}");
    machine.start();
    assert_eq!(machine.status()["key_set"], 2);
    // The old document is signed by a key that is not trusted any more.
    fs::write(site.folder.path().join("channel/stable.json"), old).expect("it can be written");
    let (good, text) = machine.update(&["check"]);
    assert!(!good && text.contains("by unknown keys"), "{text}");
}
