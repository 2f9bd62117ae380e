//! Which datasource the machine has, from what is seen on it. Pure; nothing has asked the network yet.
//!
//! A machine has one datasource: the first of the order. Others stand in for it: a disk of the same kind for one that
//! cannot be read, and a droplet's drive for when its service does not answer.

use std::fmt;
use std::path::PathBuf;

use super::command_line::{CommandLine, NoCloudWords};
use super::dmi::{Cloud, Dmi};
use super::volume::{Label, Volume};

/// What is on the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The kernel command line.
    pub command_line: CommandLine,
    /// A file or folder that the installer or the image left.
    pub local: Option<PathBuf>,
    /// The oem partition, when there is a document on it.
    pub oem: Option<Volume>,
    /// Whether QEMU hands in documents.
    pub has_fw_cfg: bool,
    /// Disks with a label of a datasource.
    pub volumes: Vec<Volume>,
    /// The firmware.
    pub dmi: Dmi,
}

impl Seen {
    /// The name and the id that the kernel command line, or else the serial number, has for documents elsewhere.
    pub(crate) fn words(&self) -> Option<NoCloudWords> {
        let of_serial = || self.dmi.nocloud().filter(|words| words.seed.is_none());
        self.command_line.nocloud.clone().or_else(of_serial)
    }
}

/// Which version of Amazon's protocol may be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// With a token, never without.
    TokenOnly,
    /// Without one where the service has none: not Amazon's own machine.
    TokenOrNone,
}

/// A datasource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A user-data by URL, from the kernel command line.
    Url(String),
    /// NoCloud on a web server.
    NoCloudHttp(NoCloudWords, String),
    /// NoCloud whose meta-data is on the kernel command line and nowhere else.
    NoCloudWords(NoCloudWords),
    /// A file or folder.
    Local(PathBuf),
    /// A document on the oem partition.
    Oem(Volume),
    /// QEMU's fw_cfg.
    FwCfg,
    /// NoCloud on a disk.
    NoCloudDisk(Volume),
    /// OpenStack's drive.
    ConfigDrive(Volume),
    /// Amazon's service.
    Ec2(Protocol),
    /// DigitalOcean's service.
    DigitalOcean,
}

impl Source {
    /// The word of `ferrite.datasource=`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::NoCloudHttp(..) | Self::NoCloudWords(_) | Self::NoCloudDisk(_) => "nocloud",
            Self::Local(_) => "local",
            Self::Oem(_) => "oem",
            Self::FwCfg => "fw_cfg",
            Self::ConfigDrive(_) => "configdrive",
            Self::Ec2(_) => "ec2",
            Self::DigitalOcean => "digitalocean",
        }
    }

    /// Whether it needs a configured network.
    pub(crate) fn needs_network(&self) -> bool {
        match self {
            Self::Url(_) | Self::NoCloudHttp(..) | Self::Ec2(_) => true,
            // The service answers on the link itself, before there is an address.
            Self::DigitalOcean => false,
            Self::NoCloudWords(_) | Self::Local(_) | Self::Oem(_) | Self::FwCfg => false,
            Self::NoCloudDisk(_) | Self::ConfigDrive(_) => false,
        }
    }

    /// Whether a person may have written `dsmode` into its meta-data.
    pub(crate) fn has_mode(&self) -> bool {
        match self {
            Self::Local(_) | Self::Oem(_) | Self::NoCloudDisk(_) | Self::ConfigDrive(_) | Self::FwCfg => true,
            Self::Url(_) | Self::NoCloudHttp(..) | Self::NoCloudWords(_) | Self::Ec2(_) | Self::DigitalOcean => false,
        }
    }

    /// Whether a name or an id on the kernel command line is about its documents.
    pub(crate) fn takes_words(&self) -> bool {
        matches!(self, Self::NoCloudDisk(_) | Self::Local(_) | Self::Oem(_) | Self::FwCfg)
    }

    /// Whether it is used when the first one is of no use.
    fn stands_in_for(&self, first: &Self) -> bool {
        matches!(
            (first, self),
            (Self::NoCloudDisk(_), Self::NoCloudDisk(_))
                | (Self::ConfigDrive(_) | Self::DigitalOcean, Self::ConfigDrive(_))
        )
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(formatter, "url {url}"),
            Self::NoCloudHttp(_, url) => write!(formatter, "nocloud {url}"),
            Self::NoCloudWords(_) => write!(formatter, "nocloud in its words alone"),
            Self::Local(path) => write!(formatter, "local {}", path.display()),
            Self::Oem(volume) => write!(formatter, "oem {}", volume.device.display()),
            Self::FwCfg => write!(formatter, "fw_cfg opt/org.ferrite"),
            Self::NoCloudDisk(volume) => write!(formatter, "nocloud {}", volume.device.display()),
            Self::ConfigDrive(volume) => write!(formatter, "configdrive {}", volume.device.display()),
            Self::Ec2(_) => write!(formatter, "ec2"),
            Self::DigitalOcean => write!(formatter, "digitalocean"),
        }
    }
}

/// What was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The datasource, then those that stand in for it.
    pub sources: Vec<Source>,
    /// Those that are there too, for when the first one says that it is not to be used.
    pub others: Vec<Source>,
    /// The others, each with the reason.
    pub rejected: Vec<(&'static str, String)>,
}

