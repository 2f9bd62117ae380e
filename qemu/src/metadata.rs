//! Metadata services of clouds, for guests and for tests: Amazon's, DigitalOcean's and NoCloud's web server.
//!
//! A service listens on this host and writes down who asked for what. In a guest it is reached at 169.254.169.254, see
//! [`crate::spec::Metadata`]. It can be told to misbehave, as the real ones do.

mod answers;
mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::QemuError;
use crate::spec::Smbios;

/// What a service knows.
#[derive(Debug, Clone)]
pub enum Cloud {
    /// Amazon's, version 2: nothing without a token.
    Ec2(Ec2),
    /// DigitalOcean's: the JSON of a droplet.
    DigitalOcean(Value),
    /// A web server with the files of a folder.
    Files(PathBuf),
}

/// What Amazon's service knows.
#[derive(Debug, Clone)]
pub struct Ec2 {
    /// The tree below meta-data/. A list of keys is a map from names to keys at `public-keys`.
    pub meta_data: Value,
    /// The user-data.
    pub user_data: Option<Vec<u8>>,
    /// The instance's identity document.
    pub identity: Value,
}

/// How a service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Well,
    /// It takes the connection and says nothing.
    Mute,
    /// It takes the connection and closes it.
    Closes,
    /// As it should, each answer after so long.
    Slow(Duration),
    /// As it should, a byte at a time with so long between them.
    Drips(Duration),
    /// The headers at once, the body so.
    DripsBody(Duration),
    /// Always with this status.
    Status(u16),
    /// With bytes that mean nothing.
    Garbage,
    /// Tokens as it should, else with a body that means nothing and is no UTF-8.
    GarbageBody,
    /// With headers that do not end.
    EndlessHeaders,
    /// With a body that does not end.
    Endless,
    /// It goes away in the middle of the body.
    Breaks,
    /// Always with a redirection to where the question was.
    Redirects,
    /// It refuses every token, its own too.
    ForgetsTokens,
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `PUT`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The status of the answer; 0: there was none.
    pub status: u16,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a service and its owner share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cloud: Cloud,
    pub(crate) behaviour: Behaviour,
    pub(crate) requests: Vec<Request>,
    /// Tokens given out so far; only the last one counts.
    pub(crate) tokens: u32,
    /// After so many requests the token of then is none any more.
    pub(crate) expires_after: Option<usize>,
    pub(crate) ended: bool,
}

/// A service that runs until it is dropped.
#[derive(Debug)]
pub struct MetadataService {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    news: Arc<Condvar>,
}

impl MetadataService {
    /// Starts a service; port 0 is a free one.
    pub fn start(cloud: Cloud, address: SocketAddr) -> Result<Self, QemuError> {
        let shared = Shared {
            cloud,
            behaviour: Behaviour::Well,
            requests: Vec::new(),
            tokens: 0,
            expires_after: None,
            ended: false,
        };
        let shared = Arc::new(Mutex::new(shared));
        let news = Arc::new(Condvar::new());
        let address = server::start(address, Arc::clone(&shared), Arc::clone(&news))?;
        Ok(Self { address, shared, news })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// Waits until it has been asked so often; whether that happened within the deadline.
    pub fn wait_for_requests(&self, count: usize, deadline: Duration) -> bool {
        let waited = self.news.wait_timeout_while(self.lock(), deadline, |shared| shared.requests.len() < count);
        let (shared, _) = waited.unwrap_or_else(PoisonError::into_inner);
        shared.requests.len() >= count
    }

    /// Answers like this from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.lock().behaviour = behaviour;
    }

    /// Knows this from now on.
    pub fn know(&self, cloud: Cloud) {
        self.lock().cloud = cloud;
    }

