//! `wait-online`: waits until the links that are needed are configured, by watching networkd's state.
//!
//! A link without a cable, or with a faulty file, holds nobody back once another one is online, and one that waits for
//! a server only for a while; a link whose file names a state (`RequiredForOnline=routable`) always does.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::state::{Interface, State};

/// How long other links may take after the first one.
const GRACE: Duration = Duration::from_secs(15);
/// How long a machine may be without any link to wait for.
const EMPTY: Duration = Duration::from_secs(10);

/// What to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Fail after this long.
    pub timeout: Duration,
    /// These links only; none: all that files require.
    pub links: Vec<String>,
    /// One is enough.
    pub any: bool,
}

/// How it stands.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// These links are online.
    Online(String),
    /// One is, others may follow.
    Almost(String),
    /// None is, for this reason.
    Waiting(String),
    /// There is nothing to wait for.
    Nothing,
}

/// Returns what is online, or fails at the time-out with the reason.
pub fn wait_online(state: &Path, wait: &Wait) -> anyhow::Result<String> {
    let begin = Instant::now();
    let folder = state.parent().context("the state has no folder")?;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("watching the state")?;
    watch
        .add_watch(folder, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE)
        .with_context(|| format!("watching '{}'", folder.display()))?;
    let mut first_online: Option<Instant> = None;
    loop {
        let known = read(state);
        let end = match verdict(known.as_ref(), wait) {
            Verdict::Online(text) => return Ok(text),
            Verdict::Almost(text) => {
                let since = *first_online.get_or_insert_with(Instant::now);
                if since.elapsed() >= GRACE {
                    return Ok(text);
                }
                since + GRACE
            }
            Verdict::Waiting(reason) => {
                first_online = None;
                if begin.elapsed() >= wait.timeout {
                    bail!("not online after {} s: {reason}", wait.timeout.as_secs());
                }
                begin + wait.timeout
            }
            Verdict::Nothing => {
                let patience = if known.is_some() { EMPTY.min(wait.timeout) } else { wait.timeout };
                if begin.elapsed() >= patience {
                    bail!("not online after {} s: there is no link to wait for", begin.elapsed().as_secs());
                }
                begin + patience
            }
        };
        let end = end.min(begin + wait.timeout).max(Instant::now());
        pause(&watch, end.saturating_duration_since(Instant::now()))?;
        if begin.elapsed() >= wait.timeout
            && let Verdict::Almost(text) = verdict(read(state).as_ref(), wait)
        {
            return Ok(text);
        }
    }
}

/// networkd has not written it yet: nothing is known.
fn read(path: &Path) -> Option<State> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

fn pause(watch: &Inotify, left: Duration) -> anyhow::Result<()> {
    let time = Timespec::try_from(left).context("converting the time-out")?;
    rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&time)))
        .context("waiting for the state")?;
    match watch.read_events() {
        Ok(_) | Err(nix::errno::Errno::EAGAIN) => Ok(()),
        Err(error) => Err(error).context("watching the state"),
    }
}

fn verdict(state: Option<&State>, wait: &Wait) -> Verdict {
    let links: &[Interface] = state.map_or(&[], |state| &state.interfaces);
    let is_asked = |link: &&Interface| match wait.links.is_empty() {
        true => link.online_state.is_some(),
        false => wait.links.contains(&link.name),
    };
    let asked: Vec<&Interface> = links.iter().filter(is_asked).collect();
    if let Some(missing) = wait.links.iter().find(|name| !links.iter().any(|link| link.name == **name)) {
        return Verdict::Waiting(format!("there is no link {missing}"));
    }
    if asked.is_empty() {
        return Verdict::Nothing;
    }
    let online = asked.iter().filter(|link| is_online(link));
    let text = online.clone().map(|link| shown(link)).collect::<Vec<_>>().join(", ");
    let rest: Vec<&&Interface> = asked.iter().filter(|link| !is_online(link)).collect();
    if text.is_empty() {
        return Verdict::Waiting(why(&rest));
    }
    let holds = |link: &&Interface| link.required_operational_state_for_online.is_some() || !wait.links.is_empty();
    if rest.is_empty() || wait.any {
        return Verdict::Online(text);
    }
    if rest.iter().any(|link| holds(link)) {
        return Verdict::Waiting(why(&rest));
    }
    let is_lost = |link: &&Interface| {
        link.administrative_state == "failed" || matches!(link.operational_state.as_str(), "off" | "no-carrier")
    };
    if rest.iter().all(|link| is_lost(link)) { Verdict::Online(text) } else { Verdict::Almost(text) }
}

