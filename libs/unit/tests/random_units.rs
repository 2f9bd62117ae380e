//! Ten thousand random unit files: real ones with bytes, lines and assignments exchanged. Each is loaded, linked and
//! shown without a panic and in bounded time.
//!
//! The seeds lie beside the repository (`shared/data/units`). A failure names the number of the case; the cases are the
//! same in every run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ferrite_unit::graph::Graph;
use ferrite_unit::load::DeviceUnits;
use ferrite_unit::specifier::Host;
use ferrite_unit::{Files, LoadPath, LoadState, Loader, UnitKind, UnitName, show};

#[path = "support/numbers.rs"]
mod numbers;
use numbers::Numbers;

const CASES: u64 = 10_000;
/// Far above what a file of this size takes on a busy machine.
const CASE_MAX: Duration = Duration::from_secs(5);

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

struct Memory(BTreeMap<String, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &str) -> Option<Result<Vec<u8>, String>> {
        self.0.get(path).map(|bytes| Ok(bytes.clone()))
    }

    fn link(&self, _: &str) -> Option<String> {
        None
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let inside =
            |path: &String| Some(path.strip_prefix(directory)?.strip_prefix('/')?.split('/').next()?.to_owned());
        let mut names: Vec<String> = self.0.keys().filter_map(inside).collect();
        names.dedup();
        names
    }
}

fn data(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/units").join(name);
    assert!(path.exists(), "data {} is missing", path.display());
    path
}

fn seeds(folder: &Path, out: &mut Vec<(String, Vec<u8>)>) {
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
fn directives() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(data("directives_all.tsv")).expect("directives");
    let pairs = text.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        Some((columns.next()?.to_owned(), columns.next()?.to_owned()))
    });
    pairs
        .filter(|(section, _)| UnitKind::ALL.iter().any(|kind| kind.section() == section) || section == "Unit")
        .collect()
}

fn change(bytes: &mut Vec<u8>, numbers: &mut Numbers, seeds: &[(String, Vec<u8>)], directives: &[(String, String)]) {
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

/// Was the unit usable?
fn load(name: &str, bytes: Vec<u8>, drop_in: Vec<u8>) -> bool {
    let name = name.replacen("@.", "@a-b\\x2dc.", 1);
    let Ok(name) = UnitName::parse(&name) else { return false };
    let file = format!("/u/{name}");
    let files = Memory(BTreeMap::from([(format!("/u/{name}.d/x.conf"), drop_in), (file, bytes)]));
    let (path, host) = (LoadPath(vec!["/u".into()]), Host::default());
    let loader = Loader { path: &path, files: &files, host: &host, devices: DeviceUnits::Present };
    let mut graph = Graph::default();
    graph.request(&name).expect("room for one unit");
    graph.load(&loader);
    for node in graph.iter() {
        assert!(!show::properties(&graph, node).is_empty());
    }
    graph.find(&name).is_some_and(|node| node.unit.load == LoadState::Loaded)
}

#[test]
fn ten_thousand_random_files_are_loaded_in_bounded_time() {
    let mut list = Vec::new();
    seeds(&data("corpus"), &mut list);
    let directives = directives();
    assert!(list.len() > 300 && directives.len() > 1000, "{} seeds, {} directives", list.len(), directives.len());
    let mut usable = 0;
    for case in 0..CASES {
        let mut numbers = Numbers((case + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (name, seed) = numbers.of(&list).clone();
        let mut files = [seed, Vec::new()];
        for bytes in &mut files {
            for _ in 0..numbers.below(12) {
                change(bytes, &mut numbers, &list, &directives);
            }
        }
        let [bytes, drop_in] = files;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let before = Instant::now();
        let outcome = std::panic::catch_unwind(|| load(&name, bytes, drop_in));
        usable += u64::from(outcome.unwrap_or_else(|_| panic!("case {case}, {name}:\n{text}")));
        assert!(before.elapsed() < CASE_MAX, "case {case}, {name} took {:?}", before.elapsed());
    }
    // Most changes hurt nobody: otherwise little was tried.
    assert!(usable > CASES / 4, "{usable} usable units");
}
