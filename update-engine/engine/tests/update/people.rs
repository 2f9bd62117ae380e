//! Those who are logged in when the machine wants to restart, and those who log in while a restart is pending.

use std::fs;

use crate::machine::{Machine, Site};
use crate::release::Release;

fn log_in(machine: &Machine) {
    fs::create_dir_all(machine.path("proc/77")).expect("a folder");
    fs::create_dir_all(machine.path("dev/pts")).expect("a folder");
    fs::write(machine.path("dev/pts/3"), "").expect("a terminal");
    let device = (136 << 8) | 3;
    let stat = format!("77 (bash) S 70 77 77 {device} 77 4194304 1 0 0 0\n");
    fs::write(machine.path("proc/77/stat"), stat).expect("a session");
}

#[test]
fn who_is_logged_in_is_told_and_given_time_and_the_restart_comes_when_all_have_gone() {
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let mut machine = Machine::new(&Release::new(1));
    machine.configure("SERVER=disabled\n");
    log_in(&machine);
    machine.start();
    let file = site.folder.path().join("payloads/2.fup");
    fs::copy(file, machine.path("2.fup")).expect("it can be copied");
    assert!(machine.update(&["install", "/2.fup"]).0);
    let said = machine.wait_for("a word to the terminal", || {
        fs::read_to_string(machine.path("dev/pts/3")).ok().filter(|said| said.ends_with('\n'))
    });
    assert!(said.contains("This machine restarts at 20") && said.contains("into release 1.2"), "{said}");
    assert!(machine.no_order(), "ten minutes have not passed");
    let pending = machine
        .wait_for("a word for the banner", || fs::read_to_string(machine.path("run/ferrite/update-pending")).ok());
    assert!(pending.starts_with("version=1.2\nserial=2\nrestart=at 20"), "{pending}");
    assert_eq!(said.matches("restarts at").count(), 1);
    fs::remove_dir_all(machine.path("proc/77")).expect("it was there");
    assert!(machine.order().is_some_and(|order| order.contains("reboot")));
}

#[test]
fn the_banner_is_told_of_a_restart_that_nobody_orders_and_when_it_is_given_up() {
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let mut machine = Machine::new(&Release::new(1));
    machine.configure(&format!("SERVER=file://{}\nREBOOT_STRATEGY=off\n", "/site"));
    std::os::unix::fs::symlink(site.folder.path(), machine.path("site")).expect("a link");
    machine.start();
    let pending = machine.path("run/ferrite/update-pending");
    assert!(!pending.exists());
    assert!(machine.update(&["update"]).0);
    let text = machine.wait_for("a word for the banner", || fs::read_to_string(&pending).ok());
    assert!(text.contains("restart=REBOOT_STRATEGY=off: restart it yourself (ferrite-update reboot)\n"), "{text}");
    assert!(machine.update(&["reset"]).0);
    machine.wait_for("the word to be taken back", || (!pending.exists()).then_some(()));
}
