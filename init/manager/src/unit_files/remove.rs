//! `disable`: which links go. Every link to a unit goes, whoever made it, and every link to those links.

use std::collections::BTreeSet;

use ferrite_unit::UnitName;

use super::change::{Fault, Outcome, Remark};
use super::lookup::{Cause, ConfigLinks, Form, Reading, Units};
use super::{Entry, Lasting, Tree, name_of};

impl Tree {
    /// The plan of `disable`.
    pub fn plan_disable(&mut self, names: &[String], lasting: Lasting) -> Outcome {
        let mut out = Outcome::default();
        self.disable_into(&mut out, names, lasting);
        out
    }

    pub(super) fn disable_into(&mut self, out: &mut Outcome, names: &[String], lasting: Lasting) {
        let mut units = Units::default();
        let mut carries_install = false;
        for word in names {
            let Ok(name) = UnitName::parse(word) else {
                return out.fault(Fault::BadName(word.clone()));
            };
            let index = units.add(name, None, false);
            match units.traverse(self, index, Reading::Load, ConfigLinks::Followed) {
                Ok(_) => {}
                // The unit may be gone already; its links still go.
                Err(Cause::Missing) => out.fault(Cause::Missing.fault(word)),
                Err(cause) => return out.fault(cause.fault(word)),
            }
            let section = units.get(index).map(|info| &info.section);
            carries_install |= section.is_some_and(|section| section.has_rules() || !section.also.is_empty());
        }
        let mut marked = BTreeSet::new();
        self.mark(out, &mut units, &mut marked);
        self.remove_marked(out, marked, self.config(lasting));
        out.carries_install = Some(carries_install || out.changes().next().is_some());
    }

    /// Marks the names of units whose links go.
    pub(super) fn mark(&self, out: &mut Outcome, units: &mut Units, marked: &mut BTreeSet<String>) {
        while let Some(index) = units.infos.iter().position(|info| !info.done) {
            if let Some(info) = units.infos.get_mut(index) {
                info.done = true;
            }
            let found = units.traverse(self, index, Reading::Load, ConfigLinks::Followed);
            let Some(info) = units.get(index) else { return };
            let place = || info.path.clone().unwrap_or_else(|| info.name.as_str().to_owned());
            match (found, info.form) {
                (Err(Cause::Dangling), _) => out.remark(Remark::Dangling(place())),
                // Already told, or only named by another unit.
                (Err(Cause::Missing), _) => {}
                (Err(cause), _) => out.complain(cause.fault(&place())),
                (Ok(_), Some(Form::Masked)) => {
                    out.remark(Remark::Masked(place()));
                    continue;
                }
                (Ok(_), Some(Form::Regular)) => {}
                (Ok(_), Some(Form::Alias | Form::Linked) | None) => continue,
            }
            marked.insert(info.name.as_str().to_owned());
        }
    }

    /// Plans the end of all links below a directory that lead to what is marked, until none is left.
    pub(super) fn remove_marked(&mut self, out: &mut Outcome, mut marked: BTreeSet<String>, directory: &str) {
        if marked.is_empty() {
            return;
        }
        loop {
            let before = marked.len();
            for path in self.links_below(directory) {
                if self.is_marked(&path, &marked) {
                    self.plan_unlink(out, &path);
                    // What leads to this link goes as well.
                    marked.insert(path);
                }
            }
            if marked.len() == before {
                return;
            }
        }
    }

    fn is_marked(&self, path: &str, marked: &BTreeSet<String>) -> bool {
        let name = name_of(path);
        let Ok(unit) = UnitName::parse(name) else { return false };
        let template = unit.template();
        if marked.contains(name) || template.is_some_and(|template| marked.contains(template.as_str())) {
            return true;
        }
        let end = self.chase(path);
        end.is_some_and(|end| marked.contains(&end) || marked.contains(name_of(&end)))
    }

    /// The links in a directory and in the directories in it.
    pub(super) fn links_below(&self, directory: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![(directory.to_owned(), 0)];
        while let Some((directory, depth)) = left.pop() {
            for name in self.names(&directory) {
                let path = format!("{directory}/{name}");
                match self.entry(&path) {
                    Entry::Link(_) => found.push(path),
                    Entry::Directory if depth < 4 => left.push((path, depth + 1)),
                    // A directory that only planned links are in.
                    Entry::Missing if depth < 4 && !self.names(&path).is_empty() => left.push((path, depth + 1)),
                    Entry::Missing | Entry::File | Entry::Empty | Entry::Directory | Entry::Other => {}
                }
            }
        }
        found.sort();
        found
    }
}
