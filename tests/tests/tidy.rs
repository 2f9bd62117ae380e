//! Checks of the source tree itself: who may import whom, headers, sizes, and where `unsafe` may stand.
//!
//! Reads files as text; needs neither a machine nor an image.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_LINE_CHARS: usize = 120;

/// A crate of the workspace: its folder, its side, and the workspace crates it depends on.
struct Member {
    folder: PathBuf,
    side: String,
    imports: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the tree").to_path_buf()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn members() -> BTreeMap<String, Member> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace has a manifest");
    let list = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("a member list");
    list.lines().filter_map(|line| line.trim().strip_prefix('"')?.split('"').next()).map(member).collect()
}

fn member(folder: &str) -> (String, Member) {
    let folder = root().join(folder);
    let text = fs::read_to_string(folder.join("Cargo.toml")).expect("each member has a manifest");
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('=')?.trim().strip_prefix('"'))
    };
    let name = value("name").and_then(|v| v.split('"').next()).expect("a package name").to_string();
    let side = value("side").and_then(|v| v.split('"').next()).unwrap_or("(none)").to_string();
    let dependencies = text.split("[dev-dependencies]").next().unwrap_or_default();
    let imports = dependencies
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|word| word.starts_with("ferrite-"))
        .map(str::to_string)
        .collect();
    (name, Member { folder, side, imports })
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = members().into_values().map(|member| member.folder).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("rootfs") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The part of a file before its test module.
fn without_tests(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(lines.len());
    lines[..end].to_vec()
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_crate_names_its_side_and_imports_only_what_it_may() {
    let members = members();
    let mut faults = Vec::new();
    for (name, member) in &members {
        if !["library", "device", "bundle", "host", "test"].contains(&member.side.as_str()) {
            faults.push(format!("{name}: side '{}' is none of library, device, bundle, host, test", member.side));
        }
        for import in &member.imports {
            let Some(other) = members.get(import) else { continue };
            let allowed = match member.side.as_str() {
                "test" => true,
                // Programs of the machine in one file: their names, and what any program imports.
                "bundle" => ["device", "library"].contains(&other.side.as_str()),
                // The image command starts machines, so the one host library may be imported by the other.
                "host" => other.side == "library" && import != "ferrite-sys" || import == "ferrite-qemu",
                _ => other.side == "library",
            };
            if !allowed {
                faults.push(format!("{name} ({}) must not import {import} ({})", member.side, other.side));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn every_source_file_begins_with_a_header() {
    let headerless = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a readable source");
        (!text.starts_with("//! ")).then(|| format!("{}: the first line must be a `//!` header", relative(path)))
    };
    assert_none(sources().iter().filter_map(headerless).collect());
}

#[test]
fn files_functions_and_lines_stay_small() {
    let mut faults = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a readable source");
        let lines = without_tests(&text);
        if lines.len() > MAX_FILE_LINES {
            faults.push(format!("{}: {} lines, {MAX_FILE_LINES} at most", relative(&path), lines.len()));
        }
        for (number, line) in lines.iter().enumerate() {
            if line.chars().count() > MAX_LINE_CHARS {
                faults.push(format!("{}:{}: longer than {MAX_LINE_CHARS} characters", relative(&path), number + 1));
            }
        }
        faults.extend(long_functions(&path, &lines));
    }
    assert_none(faults);
}

/// Functions, by rustfmt's layout: from the line with `fn` to the closing brace of the same indentation.
fn long_functions(path: &Path, lines: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    for (number, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some((start, depth)) = open {
            if indent == depth && trimmed.starts_with('}') {
                let length = number - start + 1;
                if length > MAX_FUNCTION_LINES {
                    faults.push(format!("{}:{}: function of {length} lines", relative(path), start + 1));
                }
                open = None;
            }
        } else if is_function(trimmed) && !line.trim_end().ends_with(['}', ';']) {
            open = Some((number, indent));
        }
    }
    faults
}

fn is_function(line: &str) -> bool {
    let words = line.split(['(', '<']).next().unwrap_or_default();
    words.split_whitespace().any(|word| word == "fn") && !line.starts_with("//")
}

#[test]
fn unsafe_stands_only_in_libs_sys_and_each_block_says_why_it_is_sound() {
    let mut faults = Vec::new();
    for path in sources() {
        let name = relative(&path);
        if name == "tests/tests/tidy.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable source");
        let has_unsafe =
            |line: &&str| line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl");
        let count = text.lines().filter(has_unsafe).count();
        if count > 0 && !name.starts_with("libs/sys/") {
            faults.push(format!("{name}: unsafe outside libs/sys"));
        }
        if count > text.matches("// SAFETY:").count() {
            faults.push(format!("{name}: an unsafe block without a `// SAFETY:` comment"));
        }
    }
    assert_none(faults);
}

#[test]
fn early_boot_and_pid_1_hold_nothing_that_panics() {
    let forbidden = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "assert!("];
    let mut faults = Vec::new();
    for path in sources() {
        let name = relative(&path);
        let is_pid_1 = name.starts_with("init/manager/src/")
            && !name.starts_with("init/manager/src/client/")
            && !name.starts_with("init/manager/src/bin/");
        if !name.starts_with("initrd/src/") && !is_pid_1 {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable source");
        for (number, line) in without_tests(&text).iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if forbidden.iter().any(|word| code.contains(word)) && !code.contains("debug_assert") {
                faults.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn nothing_is_left_unfinished_or_switched_off() {
    let words = ["TODO", "FIXME", "#[ignore", "unimplemented!("];
    let mut faults = Vec::new();
    for path in sources().into_iter().filter(|path| !path.ends_with("tests/tidy.rs")) {
        let text = fs::read_to_string(&path).expect("a readable source");
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                faults.push(format!("{}:{}: {}", relative(&path), number + 1, line.trim()));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn no_merge_is_left_half_done() {
    let mut faults = Vec::new();
    let mut open = vec![root()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_symlink() || [".git", "target", "out"].iter().any(|other| name == *other) {
                continue;
            }
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let bytes = fs::read(&path).expect("a readable file");
            let is_mark = |line: &[u8]| line.starts_with(b"<<<<<<< ") || line.starts_with(b">>>>>>> ");
            if bytes.split(|byte| *byte == b'\n').any(is_mark) {
                faults.push(format!("{}: marks of a conflict", relative(&path)));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn no_file_is_called_after_a_drawer() {
    let drawers = ["util.rs", "utils.rs", "common.rs", "helpers.rs", "misc.rs", "types.rs", "mod.rs"];
    let is_drawer = |path: &&PathBuf| path.file_name().is_some_and(|name| drawers.iter().any(|drawer| name == *drawer));
    assert_none(sources().iter().filter(is_drawer).map(|path| relative(path)).collect());
}

#[test]
fn each_board_and_unit_of_the_tree_is_text_that_ends_with_a_newline() {
    let mut faults = Vec::new();
    for folder in ["boards", "image/rootfs/usr/lib/systemd/system"] {
        for entry in fs::read_dir(root().join(folder)).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let is_text =
                path.extension().is_some_and(|e| ["yaml", "service", "target", "mount"].iter().any(|x| e == *x));
            if is_text && !path.is_symlink() && !fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')) {
                faults.push(format!("{}: not text that ends with a newline", relative(&path)));
            }
        }
    }
    assert_none(faults);
}
