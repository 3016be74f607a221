//! Parameters of a request, and the checks that they fit together.

mod field;
mod reference;
mod speakers;
mod values;

use field::Field;
pub(super) use reference::Reference;
pub(super) use speakers::KnownSpeakers;
use values::{
    Commas, boolean, chunking, detector, fixed_detector, format_of, language, list, output, raw,
    size, task, time, word_times,
};

use crate::{api::error::ApiError, dispatch::OwnLimits, request::Ask, transcript::Lines};

/// Longest value of a parameter, in bytes. OpenAI's longest is the prompt, of a few hundred words.
const MAX_VALUE: usize = 16 * 1024;

/// More languages than any model knows.
const MAX_LANGUAGES: usize = 128;

/// Check the length of the value of parameter `name`, in bytes.
///
/// # Errors
/// The value is longer than any may be.
pub(super) fn check_length(name: &str, length: usize) -> Result<(), ApiError> {
    if length > MAX_VALUE {
        let message = format!("the parameter `{name}` is longer than {MAX_VALUE} bytes");
        return Err(ApiError::parameter(name, message));
    }
    Ok(())
}

/// Check the characters of a value, because values go to engines, which are written in C, and to
/// logs.
///
/// # Errors
/// The value of parameter `name` has a character that does not belong in text.
fn check_characters(name: &str, value: &str) -> Result<(), ApiError> {
    let is_text = |c: char| !c.is_control() || "\t\r\n".contains(c);
    if let Some(control) = value.chars().find(|c| !is_text(*c)) {
        let code = u32::from(control);
        let message = format!("the parameter `{name}` has a control character (U+{code:04X})");
        return Err(ApiError::parameter(name, message));
    }
    Ok(())
}

/// Formats of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// `{"text": …, "usage": …}`
    #[default]
    Json,
    /// Only the text (`text/plain`).
    Text,
    /// Subtitles in the SubRip format.
    Srt,
    /// Subtitles in the WebVTT format.
    Vtt,
    /// All details, as JSON.
    Verbose,
    /// Each segment with its speaker, as JSON.
    Diarized,
    /// One segment on each line.
    Lines,
    /// Start, end (in milliseconds) and text of each segment on a line, with tabs between them.
    Tsv,
    /// The JSON that Whisper's own program writes.
    Whisper,
    /// Only the language, as JSON.
    Language,
}

/// The pages that take a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// OpenAI's `/v1/audio/transcriptions`.
    #[default]
    Transcriptions,
    /// OpenAI's `/v1/audio/translations`.
    Translations,
    /// Whisper-asr-webservice's `/asr`.
    Asr,
    /// Whisper-asr-webservice's `/detect-language`.
    DetectLanguage,
}

impl Page {
    /// Name of the form's part that is the recording.
    pub(super) fn recording(self) -> &'static str {
        match self {
            Self::Transcriptions | Self::Translations => "file",
            Self::Asr | Self::DetectLanguage => "audio_file",
        }
    }
}

/// The task for a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Task {
    /// Transcribe in the spoken language.
    #[default]
    Transcribe,
    /// Transcribe the speech in English translation.
    Translate,
}

/// Parameters of a request. A value that asks for nothing (an empty prompt, `temperature=0`) counts
/// as absent.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// The page that was asked.
    pub(super) page: Page,
    /// Transcription or translation.
    pub(super) task: Task,
    /// True if the recording is samples without a header: 16 bits, mono, 16 kHz.
    pub(super) is_raw: bool,
    /// Name or alias of the model; `None` means the default one.
    pub(super) model: Option<String>,
    /// The request that is passed to the job.
    pub(super) ask: Ask,
    /// Format of the answer, as OpenAI's parameter says; `None` until the end if it is not given.
    format: Option<Format>,
    /// Format of the answer, as the parameter of whisper-asr-webservice says.
    output: Option<Format>,
    /// True if the answer is streamed.
    pub(super) stream: bool,
    /// Parts of the transcript that get times.
    pub(super) granularities: Granularities,
    /// True if the answer gives a probability for each word.
    pub(super) logprobs: bool,
    /// Largest number of characters in a line of subtitles, if the client sets it.
    line_width: Option<u16>,
    /// Largest number of lines in a cue of subtitles, if the client sets it.
    line_count: Option<u16>,
    /// The wishes about speakers.
    pub(super) speakers: KnownSpeakers,
    /// Limits that the client sets for this request.
    pub(super) own_limits: OwnLimits,
    /// Parameters set so far, to find repeated ones.
    given: Vec<Field>,
}

