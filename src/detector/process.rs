//! The detector itself: a confined process that judges samples until the supervisor hangs up.

use std::{collections::HashMap, io};

use super::wire::{Detecting, FromDetector, ToDetector};
use crate::{
    audio::{Judgement, LiveListener},
    isolation::servant,
};

/// Run as the detector.
///
/// # Errors
/// A supervisor did not start this process, or it cannot be confined.
pub fn main() -> io::Result<()> {
    let channel = servant::enter::<Detecting>()?;
    let mut streams: HashMap<u32, LiveListener> = HashMap::new();
    // An error of the channel means that the supervisor is gone.
    while let Ok((order, _)) = channel.receive() {
        match order {
            ToDetector::Open {
                stream,
                format,
                rule,
            } => {
                let listener = LiveListener::new(format, rule).map_err(io::Error::other)?;
                streams.insert(stream, listener);
            }
            ToDetector::Samples { stream, bytes } => {
                let listener = streams.get_mut(&stream);
                let heard = listener.map_or(Ok(Judgement::default()), |one| one.hear(&bytes));
                let judgement = heard.map_err(io::Error::other)?;
                let answer = FromDetector::Heard { stream, judgement };
                if channel.send(&answer, &[]).is_err() {
                    break;
                }
            }
            ToDetector::Judge { stream, rule } => {
                if let Some(listener) = streams.get_mut(&stream) {
                    listener.set_rule(rule);
                }
            }
            ToDetector::Close { stream } => {
                streams.remove(&stream);
            }
        }
    }
    Ok(())
}
