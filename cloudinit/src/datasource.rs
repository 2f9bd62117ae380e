//! Where the documents of this machine are, and fetching them.
//!
//! What is on the machine decides which datasource it has (`detect`); nobody on the network is asked for that. Then
//! this one is read; a service that does not answer is waited for only so long, and asked again in the background.

mod command_line;
mod config_drive;
mod detect;
mod digitalocean;
mod dmi;
mod documents;
mod ec2;
mod http;
mod link;
mod nocloud;
mod volume;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::command_line::CommandLine;
use self::detect::{Choice, Seen, Source, choose};
use self::dmi::Dmi;
use self::documents::Mode;
pub(crate) use self::documents::{Documents, Missing, read_file};
use self::http::{Patience, Trouble};
use crate::plan_instance::NO_INSTANCE;

const COMMAND_LINE: &str = "/proc/cmdline";
const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/org.ferrite";
const DMI: &str = "/sys/class/dmi/id";
const HYPERVISOR: &str = "/sys/hypervisor/uuid";
/// What an installer or the maker of an image left, the first that is there.
const LOCAL: [&str; 5] = [
    "/var/lib/ferrite/cloudinit/seed",
    "/var/lib/coreos-install/user_data",
    "/var/lib/cloud/seed/nocloud",
    "/usr/share/oem/user-data",
    "/usr/share/oem/cloud-config.yml",
];
const METADATA: &str = "http://169.254.169.254";
/// What all questions of a boot together may take.
const WHOLE_WAIT: Duration = Duration::from_secs(60);
/// What is waited for before there is a network.
const EARLY_WAIT: Duration = Duration::from_secs(10);
/// One try in the background, and one by hand.
const SHORT_WAIT: Duration = Duration::from_secs(5);

/// At which point of the boot the documents are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the network is configured.
    Early,
    /// With the network, while the boot waits.
    Late,
    /// With the network, while nobody waits.
    Background,
    /// By hand.
    ByHand,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The documents.
    Found(Box<Documents>),
    /// The machine has no datasource.
    Nothing,
    /// Its datasource needs the network, which comes later.
    Later {
        /// Which.
        source: String,
        /// What a drive has said about the network until then.
        ahead: Option<Box<Documents>>,
    },
    /// It does not answer or cannot be used.
    Silent {
        /// Which.
        source: String,
        /// Why.
        reason: String,
        /// Whether asking again may help.
        is_remote: bool,
    },
}

/// What was found, and why nothing else was used.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Search {
    /// The documents, or why there are none.
    pub outcome: Outcome,
    /// The keys of the kernel command line.
    pub keys: Vec<String>,
    /// Datasources that are not used, with the reasons.
    pub rejected: Vec<String>,
}

/// Looks for the documents of this machine. Each answer may take `answer`, or the usual time if that is longer.
pub(crate) fn find(stage: Stage, answer: Duration) -> Search {
    let seen = look();
    let choice = choose(&seen);
    let mut rejected = reasons(&choice);
    let outcome = first(&choice, (stage, answer), &seen, &mut rejected);
    Search { outcome, keys: seen.command_line.keys, rejected }
}

/// Which datasource this machine has, without asking it.
pub(crate) fn detect() -> (Vec<String>, Vec<String>) {
    let choice = choose(&look());
    let rejected = reasons(&choice);
    (choice.sources.iter().map(ToString::to_string).collect(), rejected)
}

fn reasons(choice: &Choice) -> Vec<String> {
    choice.rejected.iter().map(|(name, reason)| format!("{name}: {reason}")).collect()
}

fn look() -> Seen {
    // Without /proc there is no command line, which is fine below another root.
    let command_line = std::fs::read_to_string(COMMAND_LINE).unwrap_or_default();
    let has = |name: &str| Path::new(FW_CFG).join(name).join("raw").exists();
    Seen {
        command_line: CommandLine::parse(&command_line),
        local: LOCAL.iter().map(PathBuf::from).find(|path| path.is_file() || nocloud::is_seed(path)),
        oem: volume::oem(),
        has_fw_cfg: has("user-data") || has("meta-data"),
        volumes: volume::list(),
        dmi: Dmi::read(Path::new(DMI), Path::new(HYPERVISOR)),
    }
}

