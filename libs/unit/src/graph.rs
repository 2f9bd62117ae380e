//! Units and what they say about each other: loads whatever is named, and links both sides of every relation. Pure.
//!
//! The unit that was named last is loaded first, as in systemd. It matters in one place: whether a unit that needs a
//! path found the path's mount unit loaded, or the mount unit found it.

use std::collections::{BTreeMap, BTreeSet};

use crate::dependency::{Dependency, Origin, Says};
use crate::load::{Loaded, Loader};
use crate::name::{UnitKind, UnitName};
use crate::unit::{LoadState, MountNeed, Unit};

/// Units that are loaded at most.
pub const UNITS_MAX: usize = 50_000;
/// What every machine has, in the order in which it is named before anything else. The mounts of the root and of /tmp
/// are there before the early boot's units are looked at, and are loaded after them.
pub const PERPETUAL: [&str; 6] = ["-.slice", "system.slice", "init.scope", "tmp.mount", "-.mount", "sysinit.target"];
/// Bytes of a path that can be the place of a mount unit.
const PLACE_MAX: usize = 4095;

/// A unit of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index(usize);

/// A unit and its relations.
#[derive(Debug)]
pub struct Node {
    /// What its files say.
    pub unit: Unit,
    /// Its relations; the names are those of the other nodes.
    pub links: BTreeMap<Dependency, BTreeMap<Index, Says>>,
    /// Paths that it needs, canonical.
    pub needs: Vec<(MountNeed, String, Origin)>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Named, not loaded yet.
    Named,
    /// Loaded, with whatever outcome.
    Done,
    /// Its name turned out to be another one of this node.
    Merged(Index),
}

/// All units.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    names: BTreeMap<UnitName, Index>,
    open: Vec<Index>,
    needing: BTreeMap<String, BTreeSet<(Index, MountNeed)>>,
    fresh: Vec<Index>,
}

impl Graph {
    /// The node of a name; it will be loaded by [`Graph::load`]. `None` when there are too many.
    pub fn request(&mut self, name: &UnitName) -> Option<Index> {
        if let Some(index) = self.names.get(name) {
            return Some(self.follow(*index));
        }
        if self.nodes.len() >= UNITS_MAX {
            return None;
        }
        let index = Index(self.nodes.len());
        let unit = Unit::new(name.clone());
        self.nodes.push(Node { unit, links: BTreeMap::new(), needs: Vec::new(), state: State::Named });
        self.names.insert(name.clone(), index);
        self.open.push(index);
        Some(index)
    }

    /// Loads every unit that was named, and those that they name.
    pub fn load(&mut self, loader: &Loader<'_>) {
        while let Some(index) = self.open.pop() {
            self.load_one(index, loader);
        }
        for index in std::mem::take(&mut self.fresh).into_iter().rev() {
            self.order_behind_targets(index);
        }
    }

    /// The node of a name, if it is known.
    pub fn find(&self, name: &UnitName) -> Option<&Node> {
        self.names.get(name).and_then(|index| self.get(*index))
    }

    /// The index of a name, if it is known.
    pub fn index(&self, name: &UnitName) -> Option<Index> {
        self.names.get(name).map(|index| self.follow(*index))
    }

    /// The node of an index.
    pub fn get(&self, index: Index) -> Option<&Node> {
        self.nodes.get(self.follow(index).0)
    }

