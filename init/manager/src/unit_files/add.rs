//! `enable`, `add-wants`, `link`: which links are made.

use ferrite_unit::UnitName;

use super::change::{Fault, Outcome, Remark};
use super::install::{AliasFault, check_alias, expand};
use super::lookup::{ConfigLinks, Form, Info, Reading, Units};
use super::{Entry, Lasting, Tree, is_dependency_directory, name_of};

/// How links are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// In /etc or in /run.
    pub lasting: Lasting,
    /// Take the place of other links.
    pub force: bool,
}

/// Whether a template that no instance is named for is a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Templates {
    Refused,
    /// Presets go over everything and leave out what does not fit.
    LeftOut,
}

impl Tree {
    /// The plan of `enable`, for names or paths.
    pub fn plan_enable(&mut self, words: &[String], manner: Manner) -> Outcome {
        let mut out = Outcome::default();
        self.enable_into(&mut out, words, manner);
        out
    }

    /// The plan of `reenable`: all links go, then those of today are made.
    pub fn plan_reenable(&mut self, words: &[String], manner: Manner) -> Outcome {
        let mut files = Vec::new();
        let mut names = Vec::new();
        for word in words {
            // A unit that is linked from elsewhere is enabled by its path, or its link would be lost.
            let mut units = Units::default();
            let found = units.discover(self, word, Reading::Load, ConfigLinks::Followed).ok();
            let path = found.and_then(|index| units.get(index)).and_then(|info| info.path.clone());
            // An instance has no file of its own.
            let is_instance = UnitName::parse(word).is_ok_and(|name| name.instance().is_some());
            let is_name = !word.contains('/') && !is_instance;
            files.push(path.filter(|_| is_name).unwrap_or_else(|| word.clone()));
            names.push(name_of(word).to_owned());
        }
        let mut out = Outcome::default();
        self.disable_into(&mut out, &names, manner.lasting);
        if !out.failed {
            self.enable_into(&mut out, &files, manner);
        }
        out
    }

    fn enable_into(&mut self, out: &mut Outcome, words: &[String], manner: Manner) {
        let mut units = Units::default();
        for word in words {
            if let Err(fault) = units.discover_and_check(self, word, Reading::Load) {
                return out.fault(fault);
            }
        }
        self.make_links(out, &mut units, manner, Templates::Refused, Reading::Load);
    }

    /// The plan of `add-wants` and `add-requires`.
    pub fn plan_dependency(&mut self, words: &[String], target: &str, suffix: &str, manner: Manner) -> Outcome {
        let mut out = Outcome::default();
        let mut units = Units::default();
        if UnitName::parse(target).is_err() {
            out.fault(Fault::BadName(target.to_owned()));
            return out;
        }
        let found = units.discover_and_check(self, target, Reading::LookOnly);
        let target = match found.map(|index| units.get(index).map(|info| info.name.as_str().to_owned())) {
            Ok(name) => name.unwrap_or_default(),
            Err(fault) => {
                out.fault(fault);
                return out;
            }
        };
        for word in words {
            match units.discover_and_check(self, word, Reading::LookOnly) {
                Err(fault) => {
                    out.fault(fault);
                    return out;
                }
                Ok(index) => {
                    let Some(info) = units.infos.get_mut(index) else { continue };
                    let list =
                        if suffix == "wants" { &mut info.section.wanted_by } else { &mut info.section.required_by };
                    *list = vec![target.clone()];
                }
            }
        }
        self.make_links(&mut out, &mut units, manner, Templates::Refused, Reading::LookOnly);
        out.carries_install = None;
        out
    }

