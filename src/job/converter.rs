//! Lets the administrator's converter, ffmpeg, read a recording of a kind that the service's own
//! decoders do not know.
//!
//! The converter is a program in the job's cgroup and in a sandbox of its own
//! (`isolation/standby.rs`). It writes WAV, which the own decoder reads as hostile bytes, like any
//! recording. So limits, channels, warnings and the mix are the same as for other recordings.

use std::{fs::File, os::fd::AsFd, time::Duration};

use super::report::failure;
use crate::{
    audio::{self, AudioError, Decoder, Hint, Wanted},
    config::Converter,
    engine::EngineError,
    isolation::{How, Running, Standby, StandbyProgram},
    request::{Code, Failure},
};

/// Arguments of ffmpeg (5.1 and newer). It opens its standard input anew by that path, because only
/// a file can be sought in every version. Silence fills gaps between time stamps. The first filter
/// lifts a time stamp to the end of the frame before it, because the second one would else cut away
/// speech wherever a file has wrong time stamps (RealMedia of ffmpeg: all are 0).
const ARGUMENTS: &str = "-nostdin -hide_banner -loglevel error -threads 1 \
    -protocol_whitelist file -i file:/proc/self/fd/0 -vn -sn -dn -map_metadata -1 -threads 1 \
    -af asetpts='st(1,max(PTS,ld(0)))*0+st(0,ld(1)+NB_SAMPLES)*0+ld(1)',aresample=async=1:first_pts=0 \
    -ar 16000 -c:a pcm_s16le -bitexact -f wav pipe:1";

/// Time for the converter to end after its last output.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest quotation of the converter, in characters.
const MAX_QUOTE: usize = 200;

/// The program that converts its standard input.
pub fn program(converter: &Converter) -> StandbyProgram {
    let program = converter.program.to_string_lossy();
    let words = [program.as_ref()].into_iter();
    let words = words.chain(ARGUMENTS.split_whitespace());
    StandbyProgram {
        command: words.map(str::to_owned).collect(),
        inputs: converter.recordings.clone(),
    }
}

/// A recording on its way through the converter.
pub(super) struct Conversion {
    /// The reason why the own decoders refused the recording.
    refusal: String,
    converter: Running,
}

/// Decode `recording`, which the own decoders refused, through the converter.
///
/// # Errors
/// `refusal` again if the converter cannot help: there is none, or the fault is not the kind of the
/// recording, or part of the recording was read from a pipe and is gone, or a certain track is
/// wanted, which the converter does not know. Or the converter refuses it, too.
pub(super) fn decode(
    refusal: &AudioError,
    recording: &File,
    wanted: &Wanted,
    standby: &mut Option<Standby>,
) -> Result<(Decoder, Conversion), Failure> {
    let refused = || Failure::new(Code::InvalidAudio, refusal.to_string());
    let is_file = matches!(audio::length(recording), Ok(Some(_)));
    if !refusal.is_unknown_kind() || !is_file || wanted.track.is_some() {
        return Err(refused());
    }
    let converter = standby.take().ok_or_else(refused)?;
    let (converter, output) = converter.start(recording.as_fd()).map_err(|error| {
        eprintln!("the converter cannot be started: {error}");
        refused()
    })?;
    let mut conversion = Conversion {
        refusal: refusal.to_string(),
        converter,
    };
    let wanted = Wanted {
        channel: wanted.channel,
        ..Wanted::default()
    };
    match Decoder::open_for(output, Hint::default(), &wanted) {
        Ok(decoder) => Ok((decoder, conversion)),
        Err(error) => Err(conversion.failure(&error.into())),
    }
}

impl Conversion {
    /// The failure of a request whose converted recording led to `error`.
    pub(super) fn failure(&mut self, error: &EngineError) -> Failure {
        let mut failure = failure(error);
        // The standby of this job is used up.
        failure.is_broken = true;
        let EngineError::Audio(error) = error else {
            return failure;
        };
        let fault = match error {
            // The converter still writes.
            AudioError::NoChannel { .. } | AudioError::Read(_) => return failure,
            AudioError::TooShort { .. } => self.fault(),
            _ => self.fault().or(Some("it found no audio".into())),
        };
        if let Some(fault) = fault {
            failure.message = format!(
                "{}; the service's converter cannot read it either ({fault})",
                self.refusal
            );
        }
        failure
    }

    /// A warning for the client, if the converter gave up after `position` of audio.
    pub(super) fn warning(&mut self, position: Duration) -> Option<String> {
        let fault = self.fault()?;
        let seconds = position.as_secs_f64();
        Some(format!(
            "the service's converter gave up ({fault}): only {seconds:.1} s of audio were read"
        ))
    }

    /// The fault with which the converter ended; `None` if it ended well, or goes on.
    fn fault(&mut self) -> Option<String> {
        let how = match self.converter.ended(PATIENCE) {
            Ok(Some(How::Status(0)) | None) => return None,
            Ok(Some(how)) => how,
            Err(error) => {
                eprintln!("the end of the converter is unknown: {error}");
                return Some("its end is unknown".into());
            }
        };
        let complaints = self.converter.complaints();
        let complaints = String::from_utf8_lossy(&complaints);
        let last = complaints
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty());
        if let Some(line) = last {
            eprintln!("the converter says: {line}");
        }
        let words = last.map(harmless).filter(|words| !words.is_empty());
        Some(match (how, words) {
            (How::Status(_), Some(words)) => words,
            (how, _) => how.to_string(),
        })
    }
}

/// A line of the converter as it may go to the client: without paths and addresses.
fn harmless(line: &str) -> String {
    let is_harmful = |word: &&str| word.contains('/') || word.contains("0x") || *word == "@";
    let words: Vec<&str> = line
        .split_whitespace()
        .filter(|word| !is_harmful(word))
        .collect();
    let words = words.join(" ");
    words
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_QUOTE)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_has_no_paths_and_no_addresses() {
        for (line, told) in [
            (
                "file:/proc/self/fd/0: Invalid data found when processing input",
                "Invalid data found when processing input",
            ),
            (
                "[asf @ 0x55d0c81c1c40] could not find codec parameters",
                "[asf could not find codec parameters",
            ),
            (
                "ffmpeg: error while loading shared libraries: /usr/lib/libx.so: no",
                "ffmpeg: error while loading shared libraries: no",
            ),
            ("/etc/passwd", ""),
        ] {
            assert_eq!(harmless(line), told);
        }
        assert_eq!(harmless(&"a".repeat(1000)).len(), MAX_QUOTE);
    }

    #[test]
    fn the_command_begins_with_the_program() {
        let converter = Converter {
            program: "/opt/my converter".into(),
            recordings: "/var/cache".into(),
        };
        let command = program(&converter).command;
        assert_eq!(command[..2], ["/opt/my converter", "-nostdin"]);
        assert_eq!(command.last().unwrap(), "pipe:1");
    }
}
