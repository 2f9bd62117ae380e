//! `update.conf`: where updates come from and when the machine restarts for them. Pure.
//!
//! The file of the image lies in /usr/share/coreos, the administrator's in /etc/coreos wins line by line, and drop-ins
//! win over both. The keys are those that cloud-config writes and that users of CoreOS know.

use std::time::Duration;

use ferrite_payload::manifest::check_name;
use ferrite_unit::timespan;

use crate::window::{Window, WindowError};

/// Files, the later one wins.
pub const FILES: [&str; 2] = ["/usr/share/coreos/update.conf", "/etc/coreos/update.conf"];
/// After them the files of this folder that end in `.conf`, by their names.
pub const FOLDER: &str = "/etc/coreos/update.conf.d";
/// Most bytes of a file that are read.
pub const FILE_BYTES_MAX: u64 = 64 * 1024;

/// When the machine restarts into a release that was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// As soon as it may.
    Reboot,
    /// With the lock of a FleetLock server.
    FleetLock,
    /// With the lock of the cluster.
    EtcdLock,
    /// With the lock if etcd runs here, else at once.
    BestEffort,
    /// When somebody does it.
    Off,
}

impl Strategy {
    /// Its word in the file.
    pub fn word(self) -> &'static str {
        match self {
            Strategy::Reboot => "reboot",
            Strategy::FleetLock => "fleet-lock",
            Strategy::EtcdLock => "etcd-lock",
            Strategy::BestEffort => "best-effort",
            Strategy::Off => "off",
        }
    }

    fn parse(text: &str) -> Option<Strategy> {
        let locks = [Strategy::FleetLock, Strategy::EtcdLock, Strategy::BestEffort];
        locks.into_iter().chain([Strategy::Reboot, Strategy::Off]).find(|strategy| strategy.word() == text)
    }
}

/// Where updates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// A published directory on a web server.
    Web(String),
    /// The same in a folder, for example on a USB stick.
    Folder(String),
    /// A server that says where payloads are, in Omaha's words.
    Omaha {
        /// Its address.
        url: String,
        /// The application, as it knows it.
        app: String,
    },
    /// `disabled`.
    Disabled,
}

/// What the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The channel.
    pub group: String,
    /// `None`: nobody said.
    pub server: Option<Server>,
    /// When to restart.
    pub strategy: Strategy,
    /// Restarts happen in it only.
    pub window: Option<Window>,
    /// The FleetLock server.
    pub lock_server: Option<String>,
    /// Machines of this group wait for each other.
    pub lock_group: String,
    /// Bytes a second of a download.
    pub rate_limit: Option<u64>,
    /// Instead of the proxy of the environment.
    pub proxy: Option<String>,
    /// Hosts that are reached without that proxy.
    pub no_proxy: Option<String>,
    /// How long a new slot must stay healthy before it is marked good.
    pub settle: Duration,
    /// How long a new slot may take to become healthy.
    pub confirm_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            group: "stable".into(),
            server: None,
            strategy: Strategy::Reboot,
            window: None,
            lock_server: None,
            lock_group: "default".into(),
            rate_limit: None,
            proxy: None,
            no_proxy: None,
            settle: Duration::from_secs(60),
            confirm_timeout: Duration::from_secs(300),
        }
    }
}

/// A fault of a file. The lines that have one do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// File and line.
    pub place: String,
    /// What is wrong, and what would be right.
    pub text: String,
}

/// Reads the files in order; `name` of a file is for messages.
pub fn parse(files: &[(&str, &str)]) -> (Config, Vec<Fault>) {
    let mut config = Config::default();
    let mut faults = Vec::new();
    let (mut start, mut length) = (None, None);
    let (mut protocol, mut app) = (None, None);
    for (name, text) in files {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut fault = |text: String| faults.push(Fault { place: format!("{name}:{}", number + 1), text });
            let Some((key, value)) = line.split_once('=') else {
                fault(format!("'{line}' is not KEY=VALUE"));
                continue;
            };
            let value = unquote(value.trim());
            match key.trim() {
                "REBOOT_WINDOW_START" => start = non_empty(value),
                "REBOOT_WINDOW_LENGTH" => length = non_empty(value),
                "PROTOCOL" => protocol = non_empty(value),
                "OMAHA_APP" => app = non_empty(value),
                key => {
                    if let Err(text) = set(&mut config, key, value) {
                        fault(text);
                    }
                }
            }
        }
    }
    match window(start, length) {
        Ok(window) => config.window = window,
        Err(error) => {
            // Without a window the machine would restart at any time: that is not what was meant.
            config.strategy = Strategy::Off;
            let name = files.last().map_or("update.conf", |(name, _)| name);
            faults.push(Fault { place: name.to_string(), text: format!("{error}; not restarting by itself") });
        }
    }
    match speaking(config.server.take(), protocol, app) {
        Ok(server) => config.server = server,
        Err(text) => {
            let name = files.last().map_or("update.conf", |(name, _)| name);
            faults.push(Fault { place: name.to_string(), text });
        }
    }
    if config.strategy == Strategy::FleetLock && config.lock_server.is_none() {
        config.strategy = Strategy::Off;
        let name = files.last().map_or("update.conf", |(name, _)| name);
        let text = "REBOOT_STRATEGY=fleet-lock needs FLEET_LOCK_SERVER=http://...; not restarting by itself";
        faults.push(Fault { place: name.to_string(), text: text.into() });
    }
    (config, faults)
}

