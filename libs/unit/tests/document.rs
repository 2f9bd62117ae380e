//! docs/units.md is made from the parser's own tables: stale, it fails here. `UPDATE_GOLDEN=1` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use ferrite_unit::directives::{Directive, SECTIONS, State, all, of_section};

const RENEW: &str = "UPDATE_GOLDEN=1 cargo test -p ferrite-unit --test document";
const MEANINGS: &str = include_str!("document/meanings.tsv");
const PREFACE: &str = include_str!("document/preface.md");

/// Directives that the parser knows and systemd 257 does not.
const NEWER: [&str; 7] = [
    "AssertFirmware",
    "AssertKernelModuleLoaded",
    "AssertNull",
    "AssertVersion",
    "ConditionKernelModuleLoaded",
    "ConditionNull",
    "ConditionVersion",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Type of the value and meaning of each directive.
fn meanings() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let lines = MEANINGS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
            [name, kind, meaning] => (name, (kind, meaning)),
            _ => panic!("meanings.tsv has a line without three columns: '{line}'"),
        })
        .collect()
}

/// The name under which a directive stands among the meanings: an assertion asks what a condition asks.
fn asked(name: &str) -> String {
    name.strip_prefix("Assert").map_or_else(|| name.to_owned(), |rest| format!("Condition{rest}"))
}

fn word(state: State) -> String {
    match state {
        State::Done => "done".into(),
        State::Partly(note) => format!("partly: {note}"),
        State::Refused => "refused".into(),
        State::WithoutEffect => "without effect".into(),
    }
}

/// How many directives are in each state: done, partly, refused, without effect.
fn counts(directives: &[Directive]) -> [usize; 4] {
    let mut counts = [0; 4];
    for directive in directives {
        counts[match directive.state {
            State::Done => 0,
            State::Partly(_) => 1,
            State::Refused => 2,
            State::WithoutEffect => 3,
        }] += 1;
    }
    counts
}

fn document() -> String {
    let meanings = meanings();
    let mut text = PREFACE.to_owned();
    text.push_str("\n| section | directives | done | partly | refused | without effect |\n|---|---|---|---|---|---|\n");
    let mut row = |name: &str, directives: &[Directive]| {
        let [done, partly, refused, nothing] = counts(directives);
        let count = directives.len();
        writeln!(text, "| {name} | {count} | {done} | {partly} | {refused} | {nothing} |").expect("a string");
    };
    for section in SECTIONS {
        row(&format!("[{section}]"), &of_section(section));
    }
    row("all", &all());
    for section in SECTIONS {
        write!(text, "\n## [{section}]\n\n| directive | value | meaning | state |\n|---|---|---|---|\n")
            .expect("a string");
        for directive in of_section(section) {
            let (kind, meaning) = meanings.get(asked(&directive.name).as_str()).expect("checked by a test");
            let state = word(directive.state);
            writeln!(text, "| {}= | {kind} | {meaning} | {state} |", directive.name).expect("a string");
        }
    }
    text
}

#[test]
fn the_document_is_what_the_parser_says() {
    let path = repository().join("docs/units.md");
    let text = document();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("docs/ can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let first = found.lines().zip(text.lines()).find(|(have, want)| have != want);
    assert!(found == text, "docs/units.md is stale (first difference: {first:?}); renew it with\n    {RENEW}");
}

#[test]
fn every_directive_has_a_meaning_and_every_meaning_a_directive() {
    let all: BTreeSet<String> = all().iter().map(|directive| asked(&directive.name)).collect();
    let meanings: BTreeSet<String> = meanings().keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(all.difference(&meanings).collect::<Vec<_>>(), [""; 0], "without a meaning");
    assert_eq!(meanings.difference(&all).collect::<Vec<_>>(), [""; 0], "without a directive");
}

#[test]
fn the_directives_are_those_of_systemd_257() {
    let list = repository().join("../shared/data/units/directives_all.tsv");
    let text = std::fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    let pair = |line: &str| -> Option<(String, String)> {
        let mut columns = line.split('\t');
        Some((columns.next()?.to_owned(), columns.next()?.to_owned()))
    };
    let wanted: BTreeSet<_> = text.lines().skip(1).filter_map(pair).collect();
    let found: BTreeSet<_> = all()
        .into_iter()
        .filter(|directive| !NEWER.contains(&directive.name.as_str()))
        .map(|directive| (directive.section.to_owned(), directive.name))
        .collect();
    assert_eq!(wanted.len(), 1341);
    let missing: Vec<_> = wanted.difference(&found).collect();
    let strange: Vec<_> = found.difference(&wanted).collect();
    assert!(missing.is_empty() && strange.is_empty(), "missing {missing:?}\nof our own {strange:?}");
}
