//! Which rates and how many channels are accepted.

use std::ops::RangeInclusive;

use super::AudioError;

/// Sample rates that are accepted, in hertz. Less than 2 kHz carries no speech, and every file of few samples
/// would become a long one.
pub const RATES: RangeInclusive<u32> = 2_000..=384_000;

/// Channels that are accepted: Symphonia's layouts of loudspeakers end at 64.
pub const CHANNELS: RangeInclusive<usize> = 1..=64;

/// Refuses what would make absurdly long blocks.
pub(super) fn check_rate(rate: u32) -> Result<(), AudioError> {
    if RATES.contains(&rate) {
        Ok(())
    } else {
        Err(AudioError::SampleRate(rate))
    }
}

/// Refuses what would make absurdly large buffers.
pub(super) fn check_channels(channels: usize) -> Result<(), AudioError> {
    if CHANNELS.contains(&channels) {
        Ok(())
    } else {
        Err(AudioError::Channels(channels))
    }
}

/// Refuses to listen to a channel that is not there.
pub(super) fn check_channel(asked: Option<u16>, channels: usize) -> Result<(), AudioError> {
    match asked {
        Some(asked) if usize::from(asked) >= channels => {
            Err(AudioError::NoChannel { asked, channels })
        }
        _ => Ok(()),
    }
}