/// `timestamp_granularities[]`. If none is given, segments get times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Granularities {
    words: bool,
    segments: bool,
}

impl Granularities {
    pub(super) fn words(self) -> bool {
        self.words
    }

    pub(super) fn segments(self) -> bool {
        self.segments || !self.words
    }
}

impl Options {
    /// Options of a request for `page` before any parameter.
    pub(super) fn of(page: Page) -> Self {
        let task = match page {
            Page::Translations => Task::Translate,
            Page::Transcriptions | Page::Asr | Page::DetectLanguage => Task::Transcribe,
        };
        Self {
            page,
            task,
            ask: Ask {
                translate: task == Task::Translate,
                ..Ask::default()
            },
            ..Self::default()
        }
    }

    /// Format of the answer. A stream has the same events whatever the format.
    pub(super) fn format(&self) -> Format {
        let usual = match self.page {
            Page::Transcriptions | Page::Translations => Format::Json,
            Page::Asr => Format::Lines,
            Page::DetectLanguage => Format::Language,
        };
        self.format.or(self.output).unwrap_or(usual)
    }

    /// Find the parameter called `name`. It must be allowed here and not be repeated.
    pub(super) fn field(&self, name: &str) -> Result<Field, ApiError> {
        if name.starts_with("chunking_strategy[") && name != "chunking_strategy[type]" {
            return Err(fixed_detector(name));
        }
        let field = Field::of(name, self.page).ok_or_else(|| {
            let shown: String = name.chars().take(100).collect();
            let message = format!("the parameter `{shown}` is not supported");
            ApiError::parameter(&shown, message)
        })?;
        if self.given.contains(&field) && !field.is_list() {
            return Err(ApiError::given_twice(name));
        }
        Ok(field)
    }

    /// Store the value of `field`, which the client called `name`.
    pub(super) fn set(&mut self, field: Field, name: &str, value: String) -> Result<(), ApiError> {
        let mistake = |what: String| ApiError::parameter(name, what);
        check_length(name, value.len())?;
        check_characters(name, &value)?;
        self.given.push(field);
        // Clients send an empty value for a parameter that they leave open.
        if value.is_empty() {
            return Ok(());
        }
        match field {
            Field::Model => self.model = Some(value),
            Field::Language => self.ask.language = language(name, &value)?,
            Field::Languages => {
                for one in list(&value, Commas::Separate) {
                    let Some(language) = language(name, &one)? else {
                        continue;
                    };
                    if !self.ask.languages.contains(&language) {
                        self.ask.languages.push(language);
                    }
                    if self.ask.languages.len() > MAX_LANGUAGES {
                        let what = format!("`{name}` are more than {MAX_LANGUAGES} languages");
                        return Err(mistake(what));
                    }
                }
            }
            Field::Prompt => self.ask.prompt = Some(value).filter(|text| !text.trim().is_empty()),
            Field::Keywords => {
                self.ask.keywords.extend(list(&value, Commas::Belong));
                if self.ask.keywords.iter().map(String::len).sum::<usize>() > MAX_VALUE {
                    return Err(mistake(format!(
                        "`keywords` are longer than {MAX_VALUE} bytes together"
                    )));
                }
            }
            Field::Format => self.format = Some(format_of(name, &value)?),
            Field::Output => self.output = Some(output(name, &value, self.page)?),
            Field::Task => {
                self.task = task(name, &value, self.page)?;
                self.ask.translate = self.task == Task::Translate;
            }
            Field::Encode => self.is_raw = raw(name, &value, self.page)?,
            Field::WordTimes => self.granularities.words = word_times(name, &value, self.page)?,
            Field::Temperature => {
                let temperature: f32 = (value.parse().ok())
                    .filter(|number| (0.0..=1.0).contains(number))
                    .ok_or_else(|| mistake("`temperature` must be a number from 0 to 1".into()))?;
                self.ask.temperature = Some(temperature).filter(|number| *number > 0.0);
            }
            Field::Granularities => {
                for one in list(&value, Commas::Separate) {
                    match one.as_str() {
                        "word" => self.granularities.words = true,
                        "segment" => self.granularities.segments = true,
                        _ => return Err(mistake("times are given by `word` or `segment`".into())),
                    }
                }
            }
            Field::Stream => self.stream = boolean(name, &value)?,
            Field::Partials => self.ask.partials = boolean(name, &value)?,
            Field::Include => {
                if list(&value, Commas::Separate)
                    .iter()
                    .any(|one| one != "logprobs")
                {
                    return Err(mistake("nothing but `logprobs` can be included".into()));
                }
                self.logprobs = true;
            }
            Field::Chunking => chunking(name, &value)?,
            Field::ChunkingType => detector(name, &value)?,
            Field::Channel => {
                let what = "`channel` must be the number of a channel, the first being 0";
                self.ask.channel = Some(value.parse().map_err(|_| mistake(what.into()))?);
            }
            Field::Speakers => self.speakers.by = Some(speakers::by(name, &value)?),
            Field::SpeakerNames => {
                let names = list(&value, Commas::Belong);
                names
                    .iter()
                    .try_for_each(|one| self.speakers.add(name, one))?;
            }
            Field::SpeakerReferences => {
                let urls = list(&value, Commas::Belong);
                self.speakers.add_references(name, urls)?;
            }
            Field::Track => {
                let what = "`track` must be the number of an audio track, the first being 1";
                let number = value.parse().ok().filter(|number| *number > 0);
                self.ask.track = Some(number.ok_or_else(|| mistake(what.into()))?);
            }
            Field::Vad => self.ask.vad = boolean(name, &value)?,
            Field::LineWidth => self.line_width = Some(size(name, &value)?),
            Field::LineCount => self.line_count = Some(size(name, &value)?),
            Field::MemoryLimit => self.own_limits.memory = Some(value.parse().map_err(mistake)?),
            Field::Deadline => self.own_limits.deadline = Some(time(name, &value)?),
        }
        Ok(())
    }

