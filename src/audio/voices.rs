//! Compares the channels of a recording: which of them have a sound of their own, and in which
//! moments one channel has nothing but what crosses over from another.
//!
//! Only levels are compared, not samples: sound that crosses over comes late, and changed by a room
//! or a telephone line.

use std::f32::consts::TAU;

/// Most channels that are compared. A call has two, and a conference bridge has few more.
pub const MOST_VOICES: usize = 8;

/// Steps in which levels are measured, in a second: short enough for a syllable's beginning.
const STEPS: u32 = 100;

/// Share of the power before in the power after a step: a time constant of 20 ms. In less time a
/// deep voice is no steady level.
const KEPT: f32 = 0.6;

/// Lower end of the compared band, in hertz: hum and rumble lie below it.
const LOWEST: f32 = 200.0;

/// Mean power (−80 dB of full scale) below which a channel is silent: the rounding error of 16
/// bits lies below it.
const SILENCE: f32 = 1e-8;

/// One of two channels is the louder one if it has this many times the power (6 dB).
const LOUDER: f32 = 4.0;

/// Two channels have the same sound if this part of their power comes while neither is the louder
/// one. Of a mix it is all. Of two people who always speak at once it is about a third
/// (docs/decisions/0054).
const SAME: f64 = 0.8;

/// A channel has a sound of its own if this part of its power comes while it is the louder one.
const OWN: f64 = 0.02;

/// Crossed-over sound is silenced up to this many times its usual power (8 dB): rooms and lines
/// make it louder and fainter.
const MARGIN: f32 = 6.3;

/// Share of a level that counts after a step: 20 dB less after 200 ms, as in the echo of a room.
const ECHO: f32 = 0.8;

/// Time in which a channel is silenced and heard again, in seconds: no click is heard.
const FADE: f32 = 0.01;

/// Decibels in the histogram of level differences. What is fainter by more does not matter.
const DECIBELS: usize = 80;

/// The levels of all channels, measured in steps.
#[derive(Clone, Debug, Default)]
struct Meter {
    rate: u32,
    /// Each channel's state: two filters, and the power of the present step.
    channels: Vec<([f32; 2], f32)>,
    /// Frames of the present step.
    frames: u32,
    /// Each channel's power, smoothed.
    powers: Vec<f32>,
}

impl Meter {
    /// Prepare for frames of so many channels at `rate` hertz.
    fn tune(&mut self, channels: usize, rate: u32) {
        if self.rate != rate || self.channels.len() != channels {
            *self = Self {
                rate,
                channels: vec![Default::default(); channels],
                frames: 0,
                powers: vec![0.0; channels],
            };
        }
    }

    /// Take one frame. True at the end of a step: `powers` are new then.
    fn take(&mut self, frame: &[f32]) -> bool {
        let reach = 1.0 - (-LOWEST * TAU / self.rate as f32).exp();
        for (([low, lower], sum), sample) in self.channels.iter_mut().zip(frame) {
            *low += reach * (sample - *low);
            let high = sample - *low;
            *lower += reach * (high - *lower);
            let high = high - *lower;
            *sum += high * high;
        }
        self.frames += 1;
        if self.frames < self.rate / STEPS {
            return false;
        }
        let frames = self.frames as f32;
        for (power, (_, sum)) in self.powers.iter_mut().zip(&mut self.channels) {
            *power = KEPT * *power + (1.0 - KEPT) * *sum / frames;
            *sum = 0.0;
        }
        self.frames = 0;
        true
    }
}

/// Compares all channels of a recording.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    meter: Meter,
    /// True if the number of channels changes: then they cannot be the same people's.
    is_odd: bool,
    /// Of each channel the sum of all powers, and the largest.
    sums: Vec<(f64, f32)>,
    /// Of each two channels, by their place in a table.
    pairs: Vec<Pair>,
}

/// One channel and another one.
#[derive(Clone, Debug)]
struct Pair {
    /// Power of both while neither is the louder one, and always.
    close: f64,
    all: f64,
    /// Power of the other one while it is the louder one, by how much it is louder.
    louder: [f64; DECIBELS],
}

