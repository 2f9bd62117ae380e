//! The configuration of shipping: `To=`, `From=` in section `[Ship]`. Pure but for `read`.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// RFC 5424, each message with its length in front (RFC 6587).
    Syslog,
    /// One JSON object a line.
    Json,
}

/// How bytes get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// As they are.
    Tcp,
    /// In requests to this path.
    Http(String),
}

/// Where entries go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How entries are written.
    pub form: Form,
    /// How they get there.
    pub way: Way,
    /// Host and port.
    pub address: String,
    text: String,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `To=`
    pub target: Target,
    /// `From=start`: at the first time the whole journal is sent, not only what is new.
    pub from_start: bool,
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading '{}'", path.display()))?;
    parse(&path.display().to_string(), &text)
}

fn parse(file: &str, text: &str) -> Result<Config> {
    let (mut target, mut from_start, mut faults) = (None, false, Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) || line == "[Ship]" {
            continue;
        }
        let outcome = match line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some(("To", value)) => Target::parse(value).map(|parsed| target = Some(parsed)),
            Some(("From", word @ ("start" | "end"))) => {
                from_start = word == "start";
                Ok(())
            }
            Some(("From", value)) => Err(format!("From={value} is wrong, write start or end")),
            Some((name, _)) => Err(format!("{name}= is unknown, write To= or From=")),
            None => Err(format!("'{line}' is no assignment, write Name=value")),
        };
        faults.extend(outcome.err().map(|what| format!("{file}:{}: {what}", number + 1)));
    }
    match target {
        _ if !faults.is_empty() => bail!("{}", faults.join("\n")),
        Some(target) => Ok(Config { target, from_start }),
        None => bail!("{file}: To= is missing, write one such as To=syslog://logs.example.org:601"),
    }
}

impl Target {
    fn parse(text: &str) -> Result<Target, String> {
        let right = "write syslog://HOST:PORT, json://HOST:PORT or http://HOST:PORT/PATH";
        let wrong = || format!("To={text} is wrong, {right}");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (address, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (form, way, usual) = match scheme {
            "syslog" if path.is_empty() => (Form::Syslog, Way::Tcp, "601"),
            "json" if path.is_empty() => (Form::Json, Way::Tcp, ""),
            "http" => (Form::Json, Way::Http(if path.is_empty() { "/".into() } else { path.into() }), "80"),
            "https" => return Err(format!("To={text}: there is no TLS in this version, {right}")),
            _ => return Err(wrong()),
        };
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = match (has_port, usual) {
            (true, _) => address.to_owned(),
            (false, "") => return Err(wrong()),
            (false, port) => format!("{address}:{port}"),
        };
        if address.starts_with(':') || address.contains(char::is_whitespace) || path.contains(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(Target { form, way, address, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_a_form_a_way_and_an_address() {
        for (text, form, way, address) in [
            ("syslog://logs:514", Form::Syslog, Way::Tcp, "logs:514"),
            ("syslog://[fd00::1]:601", Form::Syslog, Way::Tcp, "[fd00::1]:601"),
            ("syslog://logs", Form::Syslog, Way::Tcp, "logs:601"),
            ("json://10.0.0.1:5000", Form::Json, Way::Tcp, "10.0.0.1:5000"),
            ("http://logs/in/x?y=1", Form::Json, Way::Http("/in/x?y=1".into()), "logs:80"),
            ("http://logs:9428", Form::Json, Way::Http("/".into()), "logs:9428"),
        ] {
            let config = parse("a.conf", &format!("# x\n[Ship]\nTo={text}\nFrom=start\n")).expect(text);
            let Target { form: f, way: w, address: a, .. } = config.target;
            assert_eq!((f, w, a.as_str(), config.from_start), (form, way, address, true));
        }
    }

    #[test]
    fn wrong_lines_are_told_all_at_once() {
        let error =
            parse("a.conf", "To=ftp://x\nFrom=middle\nTo=https://x\nX=1\nword\nTo=json://x\n").expect_err("faults");
        let text = error.to_string();
        for (line, word) in
            (1..).zip(["To=ftp://x is wrong", "From=middle", "no TLS", "X= is unknown", "'word'", "json"])
        {
            assert!(text.contains(&format!("a.conf:{line}: ")) && text.contains(word), "{text}");
        }
        assert!(parse("a.conf", "").expect_err("empty").to_string().contains("To= is missing"));
    }
}
