//! The one table of codes: every way in which a request can end, with its HTTP status and whether
//! to send it again. The API, Wyoming, the statistics, the journal, `sttctl` and docs/API.md read
//! it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whether a client should send the same request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It would fail again, perhaps at somebody's cost.
    Never,
    /// After the time that the answer names, if it names one.
    Later,
}

/// The groups in which people look for endings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The request was transcribed.
    Ok,
    /// Its recording cannot be transcribed.
    Recording,
    /// Its job needed more memory than its limit.
    Memory,
    /// Its job, its engine or the service failed.
    Failed,
    /// Its client or the service went away.
    GivenUp,
    /// It did not get a job.
    Refused,
}

impl Group {
    /// All groups, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::Recording,
        Self::Memory,
        Self::Failed,
        Self::GivenUp,
        Self::Refused,
    ];

    /// The group's name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "transcribed",
            Self::Recording => "bad recording",
            Self::Memory => "over its memory limit",
            Self::Failed => "failed",
            Self::GivenUp => "given up",
            Self::Refused => "turned away",
        }
    }
}

/// The part of the service that gives a request this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The job, in its last word about the request.
    Job,
    /// The supervisor: it saw how the job ended, or it ended the job.
    Supervisor,
    /// The scheduler: it had accepted the request, and then no job took it.
    Queue,
    /// The scheduler: it turned the request away at once, or no job took it later.
    Admission,
    /// The scheduler, and always at once.
    Door,
    /// The protocol, before there was a request to run.
    Protocol,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident: $word:literal, $status:literal, $again:ident, $group:ident, $source:ident;)*) => {
        /// A way in which a request can end. The words are stable: clients, queries of the journal
        /// and dashboards rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $word)] $code,)*
        }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// The word for it in statistics, the journal and `sttctl`.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$code => $word,)*
                }
            }

            /// Status of the HTTP answer, such as 200.
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$code => $status,)*
                }
            }

            /// Whether a client should send the request again.
            pub fn again(self) -> Again {
                match self {
                    $(Self::$code => Again::$again,)*
                }
            }

            /// The group in which people look for it.
            pub fn group(self) -> Group {
                match self {
                    $(Self::$code => Group::$group,)*
                }
            }

            /// The part of the service that gives this code.
            pub fn source(self) -> Source {
                match self {
                    $(Self::$code => Source::$source,)*
                }
            }
        }
    };
}

codes! {
    // code: word, HTTP status, send again?, group, source

    /// The transcript is complete.
    Ok: "ok", 200, Never, Ok, Supervisor;
    /// The recording cannot be read.
    InvalidAudio: "invalid_audio", 400, Never, Recording, Job;
    /// The recording is longer than the model's `limits.max_audio`.
    AudioTooLong: "audio_too_long", 413, Never, Recording, Job;
    /// The recording does not tell its speakers apart as the request wants it.
    SpeakersUnknown: "speakers_unknown", 400, Never, Recording, Job;
    /// The library reported a failure in the middle of its work.
    EngineFailed: "engine_failed", 502, Never, Failed, Job;
    /// The remote service that the engine asks refused: only the administrator can help.
    UpstreamRefused: "upstream_refused", 502, Never, Failed, Job;
    /// The remote service has too many requests.
    UpstreamBusy: "upstream_busy", 503, Later, Failed, Job;
    /// The remote service failed, or cannot be reached.
    UpstreamFailed: "upstream_failed", 502, Never, Failed, Job;
    /// The kernel ended the job because it needed more memory than its limit.
    MemoryLimitExceeded: "memory_limit_exceeded", 507, Never, Memory, Supervisor;
    /// The job ended without an answer.
    WorkerCrashed: "worker_crashed", 502, Never, Failed, Supervisor;
    /// The job, or its program, broke the protocol or left its sandbox.
    WorkerMisbehaved: "worker_misbehaved", 502, Never, Failed, Job;
    /// The job's time was up, or the remote service did not answer.
    Timeout: "timeout", 504, Never, Failed, Job;
    /// The client went away.
    Cancelled: "cancelled", 503, Never, GivenUp, Supervisor;
    /// The service stopped before the request was done.
    ShuttingDown: "shutting_down", 503, Later, GivenUp, Admission;
    /// The request waited for `jobs.queue_timeout` without getting a job.
    QueueTimeout: "queue_timeout", 429, Later, Refused, Queue;
    /// The queue is full.
    QueueFull: "queue_full", 429, Later, Refused, Door;
    /// This client already has its share of the queue.
    UserLimit: "user_limit", 429, Later, Refused, Door;
    /// The model cannot serve at the moment.
    EngineUnavailable: "engine_unavailable", 503, Later, Refused, Admission;
    /// A parameter is missing, unknown, impossible, or beyond the model.
    InvalidParameter: "invalid_parameter", 400, Never, Refused, Protocol;
    /// The body cannot be taken apart, or ends in the middle.
    InvalidBody: "invalid_body", 400, Never, Refused, Protocol;
    /// The body is compressed.
    UnsupportedEncoding: "unsupported_encoding", 415, Never, Refused, Protocol;
    /// The bytes are not an HTTP/1.1 request. Two other statuses name its cause: 414 and 431.
    InvalidHttp: "invalid_http", 400, Never, Refused, Protocol;
    /// This client may not use the service.
    Forbidden: "forbidden", 403, Never, Refused, Protocol;
    /// Over TCP: the key is missing, or it is not known.
    InvalidApiKey: "invalid_api_key", 401, Never, Refused, Protocol;
    /// Over TCP: the request calls the service by a name that is not its own.
    ForeignHost: "foreign_host", 421, Never, Refused, Protocol;
    /// Over TCP: the request is from a page of an origin that is not listed.
    ForeignOrigin: "foreign_origin", 403, Never, Refused, Protocol;
    /// No model has this name.
    ModelNotFound: "model_not_found", 404, Never, Refused, Protocol;
    /// No page has this address.
    NotFound: "not_found", 404, Never, Refused, Protocol;
    /// The page does not know this method.
    MethodNotAllowed: "method_not_allowed", 405, Never, Refused, Protocol;
    /// The page speaks only WebSocket.
    UpgradeRequired: "upgrade_required", 426, Never, Refused, Protocol;
    /// A session's client commits less audio than can be transcribed.
    EmptyCommit: "input_audio_buffer_commit_empty", 400, Never, Refused, Protocol;
    /// The head of the request did not arrive in time.
    HeaderTimeout: "header_timeout", 408, Never, Refused, Protocol;
    /// The body stopped arriving, or arrives too slowly.
    BodyTimeout: "body_timeout", 408, Never, Refused, Protocol;
    /// The upload has more bytes than `http.max_upload`.
    UploadTooLarge: "upload_too_large", 413, Never, Refused, Protocol;
    /// The upload cannot be stored.
    StorageFull: "storage_full", 507, Never, Refused, Protocol;
    /// The service has as many files open as it may.
    TooManyFiles: "too_many_files", 503, Later, Refused, Protocol;
    /// The service reached a state that cannot occur.
    InternalError: "internal_error", 500, Never, Refused, Protocol;
}

