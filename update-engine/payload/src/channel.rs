//! The channel document: which releases there are, where their payloads lie, and who is to take them when. Pure.
//!
//! It is signed by the channel key, which lives on the publishing host: whoever steals it can choose among releases
//! that the release keys signed, and no more.

use serde::{Deserialize, Serialize};

use crate::document::{self, DocumentError};
use crate::hash::Hash;
use crate::key::{Domain, SecretKey};
use crate::key_set::Role;
use crate::limits::{
    AHEAD_SECONDS_MAX, CHANNEL_BYTES_MAX, DELTAS_MAX, PATH_BYTES_MAX, RELEASES_MAX, ROLLOUT_HOURS_MAX,
};
use crate::manifest::check_name;
use crate::signature::{self, SignatureError};

const WHAT: &str = "channel document";
const FORMAT: u32 = 1;
/// Machines are spread over so many places.
pub const PLACES: u32 = 2048;

/// A channel document; one that was read has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    format: u32,
    /// What is updated.
    pub product: String,
    /// Name of the channel; it is part of the file's name.
    pub channel: String,
    /// Grows by one with each change.
    pub number: u64,
    /// When it was signed.
    pub issued: u64,
    /// From when on nobody goes by it.
    pub expires: u64,
    /// Newest last.
    pub releases: Vec<Release>,
}

/// A release of one board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The kind of machine.
    pub board: String,
    /// For people.
    pub version: String,
    /// For machines.
    pub serial: u64,
    /// Machines with an older release take another one first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub minimum: u64,
    /// The whole release.
    pub full: Payload,
    /// From older ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<Delta>,
    /// Who takes it when; nobody waits without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Nobody is to take it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// Machines do not wait for their turn.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub urgent: bool,
}

/// A payload file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Relative to the channel's folder's parent: the published directory.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// The sum of its start and manifest.
    pub id: Hash,
}

/// A payload that needs an older release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// Serial of that release.
    pub from: u64,
    /// The file.
    pub payload: Payload,
}

/// A wave: from `start` on, over `hours`, up to `percent` of the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// When the first machines take it.
    pub start: u64,
    /// Hours until `percent` of them may have it; 0 is at once.
    pub hours: u32,
    /// How far it goes.
    pub percent: u32,
}

/// A channel document is refused.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Not a document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Too few signatures.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Another format.
    #[error("channel document has format {0}, this program reads {FORMAT}")]
    Format(u32),
    /// A value cannot be so.
    #[error("channel document: {0}")]
    Value(String),
    /// For something else.
    #[error("channel document is for {what} '{found}', not '{expected}'")]
    Other {
        /// `product` or `channel`.
        what: &'static str,
        /// What it says.
        found: String,
        /// What was wanted.
        expected: String,
    },
    /// Replayed.
    #[error("channel document has number {found}, number {seen} was seen before: an old one was replayed")]
    Older {
        /// Its number.
        found: u64,
        /// The highest that was seen.
        seen: u64,
    },
    /// Frozen.
    #[error("channel document expired {0} seconds ago: its publisher has to sign it again (ferrite publish)")]
    Expired(u64),
    /// Believing it would make every later document look expired.
    #[error(
        "channel document is of a time {0} seconds from now: where it was signed the clock was wrong, its publisher \
         has to sign it again (ferrite publish)"
    )]
    Early(u64),
}

/// What a reader of a channel knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    /// What is updated.
    pub product: &'a str,
    /// The channel that was asked for.
    pub channel: &'a str,
    /// Number of the last document that was believed; 0 is none.
    pub seen: u64,
    /// The time: the latest of the clock, the making of the image, and `issued` of the last document.
    pub now: u64,
    /// The clock, where it is known to be right.
    pub clock: Option<u64>,
}

impl Channel {
    /// A document without releases.
    pub fn empty(product: &str, channel: &str) -> Channel {
        Channel {
            format: FORMAT,
            product: product.to_string(),
            channel: channel.to_string(),
            number: 0,
            issued: 0,
            expires: 0,
            releases: Vec::new(),
        }
    }

