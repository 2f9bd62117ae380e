//! `systemd-analyze cat-config`: a file of configuration with its drop-ins, in the order in which they are read.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use ferrite_files::{EntryKind, Root};

use super::Call;
use crate::client::print;
use crate::client::style::{BLUE, Colour, GREY, paint};

/// Bytes of a file at most.
const FILE_MAX: usize = 4 * 1024 * 1024;
/// Where configuration lies; what is found first counts.
const DIRECTORIES: [&str; 4] = ["/etc/", "/run/", "/usr/local/lib/", "/usr/lib/"];
/// Ends of the names of files in directories whose files are not called `.conf`.
const ENDS: [(&str, &str); 7] = [
    ("udev/rules.d", ".rules"),
    ("kernel/install.d", ".install"),
    ("systemd/ntp-units.d", ".list"),
    ("systemd/relabel-extra.d", ".relabel"),
    ("udev/hwdb.d", ".hwdb"),
    ("systemd/system-preset", ".preset"),
    ("systemd/user-preset", ".preset"),
];

/// What is shown of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    Everything,
    /// `--tldr`: no comments, no empty lines, no sections without settings.
    Settings,
}

/// Prints what belongs to each name or path.
pub fn run(call: &Call<'_>) -> Result<u8> {
    if call.operands().is_empty() {
        bail!("Too few arguments.");
    }
    let root = Root::open(Path::new(call.line.value("root").unwrap_or("/")))?;
    let show = if call.line.has("tldr") { Show::Settings } else { Show::Everything };
    for (number, word) in call.operands().iter().enumerate() {
        if number > 0 {
            print("\n\n")?;
        }
        print(&text(&root, &name_of(word)?, show, call.colour)?)?;
    }
    Ok(0)
}

/// The part of a path below the directories of configuration.
fn name_of(word: &str) -> Result<String> {
    let mut plain = ferrite_unit::escape::simplify_path(word).unwrap_or_else(|| word.to_owned());
    if word.starts_with('/') {
        let below = DIRECTORIES
            .iter()
            .chain(&["/lib/"])
            .find_map(|place| format!("/{plain}").strip_prefix(place).map(str::to_owned));
        match below {
            Some(rest) => plain = rest,
            None => bail!("Path {word} does not start with any known prefix."),
        }
    }
    Ok(plain)
}

fn text(root: &Root, name: &str, show: Show, colour: Colour) -> Result<String> {
    let end = ENDS.iter().find(|(known, _)| *known == name).map(|(_, end)| *end);
    let is_collection = end.is_some() || name.ends_with(".d");
    let mut blocks = Vec::new();
    if !is_collection {
        let places = DIRECTORIES.iter().map(|place| format!("{place}{name}"));
        match places.into_iter().find(|path| root.target(path).is_ok_and(|entry| entry.is_some())) {
            Some(path) => blocks.push(block(root, &path, show, colour)?),
            None => blocks.push(paint(&format!("# Main configuration file {name} not found"), GREY, colour) + "\n"),
        }
    }
    let folder = if is_collection { name.to_owned() } else { format!("{name}.d") };
    for path in files(root, &folder, end.unwrap_or(".conf"))? {
        blocks.push(block(root, &path, show, colour)?);
    }
    Ok(blocks.join("\n"))
}

/// The files of a folder that every directory may have, by name; one that leads to /dev/null hides those behind it.
fn files(root: &Root, folder: &str, end: &str) -> Result<Vec<String>> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for place in DIRECTORIES {
        let directory = format!("{place}{folder}");
        for name in root.list(&directory)?.into_iter().filter(|name| name.ends_with(end)) {
            let path = format!("{directory}/{name}");
            found.entry(name).or_insert(path);
        }
    }
    let is_file = |path: &String| root.target(path).is_ok_and(|e| e.is_some_and(|e| e.kind == EntryKind::File));
    Ok(found.into_values().filter(is_file).collect())
}

fn block(root: &Root, path: &str, show: Show, colour: Colour) -> Result<String> {
    let bytes = root.read(path, FILE_MAX)?.unwrap_or_default();
    let mut text = paint(&format!("# {}{path}", shown(root)), BLUE, colour) + "\n";
    let mut section = None;
    for line in String::from_utf8_lossy(&bytes).lines() {
        let plain = line.trim_start();
        let is_comment = plain.starts_with(['#', ';']);
        if show == Show::Settings {
            if is_comment || plain.is_empty() {
                continue;
            }
            if plain.starts_with('[') {
                section = Some(line.to_owned());
                continue;
            }
            if let Some(section) = section.take() {
                text.push_str(&format!("{section}\n"));
            }
        }
        text.push_str(&format!("{}\n", if is_comment { paint(line, GREY, colour) } else { line.to_owned() }));
    }
    Ok(text)
}

/// What stands before a path when the root is not the machine's.
fn shown(root: &Root) -> String {
    if root.is_machine() { String::new() } else { root.path().to_string_lossy().trim_end_matches('/').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }

    #[test]
    fn drop_ins_follow_the_file_by_name_and_the_first_directory_wins() {
        let directory = tempfile::tempdir().expect("a folder");
        write(directory.path(), "etc/systemd/x.conf", "# comment\n[A]\nk=1\n\n[B]\n");
        write(directory.path(), "usr/lib/systemd/x.conf", "hidden\n");
        write(directory.path(), "usr/lib/systemd/x.conf.d/20-b.conf", "[A]\nk=hidden\n");
        write(directory.path(), "etc/systemd/x.conf.d/20-b.conf", "[A]\nk=3\n");
        write(directory.path(), "run/systemd/x.conf.d/10-a.conf", "[A]\nk=2\n");
        write(directory.path(), "run/systemd/x.conf.d/README", "no");
        std::os::unix::fs::symlink("/dev/null", directory.path().join("etc/systemd/x.conf.d/30-c.conf"))
            .expect("a link");
        let root = Root::open(directory.path()).expect("a root");
        let at = directory.path().to_str().expect("text");
        let tail = format!(
            "\n# {at}/run/systemd/x.conf.d/10-a.conf\n[A]\nk=2\n\n# {at}/etc/systemd/x.conf.d/20-b.conf\n[A]\nk=3\n"
        );
        let all = text(&root, "systemd/x.conf", Show::Everything, Colour::Off).expect("read");
        assert_eq!(all, format!("# {at}/etc/systemd/x.conf\n# comment\n[A]\nk=1\n\n[B]\n{tail}"));
        let short = text(&root, "systemd/x.conf", Show::Settings, Colour::Off).expect("read");
        assert_eq!(short, format!("# {at}/etc/systemd/x.conf\n[A]\nk=1\n{tail}"));
        let collection = text(&root, "systemd/x.conf.d", Show::Everything, Colour::Off).expect("read");
        assert_eq!(format!("\n{collection}"), tail);
        let none = text(&root, "y.conf", Show::Everything, Colour::Off).expect("read");
        assert_eq!(none, "# Main configuration file y.conf not found\n");
    }

    #[test]
    fn paths_are_names_below_the_known_directories() {
        assert_eq!(name_of("/etc//sysctl.d").expect("known"), "sysctl.d");
        assert_eq!(name_of("/usr/lib/systemd/a.conf").expect("known"), "systemd/a.conf");
        assert_eq!(name_of("systemd/a.conf").expect("a name"), "systemd/a.conf");
        let fault = name_of("/opt/a.conf").expect_err("refused").to_string();
        assert_eq!(fault, "Path /opt/a.conf does not start with any known prefix.");
    }
}
