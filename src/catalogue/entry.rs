//! One entry of the catalogue, and the rules for its values.

use std::{fmt, net::IpAddr};

use hyper::Uri;
use serde::{Deserialize, Serialize};

use crate::units::ByteSize;

/// Longest URL, in bytes.
const MAX_URL: usize = 1000;

/// Longest name of a file, folders included, in bytes.
const MAX_FILE_NAME: usize = 128;

/// Longest text for people, in characters.
const MAX_TEXT: usize = 300;

/// A model that can be had by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The name, which is also the one under which it is served unless another is chosen.
    pub name: String,
    /// The engine that runs it.
    pub engine: Engine,
    /// Licence of the weights (`MIT`).
    pub licence: Text,
    /// Languages that it hears (`English`, `99 languages`).
    pub languages: Text,
    /// Memory of the loaded model, in bytes; its jobs share it.
    #[serde(serialize_with = "bytes")]
    pub memory: ByteSize,
    /// A sentence about how well it hears, with its source, or `not measured`.
    pub hears: Text,
    /// Its files: exactly one if the engine takes a file, and at least one if it takes a folder.
    pub files: Vec<ModelFile>,
}

impl Entry {
    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

fn bytes<S: serde::Serializer>(size: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(size.bytes())
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelFile {
    /// Its name in the model's folder. If the model is a single file, it gets the model's name.
    pub name: FileName,
    /// The address from which it comes.
    pub url: Url,
    /// Its length in bytes; at least 1 and at most 64 GiB.
    pub size: u64,
    /// The sum of its bytes.
    pub sha256: Sha256,
}

/// An engine whose models can be in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A file of whisper.cpp.
    Whisper,
    /// A folder for sherpa-onnx.
    Sherpa,
    /// A folder for Vosk.
    Vosk,
}

impl Engine {
    /// True if a model for it is a folder, false if it is a file.
    pub fn takes_folder(self) -> bool {
        self != Engine::Whisper
    }
}

/// A string that kept a rule when it was read, and is written as it is.
macro_rules! checked {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                $check(text).map(Self)
            }
        }

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

checked!(
    /// Text for people: 1 to 300 characters, none of them a control character.
    Text,
    check_text
);
checked!(
    /// A SHA-256 in 64 small hexadecimal digits.
    Sha256,
    check_sum
);
checked!(
    /// An address with `https:`, or with `http:` on this machine itself.
    Url,
    check_url
);
checked!(
    /// A relative path whose parts are plain names: none of them begins with a dot.
    FileName,
    check_file_name
);

fn check_text(text: String) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().count() > MAX_TEXT {
        return Err(format!("write 1 to {MAX_TEXT} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("line ends and other control characters are not possible here".into());
    }
    Ok(text)
}

fn check_sum(mut text: String) -> Result<String, String> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(
            "a SHA-256 has 64 hexadecimal digits (a sum of 40 digits is a SHA-1, which is not enough)"
                .into(),
        );
    }
    text.make_ascii_lowercase();
    Ok(text)
}

fn check_url(text: String) -> Result<String, String> {
    let wrong = || {
        "write a whole address: `https://HOST/PATH` (`http:` is possible on this machine only; a mirror is named by \
         STT_ISOLATED_MIRROR)"
            .to_owned()
    };
    let plain = text.len() <= MAX_URL && text.bytes().all(|byte| byte.is_ascii_graphic());
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let host = uri
        .host()
        .filter(|host| !host.is_empty())
        .ok_or_else(wrong)?;
    let fits = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback(host),
        _ => false,
    };
    let user = uri
        .authority()
        .is_some_and(|part| part.as_str().contains('@'));
    if plain && fits && !user && !text.contains('#') {
        Ok(text)
    } else {
        Err(wrong())
    }
}

/// True if `host` is this machine: `localhost`, or an address such as `127.0.0.1` or `[::1]`.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = address
        .parse::<IpAddr>()
        .map(|address| address.is_loopback());
    loopback.unwrap_or(host == "localhost")
}

fn check_file_name(text: String) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    let plain =
        |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed);
    if text.len() > MAX_FILE_NAME || !text.split('/').all(plain) {
        return Err(format!(
            "write a file name of letters, digits, `_`, `-`, `+` and `.`, with `/` behind each folder, and at most \
             {MAX_FILE_NAME} characters"
        ));
    }
    Ok(text)
}
