//! The messages between the supervisor and the detector. The detector's messages are hostile until
//! checked.

use serde::{Deserialize, Serialize};

use crate::{
    audio::{Judgement, LiveFormat, Rule},
    isolation::{channel::Message, servant::Duty},
};

/// Most bytes of samples in one message.
pub(super) const MAX_SAMPLES: usize = 16 * 1024;

/// A message from the supervisor to the detector.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum ToDetector {
    /// A stream of samples begins.
    Open {
        /// Number of the stream; no other one has it.
        stream: u32,
        /// Format of its samples.
        format: LiveFormat,
        /// When speech in it has ended.
        rule: Rule,
    },
    /// The next samples of a stream. Each is answered, before the next ones of that stream come.
    Samples {
        /// Number of the stream.
        stream: u32,
        /// At most [`MAX_SAMPLES`] bytes.
        bytes: Vec<u8>,
    },
    /// Judge this stream by another rule.
    Judge {
        /// Number of the stream.
        stream: u32,
        /// The new rule.
        rule: Rule,
    },
    /// The stream is over.
    Close {
        /// Number of the stream.
        stream: u32,
    },
}

/// A message from the detector to the supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum FromDetector {
    /// The answer to samples.
    Heard {
        /// Number of the stream.
        stream: u32,
        /// The result of judging them.
        judgement: Judgement,
    },
    /// The detector made a system call that its policy forbids, and is ending.
    Violation {
        /// Number of the system call, `u32::MAX` if it is unknown.
        call: u32,
    },
}

impl Message for ToDetector {
    const MAX_DESCRIPTORS: usize = 0;
}

impl Message for FromDetector {
    const MAX_DESCRIPTORS: usize = 0;
}

/// The detector's duty towards the supervisor.
pub(super) struct Detecting;

impl Duty for Detecting {
    type Order = ToDetector;
    type Answer = FromDetector;

    const NAME: &str = "detector";

    fn violation(call: u32) -> FromDetector {
        FromDetector::Violation { call }
    }
}
