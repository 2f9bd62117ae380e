//! Amazon's service: a token, then some eight questions.
//!
//! On Amazon's own machines nobody is asked without a token: an answer without one would mean that somebody stands
//! between. IPv4 and IPv6 are tried side by side, because a network may have only one of them.

use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::detect::Protocol;
use super::documents::{Documents, json_bytes};
use super::http::{Answer, Client, Patience, Trouble};
use crate::network::Format;

/// Where the service is; the second is for networks without IPv4.
pub(crate) const BASES: [&str; 2] = ["http://169.254.169.254", "http://[fd00:ec2::254]"];
/// The newest first; each is asked for when the service does not know the one before.
const VERSIONS: [&str; 4] = ["2021-03-23", "2018-09-24", "2016-09-02", "2009-04-04"];
const HEAD_START: Duration = Duration::from_millis(150);
const TOKEN_HEADER: &str = "X-aws-ec2-metadata-token";
const MAX_KEYS: usize = 50;
const MAX_ID_BYTES: usize = 128;

/// What the service said, before it is understood.
#[derive(Debug, Clone, Default)]
struct Answers {
    instance_id: String,
    user_data: Option<Vec<u8>>,
    hostname: Option<String>,
    keys: Vec<(String, String)>,
    public_ipv4: Option<String>,
    local_ipv4: Option<String>,
    identity: Option<Vec<u8>>,
    nics: Map<String, Value>,
}

/// Asks the service at the first of the bases that answers. `macs`: the network cards of this machine.
pub(crate) fn fetch(
    bases: &[&str],
    protocol: Protocol,
    macs: &[String],
    patience: Patience,
) -> Result<Documents, Trouble> {
    let client = Client::new(patience);
    let (base, token) = patience.ask(|| race(&client, bases, protocol))?;
    let mut session = Session { client, base, token, patience };
    let answers = session.answers(macs)?;
    Ok(documents(answers))
}

/// Asks all bases for a token, each a moment after the one before, and takes the first that answers.
fn race(client: &Client, bases: &[&str], protocol: Protocol) -> Result<(String, Option<String>), Trouble> {
    let (sender, answers) = mpsc::channel();
    let mut waiting = 0_usize;
    let mut troubles = Vec::new();
    let mut rest = bases.iter().enumerate();
    loop {
        if let Some((place, base)) = rest.next() {
            let (client, base, sender) = (client.clone(), (*base).to_string(), sender.clone());
            std::thread::spawn(move || {
                let token = token(&client, &base, protocol);
                // The race may be over.
                let _ = sender.send(token.map(|token| (base, token)).map_err(|trouble| (place, trouble)));
            });
            waiting += 1;
        }
        let answer = match (waiting, rest.len()) {
            (0, _) => return Err(of_all(troubles)),
            (_, 0) => answers.recv().ok(),
            (_, _) => answers.recv_timeout(HEAD_START).ok(),
        };
        match answer {
            Some(Ok(found)) => return Ok(found),
            Some(Err(failed)) => {
                waiting -= 1;
                troubles.push(failed);
            }
            None => {}
        }
    }
}

/// The trouble of all places together. What a service says counts more than that the other one is not there.
fn of_all(mut troubles: Vec<(usize, Trouble)>) -> Trouble {
    troubles.sort_by_key(|(place, _)| *place);
    if let Some((_, spoken)) = troubles.iter().find(|(_, trouble)| matches!(trouble, Trouble::Final(_))) {
        return spoken.clone();
    }
    let reasons: Vec<&str> = troubles.iter().map(|(_, trouble)| trouble.reason()).collect();
    Trouble::Passing(reasons.join("; "))
}

