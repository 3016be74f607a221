//! The settings of a session, as clients change them and as they are told back.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        fit,
        options::{Options, Page},
        render::Shape,
    },
    values::{Object, mistake, one_of},
};
use crate::{
    api::{
        conversation::{Manner, Order, Wishes},
        error::ApiError,
    },
    config::Config,
    detector::{Coding, LiveFormat, Rule},
    request::Ask,
};

/// The two versions of OpenAI's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Since August 2025.
    Current,
    /// Before: flat settings, `transcription_session.update`.
    Beta,
}

/// Format of the audio of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    /// `audio/pcm`: signed, 16 bits, low byte first, 24 kHz, mono.
    #[default]
    Pcm,
    /// `audio/pcmu`: G.711 µ-law, 8 kHz.
    Pcmu,
    /// `audio/pcma`: G.711 A-law, 8 kHz.
    Pcma,
}

const FORMATS: [(Format, &str, &str); 3] = [
    (Format::Pcm, "audio/pcm", "pcm16"),
    (Format::Pcmu, "audio/pcmu", "g711_ulaw"),
    (Format::Pcma, "audio/pcma", "g711_alaw"),
];

impl Format {
    /// The samples.
    fn live(self) -> LiveFormat {
        let (coding, rate) = match self {
            Self::Pcm => (Coding::Samples16, 24_000),
            Self::Pcmu => (Coding::MuLaw, 8_000),
            Self::Pcma => (Coding::ALaw, 8_000),
        };
        LiveFormat { coding, rate }
    }

    /// Its names in the two dialects.
    fn names(self) -> (&'static str, &'static str) {
        let found = FORMATS.iter().find(|(format, ..)| *format == self);
        found.map_or(("", ""), |(_, current, beta)| (current, beta))
    }

    fn of(name: &str, path: &str) -> Result<Self, ApiError> {
        let is_named = |(_, current, beta): &&(Self, &str, &str)| [*current, *beta].contains(&name);
        let found = FORMATS.iter().find(is_named).map(|(format, ..)| *format);
        found.ok_or_else(|| {
            mistake(
                path,
                "must be audio/pcm, audio/pcmu or audio/pcma (before: pcm16, g711_ulaw, g711_alaw)",
            )
        })
    }
}

/// How the end of a turn is found; without this the client says it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum TurnDetection {
    /// By silence.
    Server {
        /// Probability of speech above which somebody speaks, 0 to 1.
        threshold: f32,
        /// Audio before the speech that belongs to the turn, in milliseconds.
        prefix: u32,
        /// Silence that ends the turn, in milliseconds.
        silence: u32,
        /// Silence after which an empty turn is told, in milliseconds; 0 for never.
        idle: u32,
    },
    /// By longer or shorter silence.
    Semantic {
        /// How soon a turn is taken for ended.
        eagerness: &'static str,
    },
}

/// The defaults of OpenAI's service.
const SERVER: TurnDetection = TurnDetection::Server {
    threshold: 0.5,
    prefix: 300,
    silence: 500,
    idle: 0,
};

const SEMANTIC: TurnDetection = TurnDetection::Semantic { eagerness: "auto" };

/// The longest audio before the speech: it is held in memory for each session.
const MOST_PREFIX: u32 = 2_000;

impl TurnDetection {
    fn manner(self) -> Manner {
        match self {
            Self::Server {
                threshold,
                prefix,
                silence,
                idle,
            } => Manner {
                rule: Rule { threshold, silence },
                prefix: prefix.into(),
                idle: (idle > 0).then_some(idle.into()),
            },
            // Nobody knows here whether a sentence has ended. So a patient session waits longer.
            Self::Semantic { eagerness } => Manner {
                rule: Rule {
                    threshold: 0.5,
                    silence: match eagerness {
                        "low" => 2_000,
                        "high" => 500,
                        _ => 1_000,
                    },
                },
                prefix: 300,
                idle: None,
            },
        }
    }

