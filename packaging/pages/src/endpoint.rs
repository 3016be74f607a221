//! Stands in for the client's type of the same name, which needs all that a connection needs; no page shows it.

use std::{convert::Infallible, str::FromStr};

/// What `--socket` takes.
#[derive(Clone, Debug)]
pub struct Endpoint;

impl FromStr for Endpoint {
    type Err = Infallible;

    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Ok(Self)
    }
}