    /// Reads a document and checks all that can be wrong with it.
    pub fn parse(bytes: &[u8], role: &Role, expected: &Expected) -> Result<Channel, ChannelError> {
        let channel = Channel::parse_any_time(bytes, role)?;
        for (what, found, expected) in
            [("product", &channel.product, expected.product), ("channel", &channel.channel, expected.channel)]
        {
            if found != expected {
                return Err(ChannelError::Other { what, found: found.clone(), expected: expected.to_string() });
            }
        }
        if channel.number < expected.seen {
            return Err(ChannelError::Older { found: channel.number, seen: expected.seen });
        }
        let ahead = expected.clock.map_or(0, |clock| channel.issued.saturating_sub(clock));
        if ahead > AHEAD_SECONDS_MAX {
            return Err(ChannelError::Early(ahead));
        }
        match expected.now.checked_sub(channel.expires) {
            Some(ago) => Err(ChannelError::Expired(ago)),
            None => Ok(channel),
        }
    }

    /// Reads a document whether or not it has expired, for those who sign it again.
    pub fn parse_any_time(bytes: &[u8], role: &Role) -> Result<Channel, ChannelError> {
        let unchecked = document::open(WHAT, bytes, CHANNEL_BYTES_MAX)?;
        signature::check(WHAT, Domain::Channel, unchecked.text.as_bytes(), &unchecked.signatures, role)?;
        let channel: Channel = unchecked.content()?;
        channel.check()?;
        Ok(channel)
    }

    /// The text of its file, signed.
    pub fn seal(&self, keys: &[&SecretKey]) -> Result<String, ChannelError> {
        self.check()?;
        let text = document::seal(WHAT, Domain::Channel, self, keys)?;
        let (found, limit) = (text.len() as u64, CHANNEL_BYTES_MAX);
        if found > limit {
            return Err(DocumentError::TooLong { what: WHAT, found, limit }.into());
        }
        Ok(text)
    }

    fn check(&self) -> Result<(), ChannelError> {
        let fault = |text: String| Err(ChannelError::Value(text));
        if self.format != FORMAT {
            return Err(ChannelError::Format(self.format));
        }
        if !check_name(&self.product) || !check_name(&self.channel) {
            return fault("product or channel is no name".to_string());
        }
        if self.expires <= self.issued {
            return fault(format!("it expires at {}, which is not after it was issued", self.expires));
        }
        if self.releases.len() > RELEASES_MAX {
            return fault(format!("{} releases, {RELEASES_MAX} at most", self.releases.len()));
        }
        let mut seen = std::collections::BTreeSet::new();
        for release in &self.releases {
            release.check()?;
            if !seen.insert((&release.board, release.serial)) {
                return fault(format!("serial {} of board {} is there twice", release.serial, release.board));
            }
        }
        Ok(())
    }
}

impl Release {
    fn check(&self) -> Result<(), ChannelError> {
        let fault = |text: &str| Err(ChannelError::Value(format!("release with serial {}: {text}", self.serial)));
        if !check_name(&self.board) || !check_name(&self.version) {
            return fault("board or version is no name");
        }
        let paths = std::iter::once(&self.full).chain(self.deltas.iter().map(|delta| &delta.payload));
        if !paths.map(|payload| payload.path.as_str()).all(check_path) {
            return fault("a path is none of letters, digits and .-+~_ below the published directory");
        }
        if self.deltas.len() > DELTAS_MAX || self.deltas.iter().any(|delta| delta.from >= self.serial) {
            return fault("it has too many deltas, or one from a release that is not older");
        }
        if self.rollout.is_some_and(|rollout| rollout.percent > 100 || rollout.hours > ROLLOUT_HOURS_MAX) {
            return fault("its rollout is over 100 percent or takes too long");
        }
        Ok(())
    }

    /// Whether a machine at this place (`place_of`) takes the release now.
    pub fn is_due(&self, place: u32, now: u64) -> bool {
        match self.rollout {
            Some(rollout) if !self.urgent => rollout.open_places(now) > place,
            Some(_) | None => true,
        }
    }

