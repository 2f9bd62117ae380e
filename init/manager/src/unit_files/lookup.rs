//! From a name to the file that describes it: through the search path, along aliases, to the template of an instance.

use ferrite_unit::UnitName;
use ferrite_unit::file::FILE_MAX;

use super::change::Fault;
use super::install::{AliasFault, Section, check_alias, may_template};
use super::{Entry, LINKS_MAX, Tree, absolute, directory_of, name_of};

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A file in the unit directories, or one that was named by its path.
    Regular,
    /// A link to a file elsewhere.
    Linked,
    /// A link to a unit of another name.
    Alias,
    /// Nothing may start it.
    Masked,
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    Missing,
    /// Links that go in circles, or a link where a file must be.
    Loop,
    /// The kind of unit does not allow it.
    Kind,
    /// The name does not fit the unit that it stands for.
    Mismatch,
    /// An alias of a unit that is not there.
    Dangling,
    /// The system says.
    System(String),
}

impl Cause {
    pub fn fault(self, name: &str) -> Fault {
        let name = name.to_owned();
        match self {
            Cause::Missing => Fault::Missing(name),
            Cause::Loop => Fault::Linked(name),
            Cause::Kind => Fault::System(name, "Invalid argument".into()),
            Cause::Mismatch => Fault::BadAlias(name, None),
            Cause::Dangling => Fault::Dangling(name),
            Cause::System(text) => Fault::System(name, text),
        }
    }
}

/// A unit on the way to being enabled.
#[derive(Debug, Clone)]
pub(super) struct Info {
    pub name: UnitName,
    pub path: Option<String>,
    pub form: Option<Form>,
    pub section: Section,
    /// Named by another unit only: if it is missing, that is no failure.
    pub auxiliary: bool,
    pub done: bool,
    target: Option<String>,
}

/// Whether files are read, or only looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Load,
    LookOnly,
}

/// Whether links that an administrator made are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigLinks {
    Followed,
    Refused,
}

/// The units that one command speaks of, in the order in which they came up.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub infos: Vec<Info>,
}

/// Units that one command may reach through `Also=`.
const UNITS_MAX: usize = 4096;

impl Units {
    pub fn get(&self, index: usize) -> Option<&Info> {
        self.infos.get(index)
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.infos.iter().position(|info| info.name.as_str() == name)
    }

    /// The place of a unit, which is new if nobody named it before.
    pub fn add(&mut self, name: UnitName, path: Option<String>, auxiliary: bool) -> usize {
        if let Some(index) = self.find(name.as_str()) {
            if let Some(info) = self.infos.get_mut(index) {
                info.auxiliary &= auxiliary;
            }
            return index;
        }
        let section = Section::default();
        self.infos.push(Info { name, path, form: None, section, auxiliary, done: false, target: None });
        self.infos.len() - 1
    }

    /// Finds the unit of a name or a path, following aliases; the answer may be another unit.
    pub fn discover(&mut self, tree: &Tree, word: &str, reading: Reading, links: ConfigLinks) -> Result<usize, Fault> {
        let path = word.starts_with('/').then(|| word.to_owned());
        let name = UnitName::parse(name_of(word)).map_err(|_| Fault::System(word.into(), "Invalid argument".into()))?;
        let index = self.add(name, path, false);
        self.traverse(tree, index, reading, links).map_err(|cause| cause.fault(word))
    }

    /// The same, for a unit that links may be made for.
    pub fn discover_and_check(&mut self, tree: &Tree, word: &str, reading: Reading) -> Result<usize, Fault> {
        let index = self.discover(tree, word, reading, ConfigLinks::Followed)?;
        let Some(info) = self.get(index) else { return Ok(index) };
        let path = info.path.clone().unwrap_or_default();
        if info.form == Some(Form::Masked) {
            return Err(Fault::Masked(path));
        }
        if Tree::is_generated(&path) || Tree::is_transient(&path) {
            return Err(Fault::Generated(path));
        }
        Ok(index)
    }

    /// Follows a unit to the file that describes it.
    pub fn traverse(
        &mut self,
        tree: &Tree,
        start: usize,
        reading: Reading,
        links: ConfigLinks,
    ) -> Result<usize, Cause> {
        self.search(tree, start, reading)?;
        let mut index = start;
        for _ in 0..=LINKS_MAX {
            let Some(info) = self.infos.get_mut(index) else { return Err(Cause::Missing) };
            let (Some(Form::Alias | Form::Linked), Some(target)) = (info.form, info.target.clone()) else {
                return Ok(index);
            };
            let path = info.path.clone().unwrap_or_default();
            if links == ConfigLinks::Refused && tree.is_config(directory_of(&path)) {
                return Err(Cause::Loop);
            }
            let mut name = name_of(&target).to_owned();
            if let (Some(instance), Ok(template)) = (info.name.instance(), UnitName::parse(&name))
                && template.is_template()
            {
                name = template.with_instance(instance).map_err(|_| Cause::Mismatch)?.as_str().to_owned();
            }
            // The same name, or one that does not matter: the file is this unit's.
            if info.form == Some(Form::Linked) || name == info.name.as_str() {
                info.path = Some(target);
                info.form = None;
                self.read(tree, index, reading)?;
                continue;
            }
            let name = UnitName::parse(&name).map_err(|_| Cause::Mismatch)?;
            index = self.add(name, None, false);
            self.search(tree, index, reading).map_err(|cause| match cause {
                Cause::Missing => Cause::Dangling,
                other => other,
            })?;
        }
        Err(Cause::Loop)
    }

