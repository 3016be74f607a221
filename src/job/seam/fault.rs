//! Jobs that break the protocol with the supervisor on request. Only for tests; never in a package.
//!
//! Like the modes of engine `fault` (see `engine::fault`), but below the engine, on the channel
//! itself.
//!
//! | mode | action | answer to the client |
//! |---|---|---|
//! | `ready-twice` | says again that it is ready | 502 `worker_misbehaved` |
//! | `wrong-request` | answers another request | 502 `worker_misbehaved` |
//! | `progress-back` | claims less audio than before | 502 `worker_misbehaved` |
//! | `lie-audio` `lie-figures` | claims more audio than there may be | 502 `worker_misbehaved` |
//! | `heard-back` | claims that less is done than before | 502 `worker_misbehaved` |
//! | `lie-heard` `lie-total` | claims more than there may be | 502 `worker_misbehaved` |
//! | `lie-language` | claims an invalid language | 502 `worker_misbehaved` |
//! | `progress-flood` | repeats the same progress forever | 502 `worker_misbehaved` |
//! | `huge-warnings` | warns far too often | 502 `worker_misbehaved` |
//! | `malformed` `oversized` | sends an invalid message | 502 `worker_misbehaved` |
//! | `empty-datagram` | sends an invalid message | 502 `worker_misbehaved` |
//! | `bad-version` `trailing-bytes` | sends an invalid message | 502 `worker_misbehaved` |
//! | `fd-attack` | sends descriptors with a valid message | 502 `worker_misbehaved` |
//! | `no-last-word` | closes its channel and continues | 502 `worker_misbehaved` |
//! | `word-after-last` | sends a message after its last one | 200 |
//! | `linger` | answers and never exits | 200 |
//! | `answer-then-crash` | crashes right after its answer | 200 |
//! | `die-on-dismiss` | crashes when dismissed | 200 |
//! | `word-at-next` | talks of this request at the next one (mode `hybrid`) | 200 |
//! | `die-at-next` | crashes at the next request (mode `hybrid`) | 200 |

use std::{io::IoSlice, time::Duration};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::Seam;
use crate::{
    job::wire::{FromJob, JobChannel, Order},
    request::Figures,
    transcript::Segment,
};

/// Descriptor of a job's channel.
const CHANNEL: i32 = 3;

/// The version byte of every valid message.
const VERSION: u8 = 1;

/// Work that remains after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// Nothing remains: exit as usual.
    Behave,
    /// Speak after the last word.
    Speak,
    /// Do not exit when dismissed.
    Linger,
    /// Crash right after the answer.
    Crash,
    /// Crash when the supervisor hangs up.
    CrashWhenDismissed,
    /// Speak of this request when the next one comes.
    SpeakAtNext,
    /// Crash when the next one comes.
    CrashAtNext,
}