    /// All units, each once, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.names.iter().filter_map(|(name, index)| self.get(*index).filter(|node| node.unit.name == *name))
    }

    fn follow(&self, index: Index) -> Index {
        match self.nodes.get(index.0).map(|node| node.state) {
            Some(State::Merged(other)) => other,
            Some(State::Named | State::Done) | None => index,
        }
    }

    fn state(&self, index: Index) -> Option<State> {
        self.nodes.get(index.0).map(|node| node.state)
    }

    fn load_one(&mut self, index: Index, loader: &Loader<'_>) {
        let Some(node) = self.nodes.get(index.0).filter(|node| node.state == State::Named) else { return };
        let mut name = node.unit.name.clone();
        let mut unit = None;
        // A name may lead to another one, never to more than a few.
        for _ in 0..crate::names::LINKS_MAX {
            match loader.load(&name) {
                Loaded::Alias(other) => name = other,
                Loaded::Unit(loaded) => {
                    unit = Some(loaded);
                    break;
                }
            }
        }
        let unit = unit.unwrap_or_else(|| Box::new(Unit::new(name.clone())));
        self.merge_names(index, &unit);
        if self.state(index) != Some(State::Named) {
            return;
        }
        let dependencies = unit.dependencies.clone();
        let loaded = unit.load == LoadState::Loaded;
        let kind = unit.name.kind();
        let needs = unit.mounts_for.clone();
        if let Some(node) = self.nodes.get_mut(index.0) {
            node.unit = *unit;
            node.state = State::Done;
        }
        for (dependency, other, origin) in dependencies {
            if let Some(to) = self.request(&other) {
                self.link(index, dependency, to, origin);
            }
        }
        for (need, path, origin) in needs {
            self.register(index, need, path, origin);
        }
        if loaded {
            if kind == UnitKind::Mount {
                self.link_users(index);
            }
            self.fresh.push(index);
            self.link_mounts(index);
        }
    }

    /// Gives the node the unit's name and aliases; nodes that were named by one of them become this one.
    fn merge_names(&mut self, index: Index, unit: &Unit) {
        if let Some(known) = self.names.get(&unit.name).map(|known| self.follow(*known)).filter(|known| *known != index)
            && self.state(known) == Some(State::Done)
        {
            self.merge(index, known);
            return;
        }
        for name in std::iter::once(&unit.name).chain(&unit.aliases) {
            match self.names.get(name).map(|known| self.follow(*known)) {
                Some(known) if known == index => {}
                Some(known) if self.may_merge(known) => self.merge(known, index),
                Some(_) => {}
                None => {
                    self.names.insert(name.clone(), index);
                }
            }
        }
    }

    fn may_merge(&self, index: Index) -> bool {
        let Some(node) = self.nodes.get(index.0) else { return false };
        node.state == State::Named || node.unit.load == LoadState::NotFound
    }

    /// Moves everything that was said about one node to another.
    fn merge(&mut self, from: Index, into: Index) {
        let Some(node) = self.nodes.get_mut(from.0) else { return };
        node.state = State::Merged(into);
        let links = std::mem::take(&mut node.links);
        let old = node.unit.name.clone();
        for index in self.names.values_mut().filter(|index| **index == from) {
            *index = into;
        }
        self.names.insert(old, into);
        for (dependency, others) in links {
            for (other, says) in others {
                if let Some(node) = self.nodes.get_mut(other.0)
                    && let Some(back) = node.links.get_mut(&dependency.inverse())
                {
                    back.remove(&from);
                }
                if other == into {
                    continue;
                }
                self.note(into, dependency, other, says);
                self.note(
                    other,
                    dependency.inverse(),
                    into,
                    Says { origin: says.destination, destination: says.origin },
                );
            }
        }
    }

    fn note(&mut self, from: Index, dependency: Dependency, to: Index, says: Says) {
        let Some(node) = self.nodes.get_mut(from.0) else { return };
        let known = node.links.entry(dependency).or_default().entry(to).or_default();
        known.origin.merge(says.origin);
        known.destination.merge(says.destination);
    }

    fn kind(&self, index: Index) -> Option<UnitKind> {
        self.nodes.get(index.0).map(|node| node.unit.name.kind())
    }

    /// Links two units, both ways.
    fn link(&mut self, from: Index, dependency: Dependency, to: Index, origin: Origin) {
        let (from, to) = (self.follow(from), self.follow(to));
        if from == to || !allowed(self.kind(from), dependency, self.kind(to)) {
            return;
        }
        self.note(from, dependency, to, Says { origin: origin.into(), ..Says::default() });
        self.note(to, dependency.inverse(), from, Says { destination: origin.into(), ..Says::default() });
    }

    fn register(&mut self, index: Index, need: MountNeed, path: String, origin: Origin) {
        let Some(node) = self.nodes.get_mut(index.0) else { return };
        if node.needs.iter().any(|(have, known, _)| *have == need && *known == path) {
            return;
        }
        for place in places(&path) {
            self.needing.entry(place.to_owned()).or_default().insert((index, need));
        }
        node.needs.push((need, path, origin));
    }

    fn is_loaded(&self, index: Index) -> bool {
        let node = self.nodes.get(index.0);
        node.is_some_and(|node| node.state == State::Done && node.unit.load == LoadState::Loaded)
    }

    /// Links a unit to the loaded mount units of the paths that it needs; others are loaded.
    fn link_mounts(&mut self, index: Index) {
        let Some(node) = self.nodes.get(index.0) else { return };
        let mut needs = node.needs.clone();
        needs.sort_by_key(|(need, ..)| *need);
        for (need, path, origin) in needs {
            for place in places(&path) {
                let Some(name) = mount_name(place) else { continue };
                match self.names.get(&name).map(|mount| self.follow(*mount)) {
                    None => {
                        self.request(&name);
                    }
                    Some(mount) if mount != index && self.is_loaded(mount) => {
                        self.link_mount(index, need, mount, origin);
                    }
                    Some(_) => {}
                }
            }
        }
    }

    fn link_mount(&mut self, user: Index, need: MountNeed, mount: Index, origin: Origin) {
        self.link(user, Dependency::After, mount, origin);
        if self.get(mount).is_some_and(|node| node.unit.fragment.is_some()) {
            let dependency = match need {
                MountNeed::Requires => Dependency::Requires,
                MountNeed::Wants => Dependency::Wants,
            };
            self.link(user, dependency, mount, origin);
        }
    }

    /// Links the loaded units that need a mount to it.
    fn link_users(&mut self, mount: Index) {
        let place = self.get(mount).and_then(|node| node.unit.mount()).map(|mount| mount.where_.clone());
        let users = place.and_then(|place| self.needing.get(&place)).cloned().unwrap_or_default();
        for (user, need) in users {
            if user != mount && self.is_loaded(user) {
                self.link_mount(user, need, mount, Origin::Path);
            }
        }
    }

    /// A target comes after what it pulls in, unless one of both says otherwise.
    fn order_behind_targets(&mut self, index: Index) {
        const PULLED: [Dependency; 5] = [
            Dependency::RequiredBy,
            Dependency::RequisiteOf,
            Dependency::WantedBy,
            Dependency::BoundBy,
            Dependency::UpheldBy,
        ];
        const PULLS: [Dependency; 6] = [
            Dependency::Requires,
            Dependency::Requisite,
            Dependency::Wants,
            Dependency::BindsTo,
            Dependency::Upholds,
            Dependency::PartOf,
        ];
        let related = |graph: &Graph, relations: &[Dependency]| -> Vec<Index> {
            let Some(node) = graph.nodes.get(index.0) else { return Vec::new() };
            relations.iter().filter_map(|relation| node.links.get(relation)).flat_map(BTreeMap::keys).copied().collect()
        };
        for target in related(self, &PULLED) {
            self.order_behind(index, target);
        }
        if self.kind(index) == Some(UnitKind::Target) {
            for other in related(self, &PULLS) {
                self.order_behind(other, index);
            }
        }
    }

    fn order_behind(&mut self, index: Index, target: Index) {
        if self.kind(target) != Some(UnitKind::Target) || !self.is_loaded(index) || !self.is_loaded(target) {
            return;
        }
        let wanted = |index: Index| self.get(index).is_some_and(|node| node.unit.default_dependencies);
        let contrary = self
            .get(target)
            .and_then(|node| node.links.get(&Dependency::Before))
            .is_some_and(|others| others.contains_key(&index));
        if wanted(index) && wanted(target) && !contrary {
            self.link(target, Dependency::After, index, Origin::Default);
        }
    }
}