/// Asks for a token; `None`: the service has none and this machine may go without.
fn token(client: &Client, base: &str, protocol: Protocol) -> Result<Option<String>, Trouble> {
    let url = format!("{base}/latest/api/token");
    let answer = client.put(&url, &[("X-aws-ec2-metadata-token-ttl-seconds", "21600")])?;
    let status = answer.status;
    match answer.found(&url) {
        Ok(Some(bytes)) => {
            let token = String::from_utf8_lossy(&bytes).trim().to_string();
            let is_plain = !token.is_empty() && token.len() < 1024 && token.bytes().all(|byte| byte.is_ascii_graphic());
            if is_plain { Ok(Some(token)) } else { Err(Trouble::Final(format!("'{url}' answers with no token"))) }
        }
        Ok(None) | Err(Trouble::Final(_)) if protocol == Protocol::TokenOrNone && status != 403 => Ok(None),
        Ok(None) => Err(Trouble::Final(format!("'{url}' is not there, and nobody is asked without a token"))),
        Err(trouble) => Err(trouble),
    }
}

struct Session {
    client: Client,
    base: String,
    token: Option<String>,
    patience: Patience,
}

impl Session {
    fn answers(&mut self, macs: &[String]) -> Result<Answers, Trouble> {
        let (version, instance_id, identity) = self.version()?;
        let path = |name: &str| format!("/{version}/{name}");
        let mut answers = Answers {
            instance_id,
            identity,
            user_data: self.get(&path("user-data"))?,
            hostname: self.text(&path("meta-data/hostname"))?,
            public_ipv4: self.text(&path("meta-data/public-ipv4"))?,
            ..Answers::default()
        };
        let list = self.text(&path("meta-data/public-keys/"))?.unwrap_or_default();
        for (number, name) in list.lines().filter_map(|line| line.split_once('=')).take(MAX_KEYS) {
            let key = self.text(&path(&format!("meta-data/public-keys/{}/openssh-key", number.trim())))?;
            answers.keys.extend(key.map(|key| (name.to_string(), key)));
        }
        if of_identity(answers.identity.as_deref(), "privateIp").is_none() {
            answers.local_ipv4 = self.text(&path("meta-data/local-ipv4"))?;
        }
        for mac in macs {
            let place = path(&format!("meta-data/network/interfaces/macs/{mac}"));
            let nic = self.nic(&place, macs.len() > 1)?;
            answers.nics.extend(nic.map(|nic| (mac.clone(), nic)));
        }
        Ok(answers)
    }

    /// The newest version that the service knows, the instance id, and the identity document if that told it.
    fn version(&mut self) -> Result<(&'static str, String, Option<Vec<u8>>), Trouble> {
        if let Some(newest) = VERSIONS.first() {
            // The document is wanted anyway and has the id in it: one question less.
            let document = self.get(&format!("/{newest}/dynamic/instance-identity/document"))?;
            if let Some(id) = of_identity(document.as_deref(), "instanceId") {
                return Ok((newest, id, document));
            }
        }
        for version in VERSIONS {
            let url = format!("/{version}/meta-data/instance-id");
            let id = self.text(&url)?.filter(|id| !id.is_empty());
            if id.as_deref().is_some_and(|id| !is_instance_id(id)) {
                return Err(Trouble::Final(format!("'{}{url}' answers with no instance id", self.base)));
            }
            if let Some(id) = id {
                let is_asked = VERSIONS.first() == Some(&version);
                let document = format!("/{version}/dynamic/instance-identity/document");
                let document = if is_asked { None } else { self.get(&document)? };
                return Ok((version, id, document));
            }
        }
        Err(Trouble::Final(format!("'{}' has no meta-data/instance-id in any version", self.base)))
    }

    /// A network card; `None`: the service does not know it. Its place among the cards matters only where there are
    /// several, its network where DHCP does not say enough.
    fn nic(&mut self, path: &str, has_others: bool) -> Result<Option<Value>, Trouble> {
        let mut nic = self.texts(path, &["local-ipv4s", "ipv6s"])?;
        if nic.is_empty() {
            return Ok(None);
        }
        let several = nic.get("local-ipv4s").and_then(Value::as_str).is_some_and(|list| list.lines().count() > 1);
        if has_others {
            nic.extend(self.texts(path, &["device-number", "network-card"])?);
        }
        if has_others || several {
            nic.extend(self.texts(path, &["subnet-ipv4-cidr-block"])?);
        }
        Ok(Some(Value::Object(nic)))
    }

