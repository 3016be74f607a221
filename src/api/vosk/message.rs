//! A client's messages as text.

use serde::Deserialize;
use serde_json::Value;

/// Most words that a client can name.
const MOST_PHRASES: usize = 1_000;

/// A message that is no audio.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    /// Settings for the audio that follows.
    Config(Config),
    /// The audio is over.
    End,
    /// The audio that follows belongs to nothing before.
    Reset,
    /// Nothing that is known.
    Unknown,
}

/// The settings that mean something here. A model is a path on the server's disk there, so it means
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Config {
    /// Samples per second; some clients send a number with a point.
    pub(super) sample_rate: Option<f64>,
    /// Nextcloud's addition.
    pub(super) language: Option<String>,
    #[serde(default)]
    pub(super) phrase_list: Vec<String>,
}

/// The meaning of `text`.
///
/// # Errors
/// It is no JSON, or its settings are impossible; a sentence about that.
pub(super) fn parse(text: &str) -> Result<Message, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Value::Object(mut fields) = value else {
        return Err("a message that is text must be a JSON object".into());
    };
    if let Some(config) = fields.remove("config") {
        let mut config: Config =
            serde_json::from_value(config).map_err(|error| format!("`config`: {error}"))?;
        config.phrase_list.truncate(MOST_PHRASES);
        return Ok(Message::Config(config));
    }
    let is_set = |name: &str| {
        fields
            .get(name)
            .is_some_and(|value| *value != 0 && *value != false && !value.is_null())
    };
    Ok(match (is_set("eof"), is_set("reset")) {
        (true, _) => Message::End,
        (_, true) => Message::Reset,
        _ => Message::Unknown,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_real_clients_are_understood() {
        for (text, expected) in [
            (r#"{"eof" : 1}"#, Message::End),
            (r#"{"reset": 1}"#, Message::Reset),
            (r#"{"eof": 0}"#, Message::Unknown),
            ("{}", Message::Unknown),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        let text = r#"{"config": {"sample_rate": 8000.0, "words": 1, "model": "/etc/passwd",
                       "phrase_list": ["one", "two"], "language": "de"}}"#;
        let Ok(Message::Config(config)) = parse(text) else {
            panic!("{text}");
        };
        assert_eq!(config.sample_rate, Some(8000.0));
        assert_eq!(config.language.as_deref(), Some("de"));
        assert_eq!(config.phrase_list, ["one", "two"]);
        for wrong in [
            "",
            "[]",
            "1",
            r#"{"config": 1}"#,
            r#"{"config": {"sample_rate": "x"}}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
