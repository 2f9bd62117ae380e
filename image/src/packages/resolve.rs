//! Asks a private apt which package files a board needs; only `ferrite lock` does this.
//!
//! The private root has its own lists, state and cache in the cache folder and knows no installed package, so the
//! answer does not depend on the host. apt checks the archive's signatures with Debian's keyring.

use super::lock::{Archive, Locked};
use super::mirror::{Mirror, SUITE};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Keyrings that hold Debian's archive keys, in order of preference.
const KEYRINGS: [&str; 3] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-trixie-automatic.gpg",
];

/// A dependency is locked only if it may bring a shared library, or is the kernel behind a metapackage.
const DEPENDENCY_SECTIONS: [&str; 3] = ["libs", "oldlibs", "kernel"];

/// A private apt, ready to be asked.
#[derive(Debug)]
pub struct Resolver {
    config: PathBuf,
    mirror: Mirror,
}

/// What the Packages list says about one version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stanza {
    section: String,
    arch: String,
    path: String,
    size_bytes: u64,
    sha256: String,
}

impl Resolver {
    /// Makes the private root below `dir` and fetches the archive's package lists.
    pub fn update(dir: &Path, mirror: &Mirror) -> Result<Self> {
        let keyring = KEYRINGS
            .into_iter()
            .find(|path| Path::new(path).is_file())
            .context("Debian's archive keys are missing: install the package debian-archive-keyring")?;
        for name in ["empty", "state", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(name)).with_context(|| format!("making '{}'", dir.join(name).display()))?;
        }
        let config = dir.join("apt.conf");
        write(&dir.join("status"), "")?;
        write(&dir.join("sources.list"), &sources(mirror, keyring))?;
        write(&config, &configuration(dir))?;
        let resolver = Self { config, mirror: mirror.clone() };
        resolver.run("apt-get", &["update", "-q"]).context("fetching the package lists")?;
        Ok(resolver)
    }

    /// The package files of these packages and of the libraries they depend on, sorted by name.
    pub fn resolve(&self, names: &[&str]) -> Result<Vec<Locked>> {
        let mut arguments = vec!["install", "--print-uris", "--yes", "-qq"];
        arguments.extend(names);
        let uris = self.run("apt-get", &arguments).context("resolving dependencies")?;
        let chosen = uris.lines().map(parse_uri).collect::<Result<Vec<_>>>()?;
        let specs: Vec<String> = chosen.iter().map(|c| format!("{}={}", c.name, c.version)).collect();
        let mut arguments = vec!["show"];
        arguments.extend(specs.iter().map(String::as_str));
        let stanzas = parse_stanzas(&self.run("apt-cache", &arguments).context("reading the package lists")?)?;
        let wanted: BTreeSet<&str> = names.iter().copied().collect();
        let mut packages = Vec::new();
        for choice in chosen {
            let key = (choice.name.clone(), choice.version.clone());
            let stanza = stanzas.get(&key).with_context(|| format!("{} is not in the package lists", choice.name))?;
            if wanted.contains(choice.name.as_str()) || DEPENDENCY_SECTIONS.contains(&stanza.section.as_str()) {
                packages.push(self.locked(choice, stanza)?);
            }
        }
        packages.sort();
        Ok(packages)
    }

    fn locked(&self, choice: Choice, stanza: &Stanza) -> Result<Locked> {
        let from = |base: &str| choice.uri.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        let archive = match (from(&self.mirror.security), from(&self.mirror.main)) {
            (true, _) => Archive::Security,
            (false, true) => Archive::Main,
            (false, false) => bail!("apt offers '{}', which is not below the mirror", choice.uri),
        };
        Ok(Locked {
            name: choice.name,
            version: choice.version,
            arch: stanza.arch.clone(),
            archive,
            path: stanza.path.clone(),
            size_bytes: stanza.size_bytes,
            sha256: stanza.sha256.clone(),
        })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = Command::new(program)
            .args(arguments)
            .env("APT_CONFIG", &self.config)
            .env("LC_ALL", "C")
            .output()
            .with_context(|| format!("starting {program} (package apt)"))?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        // apt-get update ends well when an archive cannot be reached; the old lists must not pass for new ones.
        let unreached = stderr.lines().find(|line| line.starts_with("E:") || line.starts_with("W: Failed to fetch"));
        if !output.status.success() || unreached.is_some() {
            bail!("{program}: {}", unreached.or_else(|| stderr.lines().last()).unwrap_or("failed without a message"));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing '{}'", path.display()))
}

fn sources(mirror: &Mirror, keyring: &str) -> String {
    let line = |url: &str, suite: &str| format!("deb [arch=amd64 signed-by={keyring}] {url} {suite} main\n");
    [
        line(&mirror.main, SUITE),
        line(&mirror.main, &format!("{SUITE}-updates")),
        line(&mirror.security, &format!("{SUITE}-security")),
    ]
    .concat()
}

fn configuration(dir: &Path) -> String {
    let path = |name: &str| dir.join(name).display().to_string();
    let empty = path("empty");
    let settings = [
        ("Dir::Etc::SourceList", path("sources.list")),
        ("Dir::Etc::SourceParts", empty.clone()),
        ("Dir::Etc::Preferences", "-".to_owned()),
        ("Dir::Etc::PreferencesParts", empty),
        ("Dir::State", path("state")),
        ("Dir::State::Lists", path("lists")),
        ("Dir::State::status", path("status")),
        ("Dir::Cache", path("cache")),
        ("APT::Sandbox::User", String::new()),
        ("APT::Architecture", "amd64".to_owned()),
        ("APT::Install-Recommends", "false".to_owned()),
        ("Acquire::Languages", "none".to_owned()),
        ("Acquire::Retries", "3".to_owned()),
        ("Debug::NoLocking", "true".to_owned()),
    ];
    settings
        .iter()
        .map(|(key, value)| format!("{key} \"{value}\";\n"))
        .chain(["APT::Architectures { \"amd64\"; };\n".to_owned()])
        .collect()
}

/// One line of `apt-get --print-uris`.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    uri: String,
    name: String,
    version: String,
}

