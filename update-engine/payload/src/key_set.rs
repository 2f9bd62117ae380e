//! Key sets: who may sign what, and how many of them are needed. Set N + 1 counts only if the root keys of set N and
//! its own have signed it, so a machine walks from the set of its image to the newest, one at a time. Pure.

use serde::{Deserialize, Serialize};

use crate::document::{self, DocumentError};
use crate::key::{Domain, PublicKey, SecretKey};
use crate::limits::{KEY_SET_BYTES_MAX, KEYS_MAX};
use crate::manifest::check_name;
use crate::signature::{self, SignatureError};

const WHAT: &str = "key set";
const FORMAT: u32 = 1;

/// The keys of one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    name: &'static str,
    threshold: usize,
    keys: Vec<PublicKey>,
}

/// A key set that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    product: String,
    number: u64,
    root: Role,
    release: Role,
    channel: Role,
}

/// A key set is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not a document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Too few signatures.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A role makes no sense.
    #[error(
        "role {role} has {keys} different keys and needs {threshold}: 1 to {KEYS_MAX} keys, each once, and a \
         threshold from 1 to their number"
    )]
    Role {
        /// Which.
        role: &'static str,
        /// Keys it has.
        keys: usize,
        /// Keys it needs.
        threshold: usize,
    },
    /// Another format.
    #[error("key set has format {0}, this program reads {FORMAT}")]
    Format(u32),
    /// Not the next one.
    #[error("key set has number {found}, after {current} comes {}", current + 1)]
    Number {
        /// Its number.
        found: u64,
        /// The number of the set that is trusted now.
        current: u64,
    },
    /// For something else.
    #[error("key set is for product '{found}', not '{expected}'")]
    Product {
        /// Its product.
        found: String,
        /// Ours.
        expected: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    format: u32,
    product: String,
    number: u64,
    root: RawRole,
    release: RawRole,
    channel: RawRole,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRole {
    threshold: usize,
    keys: Vec<PublicKey>,
}

impl Role {
    /// A role, if its keys can reach its threshold.
    pub fn new(name: &'static str, threshold: usize, mut keys: Vec<PublicKey>) -> Result<Role, KeySetError> {
        let given = keys.len();
        keys.sort_by_key(PublicKey::id);
        keys.dedup();
        let fits = keys.len() == given && given <= KEYS_MAX && (1..=given).contains(&threshold);
        let fault = KeySetError::Role { role: name, keys: keys.len(), threshold };
        if fits { Ok(Role { name, threshold, keys }) } else { Err(fault) }
    }

    /// `root`, `release` or `channel`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many different keys have to sign.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// The keys, ordered by name.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Whether the key belongs to the role.
    pub fn has(&self, key: &SecretKey) -> bool {
        self.keys.contains(&key.public())
    }

    fn raw(&self) -> RawRole {
        RawRole { threshold: self.threshold, keys: self.keys.clone() }
    }
}

impl KeySet {
    /// A set that is to be signed and published.
    pub fn new(product: &str, number: u64, roles: [Role; 3]) -> Result<KeySet, KeySetError> {
        let [root, release, channel] = roles;
        let set = KeySet { product: product.to_string(), number, root, release, channel };
        set.checked()
    }

    fn checked(self) -> Result<KeySet, KeySetError> {
        if !check_name(&self.product) {
            return Err(KeySetError::Product { found: self.product, expected: "a name".to_string() });
        }
        if self.number == 0 {
            return Err(KeySetError::Number { found: 0, current: 0 });
        }
        Ok(self)
    }

    /// Reads the set that an image brings, or that a machine kept: its own root keys must have signed it, which tells a
    /// damaged file. It is trusted because of where it lies.
    pub fn parse_trusted(bytes: &[u8]) -> Result<KeySet, KeySetError> {
        let (set, unchecked) = KeySet::read(bytes)?;
        signature::check(WHAT, Domain::KeySet, unchecked.text.as_bytes(), &unchecked.signatures, &set.root)?;
        Ok(set)
    }

    /// Reads the set that follows this one.
    pub fn parse_next(&self, bytes: &[u8]) -> Result<KeySet, KeySetError> {
        let unchecked = document::open(WHAT, bytes, KEY_SET_BYTES_MAX)?;
        signature::check(WHAT, Domain::KeySet, unchecked.text.as_bytes(), &unchecked.signatures, &self.root)?;
        let next = KeySet::parse_trusted(bytes)?;
        if next.number.checked_sub(1) != Some(self.number) {
            return Err(KeySetError::Number { found: next.number, current: self.number });
        }
        if next.product != self.product {
            return Err(KeySetError::Product { found: next.product, expected: self.product.clone() });
        }
        Ok(next)
    }

    fn read(bytes: &[u8]) -> Result<(KeySet, document::Unchecked), KeySetError> {
        let unchecked = document::open(WHAT, bytes, KEY_SET_BYTES_MAX)?;
        let raw: Raw = unchecked.content()?;
        if raw.format != FORMAT {
            return Err(KeySetError::Format(raw.format));
        }
        let role = |name, raw: RawRole| Role::new(name, raw.threshold, raw.keys);
        let roles = [role("root", raw.root)?, role("release", raw.release)?, role("channel", raw.channel)?];
        Ok((KeySet::new(&raw.product, raw.number, roles)?, unchecked))
    }

    /// The text of the set's file, signed.
    pub fn seal(&self, keys: &[&SecretKey]) -> Result<String, KeySetError> {
        let raw = Raw {
            format: FORMAT,
            product: self.product.clone(),
            number: self.number,
            root: self.root.raw(),
            release: self.release.raw(),
            channel: self.channel.raw(),
        };
        Ok(document::seal(WHAT, Domain::KeySet, &raw, keys)?)
    }

    /// What the keys are for.
    pub fn product(&self) -> &str {
        &self.product
    }

    /// Its place in the row of sets.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Who signs key sets.
    pub fn root(&self) -> &Role {
        &self.root
    }

    /// Who signs payloads.
    pub fn release(&self) -> &Role {
        &self.release
    }

    /// Who signs channel documents.
    pub fn channel(&self) -> &Role {
        &self.channel
    }

    /// All roles.
    pub fn roles(&self) -> [&Role; 3] {
        [&self.root, &self.release, &self.channel]
    }
}

/// Name of the file of a set, on the server and in a folder of keys.
pub fn file_name(number: u64) -> String {
    format!("root.{number}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn role(name: &'static str, threshold: usize, seeds: &[u8]) -> Role {
        Role::new(name, threshold, seeds.iter().map(|seed| key(*seed).public()).collect()).expect("a role")
    }

    fn set(number: u64, root: &[u8]) -> KeySet {
        let roles = [role("root", 2, root), role("release", 1, &[10]), role("channel", 1, &[20])];
        KeySet::new("ferrite", number, roles).expect("a key set")
    }

    fn seal(set: &KeySet, seeds: &[u8]) -> Vec<u8> {
        let keys: Vec<SecretKey> = seeds.iter().map(|seed| key(*seed)).collect();
        set.seal(&keys.iter().collect::<Vec<_>>()).expect("it is sealed").into_bytes()
    }

    #[test]
    fn the_next_set_needs_enough_keys_of_the_old_and_of_the_new() {
        let first = KeySet::parse_trusted(&seal(&set(1, &[1, 2, 3]), &[1, 2])).expect("signed");
        let second = set(2, &[3, 4, 5]);
        assert_eq!(first.parse_next(&seal(&second, &[1, 3, 4])).expect("signed by both"), second);
        for (keys, why) in [
            (&[3u8, 4, 5][..], "only one key of the old set"),
            (&[1, 2][..], "no two keys of the new set"),
            (&[1, 2, 3][..], "one key of the new set"),
            (&[][..], "nobody"),
        ] {
            assert!(matches!(first.parse_next(&seal(&second, keys)), Err(KeySetError::Signature(_))), "{why}");
        }
    }

    #[test]
    fn sets_are_walked_one_at_a_time_and_never_back() {
        let first = set(1, &[1, 2, 3]);
        for number in [1, 3, u64::MAX] {
            let error = first.parse_next(&seal(&set(number, &[1, 2, 3]), &[1, 2])).expect_err("not the next");
            assert!(matches!(error, KeySetError::Number { .. }), "{error}");
        }
        let other = KeySet { product: "other".into(), ..set(2, &[1, 2, 3]) };
        assert!(matches!(first.parse_next(&seal(&other, &[1, 2])), Err(KeySetError::Product { .. })));
    }

    #[test]
    fn a_threshold_that_nobody_or_everybody_reaches_is_refused() {
        let public = |seeds: &[u8]| seeds.iter().map(|seed| key(*seed).public()).collect::<Vec<_>>();
        for (threshold, keys) in [(0, &[1u8][..]), (2, &[1]), (1, &[]), (2, &[1, 1]), (1, &[1; 17])] {
            assert!(Role::new("root", threshold, public(keys)).is_err(), "{threshold} of {keys:?}");
        }
    }

    #[test]
    fn the_text_is_the_same_whatever_the_order_of_the_keys() {
        assert_eq!(seal(&set(1, &[1, 2, 3]), &[1, 2]), seal(&set(1, &[3, 2, 1]), &[2, 1]));
    }
}
