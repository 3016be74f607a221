//! Sample tables of a track (`stbl`), kept as they are in the file and walked from front to back.

use super::boxes::{u32_at, wide_at};

/// One sample: the unit in which a track's bytes are described.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Position in the file.
    pub(super) offset: u64,
    /// Length in bytes.
    pub(super) size: u32,
    /// Media time and duration, in the track's units.
    pub(super) time: u64,
    pub(super) duration: u64,
}

/// The tables, and the place of the next sample in each.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) stts: Box<[u8]>,
    pub(super) stsc: Box<[u8]>,
    pub(super) stsz: Box<[u8]>,
    /// Positions of chunks, of 4 bytes each or, if `wide`, of 8.
    pub(super) chunks: Box<[u8]>,
    pub(super) wide: bool,
    /// Size of a sample, if it is known better than `stsz` says it.
    pub(super) size: Option<u32>,
    sample: u32,
    /// Entry of `stts`, and number of samples that it still describes.
    timing: usize,
    same_timing: u32,
    duration: u32,
    time: u64,
    /// Chunk, entry of `stsc` for it, and number of samples left in it.
    chunk: u32,
    entry: usize,
    left: u32,
    offset: u64,
}

impl Tables {
    /// Make each block of so many samples, and bytes, one sample. QuickTime's own tables count the
    /// samples of ADPCM, each of a size of 1.
    pub(super) fn count_blocks(&mut self, samples: u32, bytes: u32) {
        if u32_at(&self.stsz, 4) != Some(1) {
            return;
        }
        let divide = |table: &mut [u8], at: usize| {
            let number = u32_at(table, at);
            if let (Some(number), Some(four)) = (number, table.get_mut(at..at + 4)) {
                four.copy_from_slice(&(number / samples).to_be_bytes());
            }
        };
        if let Some(four) = self.stsz.get_mut(4..8) {
            four.copy_from_slice(&bytes.to_be_bytes());
        }
        divide(&mut self.stsz, 8);
        for at in (12..self.stsc.len()).step_by(12) {
            divide(&mut self.stsc, at);
        }
        for at in (8..self.stts.len()).step_by(8) {
            divide(&mut self.stts, at);
            let length = u32_at(&self.stts, at + 4).map(|one| one.saturating_mul(samples));
            if let (Some(length), Some(four)) = (length, self.stts.get_mut(at + 4..at + 8)) {
                four.copy_from_slice(&length.to_be_bytes());
            }
        }
    }

    /// True if each sample is one frame of uncompressed sound, of this many bytes. QuickTime's own
    /// `stsz` has another size then. Other writers describe pieces of many frames.
    pub(super) fn counts_frames(&self, frame: u32) -> bool {
        let is_each = u32_at(&self.stts, 12).is_none_or(|duration| duration <= 1);
        let size = u32_at(&self.stsz, 4).unwrap_or(0);
        size > 0 && (is_each || size < frame)
    }

    /// Duration of all samples, in the track's units, as `stts` has it.
    pub(super) fn duration(&self) -> u64 {
        let entries = self.stts.get(8..).unwrap_or_default().chunks_exact(8);
        entries
            .filter_map(|entry| Some(u64::from(u32_at(entry, 0)?) * u64::from(u32_at(entry, 4)?)))
            .fold(0, u64::saturating_add)
    }

    /// Position of the next sample; `None` after the last one.
    pub(super) fn offset(&mut self) -> Option<u64> {
        self.settle().then_some(self.offset)
    }

    /// Take the next sample; `None` after the last one, or where the tables contradict.
    pub(super) fn next(&mut self) -> Option<Sample> {
        self.settle().then_some(())?;
        let size = self.size_of(self.sample)?;
        let sample = Sample {
            offset: self.offset,
            size,
            time: self.time,
            duration: self.duration.into(),
        };
        self.sample += 1;
        self.left -= 1;
        self.same_timing -= 1;
        self.offset = self.offset.saturating_add(size.into());
        self.time = self.time.saturating_add(self.duration.into());
        Some(sample)
    }

    /// True if the next sample lies behind the last one taken, in the same chunk and with the same
    /// duration.
    pub(super) fn goes_on(&self) -> bool {
        self.left > 0 && self.same_timing > 0 && self.sample < self.count()
    }

    fn count(&self) -> u32 {
        u32_at(&self.stsz, 8).unwrap_or(0)
    }

    fn size_of(&self, sample: u32) -> Option<u32> {
        let fixed = self
            .size
            .or_else(|| u32_at(&self.stsz, 4))
            .filter(|size| *size > 0);
        fixed.or_else(|| u32_at(&self.stsz, 12 + 4 * sample as usize))
    }

    /// Find chunk and timing of the next sample. Each table is walked once.
    fn settle(&mut self) -> bool {
        if self.sample >= self.count() {
            return false;
        }
        while self.same_timing == 0 {
            let at = 8 + 8 * self.timing;
            let (Some(count), Some(duration)) =
                (u32_at(&self.stts, at), u32_at(&self.stts, at + 4))
            else {
                // Samples without a time last as long as the one before.
                self.same_timing = u32::MAX;
                break;
            };
            (self.same_timing, self.duration) = (count, duration);
            self.timing += 1;
        }
        while self.left == 0 {
            let number = self.chunk + 1;
            let first_of = |entry: usize| u32_at(&self.stsc, 8 + 12 * entry);
            while first_of(self.entry + 1).is_some_and(|first| first <= number) {
                self.entry += 1;
            }
            let width = if self.wide { 8 } else { 4 };
            let at = 8 + width * self.chunk as usize;
            let offset = wide_at(&self.chunks, at, self.wide);
            let (Some(offset), Some(left)) = (offset, u32_at(&self.stsc, 12 + 12 * self.entry))
            else {
                return false;
            };
            (self.offset, self.left) = (offset, left);
            self.chunk += 1;
        }
        true
    }
}
