//! The two slots and their flags, and every change that anybody makes to them. Pure.
//!
//! GRUB owns one half of this machine (it spends a try, it takes out a slot that cannot be loaded); `choose` and
//! `load_failed` say what grub.cfg does, so that tests can play both halves.

use std::collections::BTreeMap;
use std::fmt;

/// Tries that a freshly installed slot gets.
pub const MAX_TRIES: u8 = 3;
/// Starts of a good slot without boot-complete after which the other slot gets its turn.
pub const LATE_FALLBACK_STARTS: u32 = 3;

/// One of the two copies of the system on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// Both.
    pub const BOTH: [Slot; 2] = [Slot::A, Slot::B];

    /// The other one.
    pub fn other(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// Reads `a` or `b`.
    pub fn parse(text: &str) -> Option<Slot> {
        match text {
            "a" => Some(Slot::A),
            "b" => Some(Slot::B),
            _ => None,
        }
    }

    /// `a` or `b`.
    pub fn letter(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letter())
    }
}

/// The flags of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlotFlags {
    /// It has booted well; it is started without spending tries.
    Good,
    /// Not proved; it may be started this often, 1 to 3.
    Trying(u8),
    /// Not to be started: empty, being written, or failed.
    Unusable,
}

impl SlotFlags {
    /// Reads the two values as GRUB does: anything but `1` is not good, anything but 1 to 3 is no try.
    pub fn from_values(good: &str, tries: &str) -> SlotFlags {
        match (good, tries) {
            ("1", _) => SlotFlags::Good,
            (_, "1") => SlotFlags::Trying(1),
            (_, "2") => SlotFlags::Trying(2),
            (_, "3") => SlotFlags::Trying(3),
            (_, _) => SlotFlags::Unusable,
        }
    }

    /// The value of `X_good`.
    pub fn good(self) -> bool {
        match self {
            SlotFlags::Good => true,
            SlotFlags::Trying(_) | SlotFlags::Unusable => false,
        }
    }

    /// The value of `X_tries`.
    pub fn tries(self) -> u8 {
        match self {
            SlotFlags::Trying(tries) => tries.min(MAX_TRIES),
            SlotFlags::Good | SlotFlags::Unusable => 0,
        }
    }

    /// Whether the boot loader would start it.
    pub fn usable(self) -> bool {
        self != SlotFlags::Unusable
    }
}

/// Which slot the boot loader looks at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(Slot);

impl Order {
    /// The order that begins with this slot.
    pub fn beginning_with(slot: Slot) -> Order {
        Order(slot)
    }

    /// The slot that is looked at first.
    pub fn first(self) -> Slot {
        self.0
    }

    /// `ab` or `ba`.
    pub fn text(self) -> &'static str {
        match self.0 {
            Slot::A => "ab",
            Slot::B => "ba",
        }
    }
}

/// Everything the boot loader goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotState {
    /// Which slot first.
    pub order: Order,
    /// Flags of slot a.
    pub a: SlotFlags,
    /// Flags of slot b.
    pub b: SlotFlags,
}

/// What the boot loader does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Starts a good slot; nothing is written.
    Good(Slot),
    /// Spends a try, which must be on the disk before the slot is started.
    Try(Slot, SlotState),
    /// No slot is usable: a, then b, then again.
    LastResort,
}

impl SlotState {
    /// The flags of a new image: slot a good, slot b empty.
    pub fn fresh() -> SlotState {
        SlotState { order: Order(Slot::A), a: SlotFlags::Good, b: SlotFlags::Unusable }
    }

    /// The flags of a slot.
    pub fn flags(&self, slot: Slot) -> SlotFlags {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }

    /// This state with other flags for a slot.
    #[must_use]
    pub fn with(mut self, slot: Slot, flags: SlotFlags) -> SlotState {
        match slot {
            Slot::A => self.a = flags,
            Slot::B => self.b = flags,
        }
        self
    }

