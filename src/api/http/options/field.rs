//! All known parameters and their names.

use super::Task;

/// A parameter, independent of the name that the client used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api::http) enum Field {
    Model,
    Language,
    Languages,
    Prompt,
    Keywords,
    Format,
    Temperature,
    Granularities,
    Stream,
    Include,
    Chunking,
    ChunkingType,
    Channel,
    Vad,
    MemoryLimit,
    Deadline,
}

/// Every parameter with each of its names: clients write lists with and without brackets.
pub(in crate::api::http) const NAMES: [(&str, Field); 20] = [
    ("model", Field::Model),
    ("language", Field::Language),
    ("languages", Field::Languages),
    ("languages[]", Field::Languages),
    ("prompt", Field::Prompt),
    ("keywords", Field::Keywords),
    ("keywords[]", Field::Keywords),
    ("response_format", Field::Format),
    ("temperature", Field::Temperature),
    ("timestamp_granularities", Field::Granularities),
    ("timestamp_granularities[]", Field::Granularities),
    ("stream", Field::Stream),
    ("include", Field::Include),
    ("include[]", Field::Include),
    ("chunking_strategy", Field::Chunking),
    ("chunking_strategy[type]", Field::ChunkingType),
    ("channel", Field::Channel),
    ("vad", Field::Vad),
    ("memory_limit", Field::MemoryLimit),
    ("deadline", Field::Deadline),
];

impl Field {
    pub(super) fn of(name: &str, task: Task) -> Option<Self> {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, field)| *field)
            .filter(|field| field.belongs_to(task))
    }

    /// True if the page of this task accepts the parameter. A translation is always in English and
    /// always whole.
    pub(in crate::api::http) fn belongs_to(self, task: Task) -> bool {
        let only_transcribing = matches!(
            self,
            Self::Language
                | Self::Languages
                | Self::Keywords
                | Self::Granularities
                | Self::Stream
                | Self::Include
                | Self::Chunking
                | Self::ChunkingType
        );
        task == Task::Transcribe || !only_transcribing
    }

    /// True if the parameter may be repeated, and each occurrence adds a value.
    pub(super) fn is_list(self) -> bool {
        matches!(
            self,
            Self::Languages | Self::Keywords | Self::Granularities | Self::Include
        )
    }
}
