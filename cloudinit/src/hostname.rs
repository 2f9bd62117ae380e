//! Host names: which are allowed, and the default. Pure.

/// A name that the kernel and DNS accept: one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName(String);

impl HostName {
    /// Checks a name; of a name with dots the first label counts.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let label = text.trim().split('.').next().unwrap_or_default();
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if label.is_empty() || label.len() > 63 || !plain || label.starts_with('-') || label.ends_with('-') {
            return Err(format!(
                "'{}' is not a host name; use up to 63 letters, digits and hyphens, with no hyphen at the ends",
                text.chars().take(80).filter(|character| !character.is_control()).collect::<String>()
            ));
        }
        Ok(Self(label.to_string()))
    }

    /// `ferrite-` and the first eight digits of the machine id, so that two machines do not share a name.
    pub(crate) fn default_of(machine_id: &str) -> Self {
        let digits: String = machine_id.chars().filter(char::is_ascii_hexdigit).take(8).collect();
        let name = if digits.len() == 8 { format!("ferrite-{digits}") } else { "ferrite".to_string() };
        Self(name.to_ascii_lowercase())
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_cut_at_the_first_dot() {
        for (text, expected) in [
            ("web1", Some("web1")),
            ("Web1.example.org", Some("Web1")),
            ("1234", Some("1234")),
            ("", None),
            ("a b", None),
            ("-a", None),
            ("a_b", None),
            ("ü", None),
        ] {
            assert_eq!(HostName::parse(text).ok().map(|name| name.0), expected.map(str::to_string), "{text}");
        }
    }

    #[test]
    fn the_default_comes_from_the_machine_id() {
        assert_eq!(HostName::default_of("0123456789abcdef0123456789abcdef\n").as_str(), "ferrite-01234567");
        assert_eq!(HostName::default_of("").as_str(), "ferrite");
    }
}
