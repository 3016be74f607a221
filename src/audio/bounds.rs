//! The accepted sample rates and numbers of channels.

use std::ops::RangeInclusive;

use super::AudioError;

/// Accepted sample rates, in hertz. A rate below 2 kHz carries no speech, and would turn a file of
/// few samples into a long one.
pub const RATES: RangeInclusive<u32> = 2_000..=384_000;

/// Accepted numbers of channels: Symphonia's loudspeaker layouts end at 64.
pub const CHANNELS: RangeInclusive<usize> = 1..=64;

/// Refuse rates that would make absurdly long blocks.
pub(super) fn check_rate(rate: u32) -> Result<(), AudioError> {
    if RATES.contains(&rate) {
        Ok(())
    } else {
        Err(AudioError::SampleRate(rate))
    }
}

/// Refuse numbers of channels that would make absurdly large buffers.
pub(super) fn check_channels(channels: usize) -> Result<(), AudioError> {
    if CHANNELS.contains(&channels) {
        Ok(())
    } else {
        Err(AudioError::Channels(channels))
    }
}

/// Refuse a requested channel that does not exist.
pub(super) fn check_channel(asked: Option<u16>, channels: usize) -> Result<(), AudioError> {
    match asked {
        Some(asked) if usize::from(asked) >= channels => {
            Err(AudioError::NoChannel { asked, channels })
        }
        _ => Ok(()),
    }
}