    /// Lets the token expire after so many requests in all.
    pub fn expire_token_after(&self, requests: usize) {
        self.lock().expires_after = Some(requests);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A thread that died has written whole values.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MetadataService {
    fn drop(&mut self) {
        self.lock().ended = true;
        // The listener waits for a connection; this one tells it to look.
        let _ = std::net::TcpStream::connect(self.address);
    }
}

impl Cloud {
    /// Reads what a service knows from a folder.
    ///
    /// `ec2`: user-data, meta-data.json and identity.json, all optional. `digitalocean`: v1.json, and user-data in
    /// place of the one in it. `nocloud-http`: the files as they are.
    pub fn read(kind: CloudKind, folder: &Path) -> Result<Self, QemuError> {
        let json_of = |name: &str| -> Result<Option<Value>, QemuError> {
            let path = folder.join(name);
            let Some(bytes) = optional(&path)? else {
                return Ok(None);
            };
            let parsed = serde_json::from_slice(&bytes).map_err(std::io::Error::from);
            Ok(Some(parsed.map_err(QemuError::file("reading", path))?))
        };
        let user_data = optional(&folder.join("user-data"))?;
        Ok(match kind {
            CloudKind::Ec2 => {
                let usual = Ec2::new(user_data);
                let meta_data = json_of("meta-data.json")?.unwrap_or(usual.meta_data.clone());
                let identity = json_of("identity.json")?.unwrap_or(usual.identity.clone());
                Self::Ec2(Ec2 { meta_data, identity, ..usual })
            }
            CloudKind::DigitalOcean => {
                let mut droplet =
                    json_of("v1.json")?.unwrap_or_else(|| json!({ "droplet_id": 1, "hostname": "droplet" }));
                if let (Some(map), Some(bytes)) = (droplet.as_object_mut(), user_data) {
                    map.insert("user_data".into(), json!(String::from_utf8_lossy(&bytes)));
                }
                Self::DigitalOcean(droplet)
            }
            CloudKind::NoCloudHttp => Self::Files(folder.into()),
        })
    }
}

impl Cloud {
    /// Adds a key that may log in; whether it could be added.
    pub fn add_key(&mut self, key: &str) -> bool {
        match self {
            Self::Ec2(instance) => {
                if !instance.meta_data["public-keys"].is_object() {
                    instance.meta_data["public-keys"] = json!({});
                }
                instance.meta_data["public-keys"]["ferrite-throw-away"] = json!(key);
                true
            }
            Self::DigitalOcean(droplet) => {
                let mut keys = droplet["public_keys"].as_array().cloned().unwrap_or_default();
                keys.push(json!(key));
                droplet["public_keys"] = Value::Array(keys);
                true
            }
            // The files are a person's.
            Self::Files(_) => false,
        }
    }

    /// The address that the machine will have without DHCP, if the guest's network can hold it, and its card's.
    pub fn guest(&self) -> (Option<Ipv4Addr>, Option<String>) {
        let Self::DigitalOcean(droplet) = self else {
            return (None, None);
        };
        let card = &droplet["interfaces"]["public"][0];
        let address = card["ipv4"]["ip_address"].as_str().and_then(|text| text.parse().ok());
        let is_inside = |address: &Ipv4Addr| address.octets()[0] >> 4 == 160 >> 4;
        (address.filter(is_inside), card["mac"].as_str().map(str::to_string))
    }
}

impl Ec2 {
    /// A small instance.
    pub fn new(user_data: Option<Vec<u8>>) -> Self {
        let meta_data = json!({
            "instance-id": "i-0123456789abcdef0", "hostname": "ip-172-16-0-15.eu-west-1.compute.internal",
            "local-ipv4": "172.16.0.15", "public-ipv4": "198.51.100.7", "public-keys": {},
        });
        let identity = json!({
            "instanceId": "i-0123456789abcdef0", "privateIp": "172.16.0.15", "region": "eu-west-1",
            "availabilityZone": "eu-west-1a", "instanceType": "t3.micro",
        });
        Self { meta_data, user_data, identity }
    }
}

fn optional(path: &Path) -> Result<Option<Vec<u8>>, QemuError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(QemuError::file("reading", path)(error)),
    }
}

/// The kinds of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudKind {
    /// Amazon's.
    Ec2,
    /// DigitalOcean's.
    DigitalOcean,
    /// NoCloud's documents on a web server.
    NoCloudHttp,
}

impl std::str::FromStr for CloudKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ec2" => Ok(Self::Ec2),
            "digitalocean" => Ok(Self::DigitalOcean),
            "nocloud-http" => Ok(Self::NoCloudHttp),
            _ => Err(format!("'{text}' is no kind of metadata service; they are ec2, digitalocean and nocloud-http")),
        }
    }
}

impl CloudKind {
    /// What the firmware of such a machine says.
    pub fn smbios(self) -> Smbios {
        let text = |text: &str| Some(text.to_string());
        match self {
            Self::Ec2 => Smbios {
                manufacturer: text("Amazon EC2"),
                product: text("t3.micro"),
                serial: text("ec2d8f4a-3b1c-4f0a-9d53-6f1e0b6a7c11"),
                uuid: text("ec2d8f4a-3b1c-4f0a-9d53-6f1e0b6a7c11"),
            },
            Self::DigitalOcean => Smbios {
                manufacturer: text("DigitalOcean"),
                product: text("Droplet"),
                serial: text("2756294"),
                uuid: None,
            },
            Self::NoCloudHttp => Smbios { serial: text("ds=nocloud;s=http://169.254.169.254/"), ..Smbios::default() },
        }
    }
}

#[cfg(test)]
#[path = "metadata/tests.rs"]
mod tests;