fn window(start: Option<&str>, length: Option<&str>) -> Result<Option<Window>, WindowError> {
    match (start, length) {
        (None, None) => Ok(None),
        (Some(start), Some(length)) => Window::parse(start, length).map(Some),
        (Some(_), None) => Err(WindowError::Half("REBOOT_WINDOW_LENGTH")),
        (None, Some(_)) => Err(WindowError::Half("REBOOT_WINDOW_START")),
    }
}

/// The server, in the words that it is to be asked in. A wrong setting leaves none.
fn speaking(server: Option<Server>, protocol: Option<&str>, app: Option<&str>) -> Result<Option<Server>, String> {
    match (protocol.unwrap_or("static"), server, app) {
        ("static", server, _) => Ok(server),
        ("omaha", Some(Server::Web(url)), Some(app)) if app.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(Server::Omaha { url, app: app.into() }))
        }
        ("omaha", Some(Server::Web(_)), _) => {
            Err("PROTOCOL=omaha needs OMAHA_APP, the application's name on the server; no updates".into())
        }
        ("omaha", server, _) => Ok(server),
        (other, _, _) => Err(format!("protocol '{other}' is none of static, omaha; no updates")),
    }
}

fn set(config: &mut Config, key: &str, value: &str) -> Result<(), String> {
    match key {
        "GROUP" if check_name(value) => config.group = value.into(),
        "GROUP" => return Err(format!("group '{value}' is no name like stable or beta")),
        "SERVER" => config.server = server(value)?,
        "REBOOT_STRATEGY" => {
            // An unknown word must not restart machines.
            config.strategy = Strategy::parse(value).unwrap_or(Strategy::Off);
            if Strategy::parse(value).is_none() {
                let known = "reboot, fleet-lock, etcd-lock, best-effort, off";
                return Err(format!("strategy '{value}' is none of {known}: taking off"));
            }
        }
        "RATE_LIMIT" => config.rate_limit = rate(value)?,
        "PROXY" => config.proxy = non_empty(value).map(str::to_string),
        "NO_PROXY" => config.no_proxy = non_empty(value).map(str::to_string),
        "FLEET_LOCK_SERVER" if value.is_empty() || is_web(value) => {
            config.lock_server = non_empty(value).map(str::to_string);
        }
        "FLEET_LOCK_SERVER" => return Err(format!("lock server '{value}' is none of http://..., https://...")),
        "FLEET_LOCK_GROUP" if check_name(value) => config.lock_group = value.into(),
        "FLEET_LOCK_GROUP" => return Err(format!("lock group '{value}' is no name like default or workers")),
        "SETTLE" => config.settle = span(value)?,
        "CONFIRM_TIMEOUT" => config.confirm_timeout = span(value)?,
        // The other programs that read this file know these.
        "LOCKSMITHD_ENDPOINT"
        | "LOCKSMITHD_ETCD_CAFILE"
        | "LOCKSMITHD_ETCD_CERTFILE"
        | "LOCKSMITHD_ETCD_KEYFILE"
        | "LOCKSMITHD_GROUP" => {}
        _ => return Err(format!("key {key} is not known, ignoring it")),
    }
    Ok(())
}

fn server(value: &str) -> Result<Option<Server>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    if value == "disabled" {
        return Ok(Some(Server::Disabled));
    }
    if let Some(path) = value.strip_prefix("file://").filter(|path| path.starts_with('/')) {
        return Ok(Some(Server::Folder(path.into())));
    }
    if is_web(value) {
        return Ok(Some(Server::Web(value.into())));
    }
    Err(format!("server '{value}' is none of http://..., https://..., file:///folder, disabled"))
}

fn is_web(value: &str) -> bool {
    let begins = |scheme: &&str| value.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty());
    ["http://", "https://"].iter().any(begins) && value.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `500K`, `2M` or bytes, a second.
fn rate(value: &str) -> Result<Option<u64>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let (digits, factor) = match value.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (value.get(..at).unwrap_or_default(), 1 << 10),
        Some((at, 'M' | 'm')) => (value.get(..at).unwrap_or_default(), 1 << 20),
        _ => (value, 1u64),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    match number.filter(|number| *number >= 1024) {
        Some(number) => Ok(Some(number)),
        None => Err(format!("rate limit '{value}' is not like 500K or 2M a second, 1K at least")),
    }
}

