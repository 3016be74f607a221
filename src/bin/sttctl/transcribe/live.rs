//! `--stream`: prints words as soon as they are recognised.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    path::Path,
};

use serde_json::Value;

use super::{events::Events, output::named};
use crate::{cli::Format, error::Error, shown};

/// A streamed answer while it arrives.
pub struct Live<'a> {
    format: Format,
    /// Printed before the text, or in each event.
    name: Option<&'a Path>,
    events: Events,
    begun: bool,
    last: Option<Value>,
}

fn for_terminal(bytes: &[u8]) -> Cow<'_, [u8]> {
    Cow::Owned(shown::words(bytes).into_bytes())
}

fn as_it_is(bytes: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(bytes)
}

impl<'a> Live<'a> {
    /// An answer of which nothing has arrived.
    pub fn new(format: Format, name: Option<&'a Path>) -> Live<'a> {
        Live {
            format,
            name,
            events: Events::default(),
            begun: false,
            last: None,
        }
    }

    /// Prints the new text in the next piece of the answer.
    ///
    /// # Errors
    ///
    /// The piece is invalid, or standard output cannot be written.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), Error> {
        for data in self.events.take(piece) {
            let event: Value = serde_json::from_slice(&data)
                .map_err(|error| Error::Nonsense(error.to_string()))?;
            self.print(&data, &event).map_err(Error::Write)?;
            self.last = Some(event);
        }
        Ok(())
    }

    fn print(&mut self, data: &[u8], event: &Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let fit = match out.is_terminal() {
            true => for_terminal,
            false => as_it_is,
        };
        if self.format != Format::Text {
            out.write_all(&fit(&named(data, self.name)))?;
            out.write_all(b"\n")?;
        } else if let Some(words) = event.get("delta").and_then(Value::as_str) {
            self.begin(&mut out)?;
            out.write_all(&fit(words.as_bytes()))?;
        }
        out.flush()
    }

    fn begin(&mut self, out: &mut impl Write) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true)
            && let Some(name) = self.name
        {
            write!(out, "{}: ", shown::name(name))?;
        }
        Ok(())
    }

    /// Ends the line of words, which is empty if nobody spoke.
    ///
    /// # Errors
    ///
    /// Standard output cannot be written.
    pub fn end_line(&mut self) -> Result<(), Error> {
        let due = self.begun || self.last(None).is_ok();
        if self.format != Format::Text || !due {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        let ended = self.begin(&mut out).and_then(|()| out.write_all(b"\n"));
        ended.and_then(|()| out.flush()).map_err(Error::Write)
    }

    /// Returns the last event after the end of the body.
    ///
    /// # Errors
    ///
    /// The last event is an error (the server's own message is returned), or there was none.
    pub fn last(&self, request: Option<String>) -> Result<&Value, Error> {
        let Some(last) = &self.last else {
            return Err(Error::Closed("without a complete answer"));
        };
        if let Some(error) = last.get("error") {
            let said = |key: &str| error.get(key).and_then(Value::as_str);
            return Err(Error::Refused {
                message: said("message").unwrap_or("no reason given").to_owned(),
                reason: format!("code {}", said("code").unwrap_or("unknown")),
                request,
            });
        }
        match last.get("type").and_then(Value::as_str) {
            Some("transcript.text.done") => Ok(last),
            _ => Err(Error::Closed("in the middle of its answer")),
        }
    }
}
