//! Converts samples of any type and number of channels to one channel of `f32`.
//!
//! The mean of all channels is taken, unless they cancel each other out: balanced lines and some
//! microphones record the same sound with opposite signs. Then the louder channel is taken alone.

use std::{f32::consts::TAU, ops::Range};

use symphonia::core::audio::GenericAudioBufferRef;

use super::{
    tracks::Wanted,
    voices::{Gate, Survey, Voices},
};

/// The band in which channels are compared, in hertz. Most of a voice's power lies there. Hum lies
/// below it, and is often equal in channels whose voices cancel out.
const BAND: Range<f32> = 200.0..1_500.0;

/// Rate at which the band is looked at, at least, in hertz: the mean of several samples stands for
/// them. That is a fraction of the work for each sample, and what it folds into the band it folds
/// there in all channels alike.
const LOOKS: f32 = 5_000.0;

/// Time after which a power counts only 1/e, in seconds: a syllable. Silence decides nothing, so
/// the choice stays as it is in pauses.
const MEMORY: f32 = 0.2;

/// Channels cancel out below the first, and no more above the second power of their mean, relative
/// to that of unrelated sounds of the same powers. Equal sounds in two channels have 2, in one of
/// two channels 1, and opposite ones 0, or what noise they have. An opposite sound of half the
/// amplitude has 0.2; then the mean is still the sound.
const CANCELS: Range<f32> = 0.18..0.5;

/// Another channel is taken if it has this many times the power (6 dB).
const LOUDER: f32 = 4.0;

/// Mean power (−90 dB of full scale) below which nothing is decided.
const SILENCE: f32 = 1e-9;

/// Time in which the output goes over from the mean to one channel, in seconds: no click is heard.
const FADE: f32 = 0.01;

/// Time in which channels must cancel out for a warning, in seconds.
const LONG: f32 = 0.25;

/// Mixes the channels of one recording, block by block.
#[derive(Default)]
pub(super) struct Mixer {
    /// Number of the only wanted channel; `None` for all.
    only: Option<u16>,
    /// Silences in it what crosses over from others.
    gate: Option<Gate>,
    /// Compares all channels.
    survey: Option<Survey>,
    /// Number by which samples are multiplied, if they are floats of another scale.
    scale: Option<f32>,
    /// Scratch space.
    interleaved: Vec<f32>,
    channels: Vec<Channel>,
    /// Number of frames in the sums of the channels.
    summed: usize,
    /// Power of the channels' mean in the band, summed over [`MEMORY`].
    mean: f32,
    /// Number of looks in the powers.
    looks: f32,
    /// The channel that is taken alone while channels cancel out.
    alone: Option<usize>,
    /// The channel that was taken last, and its share of the output, 0 … 1.
    taken: usize,
    share: f32,
    /// Seconds in which one channel was taken alone.
    seconds: f32,
}

/// One of several channels that are compared.
struct Channel {
    /// Sum of the samples since the last look.
    sum: f32,
    /// State of the low-pass filter at the upper end of the band, and of two at its lower end.
    below: [f32; 3],
    /// Power in the band, summed over [`MEMORY`].
    power: f32,
}

impl Channel {
    /// A channel that begins with this sample. Its filters have settled there, so that a constant
    /// offset is no sound: offsets of opposite signs would be taken for opposite sounds.
    fn at(sample: &f32) -> Self {
        Self {
            sum: 0.0,
            below: [*sample, *sample, 0.0],
            power: 0.0,
        }
    }
}

impl Mixer {
    /// A mixer for a recording of which this is wanted.
    pub(super) fn of(wanted: &Wanted) -> Self {
        let gate = wanted.voices.as_deref().zip(wanted.channel);
        Self {
            only: wanted.channel,
            gate: gate.map(|(voices, channel)| Gate::of(voices, channel)),
            survey: wanted.survey.then(Survey::default),
            ..Self::default()
        }
    }

