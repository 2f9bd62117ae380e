//! The daemon: follows the kernel's messages about devices.
//!
//! It begins with the devices that are there. The socket is opened before the first look at sysfs, so that nothing
//! falls between the two. When the kernel says that messages were lost, everything is looked at again.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use ferrite_notify::Notifier;
use rustix::event::{PollFd, PollFlags, poll};

use crate::coldplug::{self, Present};
use crate::messages::{self, Received};
use crate::power_button::{self, Buttons};
use crate::uevent::{self, Action, Uevent};
use crate::written::Written;

/// Aliases handed to one loader; more go to the next.
const ALIASES_A_LOAD: usize = 256;
/// Aliases remembered as handled; past it the memory starts anew.
const MAX_REMEMBERED: usize = 10_000;

/// Runs for ever.
pub fn monitor(root: &Path, notifier: &Notifier) -> anyhow::Result<()> {
    let socket = messages::open().context("opening the kernel's device messages")?;
    let written = Written::open();
    if let Err(error) = &written {
        eprintln!("warning: watching disks: {error}, links of new file systems may be late");
    }
    let Present { mut devices, aliases: mut loaded } = coldplug::present(root, written.ok());
    if let Err(error) = notifier.ready(&format!("{} block devices", devices.block_count())) {
        eprintln!("warning: telling PID 1 that the device manager is ready: {error}");
    }
    let mut buttons = Buttons::open(root);
    loop {
        let waited = [Some(socket.as_fd()), devices.written().map(Written::descriptor)];
        wait(waited.into_iter().flatten().chain(buttons.descriptors())).context("waiting for device messages")?;
        if let Some(wish) = buttons.read() {
            power_button::ask(wish);
        }
        devices.follow_writers();
        match messages::receive(&socket)? {
            Received::Events(events) => {
                let work = uevent::work(&events);
                load_new(work.aliases.iter().cloned(), &mut loaded);
                devices.follow(&work);
                follow_buttons(&events, &mut buttons);
            }
            Received::Lost => {
                eprintln!("warning: the kernel lost device messages, looking at all devices again");
                load_new(coldplug::aliases(root), &mut loaded);
                devices.scan();
                buttons.scan();
            }
        }
    }
}

/// Until one of them can be read.
fn wait<'a>(files: impl Iterator<Item = BorrowedFd<'a>>) -> rustix::io::Result<()> {
    let mut files: Vec<PollFd<'_>> = files.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)).collect();
    rustix::io::retry_on_intr(|| poll(&mut files, None)).map(|_| ())
}

fn follow_buttons(events: &[Uevent], buttons: &mut Buttons) {
    for event in events.iter().filter(|event| event.subsystem == "input" && event.action != Action::Other) {
        if let Some(node) = &event.node {
            buttons.update(node, event.action);
        }
    }
}

fn load_new(aliases: impl IntoIterator<Item = String>, loaded: &mut BTreeSet<String>) {
    if loaded.len() > MAX_REMEMBERED {
        loaded.clear();
    }
    let new: Vec<String> = aliases.into_iter().filter(|alias| loaded.insert(alias.clone())).collect();
    for aliases in new.chunks(ALIASES_A_LOAD) {
        let mut arguments = vec!["load"];
        arguments.extend(aliases.iter().map(String::as_str));
        if let Err(error) = run_self(&arguments) {
            eprintln!("warning: loading modules: {error:#}, going on without them");
        }
    }
}

/// Another process of this program, which gives its memory back when it ends. The file is that of other programs too,
/// so it is called by its name.
fn run_self(arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    let status = command.arg0("ferrite-devices").args(arguments).status().context("starting ferrite-devices")?;
    if !status.success() {
        bail!("ferrite-devices {} ended with {status}", arguments.first().unwrap_or(&""));
    }
    Ok(())
}
