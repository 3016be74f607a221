//! Hostile and broken files: any bytes must give an answer soon, in little memory and without a
//! panic.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::*;
use crate::audio::checks::{forgiving, mend_pages};

/// Most CPU time for one small file, in a build without optimisation.
const SOON: Duration = Duration::from_secs(20);

/// Reproducible noise.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Highest memory use of this process so far, in bytes: resident, and virtual.
fn peaks() -> (u64, u64) {
    let status = procfs::process::Process::myself()
        .unwrap()
        .status()
        .unwrap();
    (status.vmhwm.unwrap() * 1024, status.vmpeak.unwrap() * 1024)
}

/// CPU time of this thread, which other tests do not change.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// Places where Symphonia 0.6.1 is known to panic on crafted files. Remove an entry once a newer
/// version is fixed.
const KNOWN_PANICS: [(&str, &str); 3] = [
    // lookup1_values: codebook dimensions for which a power overflows.
    ("symphonia-format-ogg", "mappings/vorbis.rs"),
    // synthesize_codewords: an ordered codebook with codewords of more than 32 bits.
    ("symphonia-codec-vorbis", "codebook.rs"),
    // seek_buffered: an MP4 sample at an offset of more than 63 bits.
    ("symphonia-core", "io/media_source_stream.rs"),
];

/// Like [`hear`], but a known panic becomes an error, as in a job's panic hook.
fn hear_hostile(file: File) -> Result<Heard, AudioError> {
    forgiving(|| hear(file)).unwrap_or_else(|location| {
        let is_known =
            |(package, file): &(&str, &str)| location.contains(package) && location.contains(file);
        assert!(
            KNOWN_PANICS.iter().any(is_known),
            "the decoder panicked at {location}"
        );
        println!("known panic at {location}");
        Err(AudioError::Corrupt("the decoder panicked".into()))
    })
}

/// Decodes any bytes; time and memory must stay within bounds.
fn survive(what: &str, bytes: &[u8]) -> Result<Heard, AudioError> {
    let (touched, asked) = peaks();
    let start = cpu_time();
    let heard = hear_hostile(memfd(bytes));
    let took = cpu_time() - start;
    assert!(took < SOON, "{what} took {took:?}");
    let (touched, asked) = (
        peaks().0.saturating_sub(touched),
        peaks().1.saturating_sub(asked),
    );
    assert!(touched < 256 << 20, "{what} used {touched} bytes more");
    assert!(asked < 1 << 30, "{what} asked for {asked} bytes more");
    if let Err(error) = &heard {
        let text = error.to_string();
        assert!(text.len() < 300 && !text.contains('\n'), "{text}");
    }
    heard
}

#[test]
fn nothing_is_an_error() {
    assert!(matches!(hear(memfd(b"")), Err(AudioError::Empty)));
    assert!(matches!(hear(pipe(Vec::new())), Err(AudioError::Empty)));
}

#[test]
fn text_named_wav_is_not_audio() {
    let text = "Dear sir, please find the recording attached.\n".repeat(1_000);
    let hint = Hint {
        extension: Some("wav"),
        mime: Some("audio/wav"),
    };
    let error = Decoder::open(memfd(text.as_bytes()), hint).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the file is not audio in a supported format (it came as .wav): \
         send WAV, FLAC, MP3, MP2, Ogg, Opus, WebM, MKV, MP4, M4A, MOV, 3GP, AAC, AIFF, CAF, AU, \
         W64, VOC, SPHERE, AMR, GSM, MPEG-TS, MPEG-PS, FLV or AVI"
    );
    let hint = Hint {
        extension: None,
        mime: Some("text/\u{1b}[31m plain\n"),
    };
    let error = Decoder::open(memfd(text.as_bytes()), hint).err().unwrap();
    assert!(
        error.to_string().contains("(it came as text/31mplain)"),
        "{error}"
    );
}

#[test]
fn noise_is_an_error() {
    let mut noise = Noise(0x5eed);
    for megabytes in [1, 10] {
        let error = survive("noise", &noise.bytes(megabytes << 20)).unwrap_err();
        println!("{error}");
        assert!(matches!(
            error,
            AudioError::Unsupported(_) | AudioError::Corrupt(_)
        ));
    }
    for byte in [0, 0xff, b'R'] {
        survive("one byte again and again", &vec![byte; 10 << 20]).unwrap_err();
    }
}

/// The beginning of a format, followed by noise.
#[test]
fn noise_behind_a_header_is_survived() {
    let mut noise = Noise(0xdecade);
    for (name, options, extension) in &FORMATS {
        let whole = encode(0.3, options, extension);
        for keep in [16, 64, 256, 1_024, whole.len()] {
            let mut bytes = whole[..keep.min(whole.len())].to_vec();
            bytes.extend(noise.bytes(200_000));
            drop(survive(name, &bytes));
        }
    }
}

