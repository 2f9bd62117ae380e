//! Matches, and their form for one file: lists of entries that are joined and intersected by offset.
//!
//! A walk through matches costs a few searches a step, however many entries do not match.

use crate::blocks::Blocks;
use crate::chain::Chain;
use crate::fault::Fault;
use crate::file::JournalFile;

/// Which way a reader walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Backward,
}

/// A field and its values, any of which will do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: Vec<u8>,
    values: Vec<Vec<u8>>,
}

/// What a reader shows: all of these, each any of those, each all of its terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Matches(Vec<Vec<Vec<Term>>>);

impl Matches {
    pub(crate) fn add(&mut self, field: &[u8], value: &[u8]) {
        if self.0.is_empty() {
            self.0.push(Vec::new());
        }
        let Some(alternatives) = self.0.last_mut() else { return };
        if alternatives.is_empty() {
            alternatives.push(Vec::new());
        }
        let Some(terms) = alternatives.last_mut() else { return };
        match terms.iter_mut().find(|term| term.field == field) {
            Some(term) => term.values.push(value.to_vec()),
            None => terms.push(Term { field: field.to_vec(), values: vec![value.to_vec()] }),
        }
    }

    pub(crate) fn disjunction(&mut self) {
        if let Some(alternatives) = self.0.last_mut()
            && alternatives.last().is_some_and(|terms| !terms.is_empty())
        {
            alternatives.push(Vec::new());
        }
    }

    pub(crate) fn conjunction(&mut self) {
        if self.0.last().is_some_and(|alternatives| !alternatives.is_empty()) {
            self.0.push(Vec::new());
        }
    }

    /// The lists of one file. Damage on the way to a value hides the value there; it is told to `report`.
    pub(crate) fn compile(&self, file: &JournalFile, blocks: &mut Blocks, report: &mut impl FnMut(Fault)) -> Node {
        let mut all = Vec::new();
        for alternatives in &self.0 {
            let mut any = Vec::new();
            for terms in alternatives.iter().filter(|terms| !terms.is_empty()) {
                let nodes = terms.iter().map(|term| compile_term(term, file, blocks, report)).collect();
                any.push(simplify(Node::All, nodes));
            }
            if !any.is_empty() {
                all.push(simplify(Node::Any, any));
            }
        }
        if all.is_empty() { Node::Everything { near: 0 } } else { simplify(Node::All, all) }
    }
}

fn compile_term(term: &Term, file: &JournalFile, blocks: &mut Blocks, report: &mut impl FnMut(Fault)) -> Node {
    let mut lists = Vec::new();
    for value in &term.values {
        let payload = [term.field.as_slice(), b"=", value.as_slice()].concat();
        match file.find_data(blocks, &payload) {
            Ok(Some(data)) => lists.push(Node::List { chain: Chain::build(file, blocks, &data.list), near: 0 }),
            Ok(None) => {}
            Err(fault) => report(fault),
        }
    }
    simplify(Node::Any, lists)
}

fn simplify(join: fn(Vec<Node>) -> Node, mut nodes: Vec<Node>) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            join(nodes)
        }
        None => join(nodes),
    }
}

/// The entries of one file that match.
#[derive(Debug)]
pub(crate) enum Node {
    /// No match was asked for.
    Everything { near: u64 },
    /// The entries with one value.
    List { chain: Chain, near: u64 },
    /// Entries that are in all of these.
    All(Vec<Node>),
    /// Entries that are in any of these; in none where there are none.
    Any(Vec<Node>),
}

impl Node {
    /// The first matching entry at or after an offset, or the last one at or before it.
    pub(crate) fn seek(
        &mut self,
        file: &JournalFile,
        blocks: &mut Blocks,
        offset: u64,
        direction: Direction,
    ) -> Option<u64> {
        match self {
            Self::Everything { near } => seek_list(&file.entries, near, file, blocks, offset, direction),
            Self::List { chain, near } => seek_list(chain, near, file, blocks, offset, direction),
            Self::Any(nodes) => {
                let found = nodes.iter_mut().filter_map(|node| node.seek(file, blocks, offset, direction));
                match direction {
                    Direction::Forward => found.min(),
                    Direction::Backward => found.max(),
                }
            }
            Self::All(nodes) => {
                let mut candidate = offset;
                let mut agreed = 0;
                // Each node moves the candidate on until all of them have it; it never moves back, so this ends.
                let mut turn = 0;
                while agreed < nodes.len() {
                    let count = nodes.len();
                    let found = nodes.get_mut(turn % count)?.seek(file, blocks, candidate, direction)?;
                    agreed = if found == candidate { agreed + 1 } else { 1 };
                    candidate = found;
                    turn += 1;
                }
                Some(candidate)
            }
        }
    }
}

fn seek_list(
    chain: &Chain,
    near: &mut u64,
    file: &JournalFile,
    blocks: &mut Blocks,
    offset: u64,
    direction: Direction,
) -> Option<u64> {
    let mut position = match direction {
        Direction::Forward => chain.search_offset(file, blocks, offset, near),
        Direction::Backward => chain.search_offset(file, blocks, offset.saturating_add(1), near).checked_sub(1)?,
    };
    while position < chain.len() {
        let neighbour = match direction {
            Direction::Forward => Some(position + 1).filter(|next| *next < chain.len()),
            Direction::Backward => position.checked_sub(1),
        };
        let found = chain.get(file, blocks, position).unwrap_or(0);
        let beyond = neighbour.map(|neighbour| chain.get(file, blocks, neighbour).unwrap_or(0));
        if fits(file, blocks, direction, offset, found, beyond) {
            return Some(found);
        }
        position = neighbour?;
    }
    None
}

/// Whether a slot leads in the right direction: a damaged one is passed over, where a search would end.
fn fits(
    file: &JournalFile,
    blocks: &mut Blocks,
    direction: Direction,
    offset: u64,
    found: u64,
    beyond: Option<u64>,
) -> bool {
    let (leads_on, is_disputed) = match direction {
        Direction::Forward => (found >= offset, beyond.is_some_and(|beyond| beyond <= found)),
        Direction::Backward => (found <= offset, beyond.is_some_and(|beyond| beyond >= found)),
    };
    // One of two neighbours in the wrong order is wrong; an entry is more likely right than none.
    found != 0 && leads_on && found < file.size && (!is_disputed || file.entry(blocks, found).is_ok())
}
