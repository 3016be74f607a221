//! Values in a session's settings, taken from JSON with an error that names the field.

use serde_json::{Map, Value};

use crate::api::error::ApiError;

/// An object of a session's settings, and its name for errors.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    path: &'a str,
    fields: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// The object `value`, called `path`, which may have no other fields than the `known` ones.
    ///
    /// # Errors
    /// It is no object, or has another field.
    pub(super) fn of(path: &'a str, value: &'a Value, known: &[&str]) -> Result<Self, ApiError> {
        let Value::Object(fields) = value else {
            return Err(mistake(path, "must be an object"));
        };
        if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            let shown: String = name.chars().take(100).collect();
            let name = format!("{path}.{shown}");
            return Err(mistake(&name, "is not supported"));
        }
        Ok(Self { path, fields })
    }

    /// Name of the field `name` for errors.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// The field `name`: `None` if it is left out, `Some(None)` if it is null.
    pub(super) fn get(&self, name: &str) -> Option<Option<&'a Value>> {
        self.fields
            .get(name)
            .map(|value| Some(value).filter(|value| !value.is_null()))
    }

    /// Put the text in the field `name` into `place`, unless the field is left out.
    ///
    /// # Errors
    /// It is no text.
    pub(super) fn text(&self, name: &str, place: &mut Option<String>) -> Result<(), ApiError> {
        match self.get(name) {
            None => {}
            Some(None) => *place = None,
            Some(Some(Value::String(text))) => *place = Some(text.clone()),
            Some(Some(_)) => return Err(mistake(&self.name(name), "must be text")),
        }
        Ok(())
    }

    /// The same for a list of texts.
    ///
    /// # Errors
    /// It is no list of texts.
    pub(super) fn texts(&self, name: &str, place: &mut Vec<String>) -> Result<(), ApiError> {
        let Some(value) = self.get(name) else {
            return Ok(());
        };
        let wrong = || mistake(&self.name(name), "must be a list of texts");
        let list = match value {
            None => &[],
            Some(Value::Array(list)) => list.as_slice(),
            Some(_) => return Err(wrong()),
        };
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
        *place = list.iter().map(text).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// The same for one of these words.
    ///
    /// # Errors
    /// It is another one.
    pub(super) fn word(
        &self,
        name: &str,
        words: &[&'static str],
        place: &mut Option<&'static str>,
    ) -> Result<(), ApiError> {
        let mut text = None;
        match self.get(name) {
            None => return Ok(()),
            Some(_) => self.text(name, &mut text)?,
        }
        *place = match text {
            None => None,
            Some(text) => Some(one_of(&self.name(name), &text, words)?),
        };
        Ok(())
    }

    /// The same for a number of milliseconds from `least` to `most`.
    ///
    /// # Errors
    /// It is no such number.
    pub(super) fn milliseconds(
        &self,
        name: &str,
        (least, most): (u32, u32),
        place: &mut u32,
    ) -> Result<(), ApiError> {
        let Some(Some(value)) = self.get(name) else {
            return Ok(());
        };
        let whole = value.as_u64().and_then(|number| u32::try_from(number).ok());
        *place = whole
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| {
                let what = format!("must be a whole number of milliseconds from {least} to {most}");
                mistake(&self.name(name), &what)
            })?;
        Ok(())
    }
}

/// That of the `words` which is `text`.
///
/// # Errors
/// It is none of them.
pub(super) fn one_of(
    name: &str,
    text: &str,
    words: &[&'static str],
) -> Result<&'static str, ApiError> {
    let found = words.iter().copied().find(|word| *word == text);
    found.ok_or_else(|| {
        let what = format!("must be one of {}", words.join(", "));
        mistake(name, &what)
    })
}

/// The error that the field `name` `what`.
pub(super) fn mistake(name: &str, what: &str) -> ApiError {
    ApiError::parameter(name, format!("`{name}` {what}"))
}
