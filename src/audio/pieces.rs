//! Cuts a recording of any length into pieces for an engine: speech only, at most 30 s each.

use super::SAMPLE_RATE;
use super::vad::{FRAME, Judged, Vad};

/// Longest piece, in samples: 30 s. Whisper's models take that much at once, and PocketSphinx
/// decodes about as much in 50 MB. A shorter recording is cut only at long pauses, so that an
/// engine hears its whole context.
pub(super) const LONGEST: usize = 30 * SAMPLE_RATE as usize;

/// Number of frames in a pause that ends a piece: 0.7 s, which leaves room for the margins of both
/// pieces. Pauses within sentences are mostly shorter.
pub(super) const PAUSE: usize = frames(700);

/// The same for [`Cutter::long`] pieces, and for recordings that fit into one piece: 3 s. No
/// sentence continues after such a pause, and engines invent text in more silence or music.
const LONG_PAUSE: usize = frames(3_000);

/// Number of frames kept before the first frame of speech: 0.3 s. A plosive begins with silence,
/// and engines need some quiet to learn the noise.
const BEFORE: usize = frames(300);

/// Number of frames kept after the last frame of speech: 0.25 s, because words fade. PocketSphinx
/// may take noise for short words: with 0.5 s it heard three times as many that nobody had said.
pub(super) const AFTER: usize = frames(250);

/// Speech without a pause is cut at the quietest place within its last frames: 8 s.
pub(super) const SEARCH: usize = frames(8_000);

/// Number of frames that must be quiet for a cut: 0.16 s.
pub(super) const QUIET: usize = frames(160);

/// Speech probability of a frame that continues speech.
pub(super) const GOES_ON: f32 = 0.5;

/// Mean speech probability over [`SURE_FRAMES`] frames at which we accept them as speech. No music
/// of 26 synthesised instruments reached it, and of 325 single letters and digits only ten letters
/// did not (docs/decisions/0049).
pub(super) const SURE: f32 = 0.8;

/// Number of frames that prove speech: 0.2 s, a short vowel.
pub(super) const SURE_FRAMES: usize = 6;

/// Milliseconds in frames, rounded up.
pub(super) const fn frames(milliseconds: usize) -> usize {
    (milliseconds * SAMPLE_RATE as usize / 1_000).div_ceil(FRAME)
}

/// Selects the parts of a recording that become pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Only parts with speech.
    Speech,
    /// All parts, with or without speech.
    Everything,
}

/// A part of a recording that an engine hears at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Index of the piece's first sample in the recording.
    pub start: u64,
    /// One channel, −1 … 1, [`SAMPLE_RATE`]; never empty, at most 30 s.
    pub samples: Vec<f32>,
}

/// Takes a recording block by block and returns pieces of it, in order and without overlap.
///
/// It holds at most 30 s and one block, for a recording of any length.
pub struct Cutter {
    vad: Vad,
    keep: Keep,
    /// Number of frames in a pause that ends a piece.
    pause: usize,
    /// Index of the first element of `samples` in the recording.
    start: u64,
    samples: Vec<f32>,
    /// Judged frames of `samples`: all complete ones, as soon as there is something to decide.
    frames: Vec<Judged>,
    is_over: bool,
    /// True if the recording is known to be longer than one piece.
    is_long: bool,
}

/// Treatment of the first samples held.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    /// Number of samples to leave out.
    skip: usize,
    /// Number of samples after those that form a piece; 0 for none.
    take: usize,
}

