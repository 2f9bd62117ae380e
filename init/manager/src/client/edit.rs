//! `systemctl edit`: drop-ins, or a whole file, written with the caller's editor.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use ferrite_control::{Request, UnitDetails};

use super::arguments::Arguments;
use super::verbs::{connect, details, named_units};

/// Bytes of a file that comes by stdin.
const STDIN_MAX: u64 = 1024 * 1024;
const MARK: &str = "### Edits below this comment will be discarded";
const BEGIN: &str = "### Anything between here and the comment below will become the contents of the drop-in file";

/// The line of the editor's file where the text of a drop-in begins.
const FIRST_LINE: usize = 4;

/// A file that is to be written.
struct Draft {
    path: String,
    /// What the editor is shown.
    shown: String,
    /// What it edits meanwhile; in the same folder, so that it can take the place of the file.
    waiting: PathBuf,
}

/// Edits all units at once; PID 1 reads the files again at the end.
pub fn run(arguments: &Arguments) -> Result<u8> {
    if arguments.operands.is_empty() {
        bail!("Too few arguments.");
    }
    let mut client = connect(arguments)?;
    let names = named_units(&mut client, &arguments.operands)?;
    let drafts: Vec<Draft> =
        names.iter().map(|name| draft(&details(&mut client, name)?, name, arguments)).collect::<Result<_>>()?;
    let written = if arguments.stdin { from_stdin(&drafts) } else { from_editor(&drafts, arguments) };
    for draft in &drafts {
        // What is left over goes, and with it a folder that nothing came into.
        let _ = fs::remove_file(&draft.waiting);
        let _ = fs::remove_dir(folder_of(&draft.path));
    }
    if written? > 0 {
        client.ask(&Request::DaemonReload)?;
    }
    Ok(0)
}

fn draft(unit: &UnitDetails, name: &str, arguments: &Arguments) -> Result<Draft> {
    let fragment = unit.fragment_path.clone();
    if fragment.is_none() && arguments.force == 0 {
        bail!("No files found for {name}.\nRun 'systemctl edit --force --full {name}' to create a new unit.");
    }
    let config = if arguments.runtime { "/run/ferrite/system" } else { "/etc/systemd/system" };
    let drop_in = arguments.drop_in.as_deref().unwrap_or("override.conf");
    let path = match arguments.full {
        true => format!("{config}/{name}"),
        false => format!("{config}/{name}.d/{}.conf", drop_in.trim_end_matches(".conf")),
    };
    let read = |path: &String| fs::read_to_string(path).ok();
    let old = read(&path);
    let shown = if arguments.full {
        old.or_else(|| read(fragment.as_ref()?)).unwrap_or_default()
    } else {
        let others = fragment.iter().chain(&unit.drop_in_paths).filter(|other| **other != path);
        let others: Vec<(&String, String)> = others.filter_map(|other| Some((other, read(other)?))).collect();
        template(&path, old.as_deref(), &others)
    };
    let file = format!(".#{}{:x}", path.rsplit('/').next().unwrap_or_default(), std::process::id());
    let waiting = Path::new(folder_of(&path)).join(file);
    Ok(Draft { path, shown, waiting })
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("/", |(folder, _)| folder)
}

/// What the editor shows: the drop-in above the mark, the unit as it is below it.
fn template(path: &str, old: Option<&str>, others: &[(&String, String)]) -> String {
    let below = |(place, text): &(&String, String)| {
        let lines: String = text.trim().lines().map(|line| format!("# {line}\n")).collect();
        format!("\n\n### {place}\n{lines}")
    };
    let below: String = others.iter().map(below).collect();
    format!("### Editing {path}\n{BEGIN}\n\n{}\n\n{MARK}\n{below}", old.unwrap_or_default().trim_end())
}

/// The text between the two marks; all of it where an editor took them away.
fn drop_in_of(text: &str) -> &str {
    let inner = text.split_once(BEGIN).map_or(text, |(_, rest)| rest);
    inner.split_once(MARK).map_or(inner, |(inner, _)| inner)
}