/// If the request's mode is one of ours, do its part before the answer and return its part after
/// it. The engine then does not see the mode and behaves, so a fault that the supervisor misses
/// looks like a success.
fn before(order: &mut Order, channel: &JobChannel) -> Afterwards {
    let id = order.id;
    let progress = |seconds| FromJob::Progress {
        id,
        audio: Duration::from_secs(seconds),
    };
    let heard = |seconds, total| FromJob::Heard {
        id,
        audio: Duration::from_secs(seconds),
        total,
    };
    let say = |message: &FromJob| {
        let _ = channel.send(message, &[]);
    };
    let mut afterwards = Afterwards::Behave;
    match order.ask.fault.as_deref() {
        Some("ready-twice") => say(&FromJob::Ready),
        Some("wrong-request") => say(&FromJob::Segment {
            id: id + 1,
            segment: segment(),
        }),
        Some("progress-back") => {
            say(&progress(2));
            say(&progress(1));
        }
        Some("heard-back") => {
            say(&heard(2, None));
            say(&heard(1, None));
        }
        Some("lie-heard") => say(&heard(order.max_audio.as_secs() + 1, None)),
        Some("lie-total") => say(&heard(0, Some(order.max_audio * 2))),
        Some("lie-audio") => say(&progress(order.max_audio.as_secs() + 3600)),
        Some("lie-figures") => say(&FromJob::Done {
            id,
            figures: Figures {
                audio: order.max_audio * 2,
                ..Figures::default()
            },
        }),
        Some("lie-language") => say(&FromJob::Done {
            id,
            figures: Figures {
                languages: vec!["<b>".into()],
                ..Figures::default()
            },
        }),
        Some("progress-flood") => {
            let nothing_new = progress(0);
            while channel.send(&nothing_new, &[]).is_ok() {}
        }
        Some("huge-warnings") => say(&FromJob::Done {
            id,
            figures: Figures {
                warnings: vec!["beware ".repeat(50); 100],
                ..Figures::default()
            },
        }),
        Some("malformed") => raw(&[&[VERSION], [0xff; 100].as_slice()].concat()),
        Some("oversized") => raw(&[VERSION; 100 << 10]),
        Some("empty-datagram") => raw(&[]),
        Some("bad-version") => raw(&[&[VERSION + 1], encoded(&progress(0)).as_slice()].concat()),
        Some("trailing-bytes") => {
            raw(&[&[VERSION], encoded(&progress(0)).as_slice(), &[0]].concat());
        }
        Some("fd-attack") => with_descriptors(&encoded(&progress(0))),
        Some("no-last-word") => {
            let _ = nix::unistd::close(CHANNEL);
            sleep_for_ever();
        }
        Some("word-after-last") => afterwards = Afterwards::Speak,
        Some("linger") => afterwards = Afterwards::Linger,
        Some("answer-then-crash") => afterwards = Afterwards::Crash,
        Some("die-on-dismiss") => afterwards = Afterwards::CrashWhenDismissed,
        Some("word-at-next") => afterwards = Afterwards::SpeakAtNext,
        Some("die-at-next") => afterwards = Afterwards::CrashAtNext,
        _ => return Afterwards::Behave,
    }
    order.ask.fault = None;
    afterwards
}

impl Seam for Afterwards {
    fn before(&mut self, order: &mut Order, channel: &JobChannel) {
        *self = before(order, channel);
    }

    fn answered(&mut self, channel: &JobChannel, id: u64) {
        match *self {
            Self::Speak => speak(channel, id),
            Self::Linger => sleep_for_ever(),
            Self::Crash => std::process::abort(),
            _ => {}
        }
    }

    fn next(&mut self, channel: &JobChannel, id: u64) {
        match *self {
            Self::SpeakAtNext => speak(channel, id),
            Self::CrashAtNext => std::process::abort(),
            _ => {}
        }
    }

    fn dismissed(&mut self) {
        if *self == Self::CrashWhenDismissed {
            std::process::abort();
        }
    }
}

fn speak(channel: &JobChannel, id: u64) {
    let segment = segment();
    let _ = channel.send(&FromJob::Segment { id, segment }, &[]);
}

fn segment() -> Segment {
    Segment {
        text: "not for this request".into(),
        start: Duration::ZERO,
        end: Duration::ZERO,
        words: Vec::new(),
        decoding: None,
        speaker: None,
    }
}

fn encoded(message: &FromJob) -> Vec<u8> {
    postcard::to_stdvec(message).unwrap_or_default()
}

/// Send arbitrary bytes as one datagram.
fn raw(bytes: &[u8]) {
    send(bytes, &[]);
}

/// Send a valid message with many descriptors attached.
fn with_descriptors(message: &[u8]) {
    let bytes = [&[VERSION], message].concat();
    send(&bytes, &[ControlMessage::ScmRights(&[CHANNEL; 64])]);
}

/// Send with sendmsg, as for every valid message: a job's sandbox allows no other call.
fn send(bytes: &[u8], control: &[ControlMessage<'_>]) {
    let data = [IoSlice::new(bytes)];
    let result = sendmsg::<()>(CHANNEL, &data, control, MsgFlags::MSG_NOSIGNAL, None);
    if let Err(error) = result {
        eprintln!("{} bytes cannot be sent: {error}", bytes.len());
    }
}

fn sleep_for_ever() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
