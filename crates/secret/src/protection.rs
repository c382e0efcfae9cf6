//! The kinds of memory that can hold keys.

use std::fmt;

/// How well key memory is protected, from weakest to strongest.
///
/// No kind is ever in a core dump or in a forked child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protection {
    /// Ordinary memory: it may be swapped to disk, and root can read it.
    Unlocked,
    /// Locked memory, never swapped (`mlock2(2)`); root and debuggers can read it.
    Mlock,
    /// Pages that only this process can reach: neither the kernel's own mapping of memory nor a debugger sees them
    /// (`memfd_secret(2)`).
    MemfdSecret,
}

impl Protection {
    /// All kinds, strongest first: the order in which an arena tries them.
    pub(crate) const STRONGEST_FIRST: [Self; 3] = [Self::MemfdSecret, Self::Mlock, Self::Unlocked];

    /// The name used in reports, the same as in [`Display`](fmt::Display).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unlocked => "unlocked",
            Self::Mlock => "mlock",
            Self::MemfdSecret => "memfd_secret",
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Protection::{MemfdSecret, Mlock, Unlocked};

    #[test]
    fn the_order_is_that_of_strength() {
        assert!(Unlocked < Mlock && Mlock < MemfdSecret);
        assert!(super::Protection::STRONGEST_FIRST.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn names_are_those_of_the_field() {
        assert_eq!([MemfdSecret, Mlock, Unlocked].map(|p| p.to_string()), ["memfd_secret", "mlock", "unlocked"]);
        assert_eq!(format!("{Mlock:>8}|"), "   mlock|");
    }
}
