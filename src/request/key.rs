//! The keys by which clients over TCP show who they are.

use std::{fmt, sync::Arc};

use crate::names::is_name;

/// The name of a key. Unlike the key itself it is no secret: it stands in the journal and in
/// statistics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(Arc<str>);

impl KeyName {
    /// The name `name`; `None` if no key can have it: it has 1 to 64 letters, digits, `_`, `-` and
    /// `.`, and does not start with `.`.
    pub fn new(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