    /// These settings, changed by the object `value`.
    fn changed(now: Option<Self>, path: &str, value: &Value) -> Result<Self, ApiError> {
        let known = [
            "type",
            "threshold",
            "prefix_padding_ms",
            "silence_duration_ms",
            "idle_timeout_ms",
            "eagerness",
            // These are about answers, which are not given here.
            "create_response",
            "interrupt_response",
        ];
        let object = Object::of(path, value, &known)?;
        let mut kind = match now {
            Some(Self::Semantic { .. }) => Some("semantic_vad"),
            _ => Some("server_vad"),
        };
        object.word("type", &["server_vad", "semantic_vad"], &mut kind)?;
        let usual = if kind == Some("semantic_vad") {
            SEMANTIC
        } else {
            SERVER
        };
        let is_same = |now: &Self| std::mem::discriminant(now) == std::mem::discriminant(&usual);
        match now.filter(is_same).unwrap_or(usual) {
            Self::Server {
                mut threshold,
                mut prefix,
                mut silence,
                mut idle,
            } => {
                if let Some(Some(value)) = object.get("threshold") {
                    let number = value.as_f64().filter(|number| (0.0..=1.0).contains(number));
                    let wrong =
                        || mistake(&object.name("threshold"), "must be a number from 0 to 1");
                    #[allow(clippy::cast_possible_truncation)]
                    {
                        threshold = number.ok_or_else(wrong)? as f32;
                    }
                }
                object.milliseconds("prefix_padding_ms", (0, MOST_PREFIX), &mut prefix)?;
                object.milliseconds("silence_duration_ms", (32, 60_000), &mut silence)?;
                match object.get("idle_timeout_ms") {
                    Some(None) => idle = 0,
                    // OpenAI's own bounds.
                    _ => object.milliseconds("idle_timeout_ms", (5_000, 30_000), &mut idle)?,
                }
                Ok(Self::Server {
                    threshold,
                    prefix,
                    silence,
                    idle,
                })
            }
            Self::Semantic { eagerness } => {
                let mut word = Some(eagerness);
                object.word("eagerness", &["low", "medium", "high", "auto"], &mut word)?;
                Ok(Self::Semantic {
                    eagerness: word.unwrap_or("auto"),
                })
            }
        }
    }

    fn json(self) -> Value {
        match self {
            Self::Server {
                threshold,
                prefix,
                silence,
                idle,
            } => json!({
                "type": "server_vad",
                "threshold": (f64::from(threshold) * 1e6).round() / 1e6,
                "prefix_padding_ms": prefix,
                "silence_duration_ms": silence,
                "idle_timeout_ms": (idle > 0).then_some(idle),
            }),
            Self::Semantic { eagerness } => {
                json!({"type": "semantic_vad", "eagerness": eagerness})
            }
        }
    }
}

/// The wishes about the text of the audio.
#[derive(Clone, Debug, Default, PartialEq)]
struct Transcription {
    model: Option<String>,
    language: Option<String>,
    languages: Vec<String>,
    keywords: Vec<String>,
    prompt: Option<String>,
    delay: Option<&'static str>,
}

const DELAYS: [&str; 5] = ["minimal", "low", "medium", "high", "xhigh"];

impl Transcription {
    fn change(&mut self, path: &str, value: Option<&Value>) -> Result<(), ApiError> {
        let Some(value) = value else {
            *self = Self::default();
            return Ok(());
        };
        let known = [
            "model",
            "language",
            "languages",
            "keywords",
            "prompt",
            "delay",
        ];
        let object = Object::of(path, value, &known)?;
        object.text("model", &mut self.model)?;
        object.text("language", &mut self.language)?;
        object.texts("languages", &mut self.languages)?;
        object.texts("keywords", &mut self.keywords)?;
        object.text("prompt", &mut self.prompt)?;
        object.word("delay", &DELAYS, &mut self.delay)
    }
}

/// The settings of one session.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    id: String,
    pub(super) dialect: Dialect,
    format: Format,
    transcription: Transcription,
    noise_reduction: Option<&'static str>,
    turns: Option<TurnDetection>,
    pub(super) logprobs: bool,
    /// Wishes that are not fulfilled.
    warnings: Vec<String>,
}

impl Settings {
    /// The settings of a new session. `model` is that of its address.
    ///
    /// # Errors
    /// There is no such model.
    pub(super) fn new(
        config: &Config,
        model: Option<&str>,
        is_beta: bool,
    ) -> Result<Self, ApiError> {
        let mut settings = Self {
            id: format!("sess_{}", Uuid::new_v4().simple()),
            dialect: match is_beta {
                true => Dialect::Beta,
                false => Dialect::Current,
            },
            format: Format::default(),
            transcription: Transcription {
                model: model.map(str::to_owned),
                ..Transcription::default()
            },
            noise_reduction: None,
            turns: Some(SERVER),
            logprobs: false,
            warnings: Vec::new(),
        };
        settings.warnings = settings.order(config)?.warnings;
        Ok(settings)
    }

