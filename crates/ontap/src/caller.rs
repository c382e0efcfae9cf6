//! Who calls.

/// Who sent a request. The daemon that serves the router authenticates, and leaves this in the request's extensions; a request without it
/// is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account's name.
    pub name: String,
    /// What the account may do.
    pub role: Role,
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Reading.
    ReadOnly,
}

impl Role {
    /// Whether the role may change anything.
    #[must_use]
    pub const fn may_change(self) -> bool {
        match self {
            Self::Admin => true,
            Self::ReadOnly => false,
        }
    }
}
