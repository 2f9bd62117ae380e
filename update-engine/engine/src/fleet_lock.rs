//! A client of FleetLock, the lock that several servers (airlock, fleetlock) speak: two requests, no connection that
//! has to be kept. Acts.
//!
//! The server knows a machine by a name that is made from the machine id and does not tell it.

use std::io::Read;

use serde::Deserialize;
use serde_json::json;
use ureq::Agent;

use crate::http::{Access, AccessError, client, send};
use crate::lock::{LockPlace, RebootLock, Taken};
use crate::machine::name_for;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
/// Characters of what a server says that are shown.
const SAID_MAX: usize = 200;
/// Says that a request is no mistake of a browser.
const PROTOCOL_HEADER: &str = "fleet-lock-protocol";

/// A lock of a FleetLock server.
#[derive(Debug)]
pub struct FleetLock {
    client: Agent,
    place: LockPlace,
}

/// What the server says when it does not agree.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Disagreement {
    kind: String,
    value: String,
}

impl FleetLock {
    /// The lock at a place.
    pub fn new(place: &LockPlace, access: &Access) -> Result<FleetLock, AccessError> {
        Ok(FleetLock { client: client(&place.server, access)?, place: place.clone() })
    }

    fn post(&self, verb: &str, machine_id: &str) -> Result<(), String> {
        let url = format!("{}/v1/{verb}", self.place.server.trim_end_matches('/'));
        let body = json!({ "client_params": { "id": client_id(machine_id), "group": self.place.group } }).to_string();
        let request = self.client.post(&url).header(PROTOCOL_HEADER, "true").content_type("application/json");
        let answer = send(request, &body).map_err(|error| format!("asking '{url}': {error}"))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        // A server that says no and not why has said enough.
        let _ = answer.into_body().into_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
        let Disagreement { kind, value } = serde_json::from_slice(&bytes).unwrap_or_default();
        let said: String = [kind, value].join(": ").chars().filter(|c| !c.is_control()).take(SAID_MAX).collect();
        let said = said.trim_matches([':', ' ']);
        Err(if said.is_empty() { format!("'{url}' answers {status}") } else { format!("'{url}' says {said}") })
    }
}

impl RebootLock for FleetLock {
    fn take(&mut self, machine_id: &str) -> Taken {
        self.post("pre-reboot", machine_id).map_or_else(Taken::No, |()| Taken::Yes)
    }

    fn release(&mut self, machine_id: &str) -> Result<(), String> {
        self.post("steady-state", machine_id)
    }
}

/// The name of the machine for the server.
pub fn client_id(machine_id: &str) -> String {
    name_for("fleet-lock", machine_id)
}