/// When a client should ask again if the remote service is busy. That service does not say when
/// (its SDK does not pass it on), and it counts by the second and by the minute.
const UPSTREAM_PAUSE: Duration = Duration::from_secs(10);

/// When a client should ask again after the service stopped: by then systemd has restarted it.
const RESTART: Duration = Duration::from_secs(2);

impl Code {
    /// The code with this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.word() == word)
    }

    /// The word for it in an answer. A client need not tell a queue that is full from one in which
    /// it waited too long.
    pub fn told(self) -> &'static str {
        match self {
            Self::QueueTimeout => Self::QueueFull.word(),
            code => code.word(),
        }
    }

    /// Whether it ends a request that was accepted.
    pub fn ends(self) -> bool {
        !matches!(self.source(), Source::Door | Source::Protocol)
    }

    /// Whether it turns a request away at once.
    pub fn refuses(self) -> bool {
        matches!(self.source(), Source::Door | Source::Admission)
    }

    /// True if a job may report it about its own request.
    pub fn is_for_jobs(self) -> bool {
        self.source() == Source::Job
    }

    /// When a client should ask again, if the refusal or the failure does not say.
    pub fn pause(self) -> Option<Duration> {
        match self {
            Self::UpstreamBusy => Some(UPSTREAM_PAUSE),
            Self::ShuttingDown => Some(RESTART),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_word_means_one_code() {
        for code in Code::ALL {
            assert_eq!(Code::of(code.word()), Some(*code));
        }
        assert_eq!(Code::of("no such word"), None);
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.word());
        }
    }

    /// The rows of the table below "## Errors" in docs/API.md: statuses and "try again" by code.
    fn documented() -> BTreeMap<String, (Vec<u16>, bool)> {
        let page = include_str!("../../docs/API.md");
        let (_, section) = page.split_once("\n## Errors\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let mut rows = BTreeMap::new();
        for line in section.lines().filter(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [_, statuses, codes, again] = cells[..] else {
                panic!("a row of the table does not have four cells: {line}");
            };
            for code in codes
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|_| statuses != "status")
            {
                let numbers = statuses.split(|c: char| !c.is_ascii_digit());
                let numbers = numbers.filter_map(|number| number.parse().ok()).collect();
                let row = (numbers, again != "no");
                let twice = rows.insert(code.to_owned(), row);
                assert!(twice.is_none(), "{code} stands in two rows");
            }
        }
        rows
    }

    #[test]
    fn the_documentation_has_this_table() {
        // A client that went away reads no answer.
        let is_told = |code: &&Code| !matches!(code, Code::Ok | Code::Cancelled);
        let expected: BTreeMap<_, _> = Code::ALL
            .iter()
            .filter(is_told)
            .map(|code| {
                let statuses = match code {
                    Code::InvalidHttp => vec![400, 414, 431],
                    code => vec![code.status()],
                };
                (
                    code.told().to_owned(),
                    (statuses, code.again() == Again::Later),
                )
            })
            .collect();
        assert_eq!(documented(), expected);
    }
}
