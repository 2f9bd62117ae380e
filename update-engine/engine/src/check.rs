//! Asks a published directory what is new: key sets first, then the channel document. Acts only through the repository
//! that is handed in, which never gets to be believed.

use ferrite_payload::channel::{Channel, ChannelError, Expected};
use ferrite_payload::key_set::{self, KeySet, KeySetError};
use ferrite_payload::limits::{CHANNEL_BYTES_MAX, KEY_SET_BYTES_MAX, KEY_SETS_MAX};

use crate::choose::{Choice, choose};
use crate::machine::Machine;
use crate::source::{Repository, SourceError};

/// The directory has nothing that can be believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A key set is refused.
    #[error("reading key set {number}")]
    KeySet {
        /// Which.
        number: u64,
        /// Why.
        source: KeySetError,
    },
    /// The channel document is refused.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// There is no such channel.
    #[error("there is no channel {0} (no channel/{0}.json)")]
    NoChannel(String),
}

/// What was learned; keep all of it for the next time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The newest key set.
    pub keys: KeySet,
    /// The texts of the sets that were new.
    pub new_sets: Vec<Vec<u8>>,
    /// The channel document.
    pub channel: Channel,
}

/// Walks from the trusted key set to the newest one and reads the channel document.
pub fn check(repository: &mut dyn Repository, trusted: &KeySet, expected: &Expected) -> Result<News, CheckError> {
    let (keys, new_sets) = walk(repository, trusted)?;
    let channel = Channel::parse(&document(repository, expected.channel)?, keys.channel(), expected)?;
    Ok(News { keys, new_sets, channel })
}

/// Chooses what there is for a machine. As long as that is nothing, one request tells: newer key sets are asked for
/// only before something is installed, and when the document is signed by keys that are not known. Whoever could hide
/// them could hide the document too.
pub fn look(
    repository: &mut dyn Repository,
    trusted: &KeySet,
    expected: &Expected,
    machine: &Machine,
) -> Result<(News, Choice), CheckError> {
    let bytes = document(repository, expected.channel)?;
    if let Ok(channel) = Channel::parse(&bytes, trusted.channel(), expected) {
        let choice = choose(&channel, machine, expected.now);
        if !matches!(choice, Choice::Take(_)) {
            return Ok((News { keys: trusted.clone(), new_sets: Vec::new(), channel }, choice));
        }
    }
    let (keys, new_sets) = walk(repository, trusted)?;
    let channel = Channel::parse(&bytes, keys.channel(), expected)?;
    let choice = choose(&channel, machine, expected.now);
    Ok((News { keys, new_sets, channel }, choice))
}

fn document(repository: &mut dyn Repository, name: &str) -> Result<Vec<u8>, CheckError> {
    let bytes = repository.small(&format!("channel/{name}.json"), CHANNEL_BYTES_MAX)?;
    bytes.ok_or_else(|| CheckError::NoChannel(name.to_string()))
}

fn walk(repository: &mut dyn Repository, trusted: &KeySet) -> Result<(KeySet, Vec<Vec<u8>>), CheckError> {
    let mut keys = trusted.clone();
    let mut new_sets = Vec::new();
    for number in (trusted.number() + 1..).take(KEY_SETS_MAX as usize) {
        let Some(bytes) = repository.small(&key_set::file_name(number), KEY_SET_BYTES_MAX)? else { break };
        keys = keys.parse_next(&bytes).map_err(|source| CheckError::KeySet { number, source })?;
        new_sets.push(bytes);
    }
    Ok((keys, new_sets))
}