    /// Multiply all samples that follow.
    pub(super) fn multiply(&mut self, by: f64) {
        self.scale = (by != 1.0).then_some(by as f32);
    }

    /// The comparison of all channels, if it was wanted. Complete after the last frame.
    pub(super) fn voices(&self) -> Option<Voices> {
        self.survey.as_ref().map(Survey::voices)
    }

    /// Append the frames of `range` to `mono`: of each frame the wanted channel, which must exist,
    /// or the mean of all channels, or the louder one where they cancel out.
    ///
    /// Integers map to −1 … 1 by a power of two, so 8-, 16- and 24-bit mono stays exact. A file of
    /// floats can hold any value: NaN becomes silence, and values outside −1 … 1 are clipped.
    ///
    /// `range` must lie within the buffer's frames.
    pub(super) fn append(
        &mut self,
        buffer: &GenericAudioBufferRef<'_>,
        range: Range<usize>,
        mono: &mut Vec<f32>,
    ) {
        let slice = buffer.slice(range);
        let channels = slice.num_planes().max(1);
        let mut interleaved = std::mem::take(&mut self.interleaved);
        slice.copy_to_vec_interleaved(&mut interleaved);
        // Integers cannot be out of range.
        if let GenericAudioBufferRef::F32(_) | GenericAudioBufferRef::F64(_) = buffer {
            let scale = self.scale.unwrap_or(1.0);
            interleaved
                .iter_mut()
                .for_each(|sample| *sample = sane(*sample * scale));
        }
        let rate = buffer.spec().rate();
        if let Some(survey) = &mut self.survey {
            survey.take(&interleaved, channels, rate);
        }
        if let Some((gate, channel)) = self.gate.as_mut().zip(self.only)
            && usize::from(channel) < channels
        {
            gate.pass(&interleaved, channels, rate, channel.into(), mono);
        } else if let Some(channel) = self.only {
            let samples = interleaved.iter().skip(channel.into());
            mono.extend(samples.step_by(channels));
        } else if channels == 1 {
            mono.extend_from_slice(&interleaved);
        } else {
            let rate = rate as f32;
            self.compare(&interleaved, channels, rate);
            self.decide();
            self.mix(&interleaved, channels, rate, mono);
        }
        self.interleaved = interleaved;
    }

    /// A sentence for the sender if channels cancelled out.
    pub(super) fn warning(&self) -> Option<String> {
        (self.seconds >= LONG).then(|| {
            format!(
                "the channels cancel each other out (they have opposite signs): for {:.1} s only \
                 the louder one was heard; `channel` selects one",
                self.seconds
            )
        })
    }

    /// Add the powers of these frames, while what was before is forgotten.
    fn compare(&mut self, interleaved: &[f32], channels: usize, rate: f32) {
        if self.channels.len() != channels {
            *self = Self {
                survey: self.survey.take(),
                scale: self.scale,
                seconds: self.seconds,
                channels: interleaved.iter().take(channels).map(Channel::at).collect(),
                ..Self::default()
            };
        }
        let frames = interleaved.len() / channels;
        let kept = (-(frames as f32) / (MEMORY * rate)).exp();
        self.mean *= kept;
        self.looks *= kept;
        self.channels
            .iter_mut()
            .for_each(|channel| channel.power *= kept);
        let step = match (rate / LOOKS) as usize {
            few @ ..4 => few.max(1),
            // Frames of two and four channels then fill whole vectors.
            many => many & !3,
        };
        let rate = rate / step as f32;
        let reach = [BAND.end, BAND.start].map(|hertz| 1.0 - (-hertz * TAU / rate).exp());
        let mut rest = interleaved;
        while !rest.is_empty() {
            let missing = (step - self.summed) * channels;
            let (part, behind) = rest.split_at(missing.min(rest.len()));
            add(part, &mut self.channels);
            self.summed += part.len() / channels;
            if self.summed >= step {
                self.look(reach);
            }
            rest = behind;
        }
    }