impl Survey {
    /// Take the next frames, `channels` samples each.
    pub(super) fn take(&mut self, interleaved: &[f32], channels: usize, rate: u32) {
        if channels > MOST_VOICES || self.is_odd {
            self.sums.resize(channels, (0.0, 0.0));
            return;
        }
        if self.sums.is_empty() {
            self.sums = vec![(0.0, 0.0); channels];
            let pair = Pair {
                close: 0.0,
                all: 0.0,
                louder: [0.0; DECIBELS],
            };
            self.pairs = vec![pair; channels * channels];
        }
        self.is_odd |= self.sums.len() != channels;
        if self.is_odd {
            return;
        }
        self.meter.tune(channels, rate);
        for frame in interleaved.chunks_exact(channels) {
            if self.meter.take(frame) {
                self.compare();
            }
        }
    }

    /// Compare the powers of one step.
    fn compare(&mut self) {
        let powers = &self.meter.powers;
        for ((sum, largest), power) in self.sums.iter_mut().zip(powers) {
            *sum += f64::from(*power);
            *largest = power.max(*largest);
        }
        let pairs = powers
            .iter()
            .flat_map(|one| powers.iter().map(move |other| (*one, *other)));
        for (pair, (one, other)) in self.pairs.iter_mut().zip(pairs) {
            let both = f64::from(one.max(other));
            pair.all += both;
            if other >= LOUDER * one {
                let ratio = 10.0 * (other / one.max(f32::MIN_POSITIVE)).log10();
                let bin = (ratio as usize).min(DECIBELS - 1);
                pair.louder[bin] += f64::from(other);
            } else if one < LOUDER * other {
                pair.close += both;
            }
        }
    }

    /// The comparison, once the whole recording was taken.
    pub(super) fn voices(&self) -> Voices {
        let channels = self.sums.len();
        let mut voices = Voices {
            channels,
            own: Vec::new(),
            is_same: false,
            is_odd: self.is_odd || channels > MOST_VOICES,
            limits: vec![0.0; channels * channels],
        };
        if voices.is_odd {
            return voices;
        }
        let pair = |one: usize, other: usize| &self.pairs[one * channels + other];
        let is_audible = |channel: &usize| self.sums[*channel].1 >= SILENCE;
        let audible: Vec<usize> = (0..channels).filter(is_audible).collect();
        for one in audible.iter().copied() {
            let others = || audible.iter().copied().filter(|other| *other != one);
            let is_same = |other: usize| pair(one, other).close > SAME * pair(one, other).all;
            if others().any(|other| other < one && is_same(other)) {
                voices.is_same = true;
                continue;
            }
            // In the table of the other, this one is the louder one.
            let own = |other: usize| pair(other, one).louder.iter().sum::<f64>();
            let is_own = |other: usize| own(other) >= OWN * self.sums[one].0;
            if others().all(|other| is_same(other) || is_own(other)) {
                voices.own.push(one as u16);
            }
        }
        for one in voices.own.iter().map(|one| usize::from(*one)) {
            let others = voices.own.iter().map(|other| usize::from(*other));
            for other in others.filter(|other| *other != one) {
                voices.limits[one * channels + other] = pair(one, other).limit();
            }
        }
        voices
    }
}

impl Pair {
    /// Power relative to that of the other channel below which this one has nothing but what
    /// crosses over. Usually this channel is fainter by so much while the other one is louder.
    fn limit(&self) -> f32 {
        let half = self.louder.iter().sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let median = self.louder.iter().position(|power| {
            sum += power;
            sum > half
        });
        median.map_or(0.0, |decibels| {
            let usual = 10.0_f32.powf(-(decibels as f32) / 10.0);
            (usual * MARGIN).min(1.0)
        })
    }
}

/// The channels of a recording, compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Voices {
    /// Number of channels.
    pub channels: usize,
    /// Numbers of the channels that have a sound of their own, from 0. Of channels with the same
    /// sound it is the first.
    pub own: Vec<u16>,
    /// True if some channels have the same sound.
    pub is_same: bool,
    /// True if the channels cannot be compared: they are too many, or their number changes.
    pub is_odd: bool,
    /// For each channel its limit next to each other one: see [`Pair::limit`].
    limits: Vec<f32>,
}

