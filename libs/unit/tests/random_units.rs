//! Ten thousand random unit files: real ones with bytes, lines and assignments exchanged. Each is loaded, linked and
//! shown without a panic and in bounded time.
//!
//! The seeds lie beside the repository (`shared/data/units`). A failure names the number of the case; the cases are the
//! same in every run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ferrite_unit::graph::Graph;
use ferrite_unit::load::DeviceUnits;
use ferrite_unit::specifier::Host;
use ferrite_unit::{Files, LoadPath, LoadState, Loader, UnitName, show};

#[path = "support/numbers.rs"]
mod numbers;
use numbers::Numbers;

#[path = "support/unit_texts.rs"]
mod unit_texts;
use unit_texts::{change, data, directives, seeds};

const CASES: u64 = 10_000;
/// Far above what a file of this size takes on a busy machine.
const CASE_MAX: Duration = Duration::from_secs(5);

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