    /// These settings, changed by `session` of an event. A field that is left out keeps its value.
    ///
    /// # Errors
    /// A value is impossible, or beyond the model.
    pub(super) fn changed(
        &self,
        dialect: Dialect,
        session: &Value,
        config: &Config,
    ) -> Result<Self, ApiError> {
        let mut new = Self {
            dialect,
            ..self.clone()
        };
        match dialect {
            Dialect::Current => new.change(session)?,
            Dialect::Beta => new.change_beta(session)?,
        }
        new.warnings = new.order(config)?.warnings;
        let wishes = [
            (
                new.noise_reduction.is_some(),
                "noise is not reduced here: `noise_reduction` was left out",
            ),
            (
                new.is_early() && new.logprobs,
                "words that are not final have no logprobs: `delay` was left out",
            ),
        ];
        let unused = wishes.into_iter().filter(|(is_wished, _)| *is_wished);
        new.warnings.extend(unused.map(|(_, what)| what.to_owned()));
        Ok(new)
    }

    /// Whether words are wanted before they are sure.
    fn is_early(&self) -> bool {
        matches!(self.transcription.delay, Some("minimal" | "low"))
    }

    fn change(&mut self, session: &Value) -> Result<(), ApiError> {
        // Fields of answers are passed over: none are given here.
        let known = [
            "type",
            "audio",
            "include",
            "id",
            "object",
            "expires_at",
            "tracing",
            "stt",
        ];
        let object = Object::of("session", session, &known)?;
        if let Some(Some(kind)) = object.get("type") {
            let what = "must be `transcription`: no answers are given here";
            if kind != "transcription" {
                return Err(mistake("session.type", what));
            }
        }
        self.include(object)?;
        let Some(Some(audio)) = object.get("audio") else {
            return Ok(());
        };
        let audio = Object::of("session.audio", audio, &["input", "output"])?;
        let Some(Some(input)) = audio.get("input") else {
            return Ok(());
        };
        let known = [
            "format",
            "transcription",
            "turn_detection",
            "noise_reduction",
        ];
        let path = "session.audio.input";
        let input = Object::of(path, input, &known)?;
        if let Some(format) = input.get("format") {
            self.format = format_of(&input.name("format"), format)?;
        }
        self.change_rest(input, ["transcription", "noise_reduction"])
    }

    fn change_beta(&mut self, session: &Value) -> Result<(), ApiError> {
        let known = [
            "input_audio_format",
            "input_audio_transcription",
            "turn_detection",
            "input_audio_noise_reduction",
            "include",
            "id",
            "object",
            "expires_at",
            "client_secret",
            "modalities",
            "type",
            "stt",
        ];
        let object = Object::of("session", session, &known)?;
        self.include(object)?;
        let mut name = None;
        object.text("input_audio_format", &mut name)?;
        if let Some(name) = name {
            self.format = Format::of(&name, "session.input_audio_format")?;
        }
        let names = ["input_audio_transcription", "input_audio_noise_reduction"];
        self.change_rest(object, names)
    }

    fn include(&mut self, object: Object<'_>) -> Result<(), ApiError> {
        let mut include = Vec::new();
        object.texts("include", &mut include)?;
        if object.get("include").is_some() {
            self.logprobs = false;
        }
        for one in include {
            let name = object.name("include");
            one_of(&name, &one, &["item.input_audio_transcription.logprobs"])?;
            self.logprobs = true;
        }
        Ok(())
    }

    /// The fields that differ between the dialects only by their names.
    fn change_rest(
        &mut self,
        object: Object<'_>,
        [transcription, noise]: [&str; 2],
    ) -> Result<(), ApiError> {
        if let Some(value) = object.get(transcription) {
            let path = object.name(transcription);
            self.transcription.change(&path, value)?;
        }
        match object.get(noise) {
            None => {}
            Some(None) => self.noise_reduction = None,
            Some(Some(value)) => {
                let path = object.name(noise);
                let object = Object::of(&path, value, &["type"])?;
                object.word(
                    "type",
                    &["near_field", "far_field"],
                    &mut self.noise_reduction,
                )?;
            }
        }
        match object.get("turn_detection") {
            None => {}
            Some(None) => self.turns = None,
            Some(Some(value)) => {
                let path = object.name("turn_detection");
                self.turns = Some(TurnDetection::changed(self.turns, &path, value)?);
            }
        }
        Ok(())
    }