    /// Add the powers of the samples since the last look.
    fn look(&mut self, reach: [f32; 2]) {
        let step = std::mem::take(&mut self.summed) as f32;
        let mut sum = 0.0;
        for channel in &mut self.channels {
            let sample = std::mem::take(&mut channel.sum) / step;
            let [high, low, lowest] = &mut channel.below;
            *high += reach[0] * (sample - *high);
            *low += reach[1] * (*high - *low);
            *lowest += reach[1] * (*high - *low - *lowest);
            let inside = *high - *low - *lowest;
            channel.power += inside * inside;
            sum += inside;
        }
        let mean = sum / self.channels.len() as f32;
        self.mean += mean * mean;
        self.looks += 1.0;
    }

    /// Decide whether one channel is taken alone, and which.
    fn decide(&mut self) {
        let count = self.channels.len() as f32;
        let unrelated = self
            .channels
            .iter()
            .map(|channel| channel.power)
            .sum::<f32>()
            / count
            / count;
        if unrelated < SILENCE * self.looks {
            return;
        }
        let ratio = self.mean / unrelated;
        // Codecs add noise to opposite sounds, and make them equal in pauses. So channels that were
        // opposite are taken for it more easily.
        let begins = if self.seconds < LONG {
            CANCELS.start
        } else {
            CANCELS.end
        };
        let power = |channel: usize| self.channels[channel].power;
        let loudest = (0..self.channels.len()).fold(0, |best, channel| {
            if power(channel) > power(best) {
                channel
            } else {
                best
            }
        });
        self.alone = match self.alone {
            None if ratio < begins => Some(loudest),
            Some(_) if ratio > CANCELS.end => None,
            Some(taken) if power(loudest) > LOUDER * power(taken) => Some(loudest),
            same => same,
        };
        self.taken = self.alone.unwrap_or(self.taken);
    }

    /// Append the output of these frames.
    fn mix(&mut self, interleaved: &[f32], channels: usize, rate: f32, mono: &mut Vec<f32>) {
        if self.alone.is_none() && self.share == 0.0 {
            let count = channels as f32;
            if channels == 2 {
                let (frames, _) = interleaved.as_chunks();
                mono.extend(frames.iter().map(|[left, right]| (left + right) / 2.0));
            } else {
                let frames = interleaved.chunks_exact(channels);
                mono.extend(frames.map(|frame| frame.iter().sum::<f32>() / count));
            }
            return;
        }
        let step = 1.0 / (FADE * rate);
        let step = if self.alone.is_some() { step } else { -step };
        for frame in interleaved.chunks_exact(channels) {
            let mean = frame.iter().sum::<f32>() / channels as f32;
            self.share = (self.share + step).clamp(0.0, 1.0);
            mono.push(mean + self.share * (frame[self.taken] - mean));
        }
        if self.alone.is_some() {
            self.seconds += (interleaved.len() / channels) as f32 / rate;
        }
    }
}

/// Add these samples to the sums of their channels.
fn add(interleaved: &[f32], channels: &mut [Channel]) {
    /// Sums that do not wait for each other.
    const LANES: usize = 8;
    let count = channels.len();
    let whole = match LANES % count {
        0 => interleaved.len() / LANES * LANES,
        _ => 0,
    };
    let (whole, rest) = interleaved.split_at(whole);
    let mut lanes = [0.0; LANES];
    for samples in whole.chunks_exact(LANES) {
        for (lane, sample) in lanes.iter_mut().zip(samples) {
            *lane += sample;
        }
    }
    for (place, sample) in lanes.iter().enumerate() {
        channels[place % count].sum += sample;
    }
    for frame in rest.chunks(count) {
        for (channel, sample) in channels.iter_mut().zip(frame) {
            channel.sum += sample;
        }
    }
}

