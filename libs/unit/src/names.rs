//! Which names lead to which unit file: aliases, templates, linked files, masks. Pure; links are followed by name.
//!
//! A link to a file of the search path is an alias if the names fit together. A link that leads out of the search path
//! is the unit's own file.

use std::collections::{BTreeMap, BTreeSet};

use crate::load::{Files, LoadPath};
use crate::name::{UnitKind, UnitName};

/// Links that are followed from one name to its file.
pub(crate) const LINKS_MAX: usize = 8;

/// Where a name of the search path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// To this file.
    File(String),
    /// To another name.
    Name(UnitName),
}

/// All names of the search path.
#[derive(Debug, Default)]
pub struct NameMap {
    places: BTreeMap<UnitName, Place>,
    aliases: BTreeMap<UnitName, Vec<UnitName>>,
    /// Folders of drop-ins and links, and the directories of the search path that have them.
    folders: BTreeMap<String, Vec<usize>>,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file; that of the template for an instance without its own.
    pub fragment: Option<String>,
    /// The name that the unit goes by.
    pub id: UnitName,
    /// Its other names.
    pub aliases: BTreeSet<UnitName>,
}

impl NameMap {
    /// Looks through the search path; a name in an earlier directory counts.
    pub fn build<F: Files + ?Sized>(path: &LoadPath, files: &F) -> NameMap {
        let mut map = NameMap::default();
        for (number, directory) in path.0.iter().enumerate() {
            let links: BTreeSet<String> = files.links(directory).into_iter().collect();
            for entry in files.list(directory) {
                if [".d", ".wants", ".requires", ".upholds"].iter().any(|suffix| entry.ends_with(suffix)) {
                    map.folders.entry(entry).or_default().push(number);
                    continue;
                }
                let Ok(name) = UnitName::parse(&entry) else { continue };
                if map.places.contains_key(&name) {
                    continue;
                }
                let file = format!("{directory}/{entry}");
                let target = if links.contains(&entry) { files.link(&file) } else { None };
                let place = match target.map(|target| resolve(&file, &target)) {
                    None => Place::File(file),
                    Some(target) if target == "/dev/null" => Place::File(file),
                    Some(target) => match path.0.iter().any(|directory| is_below(&target, directory)) {
                        false => Place::File(file),
                        true => match alias(&name, &target) {
                            Some(other) => Place::Name(other),
                            None => continue,
                        },
                    },
                };
                map.places.insert(name, place);
            }
        }
        map.note_aliases(files);
        map
    }

    fn note_aliases<F: Files + ?Sized>(&mut self, files: &F) {
        for (name, place) in &self.places {
            // Names of their own need no note: every unit has its own name.
            let Place::Name(_) = place else { continue };
            let Some(file) = self.follow(name).filter(|file| !is_masked(files, file)) else { continue };
            let Some(mut unit) = base(file) else { continue };
            if let (true, Some(instance)) = (unit.is_template(), name.instance()) {
                match unit.with_instance(instance) {
                    Ok(instantiated) => unit = instantiated,
                    Err(_) => continue,
                }
            }
            self.aliases.entry(unit).or_default().push(name.clone());
        }
    }

    /// The file that a name of the search path leads to.
    fn follow(&self, name: &UnitName) -> Option<&str> {
        let mut place = self.places.get(name)?;
        for _ in 0..LINKS_MAX {
            match place {
                Place::File(file) => return Some(file),
                Place::Name(other) => {
                    place = self.places.get(other).or_else(|| self.places.get(&other.template()?))?;
                }
            }
        }
        None
    }

    /// All names that lead somewhere.
    pub fn names(&self) -> impl Iterator<Item = &UnitName> {
        self.places.keys()
    }

    /// The directories of the search path, by number, that have this folder.
    pub(crate) fn folders(&self, folder: &str) -> impl Iterator<Item = usize> {
        self.folders.get(folder).into_iter().flatten().copied()
    }