    /// What grub.cfg does with this state.
    pub fn choose(&self) -> Choice {
        for slot in [self.order.first(), self.order.first().other()] {
            match self.flags(slot) {
                SlotFlags::Good => return Choice::Good(slot),
                SlotFlags::Trying(1) => return Choice::Try(slot, self.with(slot, SlotFlags::Unusable)),
                SlotFlags::Trying(tries) => return Choice::Try(slot, self.with(slot, SlotFlags::Trying(tries - 1))),
                SlotFlags::Unusable => {}
            }
        }
        Choice::LastResort
    }

    /// What grub.cfg writes when a slot cannot be loaded. `None`: the other slot is not usable either, nothing changes.
    pub fn load_failed(&self, slot: Slot) -> Option<SlotState> {
        self.flags(slot.other()).usable().then(|| self.with(slot, SlotFlags::Unusable))
    }

    /// S1: before the first byte is written to a slot. The boot loader cannot pick it half-written.
    #[must_use]
    pub fn install_begins(&self, target: Slot) -> SlotState {
        SlotState { order: Order(target.other()), ..self.with(target, SlotFlags::Unusable) }
    }

    /// S3: the slot was written and read back; it is started next, with three tries.
    #[must_use]
    pub fn install_done(&self, target: Slot) -> SlotState {
        SlotState { order: Order(target), ..self.with(target, SlotFlags::Trying(MAX_TRIES)) }
    }

    /// S4 and S5: the running slot booted well. If the other slot is out of use, the order begins with the running one,
    /// so that a fallback is not found a second time; else the order stays, as a new install may be waiting.
    #[must_use]
    pub fn mark_good(&self, running: Slot) -> SlotState {
        let order = if self.flags(running.other()).usable() { self.order } else { Order(running) };
        SlotState { order, ..self.with(running, SlotFlags::Good) }
    }

    /// Takes a slot out of use.
    #[must_use]
    pub fn demote(&self, slot: Slot) -> SlotState {
        self.with(slot, SlotFlags::Unusable)
    }

    /// Whether a running good slot has to give way: this is its third start in a row without boot-complete, or its root
    /// is corrupt, and the other slot is good.
    pub fn late_fallback(&self, running: Slot, trouble: Trouble) -> Option<SlotState> {
        let enough = match trouble {
            Trouble::Starts(starts) => starts >= LATE_FALLBACK_STARTS,
            Trouble::CorruptRoot => true,
        };
        let both_good = self.flags(running).good() && self.flags(running.other()).good();
        (enough && both_good).then(|| self.demote(running))
    }

    /// The keys of the environment block, in their order.
    pub fn pairs(&self) -> [(&'static str, String); 5] {
        let flag = |good: bool| if good { "1" } else { "0" }.to_string();
        [
            ("order", self.order.text().to_string()),
            ("a_good", flag(self.a.good())),
            ("a_tries", self.a.tries().to_string()),
            ("b_good", flag(self.b.good())),
            ("b_tries", self.b.tries().to_string()),
        ]
    }

    /// Reads those keys as GRUB does: what is missing or strange counts as `ab`, not good, no tries.
    pub(crate) fn from_pairs(pairs: &BTreeMap<&str, &str>) -> SlotState {
        let value = |key: &str| pairs.get(key).copied().unwrap_or("");
        SlotState {
            order: Order(if value("order") == "ba" { Slot::B } else { Slot::A }),
            a: SlotFlags::from_values(value("a_good"), value("a_tries")),
            b: SlotFlags::from_values(value("b_good"), value("b_tries")),
        }
    }
}

/// What a good slot that runs now may suffer from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Starts in a row without boot-complete, this one included.
    Starts(u32),
    /// The root file system does not match its hash.
    CorruptRoot,
}

