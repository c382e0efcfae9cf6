//! What can be struck, and how.

/// Something that lasts: a write, or a call to another party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A [`Store::commit`](crate::Store::commit), which is done as a whole or not at all.
    Commit {
        /// Whether it only deletes: then it is done on a full disk too.
        only_deletes: bool,
    },
    /// A [`Store::replace_each`](crate::Store::replace_each), of which any subset may be done.
    ReplaceEach {
        /// How many items it has.
        items: usize,
    },
    /// A call to another party than the store, named for messages. It is done as a whole or not at all, and can fail while
    /// the process lives.
    Call(&'static str),
}

impl Event {
    /// Everything that can befall it. Of the subsets of a `replace_each`, these are the regular ones, see [`Tear::all`].
    #[must_use]
    pub fn strikes(self) -> Vec<Strike> {
        let mut strikes = vec![Strike::Crash(Crash::Before), Strike::Crash(Crash::After)];
        match self {
            Self::Commit { only_deletes: true } => {}
            Self::Commit { only_deletes: false } => strikes.push(Strike::Failure(Failure::Refused)),
            Self::ReplaceEach { items } => {
                strikes.push(Strike::Failure(Failure::Refused));
                strikes.extend(Tear::all(items).into_iter().map(|tear| Strike::Crash(Crash::Torn(tear))));
            }
            Self::Call(_) => {
                strikes.extend([Failure::Refused, Failure::Unreachable, Failure::Unanswered].map(Strike::Failure));
            }
        }
        strikes
    }
}

/// What befalls an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strike {
    /// The process dies. Nothing is answered from then on.
    Crash(Crash),
    /// The call fails, and the process lives.
    Failure(Failure),
}

/// What is left of the event at which the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Crash {
    /// Nothing.
    Before,
    /// All of it, and nobody was told.
    After,
    /// Some of its items; nothing of an event that is done as a whole or not at all.
    Torn(Tear),
}

/// How a call fails while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It is refused and not done. For a store, its disk is full.
    Refused,
    /// It is not done, and no answer comes. A store does not know then whether it was done, and fails from then on: as
    /// [`Crash::Before`].
    Unreachable,
    /// It is done, and no answer comes. A store fails from then on: as [`Crash::After`].
    Unanswered,
}

/// Which items of a `replace_each` are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tear {
    /// The first half, rounded down.
    FirstHalf,
    /// All that is not of the first half.
    SecondHalf,
    /// The first, the third and so on.
    EverySecond,
    /// All but the first.
    AllButFirst,
    /// All but the last.
    AllButLast,
    /// This one alone, counted from 0.
    Only(usize),
}

/// Up to so many items, each is also tried alone.
const FEW: usize = 8;

impl Tear {
    /// The regular subsets of so many items, each once; neither none nor all. Of a few items each is also tried alone, of
    /// many only the first and the last.
    #[must_use]
    pub fn all(items: usize) -> Vec<Self> {
        let halves = [Self::FirstHalf, Self::SecondHalf, Self::EverySecond, Self::AllButFirst, Self::AllButLast];
        let alone = (0..items).filter(|&index| items <= FEW || index == 0 || index + 1 == items).map(Self::Only);
        let mut subsets: Vec<Vec<usize>> = Vec::new();
        let is_new = |tear: &Self| {
            let subset: Vec<_> = (0..items).filter(|&index| tear.takes(index, items)).collect();
            let is_new = !subset.is_empty() && subset.len() < items && !subsets.contains(&subset);
            subsets.push(subset);
            is_new
        };
        halves.into_iter().chain(alone).filter(is_new).collect()
    }

    /// Whether the item with this index, of so many, is done.
    #[must_use]
    pub const fn takes(self, index: usize, items: usize) -> bool {
        match self {
            Self::FirstHalf => index < items / 2,
            Self::SecondHalf => index >= items / 2,
            Self::EverySecond => index.is_multiple_of(2),
            Self::AllButFirst => index > 0,
            Self::AllButLast => index + 1 < items,
            Self::Only(only) => index == only,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn tears_are_different_and_neither_nothing_nor_all() {
        for items in 0..20 {
            let subset = |tear: &Tear| (0..items).filter(|&index| tear.takes(index, items)).collect::<Vec<_>>();
            let subsets: Vec<_> = Tear::all(items).iter().map(subset).collect();
            assert!(subsets.iter().all(|subset| !subset.is_empty() && subset.len() < items), "{items}");
            assert_eq!(subsets.iter().collect::<BTreeSet<_>>().len(), subsets.len(), "{items}");
        }
        assert_eq!([0, 1, 2, 3, 4].map(|items| Tear::all(items).len()), [0, 0, 2, 6, 9]);
        let many = [Tear::FirstHalf, Tear::SecondHalf, Tear::EverySecond, Tear::AllButFirst, Tear::AllButLast];
        assert_eq!(Tear::all(1_024), [many.as_slice(), &[Tear::Only(0), Tear::Only(1_023)]].concat());
    }
}