    /// Plans the links of all units, and of those that come up on the way.
    pub(super) fn make_links(
        &mut self,
        out: &mut Outcome,
        units: &mut Units,
        manner: Manner,
        templates: Templates,
        reading: Reading,
    ) {
        let mut rules = 0;
        let links = if reading == Reading::Load { ConfigLinks::Refused } else { ConfigLinks::Followed };
        while let Some(index) = units.infos.iter().position(|info| !info.done) {
            if let Some(info) = units.infos.get_mut(index) {
                info.done = true;
            }
            let found = units.traverse(self, index, reading, links);
            let Some(info) = units.get(index).cloned() else { return };
            match (found, info.form) {
                (Err(_), _) if info.auxiliary => {
                    out.remark(Remark::AuxiliaryFailed(info.name.as_str().to_owned()));
                }
                (Err(cause), _) => return out.fault(cause.fault(info.name.as_str())),
                // A unit that another one names in Also= may be masked; something could have been enabled.
                (Ok(_), Some(Form::Masked)) => {
                    out.remark(Remark::Masked(info.path.unwrap_or_default()));
                    rules += 1;
                }
                (Ok(_), Some(Form::Regular)) => rules += self.make_links_of(out, &info, manner, templates),
                (Ok(_), Some(Form::Alias | Form::Linked) | None) => {}
            }
        }
        out.carries_install = Some(rules > 0);
    }

    /// Plans the links of one unit; how many it asks for.
    fn make_links_of(&mut self, out: &mut Outcome, info: &Info, manner: Manner, templates: Templates) -> usize {
        let config = self.config(manner.lasting);
        let path = info.path.clone().unwrap_or_default();
        let mut rules = 0;
        if !self.in_search_path(&path) && !self.plan_link(out, &path, &format!("{config}/{}", info.name), manner.force)
        {
            return 0;
        }
        for alias in &info.section.aliases {
            rules += usize::from(self.make_alias(out, info, &path, alias, manner));
        }
        let lists = [
            (&info.section.wanted_by, "wants"),
            (&info.section.required_by, "requires"),
            (&info.section.upheld_by, "upholds"),
        ];
        for (list, suffix) in lists {
            if !list.is_empty() {
                rules += self.make_wants(out, info, &path, (list, suffix), manner, templates);
            }
        }
        rules
    }

    fn make_alias(&mut self, out: &mut Outcome, info: &Info, path: &str, alias: &str, manner: Manner) -> bool {
        let Some(alias) = expand(alias, &info.name, &self.host) else {
            out.fault(Fault::BadSpecifier(alias.to_owned()));
            return false;
        };
        let alias = match alias_of(info, &alias) {
            Ok(Some(alias)) => alias,
            Ok(None) => return false,
            Err(fault) => {
                out.fault(fault);
                return false;
            }
        };
        let place = format!("{}/{alias}", self.config(manner.lasting));
        // A link that leads nowhere is in nobody's way.
        let is_broken = matches!(self.entry(&place), Entry::Link(_))
            && self.chase(&place).is_none_or(|end| self.entry(&end) == Entry::Missing);
        self.plan_link(out, path, &place, manner.force || is_broken)
    }

    fn make_wants(
        &mut self,
        out: &mut Outcome,
        info: &Info,
        path: &str,
        (list, suffix): (&[String], &str),
        manner: Manner,
        templates: Templates,
    ) -> usize {
        let mut unit = info.name.clone();
        let mut only_instances = false;
        if let (true, Some(instance)) = (unit.is_template(), &info.section.default_instance) {
            let Ok(name) = unit.with_instance(instance) else { return 0 };
            let mut instances = Units::default();
            let index = instances.add(name.clone(), None, false);
            if let Err(cause) = instances.search(self, index, Reading::LookOnly) {
                out.fault(cause.fault(name.as_str()));
                return 0;
            }
            if let Some(masked) = instances.get(index).filter(|info| info.form == Some(Form::Masked)) {
                out.fault(Fault::Masked(masked.path.clone().unwrap_or_default()));
                return 0;
            }
            unit = name;
        } else {
            only_instances = unit.is_template();
        }
        let mut rules = 0;
        for wanting in list {
            let Some(wanting) = expand(wanting, &info.name, &self.host) else {
                out.fault(Fault::BadSpecifier(wanting.clone()));
                continue;
            };
            let name = UnitName::parse(&wanting);
            if name.as_ref().is_ok_and(|name| !only_instances || name.at().is_some()) {
                let place = format!("{}/{wanting}.{suffix}/{unit}", self.config(manner.lasting));
                rules += usize::from(self.plan_link(out, path, &place, true));
                if !self.exists(&wanting) {
                    out.remark(Remark::NoSuchTarget { unit: path.to_owned(), target: wanting });
                }
            } else if templates == Templates::Refused {
                out.fault(match name {
                    Ok(_) => Fault::Template { unit: unit.as_str().to_owned(), target: wanting },
                    Err(_) => Fault::BadName(wanting),
                });
            }
        }
        rules
    }

