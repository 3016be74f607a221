//! Raw samples, described only by their media type, and single channels.

use super::*;
use crate::audio::Wanted;

/// Decodes a file that comes with this media type.
fn hear_as(mime: &str, file: File) -> Result<Vec<f32>, AudioError> {
    let hint = Hint {
        extension: Some("raw"),
        mime: Some(mime),
    };
    let mut decoder = Decoder::open(file, hint)?;
    let mut samples = Vec::new();
    while let Some(block) = decoder.next_block()? {
        samples.extend_from_slice(block);
    }
    assert_eq!(decoder.warnings(), Vec::<String>::new());
    Ok(samples)
}

#[test]
fn raw_samples_are_read_as_their_media_type_says() {
    let speech = speech_f32();
    for (mime, options) in [
        ("audio/L16;rate=16000", "-f s16be"),
        ("audio/l16; Rate=16000; Channels=1", "-f s16be"),
        (
            "audio/L16;rate=16000;channels=2",
            "-f s16be -af pan=stereo|c0=c0|c1=c0",
        ),
        (
            "audio/L24;rate=16000;channels=6",
            "-f s24be -af pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0",
        ),
        ("audio/pcm;rate=16000", "-f s16le"),
        ("audio/pcm;rate=\"16000\";encoding=S16BE", "-f s16be"),
        ("audio/pcm;rate=16000;encoding=s24le", "-f s24le"),
        ("audio/pcm;rate=16000;encoding=s32be", "-f s32be"),
        ("audio/pcm;rate=16000;encoding=f32le", "-f f32le"),
        ("audio/pcm;rate=16000;encoding=f64be", "-f f64be"),
    ] {
        let bytes = encode(60.0, options, "raw");
        assert!(hear_as(mime, memfd(&bytes)).unwrap() == speech, "{mime}");
    }
    for (mime, options) in [
        ("audio/basic", "-f mulaw -ar 8000"),
        ("audio/PCMU", "-f mulaw -ar 8000"),
        ("audio/PCMU;rate=16000", "-f mulaw"),
        ("audio/PCMA", "-f alaw -ar 8000"),
        ("audio/pcm;rate=16000;encoding=alaw", "-f alaw"),
        ("audio/pcm;rate=44100", "-f s16le -ar 44100"),
    ] {
        let heard = hear_as(mime, memfd(&encode(60.0, options, "raw"))).unwrap();
        assert!(
            heard.len().abs_diff(speech.len()) <= 2,
            "{mime}: {}",
            heard.len()
        );
        let pairs = heard.iter().zip(&speech);
        let error: f32 = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
        let power: f32 = speech.iter().map(|sample| sample * sample).sum();
        assert!(error < power / 20.0, "{mime}: {error} of {power}");
    }
}

#[test]
fn a_raw_file_may_end_in_the_middle_of_a_sample() {
    let bytes = encode(60.0, "-f s16be", "raw");
    let heard = hear_as("audio/L16;rate=16000", memfd(&bytes[..40_001])).unwrap();
    assert!(heard == speech_f32()[..20_000]);
    for length in [1, 2, 11, 12, 13, 20] {
        let short = hear_as("audio/L16;rate=16000", memfd(&bytes[..length]));
        let error = short.unwrap_err();
        assert!(matches!(error, AudioError::TooShort { .. }), "{error:?}");
    }
}

#[test]
fn what_is_called_raw_and_has_a_header_is_read_by_its_header() {
    for (options, extension) in [
        ("-c:a pcm_s16le", "wav"),
        ("-c:a flac", "flac"),
        ("-c:a pcm_s16be", "aiff"),
    ] {
        let bytes = encode(60.0, options, extension);
        let heard = hear_as("audio/L16;rate=44100", memfd(&bytes)).unwrap();
        assert!(heard == speech_f32(), "{extension}");
    }
}