    /// Size of the cues of subtitles.
    pub(super) fn lines(&self) -> Lines {
        let usual = Lines::default();
        Lines {
            width: self.line_width.unwrap_or(usual.width),
            count: self.line_count.unwrap_or(usual.count),
        }
    }

    /// Words before they are final come in events, and have neither speakers nor probabilities.
    fn check_partials(&self) -> Result<(), ApiError> {
        let speakers = self.format() == Format::Diarized || self.speakers.by.is_some();
        let message = match self.ask.partials {
            true if !self.stream => "only `stream=true` has words before they are final",
            true if self.logprobs => "words that are not final have no logprobs",
            true if speakers => "words that are not final have no speakers",
            _ => return Ok(()),
        };
        Err(ApiError::parameter("partials", message))
    }

    /// Check that all given parameters fit together.
    pub(super) fn finish(mut self) -> Result<Self, ApiError> {
        let several = std::mem::take(&mut self.ask.languages);
        match (&self.ask.language, several.as_slice()) {
            (_, []) => {}
            (None, [one]) => self.ask.language = Some(one.clone()),
            (None, _) => self.ask.languages = several,
            (Some(language), [one]) if language == one => {}
            (Some(_), _) => {
                let message = "`language` says which language is spoken; `languages` are several \
                               of which one is spoken: give only one of the two";
                return Err(ApiError::parameter("languages", message));
            }
        }
        let format = self.format();
        if format == Format::Diarized && self.task == Task::Translate {
            let message =
                "a translation has no speakers; /v1/audio/transcriptions tells them apart";
            return Err(ApiError::parameter("response_format", message));
        }
        self.speakers.check()?;
        self.check_partials()?;
        let has_times = matches!(format, Format::Verbose | Format::Whisper);
        if self.granularities != Granularities::default() && !has_times {
            let (parameter, message) = match self.page {
                Page::Asr => ("word_timestamps", "only `output=json` has times of words"),
                _ => (
                    "timestamp_granularities",
                    "only `response_format=verbose_json` has times",
                ),
            };
            return Err(ApiError::parameter(parameter, message));
        }
        let sizes = [
            ("max_line_width", self.line_width),
            ("max_line_count", self.line_count),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| size.is_some())
            && !matches!(format, Format::Srt | Format::Vtt)
        {
            let message =
                format!("only `response_format=srt` and `vtt` have lines: leave out `{name}`");
            return Err(ApiError::parameter(name, message));
        }
        if self.logprobs && format != Format::Json {
            let message = "only `response_format=json` has logprobs";
            return Err(ApiError::parameter("include", message));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Code;

    fn options(pairs: &[(&str, &str)]) -> Result<Options, ApiError> {
        let mut options = Options::default();
        for (name, value) in pairs {
            options.set(options.field(name)?, name, (*value).into())?;
        }
        options.finish()
    }

    #[test]
    fn every_parameter_of_openai_is_known_and_asks_for_nothing_when_it_is_empty() {
        let names = [
            "model",
            "language",
            "languages[]",
            "prompt",
            "keywords[]",
            "response_format",
            "temperature",
            "timestamp_granularities[]",
            "stream",
            "include[]",
            "chunking_strategy",
        ];
        let options = options(&names.map(|name| (name, ""))).unwrap();
        assert_eq!(options.format(), Format::Json);
        assert!(!options.stream && options.granularities.segments());
        assert_eq!(options.ask.temperature, None);
    }

    #[test]
    fn no_value_is_longer_than_any_may_be() {
        let longest = "a".repeat(MAX_VALUE);
        assert_eq!(
            options(&[("prompt", &longest)]).unwrap().ask.prompt,
            Some(longest.clone())
        );
        assert!(options(&[("prompt", &(longest + "a"))]).is_err());
    }

    #[test]
    fn text_has_lines_and_tabs_and_no_other_control_characters() {
        let lines = "one\r\n\ttwo";
        assert_eq!(
            options(&[("prompt", lines)]).unwrap().ask.prompt.as_deref(),
            Some(lines)
        );
        for (name, value, code) in [
            ("prompt", "a\0b", "U+0000"),
            ("keywords[]", "\u{1b}[2J", "U+001B"),
            ("model", "default\u{7f}", "U+007F"),
            ("prompt", "a\u{85}", "U+0085"),
        ] {
            let error = options(&[(name, value)]).unwrap_err();
            assert_eq!(error.code(), Code::InvalidParameter);
            assert!(error.message().contains(code), "{}", error.message());
        }
    }

    #[test]
    fn a_translation_has_no_language() {
        let options = Options::of(Page::Translations);
        for name in [
            "prompt",
            "response_format",
            "temperature",
            "model",
            "channel",
            "track",
        ] {
            assert!(options.field(name).is_ok(), "{name}");
        }
        for name in [
            "language",
            "stream",
            "timestamp_granularities[]",
            "include[]",
        ] {
            assert!(options.field(name).is_err(), "{name}");
        }
    }

    #[test]
    fn lists_grow_with_and_without_brackets() {
        let options = options(&[
            ("response_format", "verbose_json"),
            ("timestamp_granularities[]", "word"),
            ("timestamp_granularities", "segment"),
            ("keywords[]", "cgroup"),
            ("keywords", "zygote"),
        ])
        .unwrap();
        assert!(options.granularities.words() && options.granularities.segments());
        assert_eq!(options.ask.keywords, ["cgroup", "zygote"]);
    }

    #[test]
    fn what_is_impossible_is_refused() {
        for (name, value) in [
            ("temperature", "1.1"),
            ("temperature", "NaN"),
            ("stream", "yes"),
            ("timestamp_granularities[]", "letter"),
            ("include[]", "everything"),
            ("chunking_strategy", "server_vad"),
            ("chunking_strategy", "[]"),
            (
                "chunking_strategy",
                r#"{"type":"server_vad","threshold":0.5}"#,
            ),
            ("chunking_strategy[threshold]", "0.5"),
            ("channel", "-1"),
            ("track", "0"),
            ("max_line_width", "0"),
            ("max_line_count", "two"),
            ("known_speaker_names[]", "Ann\nBob"),
            ("known_speaker_names[]", " "),
            ("known_speaker_references[]", "Ann"),
            ("speakers", "two"),
        ] {
            assert!(options(&[(name, value)]).is_err(), "{name}={value}");
        }
        for value in ["auto", r#"{"type": "server_vad"}"#] {
            assert!(options(&[("chunking_strategy", value)]).is_ok(), "{value}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for pairs in [
            [
                ("timestamp_granularities", "word"),
                ("response_format", "json"),
            ],
            [("include[]", "logprobs"), ("response_format", "text")],
            [("max_line_width", "20"), ("response_format", "text")],
            [("language", "en"), ("languages[]", "fr")],
            [("partials", "true"), ("stream", "false")],
            [("model", "a"), ("model", "b")],
        ] {
            assert!(options(&pairs).is_err(), "{pairs:?}");
        }
        assert!(options(&[("language", "en"), ("languages[]", "en")]).is_ok());
    }

    #[test]
    fn several_languages_are_a_choice_and_one_is_the_language() {
        let asked = |codes: &[&str]| {
            let pairs: Vec<_> = codes.iter().map(|code| ("languages[]", *code)).collect();
            options(&pairs).map(|options| (options.ask.language, options.ask.languages))
        };
        assert_eq!(asked(&["en"]).unwrap(), (Some("en".into()), vec![]));
        assert_eq!(asked(&["en", "en"]).unwrap(), (Some("en".into()), vec![]));
        let several = vec!["en".into(), "de".into()];
        assert_eq!(asked(&["en", "de", "en"]).unwrap(), (None, several));
        assert!(asked(&["en", "klingonese"]).is_err());
    }
}
