//! Sorted lists in place of trees: a machine has thousands of them, most with a handful of entries.

use crate::jobs::UnitId;
use crate::transaction::Relation;

/// A set of units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdSet(Vec<UnitId>);

impl IdSet {
    /// Adds one.
    pub fn insert(&mut self, id: UnitId) {
        if let Err(place) = self.0.binary_search(&id) {
            self.0.insert(place, id);
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, id: UnitId) {
        if let Ok(place) = self.0.binary_search(&id) {
            self.0.remove(place);
        }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, UnitId> {
        self.0.iter()
    }

    /// Gives back memory that is not needed.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

/// The units that stand in some relation to a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links(Vec<(Relation, UnitId)>);

impl Links {
    /// Adds one.
    pub fn insert(&mut self, relation: Relation, id: UnitId) {
        if let Err(place) = self.0.binary_search(&(relation, id)) {
            self.0.insert(place, (relation, id));
        }
    }

    /// Takes a unit out of all relations.
    pub fn remove(&mut self, id: UnitId) {
        self.0.retain(|(_, other)| *other != id);
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Those in one relation, in order.
    pub fn of(&self, relation: Relation) -> impl Iterator<Item = UnitId> {
        let begin = self.0.partition_point(|(have, _)| *have < relation);
        self.0.iter().skip(begin).take_while(move |(have, _)| *have == relation).map(|(_, id)| *id)
    }

    /// All of them; one that stands in several relations comes several times.
    pub fn all(&self) -> impl Iterator<Item = UnitId> {
        self.0.iter().map(|(_, id)| *id)
    }

    /// Gives back memory that is not needed.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_by_their_relation() {
        let mut links = Links::default();
        for (relation, number) in [
            (Relation::After, 7),
            (Relation::Wants, 3),
            (Relation::After, 2),
            (Relation::After, 7),
            (Relation::Wants, 7),
        ] {
            links.insert(relation, UnitId(number));
        }
        let of = |links: &Links, relation| links.of(relation).map(|id| id.0).collect::<Vec<_>>();
        assert_eq!((of(&links, Relation::After), of(&links, Relation::Wants)), (vec![2, 7], vec![3, 7]));
        assert!(of(&links, Relation::Before).is_empty());
        links.remove(UnitId(7));
        assert_eq!(links.all().map(|id| id.0).collect::<Vec<_>>().len(), 2);
    }

    #[test]
    fn a_set_holds_each_unit_once() {
        let mut units = IdSet::default();
        [5, 1, 5].into_iter().for_each(|number| units.insert(UnitId(number)));
        units.remove(UnitId(9));
        assert_eq!(units.iter().map(|id| id.0).collect::<Vec<_>>(), [1, 5]);
    }
}
