//! Finds the Debian archive from what the build host itself uses. Pure.
//!
//! Ferrite names no host: the addresses come from the host's apt sources (any Debian release; the suite is ours),
//! from packages that know Debian's default (debootstrap, python-apt) on other hosts, or from `--mirror`.

/// The release that images are made of.
pub const SUITE: &str = "trixie";

/// Base addresses of the two archives, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The release and its updates.
    pub main: String,
    /// Security updates.
    pub security: String,
}

/// What the command line says about the archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirrorChoice {
    /// `--mirror`
    pub main: Option<String>,
    /// `--security-mirror`
    pub security: Option<String>,
}

/// What the build host says: texts of files, missing ones left out.
#[derive(Debug, Clone, Default)]
pub struct HostTexts {
    /// `/etc/apt/sources.list` and `sources.list.d/*.list`
    pub one_line: Vec<String>,
    /// `sources.list.d/*.sources`
    pub deb822: Vec<String>,
    /// Files of other packages that name Debian's default archive.
    pub defaults: Vec<String>,
}

/// No archive could be found.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MirrorError {
    /// The host says nothing.
    #[error("this host's apt sources name no Debian archive; give one with --mirror URL (or install debootstrap)")]
    Unknown,
    /// The address has another form.
    #[error("'{url}' is not an http, https or file address")]
    Address {
        /// The address as given.
        url: String,
    },
    /// The sibling of the main archive cannot be guessed.
    #[error("'{main}' does not end in /debian; give the security archive with --security-mirror URL")]
    NoSibling {
        /// The main archive.
        main: String,
    },
}

/// An address with the suites it is used for.
struct Source {
    url: String,
    suites: Vec<String>,
}

/// Decides which archives to use.
pub fn derive(choice: &MirrorChoice, host: &HostTexts) -> Result<Mirror, MirrorError> {
    if let Some(main) = &choice.main {
        let main = checked(main)?;
        let security = choice.security.as_deref().map_or_else(|| sibling(&main), checked)?;
        return Ok(Mirror { main, security });
    }
    let sources: Vec<Source> = host
        .deb822
        .iter()
        .flat_map(|text| deb822(text))
        .chain(host.one_line.iter().flat_map(|text| one_line(text)))
        .filter(|source| checked(&source.url).is_ok())
        .collect();
    let is_security = |source: &&Source| source.suites.iter().any(|suite| suite.ends_with("-security"));
    let main = sources.iter().find(|source| !is_security(source) && source.url.ends_with("/debian"));
    let main = match main {
        Some(source) => source.url.clone(),
        None => host.defaults.iter().find_map(|text| default_of(text)).ok_or(MirrorError::Unknown)?,
    };
    let of_host = sources.iter().find(|source| is_security(source) && source.url.ends_with("/debian-security"));
    let security = match (&choice.security, of_host) {
        (Some(url), _) => checked(url)?,
        (None, Some(source)) => source.url.clone(),
        (None, None) => sibling(&main)?,
    };
    Ok(Mirror { main, security })
}

fn checked(url: &str) -> Result<String, MirrorError> {
    let known = ["http://", "https://", "file:/"].iter().any(|scheme| url.starts_with(scheme));
    if !known || url.contains(char::is_whitespace) {
        return Err(MirrorError::Address { url: url.to_owned() });
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn sibling(main: &str) -> Result<String, MirrorError> {
    let parent = main.strip_suffix("/debian").ok_or_else(|| MirrorError::NoSibling { main: main.to_owned() })?;
    Ok(format!("{parent}/debian-security"))
}

/// `deb [options] URL SUITE COMPONENT...`
fn one_line(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|rest| rest.starts_with(char::is_whitespace)) else {
            continue;
        };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[').and_then(|options| options.split_once(']')) {
            Some((_, after)) => after,
            None => rest,
        };
        let mut words = rest.split_ascii_whitespace();
        if let (Some(url), Some(suite)) = (words.next(), words.next()) {
            sources.push(Source { url: url.trim_end_matches('/').to_owned(), suites: vec![suite.to_owned()] });
        }
    }
    sources
}

