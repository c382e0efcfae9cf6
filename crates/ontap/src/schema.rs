//! What a record of the contract is made of: the one description that answers, filters, bodies, audits and the OpenAPI document follow.

/// The fields of one kind of record.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Its name in the OpenAPI document.
    pub(crate) name: &'static str,
    pub(crate) fields: &'static [Field],
    /// The objects in it that are lists.
    pub(crate) lists: &'static [&'static str],
    /// Where the record, and what it refers to, can be had.
    pub(crate) links: &'static [Link],
}

/// One field, by its dotted path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) shown: Shown,
    /// Whether a POST may give it.
    pub(crate) post: bool,
    /// Whether a PATCH may.
    pub(crate) patch: bool,
    pub(crate) about: &'static str,
}

/// What a field's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A text that is never audited, nor shown.
    Secret,
    Integer,
    Boolean,
    /// ISO 8601 with offset, without fractions.
    Time,
    OneOf(&'static [&'static str]),
    /// A list of texts.
    Texts,
}

/// When a field is in an answer (conventions, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Always.
    Key,
    /// With `fields=*`, and in the answer to an instance GET.
    Standard,
    /// Where it is named, or with `fields=**`: it takes asking around.
    Expensive,
    /// Never: it is for writing.
    Never,
}

/// A link to the record or to an object in it: the object's path, empty for the record; and the address, in which a path in braces stands
/// for a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) object: &'static str,
    pub(crate) href: &'static str,
}

impl Schema {
    pub(crate) fn field(&self, path: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.path == path)
    }

    /// Whether the path is a field's, or that of an object that has some.
    pub(crate) fn knows(&self, path: &str) -> bool {
        self.fields.iter().any(|field| is_at_or_below(field.path, path))
    }

    /// Whether the path is that of an object.
    pub(crate) fn has_object(&self, path: &str) -> bool {
        self.fields.iter().any(|field| field.path != path && is_at_or_below(field.path, path))
    }
}

/// Whether `path` is `ancestor`, or a member of it.
pub(crate) fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Field {
    /// A field that is always shown.
    pub(crate) const fn key(path: &'static str, kind: Kind, about: &'static str) -> Self {
        Self::new(path, kind, Shown::Key, about)
    }

    /// A common one.
    pub(crate) const fn standard(path: &'static str, kind: Kind, about: &'static str) -> Self {
        Self::new(path, kind, Shown::Standard, about)
    }

    /// One that takes asking around.
    pub(crate) const fn expensive(path: &'static str, kind: Kind, about: &'static str) -> Self {
        Self::new(path, kind, Shown::Expensive, about)
    }

    /// One that is only written.
    pub(crate) const fn hidden(path: &'static str, kind: Kind, about: &'static str) -> Self {
        Self::new(path, kind, Shown::Never, about)
    }

    const fn new(path: &'static str, kind: Kind, shown: Shown, about: &'static str) -> Self {
        Self { path, kind, shown, post: false, patch: false, about }
    }

    /// It can be given in a POST.
    pub(crate) const fn post(mut self) -> Self {
        self.post = true;
        self
    }

    /// It can be given in a PATCH.
    pub(crate) const fn patch(mut self) -> Self {
        self.patch = true;
        self
    }

    pub(crate) const fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret)
    }
}