impl fmt::Display for SlotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Vec<String> = self.pairs().iter().map(|(key, value)| format!("{key}={value}")).collect();
        f.write_str(&text.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    const FLAGS: [SlotFlags; 5] =
        [SlotFlags::Good, SlotFlags::Trying(3), SlotFlags::Trying(2), SlotFlags::Trying(1), SlotFlags::Unusable];

    fn every_state() -> Vec<SlotState> {
        let mut states = Vec::new();
        for first in Slot::BOTH {
            for a in FLAGS {
                states.extend(FLAGS.map(|b| SlotState { order: Order(first), a, b }));
            }
        }
        states
    }

    fn short(state: SlotState) -> String {
        let flags = |flags: SlotFlags| match flags {
            SlotFlags::Good => "good".to_string(),
            SlotFlags::Trying(tries) => format!("try{tries}"),
            SlotFlags::Unusable => "-".to_string(),
        };
        format!("{} {}/{}", state.order.text(), flags(state.a), flags(state.b))
    }

    #[test]
    fn every_transition_is_in_the_golden_table() {
        let mut text = String::new();
        for state in every_state() {
            let choice = match state.choose() {
                Choice::Good(slot) => format!("start {slot}"),
                Choice::Try(slot, after) => format!("try {slot} [{}]", short(after)),
                Choice::LastResort => "last resort".to_string(),
            };
            writeln!(text, "{:<14} {choice}", short(state)).expect("text grows");
            for slot in Slot::BOTH {
                let optional = |after: Option<SlotState>| after.map_or("-".to_string(), short);
                writeln!(
                    text,
                    "  {slot}: load fails {:<13} mark good {:<13} install begins {:<10} done {:<13} corrupt root {}",
                    optional(state.load_failed(slot)),
                    short(state.mark_good(slot)),
                    short(state.install_begins(slot)),
                    short(state.install_done(slot)),
                    optional(state.late_fallback(slot, Trouble::CorruptRoot)),
                )
                .expect("text grows");
            }
        }
        crate::golden::check("slots.txt", &text);
    }

    #[test]
    fn an_untested_slot_is_started_three_times_and_then_the_good_one() {
        let mut state = SlotState::fresh().install_begins(Slot::B).install_done(Slot::B);
        for _ in 0..3 {
            let Choice::Try(Slot::B, after) = state.choose() else { panic!("slot b is tried: {state}") };
            state = after;
        }
        assert_eq!(state.choose(), Choice::Good(Slot::A));
    }

    #[test]
    fn a_usable_slot_is_never_given_up_without_another_one() {
        for state in every_state().into_iter().filter(|state| state.choose() != Choice::LastResort) {
            for slot in Slot::BOTH {
                let afterwards = [state.load_failed(slot), state.late_fallback(slot, Trouble::CorruptRoot)];
                for after in afterwards.into_iter().flatten() {
                    assert_ne!(after.choose(), Choice::LastResort, "{state}: slot {slot} was given up");
                }
            }
        }
    }

    #[test]
    fn a_good_slot_gives_way_only_at_the_third_start_and_only_to_a_good_one() {
        let both = SlotState { order: Order(Slot::A), a: SlotFlags::Good, b: SlotFlags::Good };
        for (starts, gives_way) in [(0, false), (1, false), (2, false), (3, true), (u32::MAX, true)] {
            assert_eq!(both.late_fallback(Slot::A, Trouble::Starts(starts)).is_some(), gives_way, "{starts} starts");
        }
        for other in [SlotFlags::Trying(3), SlotFlags::Unusable] {
            assert_eq!(both.with(Slot::B, other).late_fallback(Slot::A, Trouble::CorruptRoot), None);
        }
    }

    #[test]
    fn marking_good_twice_changes_nothing_more() {
        for state in every_state() {
            let once = state.mark_good(Slot::A);
            assert_eq!(once.mark_good(Slot::A), once);
            assert!(once.a.good());
        }
    }

    #[test]
    fn a_waiting_install_survives_mark_good_of_the_running_slot() {
        let staged = SlotState::fresh().install_done(Slot::B);
        assert_eq!(staged.mark_good(Slot::A), staged);
    }
}