/// Lets one channel through, but not what crosses over from others.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    meter: Meter,
    /// The limits of this channel next to each other one.
    limits: Vec<f32>,
    /// The levels of all channels, with their echo.
    levels: Vec<f32>,
    is_shut: bool,
    /// Share of the channel in the output, 0 … 1.
    share: f32,
}

impl Gate {
    /// The gate of `channel`.
    pub(super) fn of(voices: &Voices, channel: u16) -> Self {
        let mut limits = voices.limits.chunks(voices.channels.max(1));
        Self {
            limits: limits.nth(channel.into()).unwrap_or_default().to_vec(),
            share: 1.0,
            ..Self::default()
        }
    }

    /// Append what is let through of `channel`.
    pub(super) fn pass(
        &mut self,
        interleaved: &[f32],
        channels: usize,
        rate: u32,
        channel: usize,
        mono: &mut Vec<f32>,
    ) {
        self.meter.tune(channels, rate);
        self.levels.resize(channels, 0.0);
        let step = 1.0 / (FADE * rate as f32);
        for frame in interleaved.chunks_exact(channels) {
            if self.meter.take(frame) {
                self.decide(channel);
            }
            let step = if self.is_shut { -step } else { step };
            self.share = (self.share + step).clamp(0.0, 1.0);
            mono.push(frame[channel] * self.share);
        }
    }