fn is_online(link: &Interface) -> bool {
    match &link.online_state {
        Some(state) => state == "online",
        // It was named, though its file does not require it.
        None => link.administrative_state == "configured",
    }
}

fn shown(link: &Interface) -> String {
    let address =
        crate::report::main_address(link).map(|address| format!(" {}/{}", address.address, address.prefix_length));
    let gateway = link.gateways.first().map(|gateway| format!(" via {}", gateway.address));
    format!("{}{}{}", link.name, address.unwrap_or_default(), gateway.unwrap_or_default())
}

/// One phrase a link.
fn why(links: &[&&Interface]) -> String {
    let phrase = |link: &&&Interface| {
        let reason = match (link.administrative_state.as_str(), link.operational_state.as_str()) {
            ("failed", _) => match link.failures.first() {
                Some(failure) => format!("failed ({failure})"),
                None => "has a faulty file".to_owned(),
            },
            (_, "off") => "is off".to_owned(),
            (_, "no-carrier") => "has no carrier".to_owned(),
            ("configuring", _) if link.dhcp4_state.as_deref().is_some_and(|state| state != "bound") => {
                "got no answer from a DHCP server".to_owned()
            }
            ("configuring", _) => "is being configured".to_owned(),
            (_, state) => format!("is only {state}"),
        };
        format!("{} {reason}", link.name)
    };
    links.iter().map(phrase).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, setup: &str, state: &str, online: &str) -> Interface {
        Interface {
            name: name.into(),
            administrative_state: setup.into(),
            operational_state: state.into(),
            online_state: Some(online).filter(|online| !online.is_empty()).map(str::to_owned),
            ..Interface::default()
        }
    }

    fn all() -> Wait {
        Wait { timeout: Duration::ZERO, links: vec![], any: false }
    }

    fn judged(links: &[Interface], wait: &Wait) -> Verdict {
        verdict(Some(&State { interfaces: links.to_vec(), ..State::default() }), wait)
    }

    #[test]
    fn who_holds_the_machine_back() {
        let good = link("eth0", "configured", "routable", "online");
        let lo = link("lo", "unmanaged", "carrier", "");
        let online = || Verdict::Online("eth0".into());
        assert_eq!(judged(std::slice::from_ref(&lo), &all()), Verdict::Nothing);
        assert_eq!(judged(&[lo, good.clone()], &all()), online());
        assert_eq!(judged(&[good.clone(), link("eth1", "configuring", "no-carrier", "offline")], &all()), online());
        assert_eq!(judged(&[good.clone(), link("eth1", "failed", "degraded", "offline")], &all()), online());
        let slow = link("eth1", "configuring", "degraded", "offline");
        assert_eq!(judged(&[good.clone(), slow.clone()], &all()), Verdict::Almost("eth0".into()));
        assert_eq!(judged(&[good.clone(), slow.clone()], &Wait { any: true, ..all() }), online());
        let strict = Interface { required_operational_state_for_online: Some("routable".into()), ..slow };
        assert!(matches!(judged(&[good.clone(), strict], &all()), Verdict::Waiting(_)));
        let named = Wait { links: vec!["eth9".into()], ..all() };
        assert_eq!(judged(&[good], &named), Verdict::Waiting("there is no link eth9".into()));
    }

    #[test]
    fn a_link_that_comes_online_ends_the_wait_and_a_time_out_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.json");
        let write = |path: &Path, state: &str, online: &str| {
            let setup = if online == "online" { "configured" } else { "configuring" };
            let state = State { interfaces: vec![link("eth0", setup, state, online)], ..State::default() };
            std::fs::write(path, serde_json::to_string(&state).unwrap()).unwrap();
        };
        write(&path, "no-carrier", "offline");
        let error = wait_online(&path, &all()).unwrap_err().to_string();
        assert_eq!(error, "not online after 0 s: eth0 has no carrier");
        let writer = path.clone();
        let thread = std::thread::spawn(move || write(&writer, "routable", "online"));
        let wait = Wait { timeout: Duration::from_secs(30), ..all() };
        assert_eq!(wait_online(&path, &wait).unwrap(), "eth0");
        thread.join().unwrap();
    }
}
