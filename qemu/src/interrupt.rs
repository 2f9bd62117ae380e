//! Turns ctrl-c and its relatives into a message, so that a running machine can be shut down instead of cut off.

use std::sync::mpsc::Sender;

use nix::sys::signal::{SigSet, Signal};

/// The signals that ask a command to end.
fn signals() -> SigSet {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set
}

/// Sends `message` for every such signal from now on. Comes before other threads are started: they inherit the mask.
pub fn catch<T: Clone + Send + 'static>(sender: Sender<T>, message: T) -> nix::Result<()> {
    signals().thread_block()?;
    std::thread::spawn(move || {
        while signals().wait().is_ok() {
            if sender.send(message.clone()).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Runs `start` with the signals unblocked, for children that must see them.
pub fn with_signals<T>(start: impl FnOnce() -> T) -> T {
    // A mask that cannot be changed leaves the child deaf to ctrl-c and nothing worse.
    let _ = signals().thread_unblock();
    let result = start();
    let _ = signals().thread_block();
    result
}
