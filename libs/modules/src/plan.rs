//! In which order to load a module and what it needs. Pure.
//!
//! Dependencies come depth first, each before its user; soft dependencies are wishes: they are
//! planned around the module but nothing waits for their success.

use std::collections::BTreeSet;

use crate::catalog::Catalog;
use crate::name::ModuleName;

/// Most modules one request may draw in; a generic kernel has 4000 modules in all.
const STEPS: usize = 512;

/// Why a step is in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Was asked for, or something that was asked for cannot be loaded without it.
    Required,
    /// Only a soft dependency wants it.
    Wished,
}

/// One module to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The module.
    pub name: ModuleName,
    /// Its path below /lib/modules/VERSION.
    pub path: String,
    /// Whether its failure matters.
    pub need: Need,
}

/// What the walk still has to do, last first.
enum Work {
    Visit(ModuleName, Need),
    Emit(ModuleName, Need),
}

impl Catalog {
    /// The modules to load for a name, alias or modalias, in order. `loaded` are left out, and so are
    /// those that the kernel contains; an unknown name gives an empty plan (see `resolve`).
    pub fn plan(&self, wanted: &str, loaded: &BTreeSet<ModuleName>) -> Vec<Step> {
        let mut seen = loaded.clone();
        let mut steps = Vec::new();
        for module in self.resolve(wanted) {
            self.walk(module, &mut seen, &mut steps);
        }
        steps
    }

    /// The modules to load for many wishes, each module once.
    pub fn plan_all<'a>(&self, wanted: impl IntoIterator<Item = &'a str>, loaded: &BTreeSet<ModuleName>) -> Vec<Step> {
        let mut seen = loaded.clone();
        let mut steps = Vec::new();
        for name in wanted {
            for module in self.resolve(name) {
                self.walk(module, &mut seen, &mut steps);
            }
        }
        steps
    }

    fn walk(&self, module: ModuleName, seen: &mut BTreeSet<ModuleName>, steps: &mut Vec<Step>) {
        let limit = steps.len() + STEPS;
        let mut work = vec![Work::Visit(module, Need::Required)];
        while let Some(next) = work.pop() {
            match next {
                Work::Visit(name, need) => {
                    if !self.is_builtin(&name) && self.entry(&name).is_some() && seen.insert(name.clone()) {
                        self.push_work(name, need, &mut work);
                    } else if need == Need::Required {
                        require(steps, &name);
                    }
                }
                Work::Emit(name, need) => {
                    let path = self.path(&name).unwrap_or_default();
                    steps.push(Step { name, path, need });
                }
            }
            if steps.len() >= limit {
                return;
            }
        }
    }

    /// Pushes post wishes, the module, its dependencies and pre wishes: the reverse of their turn.
    fn push_work(&self, name: ModuleName, need: Need, work: &mut Vec<Work>) {
        let wish = |names: &[String]| -> Vec<Work> {
            let modules = names.iter().flat_map(|name| self.resolve(name));
            let mut visits: Vec<Work> = modules.map(|module| Work::Visit(module, Need::Wished)).collect();
            visits.reverse();
            visits
        };
        let softdeps = self.softdeps(&name);
        let (pre, post) = softdeps.map(|soft| (wish(&soft.pre), wish(&soft.post))).unwrap_or_default();
        let dependencies = self.entry(&name).map(|entry| entry.dependencies).unwrap_or_default();
        work.extend(post);
        work.push(Work::Emit(name, need));
        // modules.dep lists the nearest first and what must come first last: the stack turns it round.
        work.extend(dependencies.into_iter().map(|dependency| Work::Visit(dependency, need)));
        work.extend(pre);
    }
}

/// A module that was only wished for turned out to be needed.
fn require(steps: &mut [Step], name: &ModuleName) {
    if let Some(step) = steps.iter_mut().find(|step| step.name == *name) {
        step.need = Need::Required;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::IndexFiles;

    fn catalog() -> Catalog {
        Catalog::parse(&IndexFiles {
            dep: "k/dm-verity.ko: k/dm-bufio.ko k/dm-mod.ko\n\
                  k/dm-bufio.ko: k/dm-mod.ko\n\
                  k/dm-mod.ko: k/dax.ko\n\
                  k/dax.ko:\n\
                  k/erofs.ko: k/netfs.ko\n\
                  k/netfs.ko:\n\
                  k/crc-fast.ko:\n\
                  k/crc-slow.ko:\n\
                  k/late.ko: k/dm-mod.ko\n\
                  k/one.ko: k/two.ko\n\
                  k/two.ko: k/one.ko\n",
            alias: "alias crc32c crc_fast\nalias crc32c crc_slow\nalias x* dm_mod\nalias x1 ext4\n",
            softdep: "softdep erofs pre: crc32c post: late\nsoftdep crc_fast pre: crc_slow\n",
            builtin: "k/ext4.ko\n",
        })
    }

    fn names(steps: &[Step]) -> Vec<String> {
        let mark = |need| if need == Need::Wished { "?" } else { "" };
        steps.iter().map(|step| format!("{}{}", step.name, mark(step.need))).collect()
    }

    #[test]
    fn dependencies_stand_before_their_users() {
        let steps = catalog().plan("dm-verity", &BTreeSet::new());
        assert_eq!(names(&steps), ["dax", "dm_mod", "dm_bufio", "dm_verity"]);
        assert_eq!(steps[3].path, "k/dm-verity.ko");
    }

    #[test]
    fn soft_dependencies_stand_around_their_module() {
        let steps = catalog().plan("erofs", &BTreeSet::new());
        assert_eq!(names(&steps), ["crc_slow?", "crc_fast?", "netfs", "erofs", "dax?", "dm_mod?", "late?"]);
    }

    #[test]
    fn a_wish_that_something_needs_becomes_a_requirement() {
        let steps = catalog().plan_all(["erofs", "dm-mod", "crc-slow"], &BTreeSet::new());
        assert_eq!(names(&steps), ["crc_slow", "crc_fast?", "netfs", "erofs", "dax?", "dm_mod", "late?"]);
    }

    #[test]
    fn loaded_and_built_in_modules_are_left_out() {
        let loaded = BTreeSet::from([ModuleName::new("dm_mod"), ModuleName::new("dax")]);
        assert_eq!(names(&catalog().plan("dm_verity", &loaded)), ["dm_bufio", "dm_verity"]);
        assert!(catalog().plan("ext4", &loaded).is_empty());
        assert!(catalog().plan("x1", &loaded).is_empty());
        assert!(catalog().plan("unknown", &loaded).is_empty());
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(names(&catalog().plan("one", &BTreeSet::new())), ["two", "one"]);
    }
}
