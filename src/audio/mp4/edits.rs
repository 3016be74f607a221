//! Edit lists: which part of a track's media is presented, and when.

use super::boxes::{u32_at, wide_at};

/// Most entries of an edit list that are obeyed. Editors write one for each cut.
const MOST_EDITS: usize = 10_000;

/// A part of the media and the time at which it is presented, in the track's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edit {
    media: i64,
    media_end: i64,
    at: i64,
}

/// The edits of a track, in order.
#[derive(Debug)]
pub(super) struct Edits {
    edits: Vec<Edit>,
    /// The edit of the last asked packet.
    current: usize,
}

/// The place of a packet in the presentation, in the track's units.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Presented {
    pub(super) at: i64,
    pub(super) trim_start: u64,
    pub(super) trim_end: u64,
}

impl Edits {
    /// Reads an `elst` box. `movie` and `track` are the units in which durations and media times
    /// are given, per second. A fragmented file's edits last until its end.
    pub(super) fn read(elst: Option<&[u8]>, movie: u32, track: u32, fragmented: bool) -> Self {
        let mut edits = Vec::new();
        let mut at = 0;
        let count = elst.and_then(|elst| u32_at(elst, 4)).unwrap_or(0);
        for number in 0..(count as usize).min(MOST_EDITS) {
            let Some((length, media)) = elst.and_then(|elst| entry(elst, number)) else {
                break;
            };
            let scaled = u128::from(length) * u128::from(track) / u128::from(movie.max(1));
            let length = i64::try_from(scaled).unwrap_or(i64::MAX);
            if media < 0 {
                at = length.saturating_add(at);
                continue;
            }
            let endless = length == 0 || fragmented;
            let media_end = if endless {
                i64::MAX
            } else {
                length.saturating_add(media)
            };
            let after = edits.last().map_or(0, |last: &Edit| last.media_end);
            // An edit that goes back would present the same sound twice.
            if media >= after {
                edits.push(Edit {
                    media,
                    media_end,
                    at,
                });
            }
            if endless {
                break;
            }
            at = length.saturating_add(at);
        }
        if edits.is_empty() {
            let (media, media_end) = (0, i64::MAX);
            edits.push(Edit {
                media,
                media_end,
                at,
            });
        }
        Self { edits, current: 0 }
    }

    /// Time at which the track starts.
    pub(super) fn start(&self) -> i64 {
        self.edits[0].at
    }

    /// Time at which the media time `at` is presented, if the first edit has it.
    pub(super) fn in_first(&self, at: i64) -> i64 {
        let Edit {
            media, at: start, ..
        } = self.edits[0];
        at.saturating_sub(media).max(0).saturating_add(start)
    }

    /// Where a packet with this media time and duration is presented; `None` if it is not. The
    /// packet right before an edit is: its decoder needs to know what came before.
    pub(super) fn present(&mut self, media: i64, duration: u64) -> Option<Presented> {
        let end = media.saturating_add_unsigned(duration);
        while self.edits[self.current].media_end <= media && self.current + 1 < self.edits.len() {
            self.current += 1;
        }
        let edit = self.edits[self.current];
        let lead = end.saturating_add_unsigned(duration) >= edit.media;
        if media >= edit.media_end || !lead {
            return None;
        }
        let trim_start = edit
            .media
            .saturating_sub(media)
            .max(0)
            .unsigned_abs()
            .min(duration);
        Some(Presented {
            at: media.saturating_sub(edit.media).saturating_add(edit.at),
            trim_start,
            trim_end: end.saturating_sub(edit.media_end).max(0).unsigned_abs(),
        })
    }
}

/// Duration and media time of an entry.
fn entry(elst: &[u8], number: usize) -> Option<(u64, i64)> {
    let wide = *elst.first()? == 1;
    let size = if wide { 20 } else { 12 };
    let at = 8 + number * size;
    let media = if wide {
        wide_at(elst, at + 8, true)?.cast_signed()
    } else {
        u32_at(elst, at + 4)?.cast_signed().into()
    };
    Some((wide_at(elst, at, wide)?, media))
}
