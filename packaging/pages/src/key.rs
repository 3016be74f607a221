//! Replaces the client's types of the same names, which need the service's code; no page shows
//! them.

use std::{convert::Infallible, str::FromStr};

/// Value of `--key-file`.
#[derive(Clone, Debug)]
pub struct Shown;

impl FromStr for Shown {
    type Err = Infallible;

    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Ok(Self)
    }
}

/// Argument of `key new`.
#[derive(Clone, Debug)]
pub struct Name;

impl FromStr for Name {
    type Err = Infallible;

    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Ok(Self)
    }
}