    /// What a name leads to; the name of a template is only looked up as such.
    pub fn find(&self, name: &UnitName) -> Found {
        let template = name.template();
        let fragment = self.follow(name).or_else(|| self.follow(template.as_ref()?));
        let mut names = BTreeSet::from([name.clone()]);
        self.add_names(name, None, name, &mut names);
        let file = fragment.and_then(base);
        if let (Some(fragment), Some(file)) = (fragment, &file)
            && file != name
        {
            self.add_names(name, Some(fragment), file, &mut names);
        }
        let id = match (file, name.instance()) {
            (Some(file), Some(instance)) if file.is_template() => file.with_instance(instance).ok(),
            (file, _) => file,
        };
        let id = id.filter(|id| names.contains(id)).unwrap_or_else(|| name.clone());
        names.remove(&id);
        Found { fragment: fragment.map(str::to_owned), id, aliases: names }
    }

    /// Adds a name of the unit and its aliases, made instances of the wanted one.
    fn add_names(&self, wanted: &UnitName, fragment: Option<&str>, name: &UnitName, names: &mut BTreeSet<UnitName>) {
        let instance = wanted.instance();
        if !name.is_template() {
            names.insert(name.clone());
        } else if let Some(Ok(own)) = instance.map(|instance| name.with_instance(instance)) {
            names.insert(own);
        }
        for alias in self.aliases.get(name).into_iter().flatten() {
            match (alias.is_template(), instance) {
                (true, Some(instance)) => {
                    let Ok(own) = alias.with_instance(instance) else { continue };
                    let other = self.follow(&own).is_some_and(|file| fragment.is_some_and(|f| base(f) != base(file)));
                    if !other {
                        names.insert(own);
                    }
                }
                (true, None) => {}
                (false, _) => {
                    names.insert(alias.clone());
                }
            }
        }
    }
}

/// Is the file empty, or does it lead to /dev/null?
pub(crate) fn is_masked<F: Files + ?Sized>(files: &F, path: &str) -> bool {
    let mut place = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Some(target) = files.link(&place) else { break };
        place = resolve(&place, &target);
        if place == "/dev/null" {
            return true;
        }
    }
    files.stamp(path).is_some_and(|stamp| stamp.plain && stamp.size == 0)
}