    /// Looks for the file of a unit in the search path, under its own name and that of its template.
    pub fn search(&mut self, tree: &Tree, index: usize, reading: Reading) -> Result<(), Cause> {
        let Some(info) = self.get(index) else { return Err(Cause::Missing) };
        if self.infos.len() > UNITS_MAX {
            return Err(Cause::System(format!("more than {UNITS_MAX} units")));
        }
        if info.form.is_some() {
            return Ok(());
        }
        if info.path.is_some() {
            return self.read(tree, index, reading);
        }
        let name = info.name.clone();
        let template = name.template();
        let candidates = [Some(name.clone()), template.clone()].into_iter().flatten();
        let place = candidates.flat_map(|name| tree.path.iter().map(move |directory| format!("{directory}/{name}")));
        let Some(path) = place.into_iter().find(|path| tree.entry(path) != Entry::Missing) else {
            return Err(Cause::Missing);
        };
        if let Some(info) = self.infos.get_mut(index) {
            info.path = Some(path);
        }
        let outcome = self.read(tree, index, reading);
        if outcome.is_err() {
            if let Some(info) = self.infos.get_mut(index) {
                info.path = None;
            }
            return outcome;
        }
        if reading == Reading::Load && self.get(index).is_some_and(|info| info.form != Some(Form::Masked)) {
            self.read_drop_ins(tree, index, &name, template.as_ref());
        }
        Ok(())
    }

    /// Reads the file of a unit, or where its link leads.
    fn read(&mut self, tree: &Tree, index: usize, reading: Reading) -> Result<(), Cause> {
        let Some(info) = self.infos.get_mut(index) else { return Err(Cause::Missing) };
        let path = info.path.clone().ok_or(Cause::Missing)?;
        if info.name.at().is_some() && !may_template(&info.name) {
            return Err(Cause::Kind);
        }
        match tree.entry(&path) {
            Entry::Missing => return Err(Cause::Missing),
            Entry::Directory => return Err(Cause::System("Is a directory".into())),
            Entry::Other => return Err(Cause::System("Inappropriate ioctl for device".into())),
            Entry::Empty => info.form = Some(Form::Masked),
            Entry::Link(target) => {
                let (target, form) = resolve(tree, &path, &target)?;
                info.form = Some(form);
                info.target = Some(target);
            }
            Entry::File => {
                info.form = Some(Form::Regular);
                if reading == Reading::Load {
                    let bytes = read_file(tree, &path)?;
                    info.section.read(&path, &bytes, &info.name, &tree.host);
                    self.add_also(index);
                }
            }
        }
        Ok(())
    }

    fn read_drop_ins(&mut self, tree: &Tree, index: usize, name: &UnitName, template: Option<&UnitName>) {
        let mut files: Vec<(String, String)> = Vec::new();
        for name in [Some(name), template].into_iter().flatten() {
            for directory in tree.path.iter().map(|directory| format!("{directory}/{name}.d")) {
                for file in tree.names(&directory) {
                    if file.ends_with(".conf") && !files.iter().any(|(known, _)| *known == file) {
                        files.push((file.clone(), format!("{directory}/{file}")));
                    }
                }
            }
        }
        files.sort();
        for (_, path) in files {
            let Some(path) = tree.chase(&path).filter(|path| !tree.is_null(path)) else { continue };
            let Ok(bytes) = read_file(tree, &path) else { continue };
            if let Some(info) = self.infos.get_mut(index) {
                info.section.read(&path, &bytes, &info.name, &tree.host);
            }
        }
        self.add_also(index);
    }

    fn add_also(&mut self, index: usize) {
        let also = self.get(index).map(|info| info.section.also.clone()).unwrap_or_default();
        for name in also.iter().filter_map(|name| UnitName::parse(name).ok()) {
            self.add(name, None, true);
        }
    }
}

fn read_file(tree: &Tree, path: &str) -> Result<Vec<u8>, Cause> {
    let real = tree.real(path);
    let limit = u64::try_from(FILE_MAX).unwrap_or(u64::MAX);
    crate::disk::read_plain(&real.to_string_lossy(), limit).map_err(|error| Cause::System(error.to_string()))
}

/// Where a link in the search path leads, and what that makes of the unit.
fn resolve(tree: &Tree, path: &str, target: &str) -> Result<(String, Form), Cause> {
    let target = tree.resolve(&absolute(directory_of(path), target)).ok_or(Cause::Loop)?;
    let is_alias = tree.below_search_path(&target);
    if is_alias {
        let alias = UnitName::parse(name_of(path)).map_err(|_| Cause::Kind)?;
        check_alias(&alias, name_of(&target)).map_err(|fault| match fault {
            AliasFault::Same => Cause::Loop,
            AliasFault::Kind => Cause::Kind,
            AliasFault::Mismatch => Cause::Mismatch,
        })?;
    }
    let form = match (tree.is_null(&target), is_alias) {
        (true, _) => Form::Masked,
        (false, true) => Form::Alias,
        (false, false) => Form::Linked,
    };
    Ok((target, form))
}
