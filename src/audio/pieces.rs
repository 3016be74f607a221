//! Cuts a recording of any length into the pieces that an engine hears: speech only, at most 30 s each.

use super::SAMPLE_RATE;
use super::vad::{FRAME, Vad, loudness, root_mean_square};

/// Longest piece, in samples: 30 s, what Whisper's models hear at once, and about the most that PocketSphinx decodes in
/// 50 MB. A shorter recording is one piece, so that an engine hears all that is there to be heard of it.
const LONGEST: usize = 30 * SAMPLE_RATE as usize;

/// A pause of so many frames ends a piece: 0.7 s, which leaves room for the margins of both pieces. Within sentences
/// pauses are mostly shorter.
const PAUSE: usize = frames(700);

/// The same for [`Cutter::long`] pieces: nobody would go on with a sentence after 3 s, and much more silence makes Whisper's
/// models say what nobody said.
const LONG_PAUSE: usize = frames(3_000);

/// What is kept in front of the first frame that is speech, in frames: 0.3 s. A plosive begins with silence, and engines
/// want some quiet to know the noise by.
const BEFORE: usize = frames(300);

/// What is kept behind the last one, in frames: likewise. Words fade; but what PocketSphinx hears of noise it may take for
/// short words: with 0.5 s it heard three times as many that nobody had said.
const AFTER: usize = frames(300);

/// Speech without a pause is cut at the quietest place of its last frames: of the last 8 s.
const SEARCH: usize = frames(8_000);

/// How much has to be quiet for a cut, in frames: 0.16 s.
const QUIET: usize = frames(160);

/// So likely speech is a frame that goes on with speech.
const GOES_ON: f32 = 0.5;

/// So likely speech are [`SURE_FRAMES`] frames, on the mean, that prove speech. Of the clips that the detector was
/// measured on (see `vad`), speech has 0.77 and more; noises and tones have 0.65, or 0.72 after a strong MP3.
const SURE: f32 = 0.74;

/// How many frames prove speech: 0.2 s, a short vowel.
const SURE_FRAMES: usize = 12;

/// Milliseconds in frames, rounded up.
const fn frames(milliseconds: usize) -> usize {
    (milliseconds * SAMPLE_RATE as usize / 1_000).div_ceil(FRAME)
}

/// Which parts of a recording become pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Those in which somebody speaks.
    Speech,
    /// All, speech or not.
    Everything,
}

/// A part of a recording that an engine hears at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The sample of the recording with which it begins.
    pub start: u64,
    /// One channel, −1 … 1, [`SAMPLE_RATE`]; never empty, at most 30 s.
    pub samples: Vec<f32>,
}

/// One frame, as it was judged.
#[derive(Clone, Copy)]
struct Judged {
    /// Root mean square.
    loud: f32,
    /// How likely it is speech, 0 … 1.
    speech: f32,
}

/// Takes a recording block by block and gives pieces of it, in order and without overlap.
///
/// It holds 30 s and a block, whatever the length of the recording.
pub struct Cutter {
    vad: Vad,
    keep: Keep,
    /// A pause of so many frames ends a piece.
    pause: usize,
    /// The sample of the recording with which `samples` begins.
    start: u64,
    samples: Vec<f32>,
    /// The frames of `samples` that were judged: all whole ones, as soon as something is to be decided.
    frames: Vec<Judged>,
    is_over: bool,
    /// The recording is known to be longer than one piece.
    is_long: bool,
}

/// What becomes of the beginning of what is held, in samples.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    /// So many are left out.
    skip: usize,
    /// So many after them are a piece; 0: none.
    take: usize,
}

impl Cutter {
    /// At the beginning of a recording.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        Self {
            vad: Vad::new(),
            keep,
            pause: PAUSE,
            start: 0,
            samples: Vec::new(),
            frames: Vec::new(),
            is_over: false,
            is_long: false,
        }
    }

    /// Pieces that are as long as can be: short pauses are left in them.
    #[must_use]
    pub fn long(self) -> Self {
        Self {
            pause: LONG_PAUSE,
            ..self
        }
    }

    /// The recording goes on with these samples (one channel, −1 … 1, [`SAMPLE_RATE`]). Take all pieces that there are
    /// before giving more.
    pub fn push(&mut self, samples: &[f32]) {
        self.samples.extend_from_slice(samples);
    }

    /// The recording is over.
    pub fn finish(&mut self) {
        self.is_over = true;
    }

    /// The next piece; `None` if it takes more of the recording, or nothing is left of it.
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

    /// Judges the frames that came since the last time.
    fn judge(&mut self) {
        let known = self.frames.len();
        let fresh = self.samples[known * FRAME..].chunks_exact(FRAME);
        self.frames.extend(fresh.map(|frame| Judged {
            loud: root_mean_square(frame),
            speech: 0.0,
        }));
        let loudness = loudness(self.frames.iter().map(|frame| frame.loud));
        let samples = self.samples.chunks_exact(FRAME);
        for (frame, samples) in self.frames.iter_mut().zip(samples).skip(known) {
            frame.speech = self.vad.judge(samples, loudness);
        }
    }

    /// Something is always decided when more than [`LONGEST`] is held, and everything when the recording is over.
    fn decide(&self) -> Decision {
        let all = self.samples.len();
        let take = |take| Decision { skip: 0, take };
        let skip = |skip| Decision { skip, take: 0 };
        if self.keep == Keep::Everything {
            return take(if all > LONGEST { self.quietest(0) } else { all });
        }
        let Some(first) = self.first_speech() else {
            // What comes next may prove that the last frames were the beginning of speech.
            let known = self.frames.len().saturating_sub(BEFORE + SURE_FRAMES);
            return skip(if self.is_over { all } else { known * FRAME });
        };
        if !self.is_long {
            return take(all);
        }
        let begin = first.saturating_sub(BEFORE);
        let room = all - begin * FRAME;
        let end = match self.end_of_speech(first) {
            Some(last) => all.min((last + AFTER) * FRAME),
            // There is room for more of it.
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

    /// The first frame that belongs to proven speech.
    fn first_speech(&self) -> Option<usize> {
        let is_sure = |frames: &[Judged]| {
            let sum: f32 = frames.iter().map(|frame| frame.speech).sum();
            sum >= SURE * SURE_FRAMES as f32
        };
        let sure = self.frames.windows(SURE_FRAMES).position(is_sure)?;
        let before = self.frames[..sure].iter().rev();
        Some(sure - before.take_while(|frame| frame.speech >= GOES_ON).count())
    }

    /// The frame behind the speech that begins with frame `first`; `None` if no pause was found.
    fn end_of_speech(&self, first: usize) -> Option<usize> {
        let mut last = first + SURE_FRAMES;
        for (n, frame) in self.frames.iter().enumerate().skip(last) {
            if frame.speech >= GOES_ON {
                last = n + 1;
            } else if n + 1 - last >= self.pause {
                return Some(last);
            }
        }
        // The end of the recording is a pause.
        self.is_over.then_some(last)
    }

    /// The sample at which to cut what begins with frame `begin` and has no pause.
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

    /// Forgets so many samples from the front.
    fn remove(&mut self, samples: usize) {
        self.samples.drain(..samples);
        self.start += samples as u64;
        // A piece ends with a frame, but for the last one.
        let frames = samples.div_ceil(FRAME).min(self.frames.len());
        self.frames.drain(..frames);
    }
}
