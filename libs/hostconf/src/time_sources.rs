//! Which servers the clock is set by: `[Time]` of timesyncd.conf(5) into sources of chrony. Pure.
//!
//! People and cloud-config name time servers as systemd-timesyncd wants them; the daemon that asks them is chrony.

use std::fmt::Write;

use ferrite_unit::file;

use crate::{Fault, Place};

/// Who is asked when nobody is named: the zone of the distribution that the packages come from.
const USUAL: &str = "pool 2.debian.pool.ntp.org iburst";
/// What Amazon gives every machine, at its link-local address.
const AMAZON: &str = "server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4";
/// Keys that chrony has no use for: it decides these by itself.
const WITHOUT_EFFECT: [&str; 5] =
    ["RootDistanceMaxSec", "PollIntervalMinSec", "PollIntervalMaxSec", "ConnectionRetrySec", "SaveIntervalSec"];

/// What the files say.
#[derive(Debug, Default)]
pub struct TimeServers {
    servers: Vec<String>,
    /// `None`: nobody said anything, not even that there is none.
    fallback: Option<Vec<String>>,
    /// What is wrong with the files.
    pub faults: Vec<Fault>,
}

/// What is known of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings {
    /// It is one of Amazon's.
    pub is_amazon: bool,
    /// An administrator has sources of chrony.
    pub has_own_sources: bool,
}

impl TimeServers {
    /// Adds a file to what the files before it said.
    pub fn read(&mut self, name: &str, text: &str) {
        let parsed = file::parse(name, text.as_bytes());
        let place = |line: u32| Place { file: name.to_owned(), line: usize::try_from(line).unwrap_or(usize::MAX) };
        let faults = parsed.problems.iter().chain(&parsed.fatal);
        self.faults.extend(faults.map(|fault| Fault::notice(&place(fault.line), fault.message.clone())));
        for entry in parsed.entries {
            if &*entry.section == "Time" {
                self.set(&entry.key, &entry.value, &place(entry.line));
            } else {
                let what = format!("Unknown section '{}', ignoring; write [Time]", entry.section);
                self.faults.push(Fault::notice(&place(entry.line), what));
            }
        }
    }

    fn set(&mut self, key: &str, value: &str, place: &Place) {
        let list = match key {
            "NTP" => &mut self.servers,
            "FallbackNTP" => self.fallback.get_or_insert_default(),
            key if WITHOUT_EFFECT.contains(&key) => return,
            key => {
                self.faults.push(Fault::notice(place, format!("Unknown key '{key}' in section [Time], ignoring")));
                return;
            }
        };
        if value.trim().is_empty() {
            list.clear();
        }
        for name in value.split_whitespace() {
            if is_host(name) {
                list.push(name.to_owned());
            } else {
                let what = format!("'{name}' is neither a host name nor an address, ignoring");
                self.faults.push(Fault::notice(place, what));
            }
        }
    }

    /// The text of a file of sources.
    pub fn render(&self, around: Surroundings) -> String {
        let mut text = String::from("# Made at each start of chrony from timesyncd.conf, see docs/host.md.\n");
        let named = if self.servers.is_empty() { self.fallback.as_ref() } else { Some(&self.servers) };
        match named {
            Some(names) => names.iter().for_each(|name| {
                // Writing to a string does not fail.
                let _ = writeln!(text, "server {name} iburst");
            }),
            None if around.has_own_sources => {}
            None if around.is_amazon => text.extend([AMAZON, "\n"]),
            None => text.extend([USUAL, "\n"]),
        }
        text
    }
}

/// A name or address that is one word of a source and nothing else.
fn is_host(name: &str) -> bool {
    name.len() <= 253
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-_%".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(texts: &[&str], around: Surroundings) -> (Vec<String>, usize) {
        let mut servers = TimeServers::default();
        texts.iter().for_each(|text| servers.read("a.conf", text));
        let lines = servers.render(around).lines().skip(1).map(str::to_owned).collect();
        (lines, servers.faults.len())
    }

    #[test]
    fn named_servers_come_before_everything_else() {
        let nothing = Surroundings::default();
        let (lines, faults) = rendered(&["[Time]\nNTP=a.example 192.0.2.1\n", "[Time]\nNTP=2001:db8::1\n"], nothing);
        assert_eq!(lines, ["server a.example iburst", "server 192.0.2.1 iburst", "server 2001:db8::1 iburst"]);
        assert_eq!(faults, 0);
        let (lines, _) = rendered(&["[Time]\nNTP=a\nFallbackNTP=b\n", "[Time]\nNTP=\n"], nothing);
        assert_eq!(lines, ["server b iburst"]);
    }

    #[test]
    fn without_a_word_on_it_the_surroundings_decide() {
        let nothing = Surroundings::default();
        assert_eq!(rendered(&[], nothing).0, [USUAL]);
        assert_eq!(rendered(&["[Time]\nPollIntervalMinSec=64\n"], nothing), (vec![USUAL.to_owned()], 0));
        assert_eq!(rendered(&[], Surroundings { is_amazon: true, ..nothing }).0, [AMAZON]);
        assert!(rendered(&[], Surroundings { has_own_sources: true, ..nothing }).0.is_empty());
        // To have none is a wish like others.
        assert!(rendered(&["[Time]\nFallbackNTP=\n"], nothing).0.is_empty());
    }

    #[test]
    fn nothing_but_hosts_gets_through() {
        let text = "[Time]\nNTP=good; bad,x /etc/passwd -o\nWhat=1\nnonsense\n[Other]\nNTP=c\n";
        assert_eq!(rendered(&[text], Surroundings::default()), (vec![USUAL.to_owned()], 7));
    }
}
