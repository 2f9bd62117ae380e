//! `mask`, `unmask`, `revert`, `set-default`.

use std::collections::BTreeSet;

use ferrite_unit::{UnitKind, UnitName};

use super::add::Manner;
use super::change::{Change, Fault, Outcome, Step};
use super::lookup::{ConfigLinks, Reading, Units};
use super::{Entry, Lasting, Tree, directory_of};

impl Tree {
    /// The plan of `mask`.
    pub fn plan_mask(&mut self, names: &[String], manner: Manner) -> Outcome {
        let mut out = Outcome::default();
        for name in names {
            match UnitName::parse(name) {
                Ok(_) => {
                    let place = format!("{}/{name}", self.config(manner.lasting));
                    self.plan_link(&mut out, "/dev/null", &place, manner.force);
                }
                Err(_) => out.fault(Fault::BadName(name.clone())),
            }
        }
        out
    }

    /// The plan of `unmask`: empty files and links to nothing go.
    pub fn plan_unmask(&mut self, names: &[String], lasting: Lasting) -> Outcome {
        let mut out = Outcome::default();
        let config = self.config(lasting);
        let mut marked = BTreeSet::new();
        for name in names {
            if UnitName::parse(name).is_err() {
                out.fault(Fault::BadName(name.clone()));
                return out;
            }
            let path = format!("{config}/{name}");
            let is_mask = match self.entry(&path) {
                Entry::Empty => true,
                Entry::Link(_) => self.chase(&path).is_some_and(|end| self.is_null(&end)),
                Entry::Missing | Entry::File | Entry::Directory | Entry::Other => false,
            };
            if is_mask && marked.insert(path.clone()) {
                self.plan_unlink(&mut out, &path);
            }
        }
        self.remove_marked(&mut out, marked, config);
        out
    }

    /// The plan of `revert`: back to what the vendor shipped.
    pub fn plan_revert(&mut self, names: &[String]) -> Outcome {
        let mut out = Outcome::default();
        let mut todo: Vec<String> = Vec::new();
        for name in names {
            if UnitName::parse(name).is_err() {
                out.fault(Fault::BadName(name.clone()));
                return out;
            }
            let places: Vec<String> = self.path.iter().map(|directory| format!("{directory}/{name}")).collect();
            let is_vendor = |path: &String| {
                let file = matches!(self.entry(path), Entry::File | Entry::Empty);
                file && (path.starts_with("/usr/") || Tree::is_generated(path))
            };
            let has_vendor = places.iter().any(is_vendor);
            for place in &places {
                let directory = directory_of(place);
                let drop_ins = format!("{place}.d");
                let control = directory.ends_with("/system.control") || directory.ends_with("/transient");
                if self.entry(&drop_ins) == Entry::Directory && (self.is_config(directory) || control) {
                    todo.push(drop_ins);
                }
            }
            let own = places.iter().filter(|place| self.is_config(directory_of(place)));
            let exists = |place: &&String| matches!(self.entry(place), Entry::File | Entry::Empty | Entry::Link(_));
            if has_vendor {
                todo.extend(own.filter(exists).cloned());
            }
        }
        let mut marked = BTreeSet::new();
        for path in todo {
            if self.entry(&path) == Entry::Directory {
                for name in self.names(&path) {
                    out.steps.push(Step::Change(Change::Remove(format!("{path}/{name}"))));
                }
            }
            self.planned.insert(path.clone(), None);
            out.steps.push(Step::Change(Change::Remove(path.clone())));
            marked.insert(path);
        }
        // Of a root that does not run, links stay: there they lead to the vendor's file soon enough.
        let runs = self.root == std::path::Path::new("/");
        for lasting in [Lasting::Runtime, Lasting::Persistent].into_iter().filter(|_| runs) {
            self.remove_marked(&mut out, marked.clone(), self.config(lasting));
        }
        out
    }

    /// The plan of `set-default`.
    pub fn plan_default(&mut self, name: &str) -> Outcome {
        let mut out = Outcome::default();
        let is_target = UnitName::parse(name).is_ok_and(|name| name.kind() == UnitKind::Target && !name.is_template());
        if !is_target || name == "default.target" {
            out.fault(Fault::System(name.to_owned(), "Invalid argument".into()));
            return out;
        }
        let mut units = Units::default();
        match units.discover_and_check(self, name, Reading::LookOnly) {
            Err(fault) => out.fault(fault),
            Ok(index) => {
                let path = units.get(index).and_then(|info| info.path.clone()).unwrap_or_default();
                let place = format!("{}/default.target", self.config(Lasting::Persistent));
                self.plan_link(&mut out, &path, &place, true);
            }
        }
        out
    }

    /// The target of the boot.
    pub fn default_target(&self) -> Result<String, Fault> {
        let mut units = Units::default();
        let index = units.discover(self, "default.target", Reading::LookOnly, ConfigLinks::Followed)?;
        Ok(units.get(index).map(|info| info.name.as_str().to_owned()).unwrap_or_default())
    }
}