impl Cutter {
    /// A cutter at the beginning of a recording.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        Self {
            vad: Vad::default(),
            keep,
            pause: PAUSE,
            start: 0,
            samples: Vec::new(),
            frames: Vec::new(),
            is_over: false,
            is_long: false,
        }
    }

    /// Make pieces as long as possible, by leaving short pauses in them.
    #[must_use]
    pub fn long(self) -> Self {
        Self {
            pause: LONG_PAUSE,
            ..self
        }
    }

    /// End a piece at each pause, however short the recording is: in a conversation others speak
    /// in the pauses.
    #[must_use]
    pub fn in_turns(self) -> Self {
        Self {
            is_long: true,
            ..self
        }
    }

    /// Add the next samples of the recording (one channel, −1 … 1, [`SAMPLE_RATE`]). Take all
    /// available pieces before adding more.
    pub fn push(&mut self, samples: &[f32]) {
        self.samples.extend_from_slice(samples);
    }

    /// Mark the end of the recording.
    pub fn finish(&mut self) {
        self.is_over = true;
    }

    /// Take the next piece; `None` if more of the recording is needed, or nothing is left.
    pub fn next_piece(&mut self) -> Option<Piece> {
        loop {
            let is_full = self.samples.len() > LONGEST;
            if self.samples.is_empty() || !(is_full || self.is_over) {
                return None;
            }
            self.is_long |= is_full;
            self.judge();
            let Decision { skip, take } = self.decide();
            self.remove(skip);
            if take > 0 {
                let start = self.start;
                let samples = self.samples[..take].to_vec();
                self.remove(take);
                return Some(Piece { start, samples });
            }
        }
    }

    /// Index of the first sample of the recording that is in no piece yet and was not left out.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.start
    }

    /// Judge the frames added since the last call.
    fn judge(&mut self) {
        let (fresh, _) = self.samples[self.frames.len() * FRAME..].as_chunks();
        self.frames
            .extend(fresh.iter().map(|frame| self.vad.judge(frame)));
    }

    /// Decide on the next samples. There is always a decision if more than [`LONGEST`] is held or
    /// the recording is over.
    fn decide(&self) -> Decision {
        let all = self.samples.len();
        let take = |take| Decision { skip: 0, take };
        let skip = |skip| Decision { skip, take: 0 };
        if self.keep == Keep::Everything {
            return take(if all > LONGEST { self.quietest(0) } else { all });
        }
        let Some(first) = self.first_speech() else {
            // The next samples may show that the last frames were the beginning of speech.
            let known = self.frames.len().saturating_sub(BEFORE + SURE_FRAMES);
            return skip(if self.is_over { all } else { known * FRAME });
        };
        let (begin, end) = (self.begin(first), self.end_of_speech(first));
        let room = all - begin * FRAME;
        let end = match end {
            Some(last) => all.min((last + self.margin(last)) * FRAME),
            // There is room for more of this piece.
            None if room <= LONGEST => return skip(begin * FRAME),
            None => all,
        };
        let skip = begin * FRAME;
        let end = if end - skip > LONGEST {
            self.quietest(begin)
        } else {
            end
        };
        Decision {
            skip,
            take: end - skip,
        }
    }

    /// Number of frames in a pause that ends a piece.
    fn pause(&self) -> usize {
        if self.is_long { self.pause } else { LONG_PAUSE }
    }

    /// Index of the frame at which a piece begins whose speech begins with frame `first`. A short
    /// recording begins as it is, unless nobody speaks for long.
    fn begin(&self, first: usize) -> usize {
        if !self.is_long && self.start == 0 && first < LONG_PAUSE {
            0
        } else {
            first.saturating_sub(BEFORE)
        }
    }

    /// Number of frames to keep after the speech that ends before frame `last`. A short recording
    /// ends as it is, unless nobody speaks for long.
    fn margin(&self, last: usize) -> usize {
        let rest = self.samples.len().div_ceil(FRAME) - last;
        if !self.is_long && rest < LONG_PAUSE {
            rest
        } else {
            AFTER
        }
    }

    /// Index of the first frame that belongs to proven speech.
    fn first_speech(&self) -> Option<usize> {
        let is_sure = |frames: &[Judged]| {
            let sum: f32 = frames.iter().map(|frame| frame.speech).sum();
            sum >= SURE * SURE_FRAMES as f32
        };
        let sure = self.frames.windows(SURE_FRAMES).position(is_sure)?;
        let before = self.frames[..sure].iter().rev();
        Some(sure - before.take_while(|frame| frame.speech >= GOES_ON).count())
    }

    /// Index of the frame after the speech that begins with frame `first`; `None` without a pause.
    fn end_of_speech(&self, first: usize) -> Option<usize> {
        let mut last = first + SURE_FRAMES;
        for (n, frame) in self.frames.iter().enumerate().skip(last) {
            if frame.speech >= GOES_ON {
                last = n + 1;
            } else if n + 1 - last >= self.pause() {
                return Some(last);
            }
        }
        // The end of the recording counts as a pause.
        self.is_over.then_some(last)
    }

    /// Index of the sample at which to cut speech that begins with frame `begin` and has no pause.
    fn quietest(&self, begin: usize) -> usize {
        let latest = begin + LONGEST / FRAME;
        let from = latest - SEARCH;
        let windows = self.frames[from..latest].windows(QUIET);
        let loud = |frames: &[Judged]| frames.iter().map(|frame| frame.loud).sum::<f32>();
        let (quietest, _) = windows.map(loud).enumerate().fold(
            (SEARCH - QUIET, f32::INFINITY),
            |best, (n, loud)| {
                if loud < best.1 { (n, loud) } else { best }
            },
        );
        (from + quietest + QUIET / 2) * FRAME
    }

    /// Remove samples from the front.
    fn remove(&mut self, samples: usize) {
        self.samples.drain(..samples);
        self.start += samples as u64;
        // Every piece but the last ends with a complete frame.
        let frames = samples.div_ceil(FRAME).min(self.frames.len());
        self.frames.drain(..frames);
    }
}