/// The name of a file as that of a unit.
fn base(file: &str) -> Option<UnitName> {
    UnitName::parse(file.rsplit_once('/').map_or(file, |(_, base)| base)).ok()
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

/// The unit that a link is an alias of, if the names fit together.
fn alias(name: &UnitName, target: &str) -> Option<UnitName> {
    let other = base(target)?;
    let kind = name.kind();
    let may_alias = matches!(
        kind,
        UnitKind::Service | UnitKind::Socket | UnitKind::Target | UnitKind::Device | UnitKind::Timer | UnitKind::Path
    );
    let fits = match (name.at(), other.at()) {
        (None, None) => true,
        (Some(""), Some("")) => true,
        (Some(instance), Some(theirs)) => !instance.is_empty() && (theirs.is_empty() || theirs == instance),
        (Some(_), None) | (None, Some(_)) => false,
    };
    (may_alias && fits && other.kind() == kind && other != *name).then_some(other)
}

/// The path a link leads to, without asking the file system.
pub(crate) fn resolve(link: &str, target: &str) -> String {
    let base = if target.starts_with('/') { "" } else { link.rsplit_once('/').map_or("", |(dir, _)| dir) };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The names under which drop-ins and links of a unit are kept, most special first: itself, its template, and what
/// stands before each dash. `foo-bar.service` has `foo-.service`.
pub(crate) fn family(name: &UnitName) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut open = vec![name.clone()];
    while let Some(name) = open.pop() {
        if names.iter().any(|have| have == name.as_str()) {
            continue;
        }
        names.push(name.as_str().to_owned());
        let stem = name.prefix();
        let stem = stem.strip_suffix('-').unwrap_or(stem);
        if let Some((shorter, _)) = stem.rsplit_once('-').filter(|(shorter, _)| !shorter.is_empty()) {
            let at = name.instance().map(|instance| format!("@{instance}")).unwrap_or_default();
            open.extend(UnitName::parse(&format!("{shorter}-{at}.{}", name.kind().suffix())).ok());
        }
        open.extend(name.template());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tree(Vec<(&'static str, Option<&'static str>)>);

    impl Files for Tree {
        fn read(&self, path: &str) -> Option<Result<Vec<u8>, String>> {
            let (_, target) = self.0.iter().find(|(have, _)| *have == path)?;
            Some(Ok(if *target == Some("") { Vec::new() } else { b"[Unit]\n".to_vec() }))
        }
        fn link(&self, path: &str) -> Option<String> {
            let (_, target) = self.0.iter().find(|(have, _)| *have == path)?;
            target.filter(|t| !t.is_empty()).map(str::to_owned)
        }
        fn list(&self, directory: &str) -> Vec<String> {
            let names = self.0.iter().filter_map(|(path, _)| path.strip_prefix(directory)?.strip_prefix('/'));
            names.filter(|name| !name.contains('/')).map(str::to_owned).collect()
        }
    }

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    fn find(tree: &Tree, text: &str) -> (Option<String>, String, Vec<String>) {
        let path = LoadPath(vec!["/etc/u".into(), "/lib/u".into()]);
        let found = NameMap::build(&path, tree).find(&name(text));
        (found.fragment, found.id.to_string(), found.aliases.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn aliases_lead_to_the_unit_from_every_name() {
        let tree = Tree(vec![("/lib/u/a.service", None), ("/etc/u/b.service", Some("/lib/u/a.service"))]);
        for text in ["a.service", "b.service"] {
            assert_eq!(
                find(&tree, text),
                (Some("/lib/u/a.service".into()), "a.service".into(), vec!["b.service".into()])
            );
        }
    }

    #[test]
    fn an_alias_of_a_template_is_one_for_every_instance() {
        let tree = Tree(vec![("/lib/u/a@.service", None), ("/lib/u/b@.service", Some("a@.service"))]);
        let want = (Some("/lib/u/a@.service".into()), "a@x.service".into(), vec!["b@x.service".into()]);
        assert_eq!(find(&tree, "b@x.service"), want);
        assert_eq!(find(&tree, "a@x.service"), want);
    }

    #[test]
    fn an_instance_may_be_an_alias_of_the_template_and_have_its_own_file() {
        let tree = Tree(vec![
            ("/lib/u/a@.service", None),
            ("/lib/u/a@own.service", None),
            ("/lib/u/b@x.service", Some("a@.service")),
        ]);
        assert_eq!(find(&tree, "b@x.service").1, "a@x.service");
        assert_eq!(find(&tree, "a@own.service").0.as_deref(), Some("/lib/u/a@own.service"));
    }

    #[test]
    fn what_leads_out_of_the_search_path_is_the_file_of_the_name() {
        let tree = Tree(vec![("/etc/u/a.service", Some("/srv/b.service")), ("/etc/u/m.service", Some("/dev/null"))]);
        assert_eq!(find(&tree, "a.service"), (Some("/etc/u/a.service".into()), "a.service".into(), vec![]));
        assert_eq!(find(&tree, "m.service").0.as_deref(), Some("/etc/u/m.service"));
    }

    #[test]
    fn links_between_names_that_do_not_fit_are_no_aliases() {
        let tree = Tree(vec![
            ("/lib/u/a.service", None),
            ("/lib/u/a@.service", None),
            ("/lib/u/b.socket", Some("a.service")),
            ("/lib/u/b@.service", Some("a.service")),
            ("/lib/u/c.service", Some("a@.service")),
            ("/lib/u/d.mount", Some("e.mount")),
            ("/lib/u/loop.service", Some("loop.service")),
        ]);
        for text in ["b.socket", "b@x.service", "c.service", "d.mount", "loop.service"] {
            assert_eq!(find(&tree, text).0, None, "{text}");
        }
    }

    #[test]
    fn links_in_a_circle_end() {
        let tree = Tree(vec![("/lib/u/a.service", Some("b.service")), ("/lib/u/b.service", Some("a.service"))]);
        assert_eq!(find(&tree, "a.service"), (None, "a.service".into(), vec![]));
    }

    #[test]
    fn the_family_of_a_name_goes_up_its_dashes() {
        assert_eq!(family(&name("a-b-c.service")), ["a-b-c.service", "a-b-.service", "a-.service"]);
        assert_eq!(
            family(&name("a-b@x.service")),
            ["a-b@x.service", "a-b@.service", "a-.service", "a-@x.service", "a-@.service"]
        );
        assert_eq!(family(&name("-.slice")), ["-.slice"]);
        assert_eq!(family(&name("user-1000.slice")), ["user-1000.slice", "user-.slice"]);
    }
}