/// Limit a sample to the range that engines expect.
pub(super) fn sane(sample: f32) -> f32 {
    if sample.is_nan() {
        0.0
    } else {
        sample.clamp(-1.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use symphonia::core::audio::{
        AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, Channels,
    };

    fn buffer(channels: u16, interleaved: &[f32]) -> AudioBuffer<f32> {
        let spec = AudioSpec::new(16_000, Channels::Discrete(channels));
        let frames = interleaved.len() / usize::from(channels);
        let mut buffer = AudioBuffer::new(spec, frames);
        buffer.render_uninit(None);
        buffer.copy_from_slice_interleaved(&interleaved);
        buffer
    }

    fn mix(channels: u16, interleaved: &[f32], range: Range<usize>) -> Vec<f32> {
        pick(None, channels, interleaved, range)
    }

    fn pick(
        channel: Option<u16>,
        channels: u16,
        interleaved: &[f32],
        range: Range<usize>,
    ) -> Vec<f32> {
        let mut mono = Vec::new();
        let buffer = buffer(channels, interleaved);
        let buffer = buffer.as_generic_audio_buffer_ref();
        let wanted = Wanted {
            channel,
            ..Wanted::default()
        };
        Mixer::of(&wanted).append(&buffer, range, &mut mono);
        mono
    }

    #[test]
    fn one_channel_passes_through_and_more_are_averaged() {
        assert_eq!(mix(1, &[0.25, -0.5, 1.0], 0..3), [0.25, -0.5, 1.0]);
        assert_eq!(
            mix(2, &[0.5, 0.25, -1.0, 1.0, 0.1, 0.1], 0..2),
            [0.375, 0.0]
        );
        assert_eq!(mix(4, &[1.0, 0.0, 0.0, 1.0], 0..1), [0.5]);
    }

    #[test]
    fn one_channel_of_several_can_be_picked() {
        let frames = [0.1, 0.2, 0.3, 0.4, 0.5, f32::NAN];
        assert_eq!(pick(Some(0), 3, &frames, 0..2), [0.1, 0.4]);
        assert_eq!(pick(Some(2), 3, &frames, 0..2), [0.3, 0.0]);
        assert_eq!(pick(Some(0), 1, &frames, 0..2), [0.1, 0.2]);
    }

    #[test]
    fn only_the_asked_range_is_mixed() {
        assert_eq!(mix(1, &[0.1, 0.2, 0.3, 0.4], 1..3), [0.2, 0.3]);
    }

    #[test]
    fn floats_that_are_no_samples_do_no_harm() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3.0e38, -2.0];
        assert_eq!(mix(1, &odd, 0..5), [0.0, 1.0, -1.0, 1.0, -1.0]);
        assert_eq!(mix(2, &[f32::NAN, 0.5], 0..1), [0.25]);
    }

    /// A voice in 16 kHz: a tone of 500 Hz that comes and goes four times a second.
    fn voice(seconds: usize) -> Vec<f32> {
        let samples = 0..seconds * 16_000;
        let at = |n: usize| n as f32 / 16_000.0 * std::f32::consts::TAU;
        samples
            .map(|n| 0.3 * (500.0 * at(n)).sin() * (4.0 * at(n)).sin())
            .collect()
    }

    /// The mix of two channels that come in blocks of 480 frames, and the warning.
    fn mixed(left: &[f32], right: &[f32]) -> (Vec<f32>, Option<String>) {
        let (mut mixer, mut mono) = (Mixer::default(), Vec::new());
        let frames: Vec<f32> = left.iter().zip(right).flat_map(|(a, b)| [*a, *b]).collect();
        for block in frames.chunks(960) {
            let buffer = buffer(2, block);
            let range = 0..block.len() / 2;
            mixer.append(&buffer.as_generic_audio_buffer_ref(), range, &mut mono);
        }
        (mono, mixer.warning())
    }

    fn power(samples: &[f32]) -> f32 {
        samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32
    }

    #[test]
    fn opposite_channels_do_not_cancel_out() {
        let voice = voice(3);
        let hum = |n: usize| 0.3 * (n as f32 * 50.0 / 16_000.0 * std::f32::consts::TAU).sin();
        let turned = |gain: f32, delay: usize, hum_gain: f32| -> Vec<f32> {
            let late = std::iter::repeat_n(&0.0, delay).chain(&voice);
            late.zip(0..voice.len())
                .map(|(s, n)| gain * s + hum_gain * hum(n))
                .collect()
        };
        for (what, left, right) in [
            ("opposite", voice.clone(), turned(-1.0, 0, 0.0)),
            (
                "a little fainter",
                turned(0.8, 0, 0.0),
                turned(-1.0, 0, 0.0),
            ),
            ("a little later", voice.clone(), turned(-1.0, 1, 0.0)),
            ("with equal hum", turned(1.0, 0, 1.0), turned(-1.0, 0, 1.0)),
        ] {
            let (mono, warning) = mixed(&left, &right);
            assert!(
                warning.is_some_and(|text| text.contains("opposite")),
                "{what}"
            );
            assert!(power(&mono) > 0.8 * power(&voice), "{what}");
            let steps = mono.windows(2).map(|two| (two[1] - two[0]).abs());
            assert!(steps.fold(0.0, f32::max) < 0.1, "{what}");
        }
    }

    #[test]
    fn opposite_channels_are_known_again_behind_the_noise_of_a_codec() {
        let mut state = 1_u32;
        let mut noise = |gain: f32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            gain * ((state >> 16) as f32 / 32_768.0 - 1.0)
        };
        let voice = voice(2);
        let pause: Vec<f32> = (0..32_000).map(|_| noise(0.01)).collect();
        let opposite: Vec<f32> = voice.iter().map(|sample| -sample).collect();
        let noisy: Vec<f32> = voice.iter().map(|sample| noise(0.4) - sample).collect();
        let left = [&voice[..], &pause, &voice].concat();
        let right = [&opposite[..], &pause, &noisy].concat();
        let (mono, _) = mixed(&left, &right);
        let voiced = mono[mono.len() - voice.len()..].iter().zip(&voice);
        let common = voiced.map(|(a, b)| a * b).sum::<f32>() / voice.len() as f32;
        assert!(common.abs() > 0.7 * power(&voice), "{common}");
        // Alone, such a part is mixed: two sounds that have little to do with each other.
        let (_, warning) = mixed(&voice, &noisy);
        assert_eq!(warning, None);
    }

    #[test]
    fn offsets_of_opposite_signs_are_no_opposite_sounds() {
        let voice = voice(3);
        let shifted = |by: f32| -> Vec<f32> { voice.iter().map(|s| s + by).collect() };
        let silence = vec![-0.4; voice.len()];
        for (left, right) in [(shifted(0.4), shifted(-0.4)), (shifted(0.4), silence)] {
            let (_, warning) = mixed(&left, &right);
            assert_eq!(warning, None);
        }
    }

    #[test]
    fn other_channels_are_mixed() {
        let voice = voice(3);
        let silence = vec![0.0; voice.len()];
        let later: Vec<f32> = [&silence[..200], &voice].concat();
        for right in [&voice, &silence, &later] {
            let (mono, warning) = mixed(&voice, right);
            assert_eq!(warning, None);
            let mean = voice.iter().zip(right).map(|(a, b)| (a + b) / 2.0);
            assert!(mono.into_iter().eq(mean));
        }
    }

    #[test]
    fn the_choice_follows_the_recording() {
        let voice = voice(3);
        let opposite: Vec<f32> = voice.iter().map(|sample| -sample).collect();
        let left = voice.repeat(3);
        let right = [&voice[..], &opposite, &voice].concat();
        let (mono, _) = mixed(&left, &right);
        for second in [1, 4, 5, 8] {
            let part = second * 16_000..(second + 1) * 16_000;
            assert!(power(&mono[part]) > 0.8 * power(&voice), "{second}");
        }
    }
}