/// Writes the same text, that of stdin, to all files.
fn from_stdin(drafts: &[Draft]) -> Result<usize> {
    let mut text = String::new();
    std::io::stdin().take(STDIN_MAX).read_to_string(&mut text).context("reading stdin")?;
    if text.trim().is_empty() {
        eprintln!("Stripped stdin content is empty, not writing file.");
        return Ok(0);
    }
    for draft in drafts {
        install(draft, &text)?;
    }
    Ok(drafts.len())
}

/// Writes what one run of the editor makes of all files.
fn from_editor(drafts: &[Draft], arguments: &Arguments) -> Result<usize> {
    for draft in drafts {
        let folder = folder_of(&draft.path);
        fs::create_dir_all(folder).with_context(|| format!("making '{folder}'"))?;
        let place = draft.waiting.display();
        fs::write(&draft.waiting, &draft.shown).with_context(|| format!("writing '{place}'"))?;
    }
    // Of one file, the editor is told where to begin.
    let place = (drafts.len() == 1 && !arguments.full).then(|| format!("+{FIRST_LINE}"));
    edit(arguments.editor.as_deref(), place, drafts)?;
    let mut count = 0;
    for draft in drafts {
        let text = fs::read_to_string(&draft.waiting).context("reading what was edited")?;
        let text = if arguments.full { &text } else { drop_in_of(&text) };
        if text.trim().is_empty() {
            eprintln!("{}: after editing, new contents are empty, not writing file.", draft.path);
            continue;
        }
        install(draft, text)?;
        count += 1;
    }
    Ok(count)
}

fn install(draft: &Draft, text: &str) -> Result<()> {
    let (folder, waiting) = (folder_of(&draft.path), draft.waiting.display());
    fs::create_dir_all(folder).with_context(|| format!("making '{folder}'"))?;
    fs::write(&draft.waiting, format!("{}\n", text.trim())).with_context(|| format!("writing '{waiting}'"))?;
    fs::rename(&draft.waiting, &draft.path).with_context(|| format!("replacing '{}'", draft.path))?;
    eprintln!("Successfully installed edited file '{}'.", draft.path);
    Ok(())
}

/// Runs the caller's editor, or the first one that is installed.
fn edit(editor: Option<&str>, place: Option<String>, drafts: &[Draft]) -> Result<()> {
    let wanted: Vec<&str> = editor.unwrap_or_default().split_whitespace().collect();
    let usual = ["editor", "nano", "vim", "vi"].iter().map(std::slice::from_ref);
    let all = Some(wanted.as_slice()).filter(|words| !words.is_empty()).into_iter().chain(usual);
    for words in all {
        let Some((program, own)) = words.split_first() else { continue };
        let files = drafts.iter().map(|draft| &draft.waiting);
        match Command::new(program).args(own).args(&place).args(files).status() {
            Ok(status) if status.success() => return Ok(()),
            Ok(_) => bail!("the editor failed, nothing is written"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("running the editor '{program}'")),
        }
    }
    bail!("no editor is installed: name one in SYSTEMD_EDITOR, EDITOR or VISUAL");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_kept() {
        let place = "/u".to_owned();
        let others = [(&place, "[Unit]\n".to_owned())];
        let shown = template("/x", Some("[Service]\nNice=1\n"), &others);
        assert!(shown.ends_with("\n\n### /u\n# [Unit]\n"), "{shown}");
        assert_eq!(shown.lines().nth(FIRST_LINE - 1), Some("[Service]"));
        assert_eq!(drop_in_of(&shown).trim(), "[Service]\nNice=1");
        assert_eq!(drop_in_of(&template("/x", None, &others)).trim(), "");
        assert_eq!(drop_in_of("[Service]\nExecStart=\n"), "[Service]\nExecStart=\n");
    }
}
