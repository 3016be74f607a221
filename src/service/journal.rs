//! Sends messages to the journal, each with the kind of its event in the field `MESSAGE_ID`.
//!
//! The crate tracing-journald puts its prefix before all fields of an event, but the journal finds
//! an event's kind, and the catalog's explanation of it, only by the bare name. Fields that a layer
//! adds to all its entries have no prefix, so there is one layer for each kind.

use std::{collections::HashMap, io};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use crate::events;

/// Connections to the journal.
pub(super) struct Journal {
    /// One layer for each kind, by the target of its events.
    kinds: HashMap<&'static str, tracing_journald::Layer>,
    /// The layer for events without a kind.
    others: tracing_journald::Layer,
}

impl Journal {
    /// Connect to the journal.
    ///
    /// # Errors
    /// Nobody listens on the journal's socket.
    pub(super) fn connect() -> io::Result<Self> {
        let kinds = events::ALL.iter().map(|(_, id)| {
            let layer = connection()?.with_custom_fields([("MESSAGE_ID", id)]);
            Ok((*id, layer))
        });
        Ok(Self {
            kinds: kinds.collect::<io::Result<_>>()?,
            others: connection()?,
        })
    }
}

fn connection() -> io::Result<tracing_journald::Layer> {
    Ok(tracing_journald::layer()?
        .with_syslog_identifier("stt-isolated".into())
        .with_field_prefix(Some("STT".into())))
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let layer = self.kinds.get(event.metadata().target());
        layer.unwrap_or(&self.others).on_event(event, context);
    }
}
