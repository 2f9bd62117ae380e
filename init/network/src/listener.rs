//! Hears the router advertisements of one link, and asks for them when it opens and when the cable comes in.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ferrite_sys::icmpv6::RouterSocket;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::client::{Arrived, Heard};
use crate::router::Learned;

const MAX_PACKET_BYTES: usize = 4096;
const SOLICITATIONS: u32 = 3;
const SOLICITATION_WAIT: Duration = Duration::from_secs(4);

/// The listener of one link.
#[derive(Debug)]
pub(crate) struct Listener {
    index: u32,
    /// What routers said.
    pub learned: Learned,
    carrier: bool,
    left: u32,
    /// When to ask again.
    asking: Option<Duration>,
    socket: Arc<AsyncFd<RouterSocket>>,
    reader: AbortHandle,
}

impl Listener {
    /// Opens the link with what is known of its routers already.
    pub(crate) fn open(index: u32, learned: Learned, arrived: mpsc::Sender<Arrived>) -> anyhow::Result<Self> {
        let socket = RouterSocket::open(index).context("listening to routers")?;
        let socket = Arc::new(watch(socket).context("listening to routers")?);
        let reader = tokio::spawn(read(Arc::clone(&socket), index, arrived)).abort_handle();
        Ok(Self { index, learned, carrier: false, left: 0, asking: None, socket, reader })
    }

    /// Tells it about the cable.
    pub(crate) fn carrier(&mut self, carrier: bool, now: Duration) {
        if carrier && !self.carrier {
            self.left = SOLICITATIONS;
            self.ask(now);
        }
        self.carrier = carrier;
    }

    /// A router spoke: nobody need be asked.
    pub(crate) fn answered(&mut self) {
        self.asking = None;
    }

    /// When it must be woken.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.asking.into_iter().chain(self.learned.deadline()).min()
    }

    /// Its time has come; whether something was forgotten.
    pub(crate) fn woken(&mut self, now: Duration) -> bool {
        if self.asking.is_some_and(|at| at <= now) {
            self.ask(now);
        }
        self.learned.expire(now)
    }

    fn ask(&mut self, now: Duration) {
        self.asking = None;
        if self.left > 0 {
            self.left -= 1;
            // The link may have no address yet; the next try is soon, and routers speak unasked, too.
            let _ = self.socket.get_ref().solicit(self.index);
            self.asking = Some(now + SOLICITATION_WAIT);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// `AsyncFd::new` asks of its argument to keep one descriptor open as long as it lives, and deprecates itself for types
/// that may not; `RouterSocket` owns its descriptor and never changes it.
#[allow(deprecated)]
fn watch(socket: RouterSocket) -> std::io::Result<AsyncFd<RouterSocket>> {
    AsyncFd::new(socket)
}

async fn read(socket: Arc<AsyncFd<RouterSocket>>, index: u32, arrived: mpsc::Sender<Arrived>) {
    let mut buffer = vec![0; MAX_PACKET_BYTES];
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        // Anything else is not of a neighbour, or the link went down: netlink tells the daemon.
        if let Ok(Ok(Some((length, router)))) = ready.try_io(|socket| socket.get_ref().receive(&mut buffer)) {
            let packet = buffer.get(..length).unwrap_or_default().to_vec();
            if arrived.send(Arrived { index, what: Heard::Router(packet, router) }).await.is_err() {
                return;
            }
        }
    }
}