/// `'URI' NAME_VERSION_ARCH.deb SIZE HASH`, the colon of the version's epoch written as %3a.
fn parse_uri(line: &str) -> Result<Choice> {
    let mut words = line.split_ascii_whitespace();
    let uri = words.next().map(|word| word.trim_matches('\''));
    let parts: Option<Vec<&str>> = words.next().map(|file| file.splitn(3, '_').collect());
    match (uri, parts.as_deref()) {
        (Some(uri), Some([name, version, _])) => {
            Ok(Choice { uri: uri.to_owned(), name: (*name).to_owned(), version: version.replace("%3a", ":") })
        }
        (Some(_) | None, Some(_) | None) => bail!("apt-get printed '{line}' where an address was expected"),
    }
}

/// The stanzas of `apt-cache show` by name and version.
fn parse_stanzas(text: &str) -> Result<BTreeMap<(String, String), Stanza>> {
    let mut stanzas = BTreeMap::new();
    for stanza in text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let field = |name: &str| {
            let value = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.with_context(|| format!("a stanza of the package lists has no {name}"))
        };
        let key = (field("Package")?.to_owned(), field("Version")?.to_owned());
        let value = Stanza {
            section: field("Section")?.to_owned(),
            arch: field("Architecture")?.to_owned(),
            path: field("Filename")?.to_owned(),
            size_bytes: field("Size")?.parse().context("reading a package's size")?,
            sha256: field("SHA256")?.to_owned(),
        };
        stanzas.entry(key).or_insert(value);
    }
    Ok(stanzas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_print_uris_gives_name_and_version() {
        let line = "'http://m.example/debian/pool/main/o/openssh/openssh-server_10.0p1-7_amd64.deb' \
                    openssh-server_1%3a10.0p1-7_amd64.deb 602372 MD5Sum:5de34f97";
        let choice = parse_uri(line).unwrap();
        assert_eq!((choice.name.as_str(), choice.version.as_str()), ("openssh-server", "1:10.0p1-7"));
        assert!(parse_uri("Reading package lists...").is_err());
    }

    #[test]
    fn the_first_stanza_of_a_version_is_taken() {
        let stanza = |hash: &str| {
            format!(
                "Package: a\nVersion: 1\nSection: libs\nArchitecture: amd64\nFilename: pool/a\nSize: 5\nSHA256: {hash}\n\n"
            )
        };
        let stanzas = parse_stanzas(&(stanza("x") + &stanza("y"))).unwrap();
        assert_eq!(stanzas[&("a".to_owned(), "1".to_owned())].sha256, "x");
        assert!(parse_stanzas("Package: a\n").is_err());
    }
}