/// Stanzas of `Key: value` with continuation lines.
fn deb822(text: &str) -> Vec<Source> {
    let plain: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let mut sources = Vec::new();
    for stanza in plain.split(|line| line.trim().is_empty()) {
        let enabled = field(stanza, "Enabled").is_none_or(|value| value != ["no"] && value != ["false"]);
        let is_deb = field(stanza, "Types").is_some_and(|types| types.iter().any(|kind| kind == "deb"));
        if !enabled || !is_deb {
            continue;
        }
        let suites = field(stanza, "Suites").unwrap_or_default();
        for url in field(stanza, "URIs").unwrap_or_default() {
            sources.push(Source { url: url.trim_end_matches('/').to_owned(), suites: suites.clone() });
        }
    }
    sources
}

fn field(stanza: &[&str], name: &str) -> Option<Vec<String>> {
    let mut words: Option<Vec<String>> = None;
    for line in stanza {
        if line.starts_with(char::is_whitespace) {
            if let Some(words) = &mut words {
                words.extend(line.split_ascii_whitespace().map(str::to_owned));
            }
        } else if words.is_some() {
            return words;
        } else if let Some((key, value)) = line.split_once(':')
            && key.eq_ignore_ascii_case(name)
        {
            words = Some(value.split_ascii_whitespace().map(str::to_owned).collect());
        }
    }
    words
}

/// The first address that ends in `/debian` in a file of another package.
fn default_of(text: &str) -> Option<String> {
    let words = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = words.flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"'=()".contains(c)));
    words.filter_map(|word| checked(word).ok()).find(|url| url.ends_with("/debian"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_LINE: &str = "# deb http://old.example/debian buster main\n\
        deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main contrib\n\
        deb-src http://src.example/debian bookworm main\n\
        deb http://mirror.example/debian-security bookworm-security main\n";
    const DEB822: &str = "Types: deb deb-src\n# a remark\nURIs: https://third.example/debian\n  https://other.example/debian\n\
        Suites: trixie trixie-updates\nComponents: main\n\nTypes: deb\nURIs: https://sec.example/debian-security\n\
        Suites: trixie-security\nComponents: main\n";

    fn host(one_line: &str, deb822: &str, default: &str) -> HostTexts {
        let texts = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
        HostTexts { one_line: texts(one_line), deb822: texts(deb822), defaults: texts(default) }
    }

    fn found(choice: &MirrorChoice, host: &HostTexts) -> String {
        match derive(choice, host) {
            Ok(mirror) => format!("{} {}", mirror.main, mirror.security),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_host_s_sources_are_followed_whatever_their_form() {
        let none = MirrorChoice::default();
        let cases = [
            (host(ONE_LINE, "", ""), "http://mirror.example/debian http://mirror.example/debian-security"),
            (host("", DEB822, ""), "https://third.example/debian https://sec.example/debian-security"),
            (
                host("deb http://one.example/debian sid main\n", "", ""),
                "http://one.example/debian http://one.example/debian-security",
            ),
            (
                host("deb http://u.example/ubuntu noble main\n", "", "DEF_MIRROR=\"https://d.example/debian\"\n"),
                "https://d.example/debian https://d.example/debian-security",
            ),
        ];
        for (host, expected) in cases {
            assert_eq!(found(&none, &host), expected);
        }
    }

    #[test]
    fn a_host_that_names_no_debian_archive_is_told_of_the_option() {
        let ubuntu = host("deb http://u.example/ubuntu noble main\n", "", "");
        assert!(found(&MirrorChoice::default(), &ubuntu).contains("--mirror URL"));
        let disabled = host("", "Types: deb\nEnabled: no\nURIs: http://x.example/debian\nSuites: trixie\n", "");
        assert!(found(&MirrorChoice::default(), &disabled).contains("--mirror URL"));
    }

    #[test]
    fn the_command_line_wins() {
        let choice = MirrorChoice { main: Some("http://m.example/debian/".into()), security: None };
        assert_eq!(found(&choice, &host(ONE_LINE, "", "")), "http://m.example/debian http://m.example/debian-security");
        let odd = MirrorChoice { main: Some("http://m.example/mirror".into()), security: None };
        assert!(found(&odd, &host("", "", "")).contains("--security-mirror"));
        let ftp = MirrorChoice { main: Some("ftp://m.example/debian".into()), security: None };
        assert!(found(&ftp, &host("", "", "")).contains("not an http"));
    }
}
