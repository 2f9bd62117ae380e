//! `systemctl edit`: drop-ins, or a whole file, written with the caller's editor.

use std::fs;
use std::io::Read;
use std::process::Command;

use anyhow::{Context, Result, bail};
use ferrite_control::Request;

use super::arguments::Arguments;
use super::verbs::{connect, details, named_units};

const MARK: &str = "### Edits below this comment will be discarded";
const BEGIN: &str = "### Anything between here and the comment below will become the contents of the drop-in file";

/// Edits each unit; PID 1 reads the files again at the end.
pub fn run(arguments: &Arguments) -> Result<u8> {
    if arguments.operands.is_empty() {
        bail!("Too few arguments.");
    }
    let mut client = connect(arguments)?;
    let mut changed = false;
    for name in named_units(&mut client, &arguments.operands)? {
        let unit = details(&mut client, &name)?;
        let fragment = unit.fragment_path.clone();
        if fragment.is_none() && !(arguments.force > 0 && arguments.full) {
            bail!("No files found for {name}.\nRun 'systemctl edit --force --full {name}' to create a new unit.");
        }
        let config = if arguments.runtime { "/run/ferrite/system" } else { "/etc/systemd/system" };
        let drop_in = arguments.drop_in.as_deref().unwrap_or("override.conf");
        let path = match arguments.full {
            true => format!("{config}/{name}"),
            false => format!("{config}/{name}.d/{}.conf", drop_in.trim_end_matches(".conf")),
        };
        let old = fs::read_to_string(&path).ok();
        let vendor = fragment.as_deref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let text = match (arguments.stdin, arguments.full) {
            (true, _) => {
                let mut text = String::new();
                std::io::stdin().take(1024 * 1024).read_to_string(&mut text).context("reading stdin")?;
                text
            }
            (false, true) => with_editor(arguments, &path, old.as_deref().unwrap_or(&vendor))?,
            (false, false) => drop_in_of(&with_editor(arguments, &path, &template(&path, old.as_deref(), &vendor))?),
        };
        if text.trim().is_empty() {
            eprintln!("{path}: after editing, new contents are empty, not writing file.");
            continue;
        }
        if old.as_deref() == Some(text.as_str()) {
            continue;
        }
        let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        fs::create_dir_all(directory).with_context(|| format!("making '{directory}'"))?;
        let waiting = format!("{directory}/.#{}{:x}", super::edit::name_of(&path), std::process::id());
        fs::write(&waiting, &text).with_context(|| format!("writing '{waiting}'"))?;
        fs::rename(&waiting, &path).with_context(|| format!("replacing '{path}'"))?;
        eprintln!("Successfully installed edited file '{path}'.");
        changed = true;
    }
    if changed {
        client.ask(&Request::DaemonReload)?;
    }
    Ok(0)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// What the editor shows: the drop-in above the mark, the unit as it is below it.
fn template(path: &str, old: Option<&str>, vendor: &str) -> String {
    let below: String = vendor.lines().map(|line| format!("# {line}\n")).collect();
    format!("### Editing {path}\n{BEGIN}\n\n{}\n\n{MARK}\n\n{below}", old.unwrap_or_default())
}

/// The text between the two marks; all of it where an editor took them away.
fn drop_in_of(text: &str) -> String {
    let inner = text.split_once(BEGIN).map_or(text, |(_, rest)| rest);
    let inner = inner.split_once(MARK).map_or(inner, |(inner, _)| inner).trim();
    if inner.is_empty() { String::new() } else { format!("{inner}\n") }
}

fn with_editor(arguments: &Arguments, path: &str, text: &str) -> Result<String> {
    let editor = arguments.editor.as_deref().unwrap_or("editor nano vim vi");
    let file = std::env::temp_dir().join(format!(".#{}{:x}", name_of(path), std::process::id()));
    fs::write(&file, text).with_context(|| format!("writing '{}'", file.display()))?;
    let mut words = editor.split_whitespace();
    let outcome = if arguments.editor.is_some() {
        Command::new(words.next().unwrap_or("vi")).args(words).arg(&file).status()
    } else {
        let tried = words.map(|editor| Command::new(editor).arg(&file).status());
        tried.into_iter().find(Result::is_ok).unwrap_or_else(|| Err(std::io::Error::other("no editor is installed")))
    };
    let edited = fs::read_to_string(&file);
    // What is left over in the temporary directory goes with it.
    let _ = fs::remove_file(&file);
    if !outcome.context("running the editor")?.success() {
        bail!("the editor failed, nothing is written");
    }
    edited.context("reading what was edited")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_kept() {
        let shown = template("/x", Some("[Service]\nNice=1\n"), "[Unit]\n");
        assert!(shown.contains("\n# [Unit]\n"));
        assert_eq!(drop_in_of(&shown), "[Service]\nNice=1\n");
        assert_eq!(drop_in_of(&template("/x", None, "[Unit]\n")), "");
        assert_eq!(drop_in_of("[Service]\nExecStart=\n"), "[Service]\nExecStart=\n");
    }
}
