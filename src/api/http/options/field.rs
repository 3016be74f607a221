//! All known parameters and their names.

use super::{Page, Task};

/// A parameter, independent of the name that the client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api::http) enum Field {
    Model,
    Language,
    Languages,
    Prompt,
    Keywords,
    Format,
    Output,
    Task,
    Encode,
    WordTimes,
    Temperature,
    Granularities,
    Stream,
    Partials,
    Include,
    Chunking,
    ChunkingType,
    Channel,
    Speakers,
    SpeakerNames,
    SpeakerReferences,
    Track,
    Vad,
    LineWidth,
    LineCount,
    MemoryLimit,
    Deadline,
}

/// Every parameter with each of its names: clients write lists with and without brackets.
pub(in crate::api::http) const NAMES: [(&str, Field); 33] = [
    ("model", Field::Model),
    ("language", Field::Language),
    ("languages", Field::Languages),
    ("languages[]", Field::Languages),
    ("prompt", Field::Prompt),
    ("keywords", Field::Keywords),
    ("keywords[]", Field::Keywords),
    ("response_format", Field::Format),
    ("output", Field::Output),
    ("task", Field::Task),
    ("encode", Field::Encode),
    ("word_timestamps", Field::WordTimes),
    ("temperature", Field::Temperature),
    ("timestamp_granularities", Field::Granularities),
    ("timestamp_granularities[]", Field::Granularities),
    ("stream", Field::Stream),
    ("partials", Field::Partials),
    ("include", Field::Include),
    ("include[]", Field::Include),
    ("chunking_strategy", Field::Chunking),
    ("chunking_strategy[type]", Field::ChunkingType),
    ("channel", Field::Channel),
    ("speakers", Field::Speakers),
    ("known_speaker_names", Field::SpeakerNames),
    ("known_speaker_names[]", Field::SpeakerNames),
    ("known_speaker_references", Field::SpeakerReferences),
    ("known_speaker_references[]", Field::SpeakerReferences),
    ("track", Field::Track),
    ("vad", Field::Vad),
    ("max_line_width", Field::LineWidth),
    ("max_line_count", Field::LineCount),
    ("memory_limit", Field::MemoryLimit),
    ("deadline", Field::Deadline),
];

/// The words of whisper-asr-webservice, which Bazarr speaks, and ours that it lacks.
pub(in crate::api::http) const ASR_NAMES: [(&str, Field); 12] = [
    ("encode", Field::Encode),
    ("task", Field::Task),
    ("language", Field::Language),
    ("initial_prompt", Field::Prompt),
    ("vad_filter", Field::Vad),
    ("word_timestamps", Field::WordTimes),
    ("output", Field::Output),
    ("model", Field::Model),
    ("channel", Field::Channel),
    ("vad", Field::Vad),
    ("memory_limit", Field::MemoryLimit),
    ("deadline", Field::Deadline),
];

impl Page {
    /// Every parameter that the page takes, with each of its names.
    pub(in crate::api::http) fn names(self) -> Vec<(&'static str, Field)> {
        let is_taken = |(_, field): &(&str, Field)| match self {
            Self::Transcriptions => true,
            Self::Translations => field.belongs_to(Task::Translate),
            Self::Asr => true,
            // Nothing but the language is told.
            Self::DetectLanguage => !matches!(
                field,
                Field::Task | Field::Language | Field::Prompt | Field::WordTimes | Field::Output
            ),
        };
        let all = match self {
            Self::Transcriptions | Self::Translations => &NAMES[..],
            Self::Asr | Self::DetectLanguage => &ASR_NAMES[..],
        };
        all.iter().copied().filter(is_taken).collect()
    }
}

impl Field {
    pub(super) fn of(name: &str, page: Page) -> Option<Self> {
        let mut known = page.names().into_iter();
        known
            .find(|(known, _)| *known == name)
            .map(|(_, field)| field)
    }

    /// True if the page of this task accepts the parameter. A translation is always in English and
    /// always whole.
    fn belongs_to(self, task: Task) -> bool {
        let only_transcribing = matches!(
            self,
            Self::Language
                | Self::Languages
                | Self::Keywords
                | Self::Granularities
                | Self::Stream
                | Self::Partials
                | Self::Include
                | Self::Chunking
                | Self::ChunkingType
                | Self::Speakers
                | Self::SpeakerNames
                | Self::SpeakerReferences
        );
        task == Task::Transcribe || !only_transcribing
    }

    /// True if its value can be as long as a recording.
    pub(in crate::api::http) fn is_reference(self) -> bool {
        self == Self::SpeakerReferences
    }

    /// True if the parameter may be repeated, and each occurrence adds a value.
    pub(super) fn is_list(self) -> bool {
        matches!(
            self,
            Self::Languages
                | Self::Keywords
                | Self::Granularities
                | Self::Include
                | Self::SpeakerNames
                | Self::SpeakerReferences
        )
    }
}