/// Sync words of MPEG and ADTS frames everywhere: the decoder examines each and finds, a frame
/// later, that it is false.
#[test]
fn false_syncs_are_survived() {
    for sync in [
        &b"\xff\xfb\x90\x64"[..],
        b"\xff\xfb",
        b"\xff\xf1\x50\x80\x2e\x7f\xfc",
        b"ID3",
        b"OggS",
    ] {
        for filler in [&b""[..], b"\0", b"x\x01y"] {
            let unit = [sync, filler].concat();
            let bytes: Vec<u8> = unit.iter().copied().cycle().take(4 << 20).collect();
            drop(survive(&format!("{unit:?}"), &bytes));
        }
    }
}

#[test]
fn flac_cut_before_its_first_frame_is_an_error() {
    let flac = encode(1.0, "-c:a flac", "flac");
    let frame = flac.windows(2).position(|two| two == [0xff, 0xf8]).unwrap();
    for len in [4, 8, 42, frame - 1, frame, frame + 1, frame + 10] {
        let error = survive("flac", &flac[..len]).unwrap_err();
        assert!(matches!(error, AudioError::Corrupt(_)), "{len}: {error}");
    }
}

fn truncate(names: &[&str]) {
    for (name, options, extension) in FORMATS.iter().filter(|format| names.contains(&format.0)) {
        let whole = encode(60.0, options, extension);
        let complete = hear_well(memfd(&whole)).len();
        for step in 0..50 {
            let len = whole.len() * step / 50;
            let what = format!("{name} cut to {len} of {} bytes", whole.len());
            match survive(&what, &whole[..len]) {
                Ok(Heard { samples, warnings }) => {
                    assert!(samples.len() <= complete + 1_600, "{what}");
                    // Between two packets of MPEG's streams nothing tells that more should follow.
                    let packet = match name.split('_').next() {
                        Some("ts") => 188,
                        Some("m2ts") => 192,
                        Some("mpg") => 2048,
                        _ => usize::MAX,
                    };
                    // The loss of a third of a second must be reported.
                    assert!(
                        samples.len() + 5_333 > complete
                            || !warnings.is_empty()
                            || len.is_multiple_of(packet),
                        "{what}"
                    );
                }
                Err(error) => {
                    println!("{what}: {error}");
                    // In these formats the description of the samples comes after them.
                    let index_last = ["m4a", "caf"].contains(extension);
                    // Nothing can be decoded before a page of Ogg is complete, which is after 1 s.
                    assert!(index_last || step < 30, "{what}: {error}");
                }
            }
        }
    }
}

fn flip(names: &[&str]) {
    for (name, options, extension) in FORMATS.iter().filter(|format| names.contains(&format.0)) {
        let whole = encode(0.3, options, extension);
        let mut same = whole.clone();
        mend_pages(&mut same);
        assert!(same == whole, "{name} has other checksums");
        let mut noise = Noise(0xf11b);
        for round in 0..200 {
            let mut bytes = whole.clone();
            // In headers a single byte matters most.
            let reach = if round % 2 == 0 {
                bytes.len().min(1_024)
            } else {
                bytes.len()
            };
            for _ in 0..=round % 8 {
                let at = noise.below(reach);
                bytes[at] = noise.next() as u8;
            }
            mend_pages(&mut bytes);
            drop(survive(&format!("{name}, flip {round}"), &bytes));
        }
    }
}

/// One test for each name, so that they run in parallel.
macro_rules! for_each_format {
    ($($name:ident)*) => {
        mod truncated {
            $(#[test] fn $name() { super::truncate(&[stringify!($name)]); })*
        }

        mod flipped {
            $(#[test] fn $name() { super::flip(&[stringify!($name)]); })*
        }

        #[test]
        fn every_format_is_damaged() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(FORMATS.map(|format| format.0), tested);
        }
    };
}

for_each_format! {
    wav_u8 wav_s16 wav_s24 wav_s32 wav_f32 wav_f64 wav_mulaw wav_alaw wav_adpcm_ima wav_adpcm_ms
    wav_rf64 aiff aiff_s24 aifc_sowt aifc_f32 aifc_mulaw caf caf_s24 caf_alaw caf_opus flac ogg_flac mp3 ogg_vorbis ogg_opus webm_opus
    adts_aac m4a m4a_alac mp4_fragmented mkv_aac mkv_vorbis mkv_flac mkv_pcm mkv_mp3 mkv_opus
    wav_g722 au_s16 w64_f32 voc_s16 avi_pcm avi_aac flv_aac ts_mp2 ts_aac m2ts_mp2 mpg_mp2
}
