//! The lock of a fleet: taken last, kept while its release is on trial or failed, given back when the release proved
//! itself; against a server that notes what it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrite_layout::{Slot, SlotFlags};
use ferrite_update_engine::fleet_lock::client_id;
use serde_json::{Value, json};

use crate::machine::{Machine, Site};
use crate::posts::{Post, Posts};
use crate::release::Release;
use crate::web::Web;

/// A FleetLock server with room for one machine.
struct LockServer {
    posts: Posts,
    /// Somebody else has it.
    full: Arc<AtomicBool>,
}

impl LockServer {
    fn new() -> LockServer {
        let full = Arc::new(AtomicBool::new(false));
        let taken = full.clone();
        LockServer { posts: Posts::new(move |post| answer(post, taken.load(Ordering::Relaxed))), full }
    }

    fn asked(&self) -> Vec<String> {
        self.posts.lines()
    }

    fn machine(&self, site: &Site) -> (Machine, Web) {
        let web = Web::new(site.folder.path());
        let machine = Machine::new(&Release::new(1));
        let lock = format!("REBOOT_STRATEGY=fleet-lock\nFLEET_LOCK_SERVER=http://{}/base/\n", self.posts.address);
        machine.configure(&format!("SERVER=http://{}\nFLEET_LOCK_GROUP=workers\n{lock}", web.address));
        (machine, web)
    }
}

fn answer(post: &Post, full: bool) -> (&'static str, String) {
    let body: Value = serde_json::from_str(&post.body).unwrap_or_default();
    let wanted =
        json!({ "client_params": { "id": client_id("0123456789abcdef0123456789abcdef"), "group": "workers" } });
    if !post.head.contains("fleet-lock-protocol: true\r\n") || body != wanted {
        ("400 Bad Request", json!({ "kind": "bad_request", "value": post.body }).to_string())
    } else if post.line.ends_with("pre-reboot") && full {
        ("409 Conflict", json!({ "kind": "failed_lock", "value": "1 of 1 slots is taken" }).to_string())
    } else {
        ("200 OK", String::new())
    }
}

const TAKE: &str = "POST /base/v1/pre-reboot";
const GIVE: &str = "POST /base/v1/steady-state";

#[test]
fn the_lock_is_taken_before_the_restart_and_given_back_when_the_release_is_good() {
    let lock = LockServer::new();
    let mut site = Site::new();
    let new = Release::new(2);
    site.publish(&new);
    let (mut machine, _web) = lock.machine(&site);
    machine.start();
    assert!(machine.update(&["update"]).0);
    assert!(machine.order().is_some_and(|order| order.contains("reboot")));
    assert_eq!(lock.asked(), [TAKE]);
    machine.stop();
    machine.change_flags(Slot::A, |flags| flags.with(Slot::B, SlotFlags::Trying(2)));
    machine.boot(Slot::B, &new);
    machine.start();
    let held = machine.status()["lock"].as_str().map(str::to_string);
    assert!(held.is_some_and(|held| held.contains("group workers of http://")), "on trial it is kept");
    assert_eq!(lock.asked(), [TAKE]);
    machine.change_flags(Slot::B, |flags| flags.mark_good(Slot::B));
    machine.wait_for("the lock to be given back", || (lock.asked() == [TAKE, GIVE]).then_some(()));
    machine.wait_for("the engine to know", || machine.status()["lock"].is_null().then_some(()));
    machine.start();
    assert!(machine.update(&["check"]).0);
    assert_eq!(lock.asked(), [TAKE, GIVE], "once is enough");
}

#[test]
fn a_failed_release_keeps_the_lock_until_somebody_has_looked_at_it() {
    let lock = LockServer::new();
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let (mut machine, _web) = lock.machine(&site);
    machine.start();
    assert!(machine.update(&["update"]).0);
    assert!(machine.order().is_some());
    machine.stop();
    machine.change_flags(Slot::A, |flags| flags.demote(Slot::B));
    machine.start();
    let (_, text) = machine.update(&["status"]);
    assert!(text.contains("lock        group workers of") && text.contains("1.2 failed"), "{text}");
    assert!(machine.update(&["update"]).1.contains("it is blocked"));
    assert_eq!(lock.asked(), [TAKE], "a bad release stops here");
    assert!(machine.update(&["unblock"]).1.contains("1 release is not blocked"));
    machine.wait_for("the lock to be given back", || (lock.asked() == [TAKE, GIVE]).then_some(()));
}

#[test]
fn a_lock_that_others_hold_is_waited_for_and_told() {
    let lock = LockServer::new();
    lock.full.store(true, Ordering::Relaxed);
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let (mut machine, _web) = lock.machine(&site);
    machine.start();
    assert!(machine.update(&["update"]).0);
    let held = machine.wait_for("the lock to be refused", || {
        machine.status()["reboot_held"].as_str().filter(|text| text.contains("failed_lock")).map(str::to_string)
    });
    assert!(held.starts_with("waiting for the lock: ") && held.ends_with("1 of 1 slots is taken"), "{held}");
    assert!(machine.no_order() && machine.status()["lock"].is_null());
    // By hand it needs no lock.
    assert!(machine.update(&["reboot"]).0);
    assert!(machine.order().is_some_and(|order| order.contains("reboot")));
    assert_eq!(lock.asked(), [TAKE]);
}
