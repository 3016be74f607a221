//! Parses the subset of server-sent events that the API uses.

/// Splits a stream into events, for any division of its bytes.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
}

impl Events {
    /// Add a piece of the stream. Returns the data of each event that is now complete.
    pub fn take(&mut self, piece: &[u8]) -> Vec<Vec<u8>> {
        let mut complete = Vec::new();
        for byte in piece {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend(data.strip_prefix(b" ").unwrap_or(data));
            } else if line.is_empty() && !self.data.is_empty() {
                complete.push(std::mem::take(&mut self.data));
            }
            self.line.clear();
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let stream =
            b": hello\r\ndata: one\r\n\r\nevent: x\ndata:two\ndata: three\n\n\n\ndata: cut";
        for length in 1..stream.len() {
            let mut events = Events::default();
            let pieces = stream.chunks(length);
            let seen: Vec<_> = pieces.flat_map(|piece| events.take(piece)).collect();
            assert_eq!(seen, [&b"one"[..], b"two\nthree"], "{length}");
        }
    }
}