fn span(value: &str) -> Result<Duration, String> {
    let wrong = |_| format!("'{value}' is no time span like 60s or 5min");
    timespan::parse(value).map(Duration::from_micros).map_err(wrong)
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn unquote(text: &str) -> &str {
    let inner = ['"', '\''].iter().find_map(|mark| text.strip_prefix(*mark)?.strip_suffix(*mark));
    inner.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Config, Vec<String>) {
        let (config, faults) = parse(&[("update.conf", text)]);
        (config, faults.into_iter().map(|fault| format!("{}: {}", fault.place, fault.text)).collect())
    }

    #[test]
    fn what_cloud_config_writes_is_read() {
        let text = "GROUP=alpha\nREBOOT_STRATEGY=etcd-lock\nSERVER=https://updates.example.com/f/\n# x\n";
        let (config, faults) = read(text);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(config.group, "alpha");
        assert_eq!(config.strategy, Strategy::EtcdLock);
        assert_eq!(config.server, Some(Server::Web("https://updates.example.com/f/".into())));
    }

    #[test]
    fn the_later_file_wins_line_by_line() {
        let image = ("image", "GROUP=stable\nSERVER=http://a/\n");
        let own = ("own", "SERVER=file:///media/stick\nRATE_LIMIT=\"500K\"\nPROXY=http://proxy:3128\n");
        let (config, faults) = parse(&[image, own]);
        assert_eq!(faults, []);
        assert_eq!(config.server, Some(Server::Folder("/media/stick".into())));
        assert_eq!((config.group.as_str(), config.rate_limit), ("stable", Some(500 << 10)));
        let (config, _) = parse(&[image, ("own", "SERVER=disabled")]);
        assert_eq!(config.server, Some(Server::Disabled));
        let (config, _) = parse(&[image, ("own", "SERVER=")]);
        assert_eq!(config.server, None, "taken back");
    }

    #[test]
    fn a_lock_server_has_a_place_and_a_group() {
        let (config, faults) = read("REBOOT_STRATEGY=fleet-lock\nFLEET_LOCK_SERVER=http://lock:8080/\nNO_PROXY=lock\n");
        assert_eq!(faults, Vec::<String>::new());
        let (server, group) = (config.lock_server.as_deref(), config.lock_group.as_str());
        assert_eq!((config.strategy, server, group), (Strategy::FleetLock, Some("http://lock:8080/"), "default"));
        assert_eq!(config.no_proxy.as_deref(), Some("lock"));
        assert_eq!(read("FLEET_LOCK_GROUP=workers").0.lock_group, "workers");
        let (config, _) = read("OMAHA_APP=org.example.x\nPROTOCOL=omaha\nSERVER=http://nebraska/v1/update/\n");
        let (url, app) = ("http://nebraska/v1/update/".to_string(), "org.example.x".to_string());
        assert_eq!(config.server, Some(Server::Omaha { url, app }));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_never_restarts_a_machine() {
        for (line, told) in [
            ("REBOOT_STRATEGY=rebooot", "update.conf:1: strategy 'rebooot' is none of reboot, fleet-lock"),
            ("SERVER=ftp://x", "update.conf:1: server 'ftp://x' is none of http://"),
            ("SERVER=http://", "update.conf:1: server 'http://' is none of"),
            ("SERVER=file://relative", "update.conf:1: server"),
            ("GROUP=../x", "update.conf:1: group '../x' is no name"),
            ("RATE_LIMIT=fast", "update.conf:1: rate limit 'fast'"),
            ("SETTLE=soon", "update.conf:1: 'soon' is no time span"),
            ("COLOUR=red", "update.conf:1: key COLOUR is not known"),
            ("hello", "update.conf:1: 'hello' is not KEY=VALUE"),
            ("SERVER=http://x\nPROTOCOL=omaha", "needs OMAHA_APP"),
            ("SERVER=http://x\nPROTOCOL=ftp", "protocol 'ftp' is none of static, omaha"),
            ("REBOOT_STRATEGY=fleet-lock", "needs FLEET_LOCK_SERVER=http"),
            ("FLEET_LOCK_SERVER=lock", "update.conf:1: lock server 'lock'"),
            ("FLEET_LOCK_GROUP=a/b", "update.conf:1: lock group 'a/b'"),
            ("REBOOT_WINDOW_START=14:00", "REBOOT_WINDOW_LENGTH is missing"),
            ("REBOOT_WINDOW_START=25:00\nREBOOT_WINDOW_LENGTH=1h", "not restarting by itself"),
        ] {
            let (config, faults) = read(line);
            assert!(faults.len() == 1 && faults[0].contains(told), "{line}: {faults:?}");
            if line.contains("REBOOT") {
                assert_eq!(config.strategy, Strategy::Off, "{line}");
            }
        }
    }
}
