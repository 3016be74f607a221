//! Cuts what a container carries of MPEG audio or ADTS into frames with times.

use std::collections::VecDeque;

use symphonia::core::{
    codecs::audio::{AudioCodecId, AudioCodecParameters, well_known as codec},
    packet::Packet,
    units::{Duration, Timestamp},
};

use super::params;
use crate::audio::frames::{Frame, HEADER, Sort};

/// Bytes in which a frame must be found: twice the longest of ADTS.
const SEARCH: usize = 1 << 14;

/// Times of payloads in whose bytes no frame has begun yet.
const MOST_MARKS: usize = 64;

/// The frames of one stream.
#[derive(Default)]
pub(super) struct Framer {
    bytes: Vec<u8>,
    /// Bytes that were taken from the front so far.
    taken: u64,
    /// Where payloads began, and their times in ticks.
    marks: VecDeque<(u64, i64)>,
    /// A frame of the stream, which all others must be like.
    like: Option<Frame>,
    /// True if the next frame should begin at the front.
    is_in_step: bool,
    /// Time of the next frame in ticks, if its payload tells none.
    next: i64,
    /// Parts of a tick by which `next` is too early, as a fraction of the sample rate.
    rest: u64,
}

/// Codec, rate and channels of these frames.
pub(crate) fn params_of(frame: &Frame) -> AudioCodecParameters {
    let codec: AudioCodecId = match frame.sort {
        Sort::Mpeg(1) => codec::CODEC_ID_MP1,
        Sort::Mpeg(2) => codec::CODEC_ID_MP2,
        Sort::Mpeg(_) => codec::CODEC_ID_MP3,
        Sort::Adts => codec::CODEC_ID_AAC,
    };
    params(codec, frame.rate, frame.channels.into())
}

impl Framer {
    /// Adds the bytes of a payload. `time` belongs to the first frame that begins in it.
    pub(super) fn push(&mut self, bytes: &[u8], time: Option<i64>) {
        if let Some(time) = time {
            if self.marks.len() == MOST_MARKS {
                self.marks.pop_front();
            }
            self.marks
                .push_back((self.taken + self.bytes.len() as u64, time));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame as a packet of this track, with times in ticks of which a second has
    /// `ticks`; `None` if more bytes are needed. `is_last` tells that there are none.
    pub(super) fn next(&mut self, track: u32, ticks: u32, is_last: bool) -> Option<Packet> {
        let frame = self.find(is_last)?;
        let begins = self.taken;
        while let Some((_, time)) = self.marks.front().filter(|(at, _)| *at <= begins) {
            (self.next, self.rest) = (*time, 0);
            self.marks.pop_front();
        }
        let pts = Timestamp::new(self.next);
        let exact = u64::from(frame.samples) * u64::from(ticks) + self.rest;
        let length = exact / u64::from(frame.rate);
        self.rest = exact % u64::from(frame.rate);
        self.next = self.next.saturating_add(length as i64);
        let bytes: Vec<u8> = self.bytes[frame.header.min(frame.len)..frame.len].to_vec();
        self.drop_front(frame.len);
        Some(Packet::new(track, pts, Duration::new(length), bytes))
    }

    /// A frame of the stream, once one was found.
    pub(super) fn like(&self) -> Option<&Frame> {
        self.like.as_ref()
    }

    /// Moves to the next whole frame.
    fn find(&mut self, is_last: bool) -> Option<Frame> {
        let mut at = 0;
        let found = loop {
            let rest = &self.bytes[at..];
            if rest.len() < HEADER {
                break None;
            }
            let frame =
                Frame::at(rest).filter(|frame| self.like.is_none_or(|like| frame.is_like(&like)));
            let Some(frame) = frame else {
                self.is_in_step = false;
                at += 1;
                continue;
            };
            if rest.len() < frame.len {
                // Behind a false header the end of the frame never comes.
                if is_last && !self.is_in_step {
                    at += 1;
                    continue;
                }
                break None;
            }
            let next = &rest[frame.len..];
            let is_followed = Frame::at(next).is_some_and(|next| next.is_like(&frame));
            if self.is_in_step || is_followed {
                break Some(frame);
            }
            if next.len() < HEADER && !is_last {
                break None;
            }
            // The last of all need not be followed.
            if next.len() < HEADER && self.like.is_some() {
                break Some(frame);
            }
            at += 1;
        };
        self.drop_front(at);
        if found.is_none() && self.bytes.len() > SEARCH {
            self.drop_front(self.bytes.len() - SEARCH / 2);
        }
        if let Some(frame) = found {
            self.like = Some(frame);
            self.is_in_step = true;
        }
        found
    }

    fn drop_front(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.taken += count as u64;
    }
}