    /// The settings as the client is told them.
    pub(super) fn json(&self, config: &Config) -> Value {
        let Transcription {
            model,
            language,
            languages,
            keywords,
            prompt,
            delay,
        } = &self.transcription;
        let mut transcription = json!({
            "model": model.as_ref().unwrap_or(&config.default_model),
            "language": language,
            "prompt": prompt.as_deref().unwrap_or_default(),
        });
        if !languages.is_empty() {
            transcription["languages"] = json!(languages);
        }
        if !keywords.is_empty() {
            transcription["keywords"] = json!(keywords);
        }
        if let Some(delay) = delay {
            transcription["delay"] = json!(delay);
        }
        let turns = self.turns.map(TurnDetection::json);
        let noise = self.noise_reduction.map(|kind| json!({"type": kind}));
        let include = self
            .logprobs
            .then_some(["item.input_audio_transcription.logprobs"]);
        let (current, beta) = self.format.names();
        let mut session = json!({
            "id": self.id,
            "object": "realtime.transcription_session",
            "include": include,
            "stt": {"warnings": self.warnings},
        });
        match self.dialect {
            Dialect::Current => {
                session["type"] = "transcription".into();
                session["expires_at"] = 0.into();
                let mut format = json!({"type": current});
                if self.format == Format::Pcm {
                    format["rate"] = self.format.live().rate.into();
                }
                session["audio"] = json!({"input": {
                    "format": format,
                    "transcription": transcription,
                    "noise_reduction": noise,
                    "turn_detection": turns,
                }});
            }
            Dialect::Beta => {
                session["input_audio_format"] = beta.into();
                session["input_audio_transcription"] = transcription;
                session["input_audio_noise_reduction"] = json!(noise);
                session["turn_detection"] = json!(turns);
                session["client_secret"] = Value::Null;
            }
        }
        session
    }
}

impl Wishes for Settings {
    fn format(&self) -> LiveFormat {
        self.format.live()
    }

    fn manner(&self) -> Option<Manner> {
        self.turns.map(TurnDetection::manner)
    }

    fn order(&self, config: &Config) -> Result<Order, ApiError> {
        let wished = self.transcription.model.clone();
        let name = wished.unwrap_or_else(|| config.default_model.clone());
        let (name, fault) = config.split_fault(name);
        let model = config
            .model(&name)
            .ok_or_else(|| ApiError::model_not_found(&name, config))?;
        let mut options = Options::of(Page::Transcriptions);
        let mut set = |name: &str, value: &str| {
            let field = options.field(name)?;
            options.set(field, name, value.to_owned())
        };
        let Transcription {
            language,
            languages,
            keywords,
            prompt,
            ..
        } = &self.transcription;
        set("language", language.as_deref().unwrap_or_default())?;
        set("prompt", prompt.as_deref().unwrap_or_default())?;
        for one in languages {
            set("languages[]", one)?;
        }
        for one in keywords {
            set("keywords[]", one)?;
        }
        if self.logprobs {
            set("include[]", "logprobs")?;
        }
        let mut options = options.finish()?;
        let warnings = fit::fit(&mut options, &name, model)?;
        let language = Shape::of(&options, &model.engine).language;
        let ask = Ask {
            media_type: Some(self.format.live().media_type()),
            fault,
            // One stream has no channels to compare.
            speakers: None,
            // Words that are not final have no probabilities, and cost some of the right ones.
            partials: self.is_early() && !self.logprobs,
            ..options.ask
        };
        Ok(Order {
            mode: model.mode,
            model: name,
            ask,
            language,
            warnings,
            is_whole: self.logprobs,
        })
    }
}

/// The format in the field `path` of the current dialect.
fn format_of(path: &str, value: Option<&Value>) -> Result<Format, ApiError> {
    let Some(value) = value else {
        return Ok(Format::default());
    };
    // Before, a format was a name.
    if let Value::String(name) = value {
        return Format::of(name, path);
    }
    let object = Object::of(path, value, &["type", "rate"])?;
    let mut name = None;
    object.text("type", &mut name)?;
    let name = name.ok_or_else(|| mistake(&object.name("type"), "is missing"))?;
    let format = Format::of(&name, &object.name("type"))?;
    let rate = format.live().rate;
    if let Some(Some(given)) = object.get("rate")
        && *given != rate
    {
        let what = format!("must be {rate}: samples of {name} have no other rate here");
        return Err(mistake(&object.name("rate"), &what));
    }
    Ok(format)
}
