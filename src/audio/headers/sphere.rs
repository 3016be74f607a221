//! SPHERE, the format of NIST's collections of speech: a header of text lines `name -type value`.

use super::{AudioError, Chunks, Coding, Header, Intake, Kind, Layout, damaged};

/// Longest header that is read, in bytes: 1024 is usual.
const LONGEST: usize = 1 << 16;

pub(super) fn read(intake: &mut Intake) -> Result<Header, AudioError> {
    let start = intake.take(16)?;
    let text = String::from_utf8_lossy(start.get(8..).unwrap_or_default()).into_owned();
    let size: usize = text.trim().parse().unwrap_or(0);
    if !(16..=LONGEST).contains(&size) {
        return Err(damaged("its SPHERE header has no length"));
    }
    let rest = intake.take(size - 16)?;
    let text = String::from_utf8_lossy(&rest);
    let lines = text.lines().take_while(|line| *line != "end_head");
    let fields: Vec<(&str, &str)> = lines
        .filter_map(|line| {
            let (name, rest) = line.trim().split_once(' ')?;
            let (_, value) = rest.trim().split_once(' ')?;
            Some((name, value.trim()))
        })
        .collect();
    let field = |name| {
        fields
            .iter()
            .find(|field| field.0 == name)
            .map(|field| field.1)
    };
    let number = |name| field(name).and_then(|value| value.parse::<u64>().ok());
    let bytes = number("sample_n_bytes").unwrap_or(2).min(9) as u16;
    let coding = match field("sample_coding").unwrap_or("pcm") {
        "pcm" => {
            let is_big_endian = field("sample_byte_format").is_none_or(|order| order != "01");
            Coding::Samples(Layout::plain(Kind::Signed, bytes).ordered(is_big_endian))
        }
        "ulaw" | "mu-law" => Coding::MuLaw,
        "alaw" => Coding::ALaw,
        other if other.contains("shorten") => {
            return Err(AudioError::UnsupportedCodec("Shorten in SPHERE".into()));
        }
        _ => {
            return Err(AudioError::UnsupportedCodec(
                "an unknown sample_coding".into(),
            ));
        }
    };
    let bytes = if matches!(coding, Coding::Samples(_)) {
        bytes
    } else {
        1
    };
    let rate = number("sample_rate").and_then(|rate| u32::try_from(rate).ok());
    let channels = number("channel_count").unwrap_or(1).min(u16::MAX.into()) as u16;
    let rate = rate.ok_or_else(|| damaged("its SPHERE header has no sample rate"))?;
    let header = Header::of(coding, rate, channels);
    Ok(match number("sample_count").filter(|count| *count > 0) {
        Some(count) => {
            let frame = u64::from(bytes) * u64::from(channels);
            header.ending(count.saturating_mul(frame), Chunks::No, intake)?
        }
        None => header,
    })
}
