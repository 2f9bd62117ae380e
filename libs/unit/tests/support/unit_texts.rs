//! Real unit files, and ways to change them at random. Other crates' tests read this file too.
//!
//! The seeds lie beside the repository (`shared/data/units`).

use std::path::{Path, PathBuf};

use ferrite_unit::{UnitKind, UnitName};

use crate::numbers::Numbers;

/// Words that are something special somewhere.
const VALUES: [&str; 40] = [
    "",
    "yes",
    "infinity",
    "0",
    "-1",
    "18446744073709551616",
    "99999999999999999999y",
    "1us",
    "100%",
    "%",
    "%i",
    "%n%N%p",
    "%%%",
    "\\",
    "\"",
    "'",
    "\"a b\" 'c",
    "/",
    "/a/../b",
    "//x//",
    "a@.service",
    "@.service",
    "x.target x.target y.socket",
    "~",
    "~@system-service",
    "-/x:/y:rbind",
    "+/bin/sh",
    "-@!!:+x",
    "/bin/a ; ; /bin/b \\;",
    "$A ${A} $$ ${",
    "u:g:o",
    "0x10",
    "*-*-* *:*:*/0.000001",
    "Mon..Fri 2..29/3-02-30",
    "[::]:0",
    "@abstract",
    "vsock:1:2",
    "\u{feff}",
    "ä\u{1}",
    "SIGRTMIN+99",
];

/// A file of the data beside the repository.
pub fn data(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/units").join(name);
    assert!(path.exists(), "data {} is missing", path.display());
    path
}

/// Real unit files: names and bytes.
pub fn seeds(folder: &Path, out: &mut Vec<(String, Vec<u8>)>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).expect("corpus").map(|entry| entry.expect("entry").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("").to_owned();
        if path.is_dir() {
            seeds(&path, out);
        } else if UnitName::parse(&name).is_ok() && path.is_file() {
            out.push((name, std::fs::read(&path).expect("seed")));
        }
    }
}

/// Sections and directives that systemd knows.
pub fn directives() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(data("directives_all.tsv")).expect("directives");
    let pairs = text.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        Some((columns.next()?.to_owned(), columns.next()?.to_owned()))
    });
    pairs
        .filter(|(section, _)| UnitKind::ALL.iter().any(|kind| kind.section() == section) || section == "Unit")
        .collect()
}

/// Changes the text of a unit at one place: bytes, lines, assignments.
pub fn change(
    bytes: &mut Vec<u8>,
    numbers: &mut Numbers,
    seeds: &[(String, Vec<u8>)],
    directives: &[(String, String)],
) {
    let place = numbers.below(bytes.len() + 1);
    match numbers.below(9) {
        0 => bytes.truncate(place),
        1 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = u8::try_from(numbers.below(256)).unwrap_or(0);
            }
        }
        2 => bytes.insert(place, *numbers.of(b"\\\"'%=[]\n\r\0;#\xff-@:")),
        3 => {
            let end = (place + numbers.below(200)).min(bytes.len());
            bytes.drain(place..end);
        }
        4 => {
            let (_, other) = numbers.of(seeds);
            let from = numbers.below(other.len());
            let piece = other[from..(from + 300).min(other.len())].to_vec();
            bytes.splice(place..place, piece);
        }
        5 => {
            let end = (place + numbers.below(60)).min(bytes.len());
            let piece = bytes[place..end].repeat(numbers.below(200));
            bytes.splice(place..place, piece);
        }
        6 | 7 => {
            let (section, directive) = numbers.of(directives);
            let first = numbers.of(&VALUES);
            let text = format!("\n[{section}]\n{directive}={first}{}\n", numbers.of(&VALUES));
            bytes.extend_from_slice(text.as_bytes());
        }
        _ => {
            let (_, directive) = numbers.of(directives);
            let text = format!("\n{directive}={}\n", numbers.of(&VALUES));
            bytes.splice(place..place, text.into_bytes());
        }
    }
}