#[test]
fn raw_samples_that_nobody_describes_are_refused_with_what_is_missing() {
    let bytes = encode(1.0, "-f s16le", "raw");
    let refused = |mime: &str| hear_as(mime, memfd(&bytes)).unwrap_err();
    for (mime, reason) in [
        ("audio/L16", "its `rate` is missing"),
        ("audio/L16;channels=1", "its `rate` is missing"),
        ("audio/pcm;rate=fast", "its `rate` is no number"),
        (
            "audio/pcm;rate=16000;channels=-1",
            "its `channels` is no number",
        ),
        (
            "audio/pcm;rate=16000;encoding=s16",
            "its `encoding` is not known",
        ),
        (
            "audio/pcm;rate=16000;encoding=s8le",
            "its `encoding` is not known",
        ),
        ("application/octet-stream", "it has no header"),
        ("audio/x-raw", "it has no header"),
        ("audio/", "it has no header"),
        ("\u{e9}", "it has no header"),
    ] {
        let error = refused(mime);
        assert!(
            matches!(&error, AudioError::Raw(why) if why == reason),
            "{mime}: {error}"
        );
    }
    // A quoted media type may contain any character.
    let odd = refused("audio/pcm;rate=16000;encoding=\"\u{e9}\u{e9}\"");
    assert!(matches!(odd, AudioError::Raw(_)));
    assert!(matches!(
        refused("audio/L16;rate=1"),
        AudioError::SampleRate(1)
    ));
    for channels in [0, 65] {
        let error = refused(&format!("audio/L16;rate=8000;channels={channels}"));
        assert!(
            matches!(error, AudioError::Channels(claimed) if claimed == channels),
            "{error}"
        );
    }
}

#[test]
fn one_channel_can_be_listened_to() {
    // The speech on the right, its inverse at half the volume on the left.
    let pan = "-af pan=stereo|c0=-0.5*c0|c1=c0";
    for (codec, extension) in [("pcm_s16le", "wav"), ("flac", "flac")] {
        let bytes = encode(60.0, &format!("-c:a {codec} {pan}"), extension);
        let listen = |channel| {
            let wanted = Wanted {
                channel,
                ..Wanted::default()
            };
            let hint = Hint::default();
            let mut decoder = Decoder::open_for(memfd(&bytes), hint, &wanted).unwrap();
            let mut samples = Vec::new();
            while let Some(block) = decoder.next_block()? {
                samples.extend_from_slice(block);
            }
            Ok::<_, AudioError>(samples)
        };
        let speech = speech_f32();
        let error = |heard: &[f32], factor: f32| {
            let pairs = heard.iter().zip(&speech);
            pairs
                .map(|(a, b)| (a - factor * b).abs())
                .fold(0.0, f32::max)
        };
        assert!(listen(Some(1)).unwrap() == speech, "{extension}");
        assert!(error(&listen(Some(0)).unwrap(), -0.5) < 1e-4, "{extension}");
        assert!(error(&listen(None).unwrap(), 0.25) < 1e-4, "{extension}");
        let error = listen(Some(2)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no channel 2: the recording has 2, counted from 0"
        );
    }
}

#[test]
fn raw_samples_may_come_through_a_pipe_and_end_anywhere() {
    let mime = "audio/pcm;rate=16000;channels=2;encoding=s24le";
    let bytes = encode(60.0, "-ac 2 -f s24le", "raw");
    let whole = hear_as(mime, memfd(&bytes)).unwrap();
    assert_eq!(whole.len() * 6, bytes.len());
    for cut in [0, 1, 5, 6, 7] {
        let heard = hear_as(mime, pipe(bytes[..bytes.len() - cut].to_vec())).unwrap();
        let frames = whole.len() - cut.div_ceil(6);
        assert!(heard[..] == whole[..frames], "{cut}: {}", heard.len());
    }
    // Samples that look like the beginning of a file.
    let mut bytes = b"RIFF\0\0\0\0WAVE".to_vec();
    bytes.resize(12 * 1600, 0);
    assert_eq!(hear_as(mime, pipe(bytes)).unwrap().len(), 3200);
    for few in [&b"abc"[..], &[0; 12], &[0; 600]] {
        let error = hear_as(mime, pipe(few.to_vec())).unwrap_err();
        assert!(
            matches!(error, AudioError::TooShort { .. } | AudioError::Corrupt(_)),
            "{error}"
        );
    }
}
