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

    /// The only edit: this part of the media, from its time on, lasts so long.
    pub(super) fn one(media: i64, length: i64) -> Self {
        let edit = Edit {
            media,
            media_end: media.saturating_add(length),
            at: 0,
        };
        Self {
            edits: vec![edit],
            current: 0,
        }
    }

    /// True if everything is presented as it is.
    pub(super) fn is_none(&self) -> bool {
        let all = Edit {
            media: 0,
            media_end: i64::MAX,
            at: 0,
        };
        self.edits == [all]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The edits of a list in version 0, of a movie in milliseconds and a track of 48 kHz.
    fn edits(entries: &[(u32, i32)]) -> Edits {
        let mut elst = vec![0; 4];
        elst.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
        for (length, media) in entries {
            elst.extend(length.to_be_bytes());
            elst.extend(media.to_be_bytes());
            elst.extend([0, 1, 0, 0]);
        }
        Edits::read(Some(&elst), 1_000, 48_000, false)
    }

    /// Time and trims of a packet of 1024 frames.
    fn place(edits: &mut Edits, media: i64) -> Option<(i64, u64, u64)> {
        let place = edits.present(media, 1_024)?;
        Some((place.at, place.trim_start, place.trim_end))
    }

    #[test]
    fn without_a_list_everything_is_presented() {
        let mut edits = Edits::read(None, 1_000, 48_000, false);
        assert_eq!(place(&mut edits, 4_096), Some((4_096, 0, 0)));
    }

    #[test]
    fn priming_is_trimmed_and_the_start_is_late() {
        let mut edits = edits(&[(500, -1), (100, 1_024)]);
        assert_eq!(edits.start(), 24_000);
        assert_eq!(place(&mut edits, 0), Some((22_976, 1_024, 0)));
        assert_eq!(place(&mut edits, 1_024), Some((24_000, 0, 0)));
        // 100 ms are 4800 frames, so the fifth packet is trimmed and the sixth is not presented.
        assert_eq!(place(&mut edits, 5_120), Some((28_096, 0, 320)));
        assert_eq!(place(&mut edits, 6_144), None);
    }

    #[test]
    fn what_lies_between_two_edits_is_not_presented() {
        let mut edits = edits(&[(64, 0), (64, 30_720)]);
        assert_eq!(place(&mut edits, 2_048), Some((2_048, 0, 0)));
        assert_eq!(place(&mut edits, 10_240), None);
        // The decoder hears one packet more than is presented.
        assert_eq!(place(&mut edits, 29_696), Some((2_048, 1_024, 0)));
        assert_eq!(place(&mut edits, 30_720), Some((3_072, 0, 0)));
    }

    #[test]
    fn absurd_lists_are_survived() {
        for entries in [
            &[(u32::MAX, i32::MAX); 3][..],
            &[(0, -1); 9],
            &[(u32::MAX, -1); 9],
        ] {
            let mut edits = edits(entries);
            for media in [0, 1, i64::MAX - 1, i64::MAX] {
                let _ = place(&mut edits, media);
            }
        }
        let cut = Edits::read(Some(&[0, 0, 0, 0, 255, 255, 255, 255]), 0, 1, true);
        assert_eq!(cut.start(), 0);
    }
}
