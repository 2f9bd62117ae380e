//! Control groups with their processes as a tree, as `systemd-cgls` and `systemctl status` draw them.

use std::fs;
use std::path::Path;

use super::listing::shorten;
use super::processes::command_line;
use super::style::{Colour, GREY, paint, visible};

/// Groups looked into at most.
const GROUPS_MAX: usize = 10_000;
/// Levels looked into at most: the kernel allows more, nobody reads them.
const DEPTH_MAX: usize = 64;

/// A group.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Process numbers and command lines.
    pub processes: Vec<(i32, String)>,
    /// What is below it.
    pub groups: Vec<Group>,
}

/// What is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes {
    /// Groups without a process, too.
    pub empty: bool,
    /// Threads of the kernel, too.
    pub kernel: bool,
}

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub colour: Colour,
    /// Columns; `None`: do not shorten.
    pub width: Option<usize>,
    pub is_utf8: bool,
}

/// Reads what is in a folder of the control group file system.
pub fn read(folder: &Path, wishes: Wishes) -> Group {
    read_below(folder, String::new(), wishes, DEPTH_MAX, &mut GROUPS_MAX.clone())
}

fn read_below(folder: &Path, name: String, wishes: Wishes, depth: usize, left: &mut usize) -> Group {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
    pids.sort_unstable();
    let processes = pids.into_iter().map(|pid| (pid, command_line(pid)));
    let processes = processes.filter(|(_, line)| wishes.kernel || !line.starts_with('[')).collect();
    let mut group = Group { name, processes, groups: Vec::new() };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    for name in names {
        if depth == 0 || *left == 0 {
            break;
        }
        *left -= 1;
        let inner = read_below(&folder.join(&name), name, wishes, depth - 1, left);
        if wishes.empty || !inner.processes.is_empty() || !inner.groups.is_empty() {
            group.groups.push(inner);
        }
    }
    group
}

/// The lines below a group, each behind `indent`.
pub fn render(group: &Group, indent: &str, look: Look) -> String {
    let mut out = String::new();
    lines(group, indent, indent.chars().count(), look, &mut out);
    out
}

fn lines(group: &Group, prefix: &str, used: usize, look: Look, out: &mut String) {
    let [bar, branch, last] = if look.is_utf8 { ["│ ", "├─", "└─"] } else { ["| ", "|-", "`-"] };
    let entries = group.processes.len() + group.groups.len();
    let mark = |number: usize| paint(if number + 1 == entries { last } else { branch }, GREY, look.colour);
    let digits = group.processes.iter().map(|(pid, _)| pid.to_string().len()).max().unwrap_or(0);
    let room = look.width.map(|width| width.saturating_sub(used + digits + 3).max(20));
    for (number, (pid, command)) in group.processes.iter().enumerate() {
        let text = format!("{pid:>digits$} {}", shorten(&visible(command), room));
        out.push_str(&format!("{prefix}{}{}\n", mark(number), paint(&text, GREY, look.colour)));
    }
    for (number, inner) in group.groups.iter().enumerate() {
        let number = group.processes.len() + number;
        out.push_str(&format!("{prefix}{}{}\n", mark(number), visible(&inner.name)));
        let stem = if number + 1 == entries { "  ".to_owned() } else { paint(bar, GREY, look.colour) };
        lines(inner, &format!("{prefix}{stem}"), used + 2, look, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for name in names {
            fs::create_dir_all(directory.path().join(name)).expect("made");
        }
        directory
    }

    #[test]
    fn groups_are_drawn_with_their_processes() {
        let own = std::process::id();
        let directory = made(&["system.slice/a.service", "init.scope", "empty.slice/inner"]);
        let write = |place: &str, text: String| fs::write(directory.path().join(place).join("cgroup.procs"), text);
        write("system.slice/a.service", format!("{own}\n")).expect("written");
        // A thread of the kernel has no command line; nor has a process that is gone.
        write("init.scope", "2147483647\n".to_owned()).expect("written");
        let look = Look { colour: Colour::Off, width: Some(80), is_utf8: true };
        let tree = render(&read(directory.path(), Wishes::default()), "", look);
        let lines: Vec<&str> = tree.lines().collect();
        assert_eq!(lines[..2], ["└─system.slice", "  └─a.service"]);
        assert!(lines[2].starts_with(&format!("    └─{own} ")) && lines[2].chars().count() <= 80, "{tree}");
        let all = Wishes { empty: true, kernel: true };
        let tree = render(&read(directory.path(), all), " ", Look { is_utf8: false, ..look });
        let lines: Vec<&str> = tree.lines().collect();
        assert_eq!(lines[..4], [" |-empty.slice", " | `-inner", " |-init.scope", " | `-2147483647 []"]);
    }
}