    /// Those of the texts below a path that are there.
    fn texts(&mut self, path: &str, names: &[&str]) -> Result<Map<String, Value>, Trouble> {
        let mut found = Map::new();
        for name in names {
            if let Some(text) = self.text(&format!("{path}/{name}"))?.filter(|text| !text.is_empty()) {
                found.insert((*name).into(), json!(text));
            }
        }
        Ok(found)
    }

    fn text(&mut self, path: &str) -> Result<Option<String>, Trouble> {
        Ok(self.get(path)?.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_string()))
    }

    /// Asks until there is an answer; `None` for 404. A token that is not taken any more is replaced once.
    fn get(&mut self, path: &str) -> Result<Option<Vec<u8>>, Trouble> {
        let url = format!("{}{path}", self.base);
        let answer = self.patience.ask(|| self.once(&url))?;
        if answer.status != 401 || self.token.is_none() {
            return answer.found(&url);
        }
        let fresh = self.patience.ask(|| token(&self.client, &self.base, Protocol::TokenOnly))?;
        self.token = fresh;
        self.patience.ask(|| self.once(&url))?.found(&url)
    }

    fn once(&self, url: &str) -> Result<Answer, Trouble> {
        let header = self.token.as_deref().map(|token| (TOKEN_HEADER, token));
        let answer = self.client.get(url, header.as_slice())?;
        match answer.clone().found(url) {
            Err(Trouble::Passing(reason)) => Err(Trouble::Passing(reason)),
            Ok(_) | Err(Trouble::Final(_)) => Ok(answer),
        }
    }
}

/// These bytes as what the service says everywhere.
#[cfg(test)]
pub(super) fn documents_of(bytes: &[u8]) -> Documents {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let nics = serde_json::from_slice::<Map<String, Value>>(bytes).unwrap_or_default();
    documents(Answers {
        instance_id: text.clone(),
        hostname: Some(text.clone()),
        keys: vec![("key".into(), text)],
        identity: Some(bytes.to_vec()),
        nics,
        ..Answers::default()
    })
}

/// Whether it looks like one. What a proxy or a login page answers must not make a new instance of the machine.
fn is_instance_id(text: &str) -> bool {
    text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// A text of the identity document. One that is no JSON is as good as none: what else it says is for templates.
fn of_identity(document: Option<&[u8]>, key: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(document?).ok()?;
    Some(value.get(key)?.as_str().filter(|text| !text.is_empty())?.to_string())
}

/// What the answers mean. Pure.
fn documents(answers: Answers) -> Documents {
    let identity = answers.identity.as_deref();
    let mut meta = Map::new();
    for (key, value) in [
        ("instance-id", Some(answers.instance_id)),
        // With several domains in the options of its network the service gives all of them.
        ("local-hostname", answers.hostname.as_deref().and_then(|name| name.split_whitespace().next()).map(Into::into)),
        ("local-ipv4", of_identity(identity, "privateIp").or(answers.local_ipv4)),
        ("public-ipv4", answers.public_ipv4),
        ("region", of_identity(identity, "region")),
        ("availability-zone", of_identity(identity, "availabilityZone")),
        ("instance-type", of_identity(identity, "instanceType")),
        ("cloud-name", Some("aws".into())),
        ("platform", Some("ec2".into())),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            meta.insert(key.into(), json!(value));
        }
    }
    let keys: Map<String, Value> = answers.keys.into_iter().map(|(name, key)| (name, json!(key))).collect();
    meta.insert("public-keys".into(), Value::Object(keys));
    let has_nics = !answers.nics.is_empty();
    Documents {
        user_data: answers.user_data.unwrap_or_default(),
        meta_data: json_bytes(&Value::Object(meta)),
        network_config: if has_nics { json_bytes(&Value::Object(answers.nics)) } else { Vec::new() },
        network_format: Format::Ec2,
        ..Documents::default()
    }
}