/// Decides.
pub(crate) fn choose(seen: &Seen) -> Choice {
    let mut choice = Choice::default();
    let cloud = seen.dmi.cloud();
    for (name, candidate) in candidates(seen, cloud.as_ref()) {
        let is_wanted = seen.command_line.only.as_deref().is_none_or(|only| only == name);
        match (&candidate, choice.sources.first()) {
            (_, _) if !is_wanted => {
                let only = seen.command_line.only.as_deref().unwrap_or_default();
                choice.rejected.push((name, format!("the kernel command line wants '{only}' only")));
            }
            (Err(reason), _) => choice.rejected.push((name, reason.clone())),
            (Ok(source), None) => choice.sources.push(source.clone()),
            (Ok(source), Some(first)) if source.stands_in_for(first) => choice.sources.push(source.clone()),
            (Ok(source), Some(first)) => {
                choice.rejected.push((name, format!("'{source}' is there, '{first}' is used")));
                choice.others.push(source.clone());
            }
        }
    }
    choice
}

/// Every datasource in the order of section "detection", or the reason why the machine does not have it.
fn candidates(seen: &Seen, cloud: Option<&Cloud>) -> Vec<(&'static str, Result<Source, String>)> {
    let line = &seen.command_line;
    let only = line.only.as_deref();
    let volume = |label: Label| seen.volumes.iter().filter(move |volume| volume.label == label);
    // The last disk first: that is the one which was attached for the documents.
    let disks = |label: Label, source: fn(Volume) -> Source, word: &str| {
        let mut found: Vec<Result<Source, String>> =
            volume(label).rev().map(|volume| Ok(source(volume.clone()))).collect();
        if found.is_empty() {
            found.push(Err(format!("no disk is labelled {word}")));
        }
        found
    };
    let drives = disks(Label::Config2, Source::ConfigDrive, "config-2").into_iter().map(|drive| ("configdrive", drive));
    let seeds = disks(Label::Cidata, Source::NoCloudDisk, "cidata").into_iter().map(|seed| ("nocloud", seed));
    let ec2 = match (cloud, only) {
        (Some(Cloud::Aws), _) => Ok(Source::Ec2(Protocol::TokenOnly)),
        (_, Some("ec2")) => Ok(Source::Ec2(Protocol::TokenOrNone)),
        (Some(Cloud::Other(name)), _) => Err(format!("the firmware is that of {name}")),
        _ => Err("the firmware is not Amazon's".into()),
    };
    let droplet = match (cloud, only) {
        (Some(Cloud::DigitalOcean), _) | (_, Some("digitalocean")) => Ok(Source::DigitalOcean),
        _ => Err("the firmware is not DigitalOcean's".into()),
    };
    // A name or an instance id alone only add to documents that are elsewhere.
    let is_left = seen.local.is_some() || seen.oem.is_some() || seen.has_fw_cfg;
    let has_documents = is_left || volume(Label::Cidata).next().is_some();
    let serial = match seen.dmi.nocloud() {
        Some(words) if words.seed.is_none() && has_documents => Err("its documents are elsewhere".into()),
        Some(words) => from_words(&words, &seen.dmi),
        None => Err("the serial number of the machine names no seed".into()),
    };
    let words = match &line.nocloud {
        Some(words) => from_words(words, &seen.dmi),
        None => Err("the kernel command line names no seed".into()),
    };
    let words = match words {
        Ok(Source::NoCloudWords(_)) if has_documents => Err("its documents are elsewhere".into()),
        other => other,
    };
    let mut found = vec![
        ("url", line.url.clone().map(Source::Url).ok_or_else(|| "no cloud-config-url= in the command line".into())),
        ("nocloud", words),
        ("local", seen.local.clone().map(Source::Local).ok_or_else(|| "no file was left".into())),
        ("oem", seen.oem.clone().map(Source::Oem).ok_or_else(|| "no document on the oem partition".into())),
        ("fw_cfg", seen.has_fw_cfg.then_some(Source::FwCfg).ok_or_else(|| "QEMU hands nothing in".into())),
    ];
    found.extend(seeds);
    // The drive of a droplet is older than what its service says.
    let clouds = [("ec2", ec2), ("digitalocean", droplet.clone()), ("nocloud", serial)];
    if droplet.is_ok() {
        found.extend(clouds);
        found.extend(drives);
    } else {
        found.extend(drives);
        found.extend(clouds);
    }
    found
}

fn from_words(words: &NoCloudWords, dmi: &Dmi) -> Result<Source, String> {
    match words.seed.as_deref() {
        Some(seed) if seed.starts_with("http://") || seed.starts_with("https://") => {
            let url = dmi.expand(seed);
            // A question, or a place for the name: the URL says where the name goes.
            let slash = if url.ends_with('/') || url.contains('?') || url.contains("%s") { "" } else { "/" };
            Ok(Source::NoCloudHttp(words.clone(), format!("{url}{slash}")))
        }
        Some(seed) => match seed.strip_prefix("file://").unwrap_or(seed) {
            path if path.starts_with('/') => Ok(Source::Local(path.into())),
            _ => Err(format!("the seed '{seed}' is neither an http:// URL nor a folder")),
        },
        None => Ok(Source::NoCloudWords(words.clone())),
    }
}

#[cfg(test)]
#[path = "detect_tests.rs"]
mod tests;