/// The first of the sources that has documents. Another datasource is looked at only when all of the first one say that
/// they are not to be used.
fn first(choice: &Choice, (stage, answer): (Stage, Duration), seen: &Seen, rejected: &mut Vec<String>) -> Outcome {
    let mut silent: Option<(&Source, Trouble)> = None;
    let mut passed: Option<Box<Documents>> = None;
    for (place, source) in choice.sources.iter().chain(&choice.others).enumerate() {
        if place >= choice.sources.len() && silent.is_some() {
            break;
        }
        if stage == Stage::Early && source.needs_network() {
            return Outcome::Later { source: source.to_string(), ahead: passed };
        }
        let mut documents = match fetch(source, stage, answer) {
            Ok(documents) => Box::new(documents),
            Err(trouble) => {
                rejected.push(format!("{}: {}", source.name(), trouble.reason()));
                silent = silent.or(Some((source, trouble)));
                continue;
            }
        };
        documents.origin = source.to_string();
        match if source.has_mode() { documents.mode() } else { Mode::Local } {
            Mode::Disabled => {
                rejected.push(format!("{}: the meta-data of '{source}' says 'dsmode: disabled'", source.name()));
                continue;
            }
            Mode::Pass => {
                let reason = "says 'dsmode: pass', only its network and files are used";
                rejected.push(format!("{}: the meta-data of '{source}' {reason}", source.name()));
                passed = passed.or(Some(documents));
                continue;
            }
            Mode::Network => documents.waits_for_network = true,
            Mode::Local => {}
        }
        if let Some(passed) = passed {
            documents.join_passed(*passed);
        }
        if let (true, Some(words)) = (source.takes_words(), seen.words()) {
            documents.add_words(&words);
        }
        documents.instance_id.get_or_insert_with(|| NO_INSTANCE.into());
        documents.keys.extend(seen.command_line.keys.iter().cloned());
        return Outcome::Found(documents);
    }
    match (silent, passed) {
        // Its service may be reached over the configured network.
        (Some((source @ Source::DigitalOcean, _)), passed) if stage == Stage::Early => {
            Outcome::Later { source: source.to_string(), ahead: passed }
        }
        (Some((source, trouble)), _) => Outcome::Silent {
            source: source.to_string(),
            reason: trouble.reason().into(),
            is_remote: source.needs_network() || *source == Source::DigitalOcean,
        },
        (None, Some(passed)) => {
            let mut rest = Documents { origin: passed.origin.clone(), ..Documents::default() };
            rest.join_passed(*passed);
            rest.keys.clone_from(&seen.command_line.keys);
            Outcome::Found(Box::new(rest))
        }
        (None, None) => Outcome::Nothing,
    }
}

fn fetch(source: &Source, stage: Stage, answer: Duration) -> Result<Documents, Trouble> {
    let patience = Patience::of(match stage {
        Stage::Early => EARLY_WAIT,
        Stage::Late => WHOLE_WAIT,
        Stage::Background | Stage::ByHand => SHORT_WAIT,
    })
    .waiting(answer);
    // Once, because what is wrong with a disk stays wrong.
    let local = |read: anyhow::Result<Documents>| read.map_err(|error| Trouble::Final(format!("{error:#}")));
    match source {
        Source::Url(url) => nocloud::url(url, patience),
        Source::NoCloudHttp(words, url) => nocloud::http(url, patience).map(|mut documents| {
            documents.add_words(words);
            documents
        }),
        Source::NoCloudWords(words) => Ok(nocloud::words(words)),
        Source::Local(path) if path.is_dir() => local(nocloud::folder(path)),
        Source::Local(path) => local(
            read_file(path).map(|bytes| Documents { user_data: bytes.unwrap_or_default(), ..Documents::default() }),
        ),
        Source::Oem(partition) => local(volume::read(partition, nocloud::oem)),
        Source::FwCfg => local(fw_cfg(Path::new(FW_CFG))),
        Source::NoCloudDisk(disk) => local(volume::read(disk, nocloud::folder)),
        Source::ConfigDrive(drive) => local(volume::read(drive, config_drive::read)),
        Source::Ec2(protocol) => {
            // Without the list of cards, the network is DHCP on all of them.
            let macs: Vec<String> = link::wired().unwrap_or_default().iter().map(link::Link::mac_text).collect();
            ec2::fetch(&ec2::BASES, *protocol, &macs, patience)
        }
        Source::DigitalOcean => droplet(stage, patience),
    }
}

/// Asks on the link before there is a network; afterwards over it, and on the link if that does not lead there.
fn droplet(stage: Stage, patience: Patience) -> Result<Documents, Trouble> {
    let once = || digitalocean::fetch(METADATA, patience.once());
    if stage == Stage::Early {
        return link::ask_on_link(patience, once);
    }
    match digitalocean::fetch(METADATA, patience.half()) {
        Err(Trouble::Passing(_)) => link::ask_on_link(patience, once),
        other => other,
    }
}

fn fw_cfg(folder: &Path) -> anyhow::Result<Documents> {
    let read = |name: &str| anyhow::Ok(read_file(&folder.join(name).join("raw"))?.unwrap_or_default());
    Ok(Documents {
        user_data: read("user-data")?,
        meta_data: read("meta-data")?,
        vendor_data: read("vendor-data")?,
        network_config: read("network-config")?,
        ..Documents::default()
    })
}

/// Bytes as the answer of every datasource, for random documents: what is made of them can be read or is refused.
#[cfg(test)]
pub(crate) fn read_anything(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _words = (CommandLine::parse(&text), command_line::NoCloudWords::parse(&text));
    let droplet = digitalocean::read(bytes).ok();
    for documents in [config_drive::interpret_anything(bytes), ec2::documents_of(bytes)].into_iter().chain(droplet) {
        let (mut meta, mut faults) = crate::meta::read(&documents.meta_data);
        crate::meta::complete(&mut meta, &documents, &mut faults);
        let _network = crate::network::read(&documents.network_config, documents.network_format);
    }
}

#[cfg(test)]
#[path = "datasource/service_tests.rs"]
mod service_tests;
