//! `wait-online`: waits until one link has an address and a default route, by watching networkd's report.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::report::{LinkReport, LinkState, parse_report};

/// Returns the first link that is online, or fails at the time-out with the reason.
pub fn wait_online(report: &Path, timeout: Duration) -> anyhow::Result<LinkReport> {
    let deadline = Instant::now() + timeout;
    let folder = report.parent().context("the report has no folder")?;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("watching the report")?;
    watch
        .add_watch(folder, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE)
        .with_context(|| format!("watching '{}'", folder.display()))?;
    loop {
        // networkd has not written it yet: there are no links to report.
        let links = parse_report(&std::fs::read_to_string(report).unwrap_or_default());
        if let Some(link) = links.iter().find(|link| link.is_online()) {
            return Ok(link.clone());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("no link is online after {} s: {}", timeout.as_secs(), why(&links));
        }
        wait(&watch, left)?;
    }
}

fn wait(watch: &Inotify, left: Duration) -> anyhow::Result<()> {
    let time = Timespec::try_from(left).context("converting the time-out")?;
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&time)))
        .context("waiting for the report")?;
    match watch.read_events() {
        Ok(_) | Err(nix::errno::Errno::EAGAIN) => Ok(()),
        Err(error) => Err(error).context("watching the report"),
    }
}

/// One phrase a link.
fn why(links: &[LinkReport]) -> String {
    let phrases: Vec<String> = links
        .iter()
        .filter(|link| link.state != LinkState::Unmanaged)
        .map(|link| {
            let reason = match (link.state, link.address) {
                (LinkState::NoCarrier, _) => "has no carrier",
                (LinkState::Configuring, _) => "got no answer from a DHCP server",
                (LinkState::Configured, _) => "has an address but no default route",
                (LinkState::Unmanaged, _) => "is not managed",
            };
            format!("{} {reason}", link.link)
        })
        .collect();
    if phrases.is_empty() { "there is no wired link".to_string() } else { phrases.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_comes_online_ends_the_wait() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("network");
        std::fs::write(&report, "eth0 configuring - - -\n").unwrap();
        let writer = report.clone();
        let thread = std::thread::spawn(move || {
            std::fs::write(writer, "eth0 configured 10.0.2.15/24 10.0.2.2 -\n").unwrap();
        });
        let link = wait_online(&report, Duration::from_secs(30)).unwrap();
        assert_eq!(link.link, "eth0");
        thread.join().unwrap();
    }

    #[test]
    fn the_time_out_says_what_each_link_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("network");
        let error = |text: &str| {
            std::fs::write(&report, text).unwrap();
            wait_online(&report, Duration::ZERO).unwrap_err().to_string()
        };
        assert_eq!(error(""), "no link is online after 0 s: there is no wired link");
        assert_eq!(
            error("eth0 no-carrier - - -\neth1 configuring - - -\n"),
            "no link is online after 0 s: eth0 has no carrier, eth1 got no answer from a DHCP server"
        );
    }
}
