//! Acts: writes the login banner, and again when something is new, until the boot is over.
//!
//! Prompts wait until it says that it is ready: with the first address, or after a while without one. A change after
//! that is shown by prompts that stand already, so each of them prints the banner once in a usual boot.

use std::fs::{File, FileTimes};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use ferrite_control::{Client, Request};
use ferrite_layout::durable::replace_file;
use ferrite_notify::Notifier;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use crate::banner::{self, Banner};
use crate::gather::{self, Paths};

/// How long prompts wait for an address.
const PATIENCE: Duration = Duration::from_secs(3);
/// After this time the banner stays as it is.
const LIMIT: Duration = Duration::from_secs(120);

/// Where the texts go.
#[derive(Debug, Clone)]
pub struct Places {
    /// Shown above the prompt.
    pub issue: PathBuf,
    /// Shown after login.
    pub motd: PathBuf,
    /// agetty prints anew when this file is touched.
    pub reload: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { issue: "/run/issue".into(), motd: "/run/motd".into(), reload: "/run/agetty.reload".into() }
    }
}

/// Writes both texts.
pub fn write(places: &Places, banner: &Banner) -> anyhow::Result<()> {
    replace_file(&places.issue, banner.issue.as_bytes(), 0o644)?;
    Ok(replace_file(&places.motd, banner.motd.as_bytes(), 0o644)?)
}

/// Keeps the banner true until the boot is over.
pub fn follow(paths: &Paths, places: &Places, notifier: &Notifier) -> anyhow::Result<()> {
    let started = Instant::now();
    let watch = watch(paths)?;
    let mut boot = Boot::ask(&paths.control);
    let mut written = None;
    let mut is_ready = false;
    loop {
        let facts = gather::gather(paths);
        let banner = banner::render(&facts);
        if written.as_ref() != Some(&banner) {
            write(places, &banner)?;
            if is_ready {
                reload_prompts(&places.reload)
                    .unwrap_or_else(|error| eprintln!("warning: telling the prompts of a new banner: {error}"));
            }
            written = Some(banner);
        }
        let seen = Seen { has_address: facts.has_address(), boot_is_over: boot.is_over(), is_ready };
        match next(seen, started.elapsed()) {
            Next::Ready => {
                is_ready = true;
                notifier.ready("the login banner is written").context("telling PID 1 that the banner is there")?;
            }
            Next::Done => return Ok(()),
            Next::Wait(time) => wait(&watch, &mut boot, time)?,
        }
    }
}

/// What is known.
#[derive(Debug, Clone, Copy)]
struct Seen {
    has_address: bool,
    boot_is_over: bool,
    is_ready: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Ready,
    Done,
    /// For something new, this long at most.
    Wait(Duration),
}

fn next(seen: Seen, elapsed: Duration) -> Next {
    let limit = if seen.is_ready { LIMIT } else { PATIENCE };
    match (seen.is_ready, elapsed >= limit) {
        (false, is_late) if is_late || seen.has_address => Next::Ready,
        (true, is_late) if is_late || seen.has_address && seen.boot_is_over => Next::Done,
        _ => Next::Wait(limit.saturating_sub(elapsed)),
    }
}

/// PID 1's answer that the boot is over.
struct Boot {
    client: Option<Client>,
}

impl Boot {
    /// A PID 1 that does not answer has no boot to wait for.
    fn ask(socket: &Path) -> Self {
        let client = Client::connect(socket).and_then(|mut client| {
            client.send(&Request::IsSystemRunning { wait: true })?;
            Ok(client)
        });
        Self { client: client.ok() }
    }

    fn is_over(&self) -> bool {
        self.client.is_none()
    }
}