/// A path and those above it, from the root on.
fn places(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').skip(1).map(|(end, _)| end).chain([path.len()]);
    let below =
        ends.take_while(|end| *end <= PLACE_MAX).filter_map(|end| path.get(..end)).filter(|place| *place != "/");
    std::iter::once("/").chain(below)
}

fn mount_name(place: &str) -> Option<UnitName> {
    crate::escape::unit_of_path(place, UnitKind::Mount)
}

/// Can a unit of one kind have such a relation to one of the other?
fn allowed(from: Option<UnitKind>, dependency: Dependency, to: Option<UnitKind>) -> bool {
    let triggers = |kind: Option<UnitKind>| {
        matches!(kind, Some(UnitKind::Socket | UnitKind::Timer | UnitKind::Path | UnitKind::Automount))
    };
    match dependency {
        // A device comes when it comes.
        Dependency::Before => to != Some(UnitKind::Device),
        Dependency::OnFailure => !matches!(from, Some(UnitKind::Device | UnitKind::Slice)),
        Dependency::Triggers => triggers(from),
        Dependency::TriggeredBy => triggers(to),
        Dependency::InSlice => to == Some(UnitKind::Slice),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_a_path_are_the_path_and_those_above() {
        assert_eq!(places("/a/b").collect::<Vec<_>>(), ["/", "/a", "/a/b"]);
        assert_eq!(places("/").collect::<Vec<_>>(), ["/"]);
    }
}
