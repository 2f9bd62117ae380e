//! The YAML of a board file as serde reads it, before the files it extends are merged in. Pure.

use serde::Deserialize;
use serde_yaml::Spanned;
use std::collections::BTreeMap;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawBoard {
    pub name: Option<Spanned<String>>,
    pub description: Option<String>,
    #[serde(default)]
    pub extends: Vec<Spanned<String>>,
    pub kernel: Option<Spanned<String>>,
    #[serde(default)]
    pub packages: Vec<Spanned<RawPackage>>,
    #[serde(default)]
    pub libraries: Vec<Spanned<String>>,
    #[serde(default)]
    pub links: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub files: Vec<Spanned<String>>,
    #[serde(default)]
    pub command_line: Vec<Spanned<String>>,
    #[serde(default)]
    pub initrd_modules: Vec<String>,
    #[serde(default)]
    pub load_modules: Vec<String>,
    #[serde(default)]
    pub exclude_modules: Vec<Spanned<String>>,
    #[serde(default)]
    pub users: Vec<Spanned<RawUser>>,
    #[serde(default)]
    pub groups: Vec<Spanned<RawGroup>>,
    #[serde(default)]
    pub disk: RawDisk,
    pub root_compression: Option<RawCompression>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawPackage {
    pub name: String,
    #[serde(default)]
    pub include: Vec<String>,
    #[serde(default)]
    pub exclude: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawUser {
    pub name: String,
    pub uid: u32,
    #[serde(default)]
    pub groups: Vec<String>,
    pub home: Option<String>,
    pub shell: Option<String>,
    pub comment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGroup {
    pub name: String,
    pub gid: u32,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawDisk {
    pub boot_mib: Option<u32>,
    pub root_mib: Option<u32>,
    pub state_mib: Option<u32>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RawCompression {
    None,
    Lz4hc,
}

/// Parses one board file; the error is a line number and what is wrong there.
pub(crate) fn parse(text: &str) -> Result<RawBoard, (u64, String)> {
    let options = serde_yaml::options! { legacy_octal_numbers: true };
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        (line, first_line(&error.without_snippet().to_string()))
    })
}

/// The parser repeats the place in its message; the caller prints it in front.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    match line.find(" at line ") {
        Some(end) => line[..end].to_owned(),
        None => line.to_owned(),
    }
}
