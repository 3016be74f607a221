//! Converts samples of any type and number of channels to one channel of `f32`.

use std::ops::Range;

use symphonia::core::audio::GenericAudioBufferRef;

/// Appends the frames of `range` to `mono`: of each frame the requested channel, which must exist,
/// or the mean of all channels.
///
/// Integers map to −1 … 1 by a power of two, so 8-, 16- and 24-bit mono stays exact. A file of
/// floats can hold any value: NaN becomes silence, and values outside −1 … 1 are clipped.
///
/// `interleaved` is scratch space; `range` must lie within the buffer's frames.
pub(super) fn append_mono(
    buffer: &GenericAudioBufferRef<'_>,
    range: Range<usize>,
    channel: Option<u16>,
    interleaved: &mut Vec<f32>,
    mono: &mut Vec<f32>,
) {
    let slice = buffer.slice(range);
    let channels = slice.num_planes();
    slice.copy_to_vec_interleaved(interleaved);
    if let Some(channel) = channel {
        let samples = interleaved.iter().skip(channel.into());
        mono.extend(samples.step_by(channels.max(1)).copied().map(sane));
    } else if channels == 1 {
        mono.extend(interleaved.iter().copied().map(sane));
    } else if channels > 1 {
        let frames = interleaved.chunks_exact(channels);
        mono.extend(
            frames.map(|frame| frame.iter().copied().map(sane).sum::<f32>() / channels as f32),
        );
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
        let (mut scratch, mut mono) = (Vec::new(), Vec::new());
        let buffer = buffer(channels, interleaved);
        append_mono(
            &buffer.as_generic_audio_buffer_ref(),
            range,
            channel,
            &mut scratch,
            &mut mono,
        );
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
}