    /// Is there a unit of this name?
    fn exists(&self, name: &str) -> bool {
        let mut units = Units::default();
        !matches!(units.discover(self, name, Reading::LookOnly, ConfigLinks::Refused), Err(Fault::Missing(_)))
    }

    /// The plan of `link`: files outside the unit directories get a link in them.
    pub fn plan_files(&mut self, files: &[String], manner: Manner) -> Outcome {
        let mut out = Outcome::default();
        for file in files {
            let fault = match self.entry(file) {
                _ if !file.starts_with('/') => Fault::System(file.clone(), "Invalid argument".into()),
                _ if UnitName::parse(name_of(file)).is_err() => Fault::BadName(file.clone()),
                Entry::Missing => Fault::Missing(file.clone()),
                Entry::Link(_) => Fault::Linked(file.clone()),
                Entry::Directory => Fault::System(file.clone(), "Is a directory".into()),
                Entry::Other => Fault::System(file.clone(), "Invalid argument".into()),
                Entry::File | Entry::Empty if self.in_search_path(file) => continue,
                Entry::File | Entry::Empty if self.below_search_path(file) => Fault::BelowUnits(file.clone()),
                Entry::File | Entry::Empty => continue,
            };
            out.fault(fault);
            return out;
        }
        for file in files.iter().filter(|file| !self.in_search_path(file)).cloned().collect::<Vec<_>>() {
            let place = format!("{}/{}", self.config(manner.lasting), name_of(&file));
            self.plan_link(&mut out, &file, &place, manner.force);
        }
        out
    }
}

/// The place of an alias below the configuration directory; nothing when it is the unit's own name.
fn alias_of(info: &Info, alias: &str) -> Result<Option<String>, Fault> {
    let unit = info.name.as_str();
    // In old times Alias= made links in .wants, too.
    if let Some((directory, link)) = alias.rsplit_once('/') {
        let wanting = directory.strip_suffix(".wants").or_else(|| directory.strip_suffix(".requires"));
        let Some(wanting) = wanting.filter(|_| is_dependency_directory(directory)).map(UnitName::parse) else {
            return Err(Fault::BadAlias(alias.to_owned(), None));
        };
        let Ok(wanting) = wanting else { return Err(Fault::BadAlias(alias.to_owned(), None)) };
        let fits = UnitName::parse(link).is_ok_and(|link| {
            let same = link == info.name && !link.is_template();
            let instance = link.template().as_ref() == Some(&info.name);
            same || instance || (wanting.is_template() && link == info.name && link.is_template())
        });
        return match fits {
            true => Ok(Some(alias.to_owned())),
            false => Err(Fault::BadAlias(alias.to_owned(), Some(unit.to_owned()))),
        };
    }
    let mismatch = |alias: &str| Fault::BadAlias(alias.to_owned(), Some(unit.to_owned()));
    let mut name = UnitName::parse(alias).map_err(|_| mismatch(alias))?;
    if let (true, Some(instance)) = (name.is_template(), info.name.instance()) {
        name = name.with_instance(instance).map_err(|_| mismatch(alias))?;
    }
    match check_alias(&name, unit) {
        Ok(()) => Ok(Some(name.as_str().to_owned())),
        Err(AliasFault::Same) => Ok(None),
        Err(AliasFault::Kind | AliasFault::Mismatch) => Err(mismatch(name.as_str())),
    }
}
