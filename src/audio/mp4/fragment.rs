//! Fragments of a movie (`moof`): runs of samples with their own positions, sizes and times.

use std::collections::HashMap;

use super::{
    boxes::{children, u32_at, wide_at},
    tables::Sample,
};

/// Sizes and durations where a fragment names none, from `trex` or `tfhd`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defaults {
    duration: u32,
    size: u32,
}

/// Reads the contents of `mvex`: the defaults of each track by its number.
pub(super) fn defaults(mvex: &[u8]) -> HashMap<u32, Defaults> {
    let trex = children(mvex).filter(|(kind, _)| kind == b"trex");
    trex.filter_map(|(_, trex)| {
        let (duration, size) = (u32_at(trex, 12)?, u32_at(trex, 16)?);
        Some((u32_at(trex, 4)?, Defaults { duration, size }))
    })
    .collect()
}

/// Samples of one track that follow each other in the file.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) track: u32,
    /// Position of the next sample.
    pub(super) offset: u64,
    /// Media time of the next sample.
    time: u64,
    left: u32,
    defaults: Defaults,
    /// The run's entry for each sample, as in the file.
    entries: Box<[u8]>,
    flags: u32,
    at: usize,
}

/// One track's part of a fragment.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) track: u32,
    /// Media time of its first sample; `None` if it follows the previous fragment.
    pub(super) time: Option<u64>,
    pub(super) runs: Vec<Run>,
}

/// Meaning of the positions in the fragments of a movie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bases {
    /// Position from which the movie counts.
    pub(super) front: u64,
    /// The first fragment names its own start, so all of them do. Where bytes are missing before
    /// one, the number is too large, and the start itself counts.
    are_starts: Option<bool>,
}

impl Bases {
    /// Those of a movie that counts from `front`.
    pub(super) fn from(front: u64) -> Self {
        Self {
            front,
            are_starts: None,
        }
    }

    /// The base that a fragment at `start` names.
    fn named(&mut self, base: u64, start: u64) -> u64 {
        let base = base.saturating_add(self.front);
        match *self.are_starts.get_or_insert(base == start) {
            true => start,
            false => base,
        }
    }
}

/// Reads the contents of a `moof` that starts at `start`.
pub(super) fn read(
    moof: &[u8],
    bases: &mut Bases,
    start: u64,
    defaults: &HashMap<u32, Defaults>,
) -> Vec<Part> {
    let mut end_of_data = start;
    let trafs = children(moof).filter(|(kind, _)| kind == b"traf");
    trafs
        .filter_map(|(_, traf)| part(traf, bases, start, &mut end_of_data, defaults))
        .collect()
}

fn part(
    traf: &[u8],
    bases: &mut Bases,
    start: u64,
    end_of_data: &mut u64,
    all: &HashMap<u32, Defaults>,
) -> Option<Part> {
    let tfhd = children(traf).find(|(kind, _)| kind == b"tfhd")?.1;
    let (flags, track) = (u32_at(tfhd, 0)? & 0xff_ffff, u32_at(tfhd, 4)?);
    let mut at = 8;
    let base = if flags & 1 != 0 {
        at += 8;
        bases.named(wide_at(tfhd, 8, true)?, start)
    } else if flags & 0x2_0000 != 0 {
        start
    } else {
        *end_of_data
    };
    at += if flags & 2 != 0 { 4 } else { 0 };
    let mut defaults = all.get(&track).copied().unwrap_or_default();
    if flags & 8 != 0 {
        defaults.duration = u32_at(tfhd, at)?;
        at += 4;
    }
    if flags & 0x10 != 0 {
        defaults.size = u32_at(tfhd, at)?;
    }
    let tfdt = children(traf).find(|(kind, _)| kind == b"tfdt");
    let time = tfdt.and_then(|(_, tfdt)| wide_at(tfdt, 4, *tfdt.first()? == 1));
    let mut runs = Vec::new();
    let mut next = base;
    for (_, trun) in children(traf).filter(|(kind, _)| kind == b"trun") {
        let run = run(trun, track, base, next, defaults)?;
        next = run.end();
        runs.push(run);
    }
    *end_of_data = next;
    Some(Part { track, time, runs })
}

fn run(trun: &[u8], track: u32, base: u64, next: u64, defaults: Defaults) -> Option<Run> {
    let (flags, left) = (u32_at(trun, 0)? & 0xff_ffff, u32_at(trun, 4)?);
    let mut at = 8;
    let mut offset = next;
    if flags & 1 != 0 {
        offset = base.saturating_add_signed(u32_at(trun, at)?.cast_signed().into());
        at += 4;
    }
    at += if flags & 4 != 0 { 4 } else { 0 };
    Some(Run {
        track,
        offset,
        time: 0,
        left,
        defaults,
        entries: trun.get(at..)?.into(),
        flags,
        at: 0,
    })
}

impl Run {
    /// Place the run at this media time; returns the time behind it.
    pub(super) fn begin(&mut self, time: u64) -> u64 {
        self.time = time;
        let durations = self.each(0x100, self.defaults.duration);
        time.saturating_add(durations)
    }

    /// Position behind the run's last byte.
    fn end(&self) -> u64 {
        self.offset
            .saturating_add(self.each(0x200, self.defaults.size))
    }

    /// Sum of one field of all samples, which is `default` where the run does not have it.
    fn each(&self, flag: u32, default: u32) -> u64 {
        if self.flags & flag == 0 {
            return u64::from(self.left) * u64::from(default);
        }
        let at = self.fields_before(flag) * 4;
        let entries = self.entries.chunks_exact(self.entry_len().max(1));
        let fields = entries
            .take(self.left as usize)
            .filter_map(|entry| u32_at(entry, at));
        fields.map(u64::from).sum()
    }

    /// Bytes that the run has for each sample.
    fn entry_len(&self) -> usize {
        4 * self.fields_before(0x1000)
    }

    /// Number of fields of a sample that come before that of `flag`.
    fn fields_before(&self, flag: u32) -> usize {
        (self.flags & (flag - 1) & 0xf00).count_ones() as usize
    }

    /// Take the next sample out of the run; `None` at its end, or where its bytes end.
    pub(super) fn next(&mut self) -> Option<Sample> {
        self.left = self.left.checked_sub(1)?;
        let len = self.entry_len();
        let entry = self.entries.get(self.at..self.at + len)?;
        self.at += len;
        let field = |flag: u32, default: u32| {
            let at = 4 * self.fields_before(flag);
            if self.flags & flag == 0 {
                Some(default)
            } else {
                u32_at(entry, at)
            }
        };
        let duration = field(0x100, self.defaults.duration)?;
        let size = field(0x200, self.defaults.size)?;
        let sample = Sample {
            offset: self.offset,
            size,
            time: self.time,
            duration: duration.into(),
        };
        self.offset = self.offset.saturating_add(size.into());
        self.time = self.time.saturating_add(duration.into());
        Some(sample)
    }
}
