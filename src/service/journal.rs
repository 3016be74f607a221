//! Messages to the journal by its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), with fields that can be searched.
//!
//! The crate tracing-journald would do the same, but for one thing: it puts its prefix before every field, and the
//! journal finds the kind of an event, and the explanation of it, by the bare field `MESSAGE_ID` only.

use std::{fmt, io, os::unix::net::UnixDatagram, path::Path};

use tracing::{Event, Level, Subscriber, field::Field, field::Visit};
use tracing_subscriber::layer::{Context, Layer};

use crate::events;

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Most bytes of one value: all fields of an entry fit into one datagram then.
const MAX_VALUE: usize = 32 * 1024;

/// The connection to the journal.
#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// Connect to the journal that listens at `path`.
    pub(super) fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self(socket))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut entry = Entry::default();
        entry.put("PRIORITY", priority(*metadata.level()));
        entry.put("SYSLOG_IDENTIFIER", "stt-isolated");
        let target = metadata.target();
        match events::ALL.iter().any(|(_, id)| *id == target) {
            true => entry.put("MESSAGE_ID", target),
            false => entry.put("TARGET", target),
        }
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            entry.put("CODE_FILE", file);
            entry.put("CODE_LINE", &line.to_string());
        }
        event.record(&mut entry);
        // Nobody is left who could be told of an error.
        let _ = self.0.send(&entry.0);
    }
}

/// What syslog.h calls err, warning, notice, info and debug.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    }
}

/// One entry in the making.
#[derive(Default)]
struct Entry(Vec<u8>);

impl Entry {
    /// The form with a length, in which a value may have new lines.
    fn put(&mut self, name: &str, value: &str) {
        let mut end = value.len().min(MAX_VALUE);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        self.0.extend(name.as_bytes());
        self.0.push(b'\n');
        self.0.extend((end as u64).to_le_bytes());
        self.0.extend(&value.as_bytes()[..end]);
        self.0.push(b'\n');
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.put("MESSAGE", value),
            name => self.put(&format!("STT_{}", name.to_ascii_uppercase()), value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What the journal would get for what `tell` logs.
    fn entries(tell: impl FnOnce()) -> Vec<BTreeMap<String, String>> {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let journal = Journal::connect(&path).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), tell);
        let mut buffer = vec![0; 1 << 20];
        let mut all = Vec::new();
        while let Ok(length) = listener.recv(&mut buffer) {
            all.push(parse(&buffer[..length]));
        }
        all
    }

    fn parse(mut entry: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
            let name = String::from_utf8(entry[..end].to_vec()).unwrap();
            let (length, rest) = entry[end + 1..].split_first_chunk().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            let value = String::from_utf8(rest[..length].to_vec()).unwrap();
            assert_eq!(rest[length], b'\n');
            assert!(fields.insert(name, value).is_none(), "twice: {fields:?}");
            entry = &rest[length + 1..];
        }
        assert!(entry.is_empty());
        fields
    }

    #[test]
    fn an_event_of_a_kind_has_its_id_and_its_fields_have_the_prefix() {
        let slot = 3_usize;
        let nothing: Option<u32> = None;
        let told = entries(|| {
            tracing::warn!(target: events::SLOT_LOST, slot, uid = nothing, reason = "a\nb", "slot {slot} is lost");
        });
        let [entry] = told.as_slice() else {
            panic!("{told:?}");
        };
        let expected = BTreeMap::from([
            ("CODE_FILE", file!()),
            ("CODE_LINE", &entry["CODE_LINE"]),
            ("MESSAGE", "slot 3 is lost"),
            ("MESSAGE_ID", events::SLOT_LOST),
            ("PRIORITY", "4"),
            ("STT_REASON", "a\nb"),
            ("STT_SLOT", "3"),
            ("SYSLOG_IDENTIFIER", "stt-isolated"),
        ]);
        let entry: BTreeMap<&str, &str> = entry.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(entry, expected);
    }

    #[test]
    fn any_other_event_is_of_no_kind() {
        let told = entries(|| tracing::info!("hello"));
        assert!(!told[0].contains_key("MESSAGE_ID"), "{told:?}");
        assert_eq!(told[0]["TARGET"], module_path!());
        assert_eq!(told[0]["PRIORITY"], "5");
    }

    #[test]
    fn what_is_far_too_long_is_cut_and_still_arrives() {
        // Three bytes each: none is cut in its middle.
        let long = "€".repeat(1 << 20);
        let told = entries(|| tracing::error!(a = long, b = long, c = long, "{long}"));
        for name in ["MESSAGE", "STT_A", "STT_B", "STT_C"] {
            assert_eq!(told[0][name].len(), MAX_VALUE / 3 * 3);
        }
    }
}
