//! What the administrator can set, and nothing else: schema, defaults, where it comes from, validation.

mod model;

pub use model::PocketsphinxSettings;
