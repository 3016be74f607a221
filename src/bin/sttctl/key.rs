//! `sttctl key`: makes keys for clients over TCP, and reads the one that this client shows.

use std::{
    fs,
    io::{self, Write},
    str::FromStr,
};

use hyper::header::HeaderValue;
use rustix::rand::{GetRandomFlags, getrandom};
use stt_isolated::request::{Digest, KeyLine, KeyName};

use crate::error::{Error, report};

/// Beginning of each key, by which people and scanners of source code recognise one.
const PREFIX: &str = "stt_";

/// Random bytes of a key.
const LENGTH: usize = 32;

/// Makes a key of this name; returns true on success.
pub fn run(name: &KeyName) -> bool {
    let made = make(name);
    made.map_err(|error| report(None, &error.to_string()))
        .is_ok()
}

/// Prints a new key, and the line by which the service knows it.
fn make(name: &KeyName) -> Result<(), Error> {
    let mut random = [0; LENGTH];
    let length = getrandom(&mut random, GetRandomFlags::empty());
    if length.map_err(|error| Error::Random(error.into()))? != LENGTH {
        return Err(Error::Random(io::ErrorKind::UnexpectedEof.into()));
    }
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("{PREFIX}{digits}");
    let line = KeyLine {
        name: name.clone(),
        digest: Digest::of(key.as_bytes()),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{key}\n{line}")
        .and_then(|()| out.flush())
        .map_err(Error::Write)?;
    report(
        None,
        "the first line is the key: it is shown only now, give it to the client. The second line \
         belongs into the file of clients.keys; then reload the service",
    );
    Ok(())
}

/// The name of a new key.
#[derive(Clone, Debug)]
pub struct Name(pub KeyName);

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        KeyName::new(name)
            .map(Self)
            .ok_or("use 1 to 64 letters, digits, `_`, `-` and `.`, not starting with `.`")
    }
}

/// The header that shows the key of a file.
#[derive(Clone, Debug)]
pub struct Shown(pub HeaderValue);

impl FromStr for Shown {
    /// The file cannot be read, or holds something else. The error quotes nothing of it.
    type Err = String;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let [key] = words[..] else {
            return Err("it must hold one word, the key, and nothing else".into());
        };
        let header = HeaderValue::from_str(&format!("Bearer {key}"));
        let mut header = header.map_err(|_| "a key has only visible ASCII characters")?;
        header.set_sensitive(true);
        Ok(Self(header))
    }
}
