//! Every directive of systemd 257 is known in its section: it is understood, or told as one that has no effect.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ferrite_unit::load::DeviceUnits;
use ferrite_unit::specifier::Host;
use ferrite_unit::{Files, LoadPath, Loaded, Loader, UnitKind, UnitName};

struct One(String, String);

impl Files for One {
    fn read(&self, path: &str) -> Option<Result<Vec<u8>, String>> {
        (path == self.0).then(|| Ok(self.1.clone().into_bytes()))
    }

    fn link(&self, _: &str) -> Option<String> {
        None
    }

    fn list(&self, directory: &str) -> Vec<String> {
        let name = self.0.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
        name.map(str::to_owned).into_iter().collect()
    }
}

/// What is told of a unit with this one assignment.
fn problems(section: &str, directive: &str) -> Vec<String> {
    let kind = UnitKind::ALL.into_iter().find(|kind| kind.section() == section).unwrap_or(UnitKind::Service);
    let name = UnitName::parse(&format!("a.{}", kind.suffix())).expect("a name");
    let files = One(format!("/u/{name}"), format!("[{section}]\n{directive}=\n"));
    let (path, host) = (LoadPath(vec!["/u".into()]), Host::default());
    let loader = Loader { path: &path, files: &files, host: &host, devices: DeviceUnits::Absent };
    match loader.load(&name) {
        Loaded::Unit(unit) => unit.problems.iter().map(ToString::to_string).collect(),
        Loaded::Alias(other) => panic!("an alias of {other}"),
    }
}

#[test]
fn every_directive_of_systemd_is_known() {
    let list = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/units/directives_all.tsv");
    let text = std::fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
    let mut unknown: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut count = 0;
    for line in text.lines().skip(1) {
        let mut columns = line.split('\t');
        let (Some(section), Some(directive)) = (columns.next(), columns.next()) else { continue };
        count += 1;
        if problems(section, directive).iter().any(|problem| problem.contains("unknown")) {
            unknown.entry(section).or_default().push(directive);
        }
    }
    assert!(count > 1300, "{count} directives");
    assert_eq!(unknown, BTreeMap::new());
    assert!(problems("Service", "NoSuchThing").iter().any(|problem| problem.contains("unknown key NoSuchThing=")));
}
