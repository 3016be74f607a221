//! Shared by the tests of this folder: descriptors over bytes, real speech, and other encoders.

mod behind;
mod containers;
mod damaged;
mod formats;
mod headers;
mod kinds;
mod live;
mod losses;
mod pieces;
mod raw;
mod tracks;

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    os::fd::OwnedFd,
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

pub(super) use super::checks::memfd;
use super::{
    AudioError, Decoder, Hint,
    checks::{self, Heard},
};

/// "go forward ten meters": 2.8 s at 16 kHz, one channel of signed 16-bit little-endian samples.
const SPEECH: &str = "/usr/share/pocketsphinx/test/data/goforward.raw";

/// A live stream, as jobs get it.
pub(super) fn pipe(bytes: Vec<u8>) -> File {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // A reader may hang up early; that is not an error of the writer.
    thread::spawn(move || drop(writer.write_all(&bytes)));
    File::from(OwnedFd::from(reader))
}

/// The original samples of the speech.
fn speech() -> Vec<i16> {
    let raw = fs::read(SPEECH).unwrap();
    raw.chunks_exact(2)
        .map(|two| i16::from_le_bytes([two[0], two[1]]))
        .collect()
}

/// The original samples in the form that the decoder must return.
fn speech_f32() -> Vec<f32> {
    speech()
        .iter()
        .map(|sample| f32::from(*sample) / 32768.0)
        .collect()
}

/// Decodes to the end and checks the rules that hold for every file.
fn hear(file: File) -> Result<Heard, AudioError> {
    checks::hear(file, Hint::default(), usize::MAX)
}

/// Decodes a file that must decode without warnings.
fn hear_well(file: File) -> Vec<f32> {
    let heard = hear(file).unwrap();
    assert_eq!(heard.warnings, Vec::<String>::new());
    heard.samples
}

/// A plain WAV file of 16-bit samples.
fn wav(rate: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
    let size = samples.len() as u32 * 2;
    wav_claiming(rate, channels, samples, 36 + size, size)
}

/// A WAV file whose header claims the given sizes.
fn wav_claiming(rate: u32, channels: u16, samples: &[i16], riff: u32, data: u32) -> Vec<u8> {
    let mut wav = b"RIFF".to_vec();
    wav.extend(riff.to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    wav.extend(channels.to_le_bytes());
    wav.extend(rate.to_le_bytes());
    wav.extend((rate.wrapping_mul(2).wrapping_mul(channels.into())).to_le_bytes());
    wav.extend(channels.wrapping_mul(2).to_le_bytes());
    wav.extend(b"\x10\0data");
    wav.extend(data.to_le_bytes());
    wav.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    wav
}

/// Runs ffmpeg over the first `seconds` of the speech and returns the file that it wrote.
/// `arguments` are its output options, separated by spaces; `extension` chooses the container.
fn encode(seconds: f64, arguments: &str, extension: &str) -> Vec<u8> {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let name = format!("stt-isolated-{}-{number}.{extension}", process::id());
    let path = env::temp_dir().join(name);
    let seconds = seconds.to_string();
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-y", "-t", &seconds])
        .args(["-f", "s16le", "-ar", "16000", "-ac", "1", "-i", SPEECH])
        // These options make the bytes the same in every run.
        .args(["-fflags", "+bitexact", "-flags:a", "+bitexact"])
        .args(arguments.split_whitespace())
        .arg(&path)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    let bytes = fs::read(&path);
    drop(fs::remove_file(&path));
    assert!(status.success(), "ffmpeg {arguments}");
    bytes.unwrap()
}

/// Every container and codec, as (name, ffmpeg's options, extension).
const FORMATS: [(&str, &str, &str); 47] = [
    ("wav_u8", "-c:a pcm_u8", "wav"),
    ("wav_s16", "-c:a pcm_s16le", "wav"),
    ("wav_s24", "-c:a pcm_s24le", "wav"),
    ("wav_s32", "-c:a pcm_s32le", "wav"),
    ("wav_f32", "-c:a pcm_f32le", "wav"),
    ("wav_f64", "-c:a pcm_f64le", "wav"),
    ("wav_mulaw", "-c:a pcm_mulaw", "wav"),
    ("wav_alaw", "-c:a pcm_alaw", "wav"),
    ("wav_adpcm_ima", "-c:a adpcm_ima_wav", "wav"),
    ("wav_adpcm_ms", "-c:a adpcm_ms", "wav"),
    ("wav_rf64", "-c:a pcm_s16le -rf64 always", "wav"),
    ("aiff", "-c:a pcm_s16be", "aiff"),
    ("aiff_s24", "-c:a pcm_s24be", "aiff"),
    ("aifc_sowt", "-c:a pcm_s16le", "aiff"),
    ("aifc_f32", "-c:a pcm_f32be", "aiff"),
    ("aifc_mulaw", "-c:a pcm_mulaw", "aiff"),
    ("caf", "-c:a pcm_s16be", "caf"),
    ("caf_s24", "-c:a pcm_s24le", "caf"),
    ("caf_alaw", "-c:a pcm_alaw", "caf"),
    ("caf_opus", "-c:a libopus -b:a 32k", "caf"),
    ("flac", "-c:a flac", "flac"),
    ("ogg_flac", "-c:a flac -f ogg", "oga"),
    ("mp3", "-c:a libmp3lame -b:a 64k", "mp3"),
    ("ogg_vorbis", "-c:a libvorbis -q:a 5", "ogg"),
    ("ogg_opus", "-c:a libopus -b:a 32k", "opus"),
    ("webm_opus", "-c:a libopus -b:a 32k", "webm"),
    ("adts_aac", "-c:a aac -b:a 64k", "aac"),
    ("m4a", "-c:a aac -b:a 64k", "m4a"),
    ("m4a_alac", "-c:a alac", "m4a"),
    (
        "mp4_fragmented",
        "-c:a aac -b:a 64k -movflags +frag_keyframe+empty_moov+default_base_moof",
        "mp4",
    ),
    ("mkv_aac", "-c:a aac -b:a 64k", "mkv"),
    ("mkv_vorbis", "-c:a libvorbis -q:a 5", "mkv"),
    ("mkv_flac", "-c:a flac", "mkv"),
    ("mkv_pcm", "-c:a pcm_s16le", "mkv"),
    ("mkv_mp3", "-c:a libmp3lame -b:a 64k", "mkv"),
    ("mkv_opus", "-c:a libopus -b:a 32k", "mkv"),
    ("wav_g722", "-c:a g722", "wav"),
    ("au_s16", "-c:a pcm_s16be", "au"),
    ("w64_f32", "-c:a pcm_f32le", "w64"),
    ("voc_s16", "-c:a pcm_s16le", "voc"),
    ("avi_pcm", "-c:a pcm_s16le", "avi"),
    ("avi_aac", "-c:a aac -b:a 64k", "avi"),
    ("flv_aac", "-c:a aac -b:a 64k", "flv"),
    ("ts_mp2", "-c:a mp2 -b:a 64k", "ts"),
    ("ts_aac", "-c:a aac -b:a 64k", "ts"),
    ("m2ts_mp2", "-c:a mp2 -b:a 64k -mpegts_m2ts_mode 1", "m2ts"),
    ("mpg_mp2", "-c:a mp2 -b:a 64k -f vob", "mpg"),
];