    fn decide(&mut self, channel: usize) {
        let powers = &self.meter.powers;
        let own = powers[channel];
        let levels = self.levels.iter_mut().zip(powers).zip(&self.limits);
        self.is_shut = false;
        for ((level, power), limit) in levels {
            *level = power.max(*level * ECHO);
            self.is_shut |= own < *level * limit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 16_000;

    /// Somebody who says syllables of some length, with pauses: noise of changing loudness.
    fn voice(seed: u32, seconds: usize) -> Vec<f32> {
        let mut state = seed;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        let mut samples = Vec::new();
        while samples.len() < seconds * RATE {
            let loud = if random() < 0.3 { 0.0 } else { random() };
            let length = 500 + (random() * 3_000.0) as usize;
            samples.extend((0..length).map(|_| loud * loud * (random() - 0.5)));
        }
        samples.truncate(seconds * RATE);
        samples
    }

    /// The frames of these channels, one after the other.
    fn interleaved(channels: &[Vec<f32>]) -> Vec<f32> {
        let frames = 0..channels[0].len();
        frames
            .flat_map(|n| channels.iter().map(move |channel| channel[n]))
            .collect()
    }

    fn survey(channels: &[Vec<f32>]) -> Voices {
        let mut survey = Survey::default();
        for block in interleaved(channels).chunks(480 * channels.len()) {
            survey.take(block, channels.len(), RATE as u32);
        }
        survey.voices()
    }

    fn mixed(one: &[f32], other: &[f32], gain: f32, delay: usize) -> Vec<f32> {
        let late = std::iter::repeat_n(&0.0, delay).chain(other);
        one.iter().zip(late).map(|(a, b)| a + gain * b).collect()
    }

    /// Two people who take turns of three seconds, and speak at once for a second.
    fn call() -> [Vec<f32>; 2] {
        let turn = |seed, even| {
            let voice = voice(seed, 24);
            let speaks = |n: usize| ((n / RATE) % 6 < 3) == even || (n / RATE) == 10;
            let turns = voice.into_iter().enumerate();
            turns
                .map(|(n, s)| if speaks(n) { s } else { s * 1e-4 })
                .collect()
        };
        [turn(1, true), turn(2, false)]
    }

    fn power(samples: &[f32]) -> f32 {
        samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32
    }

    fn gated(channels: &[Vec<f32>], channel: u16) -> Vec<f32> {
        let voices = survey(channels);
        let mut gate = Gate::of(&voices, channel);
        let mut mono = Vec::new();
        for block in interleaved(channels).chunks(333 * channels.len()) {
            let count = channels.len();
            gate.pass(block, count, RATE as u32, channel.into(), &mut mono);
        }
        mono
    }

    #[test]
    fn people_on_channels_of_their_own_are_told_from_a_mix() {
        let [ann, bob] = call();
        let silent = vec![0.0; ann.len()];
        let both = mixed(&ann, &bob, 1.0, 0);
        let fainter: Vec<f32> = both.iter().map(|s| s * 0.7).collect();
        let at_once = [voice(1, 24), voice(2, 24)];
        let hiss: Vec<f32> = voice(9, 24).iter().map(|s| s * 1e-3).collect();
        type Case<'a> = (&'a str, Vec<Vec<f32>>, &'a [u16], bool);
        let cases: [Case<'_>; 9] = [
            ("a call", vec![ann.clone(), bob.clone()], &[0, 1], false),
            ("people who speak at once", at_once.to_vec(), &[0, 1], false),
            (
                "a call that crosses over at -12 dB, late",
                vec![mixed(&ann, &bob, 0.25, 300), mixed(&bob, &ann, 0.25, 300)],
                &[0, 1],
                false,
            ),
            (
                "the same twice",
                vec![both.clone(), both.clone()],
                &[0],
                true,
            ),
            ("a mix", vec![both.clone(), fainter.clone()], &[0], true),
            ("one side", vec![silent.clone(), bob.clone()], &[1], false),
            (
                "one side that crosses over",
                vec![mixed(&hiss, &bob, 0.1, 80), bob.clone()],
                &[1],
                false,
            ),
            ("silence", vec![silent.clone(), silent.clone()], &[], false),
            (
                "two people, one of them twice",
                vec![ann.clone(), bob.clone(), ann.clone(), silent],
                &[0, 1],
                true,
            ),
        ];
        for (what, channels, own, is_same) in cases {
            let voices = survey(&channels);
            assert_eq!(voices.own, own, "{what}");
            assert_eq!(voices.is_same, is_same, "{what}");
            assert!(
                !voices.is_odd && voices.channels == channels.len(),
                "{what}"
            );
        }
        assert_eq!(survey(&[ann]).own, [0]);
    }

    #[test]
    fn channels_that_come_and_go_or_are_many_are_not_compared() {
        let [ann, _] = call();
        assert!(survey(&vec![ann.clone(); MOST_VOICES + 1]).is_odd);
        let mut survey = Survey::default();
        survey.take(&ann, 1, RATE as u32);
        survey.take(&ann, 2, RATE as u32);
        survey.take(&ann, 9, RATE as u32);
        assert!(survey.voices().is_odd && survey.voices().own.is_empty());
    }

    #[test]
    fn what_crosses_over_is_silenced_and_nothing_else() {
        let [ann, bob] = call();
        for (gain, delay) in [(0.1, 0), (0.1, 160), (0.2, 400), (0.03, 0)] {
            let channels = [
                mixed(&ann, &bob, gain, delay),
                mixed(&bob, &ann, gain, delay),
            ];
            let heard = gated(&channels, 0);
            let second = |n: usize| n * RATE..(n + 1) * RATE;
            for n in 0..24 {
                let (before, after) = (power(&channels[0][second(n)]), power(&heard[second(n)]));
                let what = format!("second {n} at {gain} after {delay}: {before} {after}");
                match n % 6 {
                    // Bob alone, but for the first moments after a change.
                    4 if n != 10 => assert!(after < before * 0.03, "{what}"),
                    0..=2 => assert!(after > before * 0.9, "{what}"),
                    _ if n == 10 => assert!(after > before * 0.8, "{what}"),
                    _ => {}
                }
            }
        }
        // Where nothing crosses over, nobody is silenced.
        let heard = gated(&[ann.clone(), bob], 0);
        assert!(power(&heard) > power(&ann) * 0.95);
    }

    #[test]
    fn a_gate_survives_a_recording_that_changes() {
        let [ann, bob] = call();
        let mut gate = Gate::of(&survey(&[ann.clone(), bob]), 1);
        let mut mono = Vec::new();
        for (channels, rate) in [(2, 8_000), (3, 48_000), (2, 2_000)] {
            gate.pass(&ann[..6_000], channels, rate, 1, &mut mono);
        }
        assert_eq!(mono.len(), 3_000 + 2_000 + 3_000);
    }
}