/// The folders in which the network daemon and the slots' program replace their files.
fn watch(paths: &Paths) -> anyhow::Result<OwnedFd> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watch = inotify::init(flags).context("making a watch")?;
    let events = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CLOSE_WRITE;
    if let Some(folder) = paths.cloud_config.parent().filter(|folder| folder.is_dir()) {
        inotify::add_watch(&watch, folder, events).with_context(|| format!("watching '{}'", folder.display()))?;
    }
    for folder in [&paths.network, &paths.snapshot].into_iter().filter_map(|path| path.parent()) {
        inotify::add_watch(&watch, folder, events).with_context(|| format!("watching '{}'", folder.display()))?;
    }
    Ok(watch)
}

/// Until a file is new, the boot is over, or the time has passed.
fn wait(watch: &OwnedFd, boot: &mut Boot, time: Duration) -> anyhow::Result<()> {
    let time = Timespec::try_from(time).context("converting the time to wait")?;
    let mut sources = vec![PollFd::new(watch, PollFlags::IN)];
    sources.extend(boot.client.iter().map(|client| PollFd::from_borrowed_fd(client.as_fd(), PollFlags::IN)));
    rustix::io::retry_on_intr(|| poll(&mut sources, Some(&time))).context("waiting for news")?;
    let has_answer = sources.get(1).is_some_and(|source| !source.revents().is_empty());
    if has_answer {
        // The answer itself does not matter, nor that the connection ended.
        boot.client = None;
    }
    let mut buffer = [0; 4096];
    while matches!(rustix::io::read(watch, &mut buffer), Ok(length) if length > 0) {}
    Ok(())
}

/// What `agetty --reload` does.
fn reload_prompts(path: &Path) -> io::Result<()> {
    let file = File::options().create(true).write(true).truncate(false).mode(0o600).open(path)?;
    let now = SystemTime::now();
    file.set_times(FileTimes::new().set_accessed(now).set_modified(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_wait_for_an_address_but_not_for_ever() {
        let seen = |has_address, boot_is_over, is_ready| Seen { has_address, boot_is_over, is_ready };
        let second = Duration::from_secs(1);
        for (seen, elapsed, expected) in [
            (seen(false, false, false), second, Next::Wait(PATIENCE - second)),
            (seen(true, false, false), second, Next::Ready),
            (seen(false, true, false), PATIENCE, Next::Ready),
            (seen(true, false, true), second, Next::Wait(LIMIT - second)),
            (seen(false, true, true), second, Next::Wait(LIMIT - second)),
            (seen(true, true, true), second, Next::Done),
            (seen(false, false, true), LIMIT, Next::Done),
        ] {
            assert_eq!(next(seen, elapsed), expected, "{seen:?} {elapsed:?}");
        }
    }

    #[test]
    fn an_address_that_comes_later_is_written_and_shown_by_prompts_that_stand() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let paths = Paths { network: at("network"), snapshot: at("slots"), control: at("none"), ..Paths::default() };
        let places = Places { issue: at("issue"), motd: at("motd"), reload: at("reload") };
        std::fs::write(&paths.network, "eth0 configuring - - -\n").unwrap();
        let name = format!("ferrite-login-follow-{}", std::process::id());
        let server = listen(&name);
        let notifier = Notifier::new(Some(format!("@{name}").as_ref())).unwrap();
        let thread = std::thread::spawn({
            let (paths, places) = (paths.clone(), places.clone());
            move || follow(&paths, &places, &notifier)
        });
        let mut buffer = [0; 100];
        server.recv(&mut buffer).unwrap();
        assert!(std::fs::read_to_string(&places.issue).unwrap().contains("none yet"));
        assert!(!places.reload.exists());
        replace_file(&paths.network, b"eth0 configured 10.0.2.15/24 10.0.2.2 -\n", 0o644).unwrap();
        thread.join().unwrap().unwrap();
        assert!(std::fs::read_to_string(&places.motd).unwrap().contains("10.0.2.15"));
        assert!(places.reload.exists());
    }

    fn listen(name: &str) -> std::os::unix::net::UnixDatagram {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap()
    }
}
