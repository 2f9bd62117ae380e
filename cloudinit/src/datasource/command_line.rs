//! What the kernel command line says about the datasource. Pure.
//!
//! Of two words that say the same the last one counts, as for the kernel; keys of `sshkey=` are collected. GRUB hands
//! quotes on with a backslash before them.

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// `cloud-config-url=`: where the user-data is.
    pub url: Option<String>,
    /// `ds=nocloud;…`.
    pub nocloud: Option<NoCloudWords>,
    /// `ferrite.datasource=` or the name in `ds=`: the only datasource that is looked at.
    pub only: Option<String>,
    /// `sshkey="…"`: keys of the default user.
    pub keys: Vec<String>,
}

/// The parts of `ds=nocloud;s=URL;h=NAME;i=ID`, on the command line or in the serial number of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NoCloudWords {
    /// Where the documents are: a URL or a folder.
    pub seed: Option<String>,
    /// The name of the machine.
    pub hostname: Option<String>,
    /// The instance id.
    pub instance_id: Option<String>,
}

impl NoCloudWords {
    /// Reads `nocloud;s=…;h=…`; `None`: it is about something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        if !matches!(parts.next()?.to_ascii_lowercase().as_str(), "nocloud" | "nocloud-net") {
            return None;
        }
        let mut words = Self::default();
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            let place = match key {
                "s" | "seedfrom" => &mut words.seed,
                "h" | "local-hostname" => &mut words.hostname,
                "i" | "instance-id" => &mut words.instance_id,
                _ => continue,
            };
            *place = Some(value.to_string());
        }
        Some(words)
    }
}

impl CommandLine {
    /// Reads /proc/cmdline.
    pub(crate) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for word in words(text) {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            match key {
                "cloud-config-url" | "cloud_config_url" => found.url = Some(value.into()).filter(|_| !value.is_empty()),
                "ferrite.datasource" | "ci.ds" | "ci.datasource" => found.only = Some(value.to_ascii_lowercase()),
                "cloud-init" if value == "disabled" => found.only = Some("none".into()),
                "sshkey" => found.keys.push(value.into()),
                "ds" => match NoCloudWords::parse(value) {
                    Some(words) => found.nocloud = Some(words),
                    None => found.only = value.split(';').next().map(str::to_ascii_lowercase),
                },
                _ => {}
            }
        }
        found
    }
}

/// The words of the line; a blank between double quotes does not end one.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek().is_some_and(|next| matches!(next, '"' | '\'' | ';' | '\\')) => {}
            '"' => quoted = !quoted,
            blank if blank.is_ascii_whitespace() && !quoted => words.push(String::new()),
            other => words.last_mut().into_iter().for_each(|word| word.push(other)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_url_counts_and_both_spellings_mean_it() {
        let found = CommandLine::parse("quiet cloud-config-url=http://a/ cloud_config_url=http://b/?x=1 ro\n");
        assert_eq!(found.url.as_deref(), Some("http://b/?x=1"));
    }

    #[test]
    fn keys_keep_their_blanks() {
        let found = CommandLine::parse("sshkey=\"ssh-ed25519 AAAA me@laptop\" \"sshkey=ssh-rsa BBBB\"");
        assert_eq!(found.keys, ["ssh-ed25519 AAAA me@laptop", "ssh-rsa BBBB"]);
    }

    #[test]
    fn quotes_that_a_boot_loader_escaped_are_quotes() {
        let found = CommandLine::parse(r#"ro sshkey=\"ssh-ed25519 AAAA me\" ds=nocloud\;h=web1 cloud-config-url="#);
        assert_eq!(found.keys, ["ssh-ed25519 AAAA me"]);
        assert_eq!(found.nocloud.unwrap().hostname.as_deref(), Some("web1"));
        assert_eq!(found.url, None);
    }

    #[test]
    fn words_of_cloud_init_that_choose_or_forbid_are_known() {
        assert_eq!(CommandLine::parse("ci.ds=NoCloud").only.as_deref(), Some("nocloud"));
        assert_eq!(CommandLine::parse("cloud-init=disabled").only.as_deref(), Some("none"));
        assert_eq!(CommandLine::parse("cloud-init=enabled").only, None);
    }

    #[test]
    fn nocloud_is_taken_apart_and_other_names_are_orders() {
        let found = CommandLine::parse("ds=nocloud-net;s=http://192.0.2.1/seed/;h=web1;i=i-7;z=?");
        let words = found.nocloud.unwrap();
        assert_eq!(words.seed.as_deref(), Some("http://192.0.2.1/seed/"));
        assert_eq!((words.hostname.as_deref(), words.instance_id.as_deref()), (Some("web1"), Some("i-7")));
        assert_eq!(found.only, None);
        assert_eq!(CommandLine::parse("ds=Ec2").only.as_deref(), Some("ec2"));
        assert_eq!(CommandLine::parse("ferrite.datasource=none").only.as_deref(), Some("none"));
    }
}
