//! Settings of the engine `fault`.

use serde::{Deserialize, Serialize};

use crate::isolation::Preload;

/// `[models.NAME.fault]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultSettings {
    /// When it is loaded.
    pub preload: Preload,
    /// What goes wrong then: `fail`, `crash`, `hang`, `escape`, or nothing.
    pub load: Option<String>,
    /// It has sockets, as an engine that asks a service elsewhere, for this TCP port.
    pub network: Option<u16>,
}
