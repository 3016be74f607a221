//! Cuts a recording into pieces while it is being spoken: speech only, at most 30 s each.

use std::collections::VecDeque;

use super::{
    Keep,
    pieces::{AFTER, GOES_ON, LONGEST, PAUSE, QUIET, SEARCH, SURE, SURE_FRAMES, frames},
    vad::{FRAME, Vad},
};

/// Number of frames kept before the first frame of speech: 0.5 s. More than for a recording that is
/// all there, because an engine that hears on and on learns the noise of the room from them.
const BEFORE: usize = frames(500);

/// Most frames held while nobody has proven to speak: those before speech, and 1 s that may be it.
const MOST_HELD: usize = BEFORE + frames(1_000);

/// The next part of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A piece begins at this sample of the recording.
    Begin(u64),
    /// More samples of the piece.
    Samples(Vec<f32>),
    /// The piece is over.
    End,
}

/// Takes a recording block by block, and tells at once which of it belongs to a piece.
///
/// It holds at most 1.5 s and one block.
pub struct LiveCutter {
    vad: Vad,
    keep: Keep,
    /// Index of the first sample that is held.
    start: u64,
    /// Samples that are in no part yet.
    samples: VecDeque<f32>,
    /// Speech probability of those frames of `samples` that were judged.
    judged: VecDeque<f32>,
    piece: Option<Open>,
    is_over: bool,
}

/// A piece that has begun.
#[derive(Clone, Copy)]
struct Open {
    /// Samples that were given.
    given: usize,
    /// Frames that are held and belong to it.
    known: usize,
    /// Frames since the last one with speech.
    quiet: usize,
}

impl LiveCutter {
    /// A cutter at the beginning of a recording.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        Self {
            vad: Vad::default(),
            keep,
            start: 0,
            samples: VecDeque::new(),
            judged: VecDeque::new(),
            piece: None,
            is_over: false,
        }
    }

    /// Add the next samples of the recording (one channel, −1 … 1, 16 kHz). Take all parts before
    /// adding more.
    pub fn push(&mut self, samples: &[f32]) {
        self.samples.extend(samples);
    }

    /// Mark the end of the recording.
    pub fn finish(&mut self) {
        self.is_over = true;
    }

    /// True if the recording has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Index of the first sample of the recording that is in no piece yet and was not left out.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.start
    }

    /// Take the next part; `None` if more of the recording is needed, or nothing is left.
    pub fn next_part(&mut self) -> Option<Part> {
        match self.piece {
            Some(piece) => self.go_on(piece),
            None => self.begin(),
        }
    }

    /// Look for the beginning of speech.
    fn begin(&mut self) -> Option<Part> {
        if self.keep == Keep::Everything {
            return (!self.samples.is_empty()).then(|| self.open(0));
        }
        loop {
            if let Some(first) = self.first_speech() {
                return Some(self.open(first.saturating_sub(BEFORE)));
            }
            if self.judged.len() >= MOST_HELD {
                self.remove(FRAME);
            }
            if !self.judge() {
                if self.is_over {
                    self.remove(self.samples.len());
                }
                return None;
            }
        }
    }

    /// Index of the frame with which the speech began that the last frames prove.
    fn first_speech(&self) -> Option<usize> {
        let before = self.judged.len().checked_sub(SURE_FRAMES)?;
        let sum: f32 = self.judged.range(before..).sum();
        let earlier = self.judged.range(..before).rev();
        let spoken = earlier.take_while(|speech| **speech >= GOES_ON).count();
        (sum >= SURE * SURE_FRAMES as f32).then_some(before - spoken)
    }

    /// Begin a piece after leaving out this many frames. All others that are held belong to it.
    fn open(&mut self, left_out: usize) -> Part {
        self.remove(left_out * FRAME);
        self.piece = Some(Open {
            given: 0,
            known: self.judged.len(),
            quiet: 0,
        });
        Part::Begin(self.start)
    }

    /// Give what is known to belong to the piece.
    fn go_on(&mut self, mut piece: Open) -> Option<Part> {
        while !self.ends(piece) && self.judge() {
            piece.quiet = match self.judged.back() {
                Some(speech) if *speech >= GOES_ON => 0,
                _ => piece.quiet + 1,
            };
            if piece.quiet <= AFTER || self.keep == Keep::Everything {
                piece.known = self.judged.len();
            }
        }
        let is_cut = self.ends(piece);
        let mut length = piece.known * FRAME;
        if self.is_over && !is_cut && piece.known == self.judged.len() {
            // The last frame is not complete.
            length = self.samples.len();
        }
        if length > 0 {
            piece.given += length;
            piece.known = 0;
            self.piece = Some(piece);
            return Some(Part::Samples(self.remove(length)));
        }
        let is_end = is_cut || self.is_over;
        self.piece = (!is_end).then_some(piece);
        is_end.then_some(Part::End)
    }

    /// True if nothing more belongs to the piece: at a pause, at a short one if the piece is long,
    /// or anywhere if it is as long as it may be.
    fn ends(&self, piece: Open) -> bool {
        let length = piece.given + piece.known * FRAME;
        piece.quiet >= PAUSE && self.keep == Keep::Speech
            || piece.quiet >= QUIET && length >= LONGEST - SEARCH * FRAME
            || length + FRAME > LONGEST
    }

    /// Judge the next frame; false if it is not complete.
    fn judge(&mut self) -> bool {
        let at = self.judged.len() * FRAME;
        if self.samples.len() < at + FRAME {
            return false;
        }
        let mut frame = [0.0; FRAME];
        for (sample, held) in frame.iter_mut().zip(self.samples.range(at..)) {
            *sample = *held;
        }
        self.judged.push_back(self.vad.judge(&frame).speech);
        true
    }

    /// Remove samples from the front.
    fn remove(&mut self, samples: usize) -> Vec<f32> {
        self.start += samples as u64;
        let frames = samples.div_ceil(FRAME).min(self.judged.len());
        self.judged.drain(..frames);
        self.samples.drain(..samples).collect()
    }
}