    /// The delta from a release.
    pub fn delta_from(&self, serial: u64) -> Option<&Payload> {
        self.deltas.iter().find(|delta| delta.from == serial).map(|delta| &delta.payload)
    }
}

impl Rollout {
    /// How many of the places may have the release now.
    pub fn open_places(&self, now: u64) -> u32 {
        let Some(passed) = now.checked_sub(self.start) else { return 0 };
        let whole = u64::from(self.hours) * 3600;
        let last = u64::from(PLACES) * u64::from(self.percent) / 100;
        // The first machine does not wait for its share of the time.
        let open = if whole == 0 { last } else { (last * passed.min(whole)).div_ceil(whole).max(last.min(1)) };
        u32::try_from(open).unwrap_or(PLACES)
    }
}

/// The place of a machine in the row for a release: another one for each release, so that nobody is always first.
pub fn place_of(machine_id: &str, serial: u64) -> u32 {
    let hash = Hash::of_pieces(&[b"ferrite wave 1\0", machine_id.as_bytes(), &serial.to_le_bytes()]);
    let [a, b, ..] = *hash.as_bytes();
    u32::from(u16::from_le_bytes([a, b])) % PLACES
}

/// A path that stays below the published directory and needs no escapes in an address.
pub fn check_path(path: &str) -> bool {
    !path.is_empty() && path.len() <= PATH_BYTES_MAX && path.split('/').all(check_name)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::NAME_BYTES_MAX;

    fn key() -> SecretKey {
        SecretKey::from_seed(&[3; 32])
    }

    fn role() -> Role {
        Role::new("channel", 1, vec![key().public()]).expect("a role")
    }

    fn release(serial: u64) -> Release {
        let payload = |path: &str| Payload { path: path.into(), size_bytes: 1, id: Hash::of(path.as_bytes()) };
        Release {
            board: "qemu".into(),
            version: "1.2".into(),
            serial,
            minimum: 0,
            full: payload("payloads/a.fup"),
            deltas: vec![Delta { from: serial - 1, payload: payload("payloads/b.fup") }],
            rollout: None,
            withdrawn: false,
            urgent: false,
        }
    }

    fn channel() -> Channel {
        let empty = Channel::empty("ferrite", "stable");
        Channel { number: 5, issued: 1000, expires: 2000, releases: vec![release(7)], ..empty }
    }

    fn read(text: &str, seen: u64, now: u64) -> Result<Channel, ChannelError> {
        read_at(text, seen, now, None)
    }

    fn read_at(text: &str, seen: u64, now: u64, clock: Option<u64>) -> Result<Channel, ChannelError> {
        let expected = Expected { product: "ferrite", channel: "stable", seen, now, clock };
        Channel::parse(text.as_bytes(), &role(), &expected)
    }

    #[test]
    fn a_document_is_read_back_and_small() {
        let text = channel().seal(&[&key()]).expect("it is sealed");
        assert_eq!(read(&text, 5, 1999).expect("it is good"), channel());
        assert!(text.len() < 4096);
    }

    #[test]
    fn old_frozen_foreign_and_unsigned_documents_are_refused() {
        let text = channel().seal(&[&key()]).expect("it is sealed");
        assert!(matches!(read(&text, 6, 1999), Err(ChannelError::Older { found: 5, seen: 6 })));
        assert!(matches!(read(&text, 5, 2000), Err(ChannelError::Expired(0))));
        assert!(matches!(read(&text, 5, u64::MAX), Err(ChannelError::Expired(_))));
        let foreign = channel().seal(&[&SecretKey::from_seed(&[4; 32])]).expect("it is sealed");
        assert!(matches!(read(&foreign, 0, 0), Err(ChannelError::Signature(_))));
        let beta = Channel { channel: "beta".into(), ..channel() }.seal(&[&key()]).expect("it is sealed");
        assert!(matches!(read(&beta, 0, 0), Err(ChannelError::Other { what: "channel", .. })));
        let longer = format!("{text}{}", " ".repeat(CHANNEL_BYTES_MAX as usize));
        assert!(matches!(read(&longer, 0, 0), Err(ChannelError::Document(DocumentError::TooLong { .. }))));
    }

    #[test]
    fn a_document_of_another_day_than_a_right_clock_has_is_refused_before_its_time_counts() {
        let at = |issued: u64, clock| {
            let channel = Channel { issued, expires: issued + 10, ..channel() };
            read_at(&channel.seal(&[&key()]).expect("it is sealed"), 0, 0, clock)
        };
        assert!(at(1000 + AHEAD_SECONDS_MAX, Some(1000)).is_ok());
        assert!(matches!(at(1001 + AHEAD_SECONDS_MAX, Some(1000)), Err(ChannelError::Early(_))));
        assert!(matches!(at(u64::MAX - 10, Some(1000)), Err(ChannelError::Early(_))));
        assert!(at(u64::MAX - 10, None).is_ok(), "a machine without a clock knows no better");
    }

    #[test]
    fn a_flipped_byte_anywhere_in_the_signed_text_is_noticed() {
        let text = channel().seal(&[&key()]).expect("it is sealed");
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let expected = Expected { product: "ferrite", channel: "stable", seen: 0, now: 0, clock: None };
            // A byte of the envelope's blanks, or of an escape with two texts, may change nothing.
            if let Ok(read) = Channel::parse(&bytes, &role(), &expected) {
                assert_eq!(read, channel(), "byte {at}");
            }
        }
    }

    #[test]
    fn paths_stay_below_the_published_directory() {
        for good in ["a", "payloads/qemu-1.2.fup", "a/b/c~1+2_3"] {
            assert!(check_path(good), "{good}");
        }
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "/a", "a//b", "../a", "a/../b", ".a", "a b", "http://x/", "a?b", "a%2e", "a\\b", &long] {
            assert!(!check_path(bad), "{bad}");
        }
    }

    #[test]
    fn impossible_releases_are_not_signed() {
        let with = |change: fn(&mut Release)| {
            let mut channel = channel();
            channel.releases.iter_mut().for_each(change);
            channel.seal(&[&key()])
        };
        assert!(with(|release| release.full.path = "../x".into()).is_err());
        assert!(with(|release| release.board = "a/b".into()).is_err());
        assert!(with(|release| release.serial = 6).is_err(), "a delta from itself");
        assert!(with(|release| release.rollout = Some(Rollout { start: 0, hours: 1, percent: 101 })).is_err());
        let twice = Channel { releases: vec![release(7), release(7)], ..channel() };
        assert!(twice.seal(&[&key()]).is_err());
    }

    #[test]
    fn a_wave_opens_over_its_hours_up_to_its_percent() {
        let rollout = Rollout { start: 10_000, hours: 10, percent: 50 };
        let cases =
            [(0, 0), (9_999, 0), (10_000, 1), (10_000 + 18_000, 512), (10_000 + 36_000, 1024), (u64::MAX, 1024)];
        for (now, open) in cases {
            assert_eq!(rollout.open_places(now), open, "at {now}");
        }
        assert_eq!(Rollout { percent: 0, ..rollout }.open_places(u64::MAX), 0);
        assert_eq!(Rollout { percent: 100, hours: 0, ..rollout }.open_places(10_000), PLACES);
        let waiting = Release { rollout: Some(Rollout { percent: 0, ..rollout }), ..release(7) };
        assert!(!waiting.is_due(0, u64::MAX));
        assert!(Release { urgent: true, ..waiting }.is_due(2047, 0));
    }

    #[test]
    fn machines_are_spread_evenly_and_anew_for_each_release() {
        let half =
            |serial| (0..2000).filter(|machine| place_of(&format!("{machine:032x}"), serial) < PLACES / 2).count();
        assert!((850..1150).contains(&half(1)) && (850..1150).contains(&half(2)));
        assert!(
            (0..100).any(|machine| place_of(&format!("{machine:032x}"), 1) != place_of(&format!("{machine:032x}"), 2))
        );
    }
}
