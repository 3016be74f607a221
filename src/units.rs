//! Sizes and times as an administrator writes them: `512M`, `1min 30s`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A size in bytes. Written as in systemd and the kernel: a whole number with an optional suffix
/// `K`, `M`, `G` or `T` to the base of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// A size of `n` KiB (1024 bytes).
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// A size of `n` MiB (1024 KiB).
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// A size of `n` GiB (1024 MiB).
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mistake =
            || format!("`{text}` is no size; write a whole number with K, M, G or T (\"512M\")");
        let trimmed = text.trim();
        let digits = trimmed.trim_end_matches(|c: char| !c.is_ascii_digit());
        let suffix = trimmed[digits.len()..].trim();
        let shift = match suffix.to_ascii_uppercase().as_str() {
            "" | "B" => 0,
            "K" | "KIB" => 10,
            "M" | "MIB" => 20,
            "G" | "GIB" => 30,
            "T" | "TIB" => 40,
            _ => return Err(mistake()),
        };
        let number: u64 = digits.parse().map_err(|_| mistake())?;
        number
            .checked_mul(1 << shift)
            .map(Self)
            .ok_or_else(|| format!("`{text}` does not fit in 64 bits"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, suffix) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
            let unit = 1u64 << shift;
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"512M\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ByteSize, E> {
                u64::try_from(value)
                    .map(ByteSize)
                    .map_err(|_| E::custom(format!("a size cannot be negative ({value})")))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(value))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<ByteSize, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whole milliseconds, for figures that are logged or sent to clients.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Lifetime of something: a time, `"0"` for none, or `"-1"` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// `"0"`: it does not live at all.
    Zero,
    /// It lives for this time.
    Limited(Duration),
    /// `"-1"`: it lives without a limit.
    Unlimited,
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.trim() {
            "-1" => Ok(Self::Unlimited),
            text => match humantime::parse_duration(text) {
                Ok(Duration::ZERO) => Ok(Self::Zero),
                Ok(time) => Ok(Self::Limited(time)),
                Err(error) => Err(de::Error::custom(format!(
                    "`{text}` is no time; write a number with its unit (\"5min\"), \"0\" for none or \"-1\" for ever: {error}"
                ))),
            },
        }
    }
}

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Zero => serializer.serialize_str("0"),
            Self::Limited(time) => serializer.collect_str(&humantime::format_duration(*time)),
            Self::Unlimited => serializer.serialize_str("-1"),
        }
    }
}

/// Times such as `"30s"`, `"1min 30s"`, `"500ms"`, for `#[serde(with = …)]`.
pub(crate) mod time {
    use super::*;

    /// Read a number with its unit as a time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| {
            de::Error::custom(format!(
                "`{text}` is no time; write a number with its unit (\"30s\", \"5min\", \"500ms\"): {error}"
            ))
        })
    }

    /// Write a time so that [`deserialize`] reads it.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*value))
    }
}

/// A time that may be absent: `#[serde(with)]` does not reach into an `Option`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Time(#[serde(with = "time")] pub(crate) Duration);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_to_the_base_of_1024_and_written_back() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("512M", 512 << 20),
            ("1 GiB", 1 << 30),
            ("7k", 7 << 10),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for size in [
            ByteSize(0),
            ByteSize(1023),
            ByteSize::mib(512),
            ByteSize::gib(3),
        ] {
            assert_eq!(size.to_string().parse(), Ok(size));
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_the_text_itself() {
        for text in [
            "",
            "M",
            "-1",
            "1.5G",
            "12X",
            "99999999999999999999",
            "99999999T",
        ] {
            let error = text.parse::<ByteSize>().unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
