//! What administrators chose for the manager itself while it runs, and what it counts: kept over its own re-execution,
//! forgotten at the next boot.

use std::collections::{BTreeMap, BTreeSet};

use ferrite_control::{ErrorKind, Reply};
use ferrite_unit::environment::is_name;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::server::error;

/// The name of this part of the kept state.
pub const PART: &str = "manager";
/// Variables at most.
const VARIABLES_MAX: usize = 1024;
/// Bytes of all variables together: more than the kernel takes for a new program makes no sense.
const BYTES_MAX: usize = 1024 * 1024;

/// The choices and the counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ManagerState {
    /// Variables for all services (`systemctl set-environment`).
    pub environment: BTreeMap<String, String>,
    /// Are services that do not say that they live ended (`systemctl service-watchdogs`)?
    pub service_watchdogs: bool,
    /// Jobs that came to a bad end.
    pub failed_jobs: u64,
    /// Units that are to be frozen, by name.
    pub frozen: BTreeSet<String>,
}

impl Default for ManagerState {
    fn default() -> Self {
        ManagerState { environment: BTreeMap::new(), service_watchdogs: true, failed_jobs: 0, frozen: BTreeSet::new() }
    }
}

impl Engine {
    /// The environment of services before anything that units say: `NAME=value`, in the order of the names.
    pub fn environment_words(&self) -> Vec<String> {
        let mut all: BTreeMap<&str, &str> = BTreeMap::from([("LANG", "C.UTF-8"), ("PATH", crate::child::PATH)]);
        all.extend(self.manager.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Takes names out of the environment, then puts assignments in.
    pub fn set_environment(&mut self, unset: &[String], set: &[String]) -> Reply {
        let pairs: Vec<(&str, &str)> = set.iter().filter_map(|word| word.split_once('=')).collect();
        let valid = |value: &str| !value.contains(|c: char| c.is_control() && c != '\t' && c != '\n');
        if pairs.len() != set.len() || !pairs.iter().all(|(name, value)| is_name(name) && valid(value)) {
            return error(ErrorKind::BadRequest, "Invalid environment assignments".into());
        }
        let unsettable = |word: &String| is_name(word) || word.split_once('=').is_some_and(|(name, _)| is_name(name));
        if !unset.iter().all(unsettable) {
            return error(ErrorKind::BadRequest, "Invalid environment variable names or assignments".into());
        }
        if self.manager.environment.len() + pairs.len() > VARIABLES_MAX {
            return error(ErrorKind::LimitExceeded, format!("more than {VARIABLES_MAX} variables"));
        }
        let there: usize = self.manager.environment.iter().map(|(name, value)| name.len() + value.len()).sum();
        if set.iter().fold(there, |sum, word| sum.saturating_add(word.len())) > BYTES_MAX {
            return error(ErrorKind::LimitExceeded, format!("more than {BYTES_MAX} bytes of variables"));
        }
        for word in unset {
            match word.split_once('=') {
                // An assignment goes only with this value.
                Some((name, value)) if self.manager.environment.get(name).is_some_and(|have| have != value) => {}
                Some((name, _)) => drop(self.manager.environment.remove(name)),
                None => drop(self.manager.environment.remove(word.as_str())),
            }
        }
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.manager.environment.extend(pairs);
        Reply::Done
    }
}
