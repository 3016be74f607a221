//! Valid but unusual files: odd WAV headers, joined files, tags, tracks of other kinds.

use super::*;

/// A quarter of a second of speech, at 16 kHz.
fn word() -> Vec<i16> {
    speech()[12_000..16_000].to_vec()
}

fn word_f32() -> Vec<f32> {
    speech_f32()[12_000..16_000].to_vec()
}

/// A WAV file of `word` with the given chunks before and after its samples.
fn wav_of_chunks(before: &[(&[u8; 4], Vec<u8>)], after: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut wav = b"RIFF\0\0\0\0WAVE".to_vec();
    let data = (
        b"data",
        word()
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect(),
    );
    for (name, body) in before.iter().chain([&data]).chain(after) {
        wav.extend(*name);
        wav.extend((body.len() as u32).to_le_bytes());
        wav.extend(body);
        wav.extend(vec![0; body.len() % 2]);
    }
    let size = wav.len() as u32 - 8;
    wav[4..8].copy_from_slice(&size.to_le_bytes());
    wav
}

fn fmt(tag: u16, channels: u16, rate: u32, bits: u16, extra: &[u8]) -> (&'static [u8; 4], Vec<u8>) {
    let align = channels * bits / 8;
    let mut body = [tag, channels].map(u16::to_le_bytes).concat();
    body.extend(rate.to_le_bytes());
    body.extend((rate * u32::from(align)).to_le_bytes());
    body.extend([align, bits].map(u16::to_le_bytes).concat());
    body.extend(extra);
    (b"fmt ", body)
}

/// Decodes the same bytes from a file and from a pipe.
fn hear_both(bytes: Vec<u8>) -> Result<Heard, AudioError> {
    let file = hear(memfd(&bytes));
    let streamed = hear(pipe(bytes));
    match (&file, &streamed) {
        (Ok(a), Ok(b)) => {
            assert!(a.samples == b.samples);
            assert_eq!(a.warnings, b.warnings);
        }
        (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string()),
        (a, b) => panic!("{:?} but {:?}", a.is_ok(), b.is_ok()),
    }
    file
}

#[test]
fn a_header_of_unknown_length_is_no_damage() {
    let unknown = u32::MAX;
    // As arecord, SoX, GStreamer and others write to a pipe.
    for claim in [
        0xffff_fff0,
        0xffff_ffdb,
        0x8000_0000,
        0x7fff_f000,
        0x7fff_0000,
        0x7fff_ffff_u32,
    ] {
        for riff in [claim, claim.saturating_add(36), 36, 0, u32::MAX] {
            let heard = hear_both(wav_claiming(16_000, 1, &word(), riff, claim)).unwrap();
            assert!(heard.samples == word_f32(), "{riff:#x} {claim:#x}");
            assert_eq!(heard.warnings, Vec::<String>::new(), "{riff:#x} {claim:#x}");
        }
    }
    for (riff, data) in [
        (unknown, unknown),
        (0, 0),
        (36, 0),
        (unknown, 0),
        (0, unknown),
        (36, unknown),
    ] {
        let heard = hear_both(wav_claiming(16_000, 1, &word(), riff, data)).unwrap();
        assert!(heard.samples == word_f32(), "{riff:#x} {data:#x}");
        assert_eq!(heard.warnings, Vec::<String>::new(), "{riff:#x} {data:#x}");
    }
}

#[test]
fn a_header_that_claims_too_much_costs_a_warning() {
    for claim in [0xf000_0000, 0x4000_0000, 1_000_000_000, 100_000_u32] {
        for riff in [claim, claim.saturating_add(36), 36, 0, u32::MAX] {
            let heard = hear_both(wav_claiming(16_000, 1, &word(), riff, claim)).unwrap();
            assert!(heard.samples == word_f32(), "{riff:#x} {claim:#x}");
            assert_eq!(
                heard.warnings,
                ["the file ends early: 0.2 s of audio were read"]
            );
        }
    }
}

#[test]
fn a_header_with_too_little_behind_it_is_an_error() {
    for claim in [0xffff_ffff, 0xffff_fff0, 0x8000_0000, 0, 3_198_u32] {
        for samples in [0, 1, 1_599] {
            let error = hear_both(wav_claiming(16_000, 1, &word()[..samples], claim, claim));
            let error = error.unwrap_err();
            assert!(
                matches!(error, AudioError::TooShort { .. } | AudioError::Corrupt(_)),
                "{error}"
            );
        }
    }
    let error = hear_both(wav(16_000, 1, &word()[..1_599])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the recording is too short: it lasts 0.100 s, at least 0.1 s is needed"
    );
    assert!(hear_both(wav(16_000, 1, &word()[..1_600])).is_ok());
    assert!(hear_both(wav(48_000, 2, &vec![5; 9_600])).is_ok());
    assert!(hear_both(wav(48_000, 2, &vec![5; 9_500])).is_err());
}

#[test]
fn a_header_alone_is_an_error() {
    let wav = wav(16_000, 1, &word());
    for len in 1..44 {
        let error = hear_both(wav[..len].to_vec()).unwrap_err();
        assert!(
            matches!(error, AudioError::Corrupt(_) | AudioError::Unsupported(_)),
            "{len}: {error}"
        );
    }
    let error = hear_both(wav[..44].to_vec()).unwrap_err();
    assert!(matches!(error, AudioError::Corrupt(_)), "{error}");
    let error = hear_both(super::wav(16_000, 1, &[])).unwrap_err();
    assert!(
        matches!(error, AudioError::TooShort { seconds: 0.0 }),
        "{error}"
    );
}

#[test]
fn other_chunks_are_no_audio() {
    let loud = || vec![0x55; 40_001];
    let pcm = fmt(1, 1, 16_000, 16, &[]);
    let wav = wav_of_chunks(
        &[
            (b"bext", loud()),
            pcm.clone(),
            (b"fact", vec![9; 7]),
            (b"LIST", loud()),
        ],
        &[(b"LIST", loud())],
    );
    let heard = hear_both(wav).unwrap();
    assert!(heard.samples == word_f32());
    assert_eq!(heard.warnings, Vec::<String>::new());
    // No samples, followed by bytes that are not samples.
    let mut silent = super::wav(16_000, 1, &[]);
    silent.extend(b"LIST");
    silent.extend(40_000_u32.to_le_bytes());
    silent.extend(vec![0x55; 40_000]);
    let size = silent.len() as u32 - 8;
    silent[4..8].copy_from_slice(&size.to_le_bytes());
    assert!(matches!(
        hear_both(silent),
        Err(AudioError::TooShort { seconds: 0.0 })
    ));
}

#[test]
fn odd_format_chunks_mean_the_same() {
    let guid = |tag: u16| {
        let mut extra = vec![22, 0, 16, 0, 0xff, 0xff, 0xff, 0xff];
        extra.extend(tag.to_le_bytes());
        extra.extend(b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
        extra
    };
    for fmt in [
        fmt(1, 1, 16_000, 16, &[]),
        fmt(1, 1, 16_000, 16, &[0, 0]),
        fmt(1, 1, 16_000, 16, &[1, 2, 3]),
        fmt(1, 1, 16_000, 16, &[7; 300]),
        fmt(0xfffe, 1, 16_000, 16, &guid(1)),
    ] {
        let heard = hear_both(wav_of_chunks(&[fmt], &[])).unwrap();
        assert!(heard.samples == word_f32());
    }
    // Telephony tools write companded samples with a 16-byte chunk, which is allowed only for
    // linear ones.
    for tag in [6, 7] {
        for extra in [vec![], vec![0, 0], vec![0; 30]] {
            let heard = hear_both(wav_of_chunks(&[fmt(tag, 1, 8_000, 8, &extra)], &[])).unwrap();
            assert_eq!(heard.samples.len(), 16_000);
        }
        let heard = hear_both(wav_of_chunks(&[fmt(0xfffe, 1, 8_000, 8, &guid(tag))], &[])).unwrap();
        assert_eq!(heard.samples.len(), 16_000);
    }
}

#[test]
fn absurd_formats_are_errors() {
    let hear = |fmt| hear_both(wav_of_chunks(&[fmt], &[])).unwrap_err();
    assert!(matches!(
        hear(fmt(1, 1, 0, 16, &[])),
        AudioError::SampleRate(0)
    ));
    assert!(matches!(
        hear(fmt(1, 1, 1_999, 16, &[])),
        AudioError::SampleRate(1_999)
    ));
    assert!(matches!(
        hear(fmt(1, 1, 384_001, 16, &[])),
        AudioError::SampleRate(384_001)
    ));
    assert!(matches!(
        hear(fmt(1, 1, u32::MAX / 2, 16, &[])),
        AudioError::SampleRate(_)
    ));
    assert!(matches!(
        hear(fmt(1, 0, 16_000, 16, &[])),
        AudioError::Channels(0)
    ));
    for channels in [27, 64, 65, 4_000] {
        hear(fmt(1, channels, 16_000, 16, &[]));
        hear(fmt(0xfffe, channels, 16_000, 16, &[0; 24]));
    }
    for bits in [0, 1, 65, 1_000] {
        hear(fmt(1, 1, 16_000, bits, &[]));
    }
    for bits in [0, 1, 8, 12, 33, 65] {
        hear(fmt(3, 1, 16_000, bits, &[0; 2]));
    }
    for tag in [2, 0x11] {
        for extra in [vec![], vec![0], vec![0, 0], vec![2, 0, 0, 0], vec![255; 32]] {
            hear(fmt(tag, 1, 16_000, 4, &extra));
        }
    }
    for (tag, name) in [
        (0x31, "GSM 6.10 of 2 channels"),
        (0x45, "G.726"),
        (0x161, "Windows Media Audio"),
        (0x42, "G.723.1"),
        (0x1234, "WAV format 0x1234"),
    ] {
        let error = hear(fmt(tag, 2, 8_000, 16, &[0; 4]));
        let is_named = matches!(&error, AudioError::UnsupportedCodec(codec) if codec == name);
        assert!(is_named, "{tag:#x}: {error}");
    }
}

#[test]
fn the_extremes_that_are_allowed_decode() {
    for rate in [2_000, 383_999, 384_000] {
        let samples = vec![100; rate as usize / 5];
        let heard = hear_well(memfd(&wav(rate, 1, &samples)));
        assert!(
            heard.len().abs_diff(3_200) <= 1,
            "{} at {rate} Hz",
            heard.len()
        );
    }
    let heard = hear_well(memfd(&wav(16_000, 26, &[1_000; 26 * 2_000])));
    assert_eq!(heard, [1_000.0 / 32_768.0; 2_000]);
}

#[test]
fn joined_streams_are_decoded_to_their_end() {
    for (name, options, extension) in [
        (
            "MP3 with headers that tell lengths",
            "-c:a libmp3lame -b:a 64k",
            "mp3",
        ),
        (
            "MP3 without",
            "-c:a libmp3lame -b:a 64k -write_xing 0 -id3v2_version 0",
            "mp3",
        ),
        ("ADTS", "-c:a aac -b:a 64k", "aac"),
        ("Ogg Vorbis", "-c:a libvorbis", "ogg"),
        ("Ogg Opus", "-c:a libopus", "opus"),
    ] {
        let once = encode(1.0, options, extension);
        let single = hear_well(memfd(&once)).len();
        let joined = hear_both([&once[..], &once, &once].concat()).unwrap();
        let missing = (3 * single).abs_diff(joined.samples.len());
        assert!(
            missing < 3 * 1_600,
            "{name}: {} of {}",
            joined.samples.len(),
            3 * single
        );
    }
}

#[test]
fn a_quiet_end_is_not_taken_for_none() {
    // A variable bit rate without its header: the length can only be guessed, and the guess is too
    // short.
    let options = "-c:a libmp3lame -q:a 0 -write_xing 0 -id3v2_version 0";
    let loud = encode(1.0, &format!("{options} -af volume=20"), "mp3");
    let quiet = encode(2.0, &format!("{options} -af volume=0.001"), "mp3");
    let heard = hear_both([loud, quiet].concat()).unwrap();
    assert!(heard.samples.len() > 46_000, "{}", heard.samples.len());
}

#[test]
fn the_rate_and_the_channels_may_change_on_the_way() {
    let mut joined = Vec::new();
    for options in ["-ar 16000", "-ar 44100 -ac 2", "-ar 22050", "-ar 48000"] {
        let options = format!("-c:a libmp3lame -write_xing 0 -id3v2_version 0 {options}");
        joined.extend(encode(1.0, &options, "mp3"));
    }
    let heard = hear_both(joined).unwrap();
    assert!(
        heard.samples.len().abs_diff(64_000) < 4_000,
        "{}",
        heard.samples.len()
    );
    let mut joined = Vec::new();
    for options in ["-ar 16000", "-ar 44100 -ac 2", "-ar 8000"] {
        joined.extend(encode(1.0, &format!("-c:a libvorbis {options}"), "ogg"));
    }
    let heard = hear_both(joined).unwrap();
    assert!(
        heard.samples.len().abs_diff(48_000) < 2_000,
        "{}",
        heard.samples.len()
    );
}

#[test]
fn tags_do_not_disturb() {
    let plain = hear_well(memfd(&encode(1.0, "-c:a libmp3lame", "mp3")));
    for options in [
        "-write_id3v1 1 -id3v2_version 3 -metadata title=RIFF -metadata artist=OggS",
        "-write_apetag 1 -metadata title=fLaC",
        "-id3v2_version 4 -metadata comment=ID3",
    ] {
        let bytes = encode(1.0, &format!("-c:a libmp3lame {options}"), "mp3");
        let heard = hear_both(bytes).unwrap();
        assert!(heard.samples == plain, "{options}");
        assert_eq!(heard.warnings, Vec::<String>::new(), "{options}");
    }
    // A picture of 3 MB that contains the beginnings of other formats.
    let size = 3_000_000_u32;
    let mut tagged = b"ID3\x03\0\0".to_vec();
    tagged.extend([21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8));
    let picture = b"RIFFxxxxWAVEfLaC\xff\xfb\x90\x64OggSffffcaff"
        .iter()
        .copied()
        .cycle();
    tagged.extend(picture.take(size as usize));
    tagged.extend(encode(1.0, "-c:a libmp3lame", "mp3"));
    assert!(hear_both(tagged).unwrap().samples == plain);
}

#[test]
fn the_sound_of_a_video_is_heard() {
    for extension in ["mp4", "mkv", "mov"] {
        let options = "-f lavfi -t 2 -i testsrc=size=320x240:rate=25 -c:v mpeg4 -c:a aac";
        let heard = hear_well(memfd(&encode(2.0, options, extension)));
        assert!(
            heard.len().abs_diff(32_000) < 2_000,
            "{extension}: {}",
            heard.len()
        );
    }
}

#[test]
fn files_without_usable_sound_are_told_apart() {
    let video = "-f lavfi -t 2 -i testsrc=size=320x240:rate=25 -map 1:v -c:v mpeg4";
    for extension in ["mp4", "mkv"] {
        let error = hear(memfd(&encode(1.0, video, extension))).unwrap_err();
        println!("{extension}: {error}");
        assert!(
            matches!(error, AudioError::NoAudioTrack),
            "{extension}: {error}"
        );
    }
    for (options, extension) in [
        ("-c:a ac3", "mp4"),
        ("-c:a ac3", "mkv"),
        (
            "-c:a aac -af pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0",
            "m4a",
        ),
        ("-c:a wavpack", "mkv"),
        ("-c:a g726 -ar 8000", "wav"),
        ("-c:a dca -strict -2 -ar 44100 -ac 2", "wav"),
        ("-c:a libspeex", "spx"),
        ("-c:a libspeex", "flv"),
        ("-c:a nellymoser -ar 16000", "flv"),
        ("-c:a ac3", "avi"),
        ("-c:a ac3", "ts"),
        ("-c:a libopus", "ts"),
        ("-c:a aac -mpegts_flags latm", "ts"),
    ] {
        let error = hear(memfd(&encode(1.0, options, extension))).unwrap_err();
        println!("{options} {extension}: {error}");
        assert!(
            matches!(error, AudioError::UnsupportedCodec(_)),
            "{options} {extension}: {error}"
        );
    }
    for (options, extension, name) in [
        ("-c:a wmav2", "wma", "Windows Media (ASF, WMA, WMV)"),
        ("-c:a wavpack", "wv", "WavPack"),
        ("-c:a tta", "tta", "TTA"),
        ("-c:a ac3", "ac3", "AC-3"),
        ("-c:a eac3", "eac3", "E-AC-3"),
        ("-c:a dca -strict -2", "dts", "DTS"),
        ("-c:a truehd -strict -2 -ar 48000 -ac 2", "thd", "TrueHD"),
        ("-c:a ac3 -f rm", "rm", "RealMedia"),
        ("-c:a mp3 -f nut", "nut", "NUT"),
        ("-c:a mp3 -ar 44100 -f swf", "swf", "Flash (SWF)"),
    ] {
        let error = hear(memfd(&encode(1.0, options, extension))).unwrap_err();
        println!("{extension}: {error}");
        assert!(
            matches!(error, AudioError::UnsupportedFormat(what) if what == name),
            "{extension}: {error}"
        );
    }
}

/// The samples of a word in other widths: bytes of each, from its 16 bits.
fn widened(width: impl Fn(i16) -> Vec<u8>) -> Vec<u8> {
    word().into_iter().flat_map(width).collect()
}

/// A WAV file with any description and any samples.
fn wav_of(fmt: &[u8], data: &[u8]) -> Vec<u8> {
    let mut wav = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    wav.extend((fmt.len() as u32).to_le_bytes());
    wav.extend(fmt);
    wav.extend(b"data");
    wav.extend((data.len() as u32).to_le_bytes());
    wav.extend(data);
    let size = wav.len() as u32 - 8;
    wav[4..8].copy_from_slice(&size.to_le_bytes());
    wav
}

/// A description whose blocks have this many bytes for each sample.
fn fmt_aligned(tag: u16, bits: u16, align: u16) -> Vec<u8> {
    let (_, mut fmt) = fmt(tag, 1, 16_000, bits, &[]);
    fmt[12..14].copy_from_slice(&align.to_le_bytes());
    fmt
}

#[test]
fn samples_lie_in_their_blocks_as_programs_put_them() {
    let wide = |sample: i16| i32::from(sample);
    for (what, fmt, data) in [
        (
            "24 low bits of 32, as ALSA's S24_LE",
            fmt_aligned(1, 24, 4),
            widened(|s| (wide(s) << 8).to_le_bytes().to_vec()),
        ),
        (
            "24 high bits of 32",
            fmt_aligned(1, 24, 4),
            widened(|s| (wide(s) << 16).to_le_bytes().to_vec()),
        ),
        (
            "20 high bits of 24",
            fmt_aligned(1, 20, 3),
            widened(|s| (wide(s) << 8).to_le_bytes()[..3].to_vec()),
        ),
        (
            "16 bits in 4 bytes",
            fmt_aligned(1, 16, 4),
            widened(|s| wide(s).to_le_bytes().to_vec()),
        ),
        (
            "a block that is too short for the bits",
            fmt_aligned(1, 16, 1),
            widened(|s| s.to_le_bytes().to_vec()),
        ),
        (
            "64 bits",
            fmt_aligned(1, 64, 8),
            widened(|s| (i64::from(s) << 48).to_le_bytes().to_vec()),
        ),
    ] {
        let heard = hear(memfd(&wav_of(&fmt, &data))).unwrap();
        assert_eq!(heard.warnings, Vec::<String>::new(), "{what}");
        assert!(heard.samples == word_f32(), "{what}");
    }
    // Twelve bits lose the lowest four.
    let data = widened(|s| (s & !15).to_le_bytes().to_vec());
    let heard = hear(memfd(&wav_of(&fmt_aligned(1, 12, 2), &data))).unwrap();
    let expected = word().into_iter().map(|s| f32::from(s & !15) / 32_768.0);
    assert!(heard.samples == expected.collect::<Vec<_>>());
}

#[test]
fn floats_that_hold_whole_numbers_are_divided() {
    for (by, warned) in [
        (1.0, false),
        (2.0, false),
        (32_768.0, true),
        (2_147_483_648.0, true),
    ] {
        let float = |s: i16| f64::from(s) / 32_768.0 * by;
        for (bits, data) in [
            (32, widened(|s| (float(s) as f32).to_le_bytes().to_vec())),
            (64, widened(|s| float(s).to_le_bytes().to_vec())),
        ] {
            let fmt = fmt_aligned(3, bits, bits / 8);
            let heard = hear(memfd(&wav_of(&fmt, &data))).unwrap();
            assert_eq!(!heard.warnings.is_empty(), warned, "{by} {bits}");
            if by != 2.0 {
                assert!(heard.samples == word_f32(), "{by} {bits}");
            }
        }
    }
}

#[test]
fn samples_behind_the_announced_ones_are_heard() {
    // Python's `wave` writes its header with the first samples, and cannot mend it in a pipe.
    let samples = word();
    let wav = wav_claiming(16_000, 1, &samples, 36 + 2_000, 2_000);
    let heard = hear(memfd(&wav)).unwrap();
    assert!(heard.samples == word_f32());
    assert_eq!(heard.warnings, Vec::<String>::new());
}

#[test]
fn joined_wav_files_cost_a_warning() {
    let one = wav(16_000, 1, &word());
    let list = [&b"LIST\x04\0\0\0INFO"[..], &one].concat();
    for rest in [&one[..], &list] {
        let heard = hear(memfd(&[&one, rest].concat())).unwrap();
        assert!(heard.samples == word_f32());
        assert_eq!(heard.warnings.len(), 1, "{:?}", heard.warnings);
        assert!(heard.warnings[0].contains("another recording follows"));
    }
    // Tags, chunks without the byte that fills them up, and reserved space are no samples.
    for rest in [
        b"TAGtitle".to_vec(),
        b"ID3\x04\0\0\0\0\0\x7f".to_vec(),
        b"LIST\x05\0\0\0INFOxid3 \x04\0\0\0abcd".to_vec(),
        vec![0; 10_000],
    ] {
        let heard = hear(memfd(&[&one[..], &rest].concat())).unwrap();
        assert!(heard.samples == word_f32());
        assert_eq!(heard.warnings, Vec::<String>::new());
    }
}

#[test]
fn numbers_may_have_their_high_byte_first() {
    let mut rifx =
        b"RIFX\0\0\x1f\x64WAVEfmt \0\0\0\x10\0\x01\0\x01\0\0\x3e\x80\0\0\x7d\0\0\x02\0\x10data"
            .to_vec();
    rifx.extend(8_000_u32.to_be_bytes());
    rifx.extend(word().iter().flat_map(|sample| sample.to_be_bytes()));
    assert!(hear_both(rifx).unwrap().samples == word_f32());
}

#[test]
fn a_header_of_sphere_is_text() {
    for (order, swap) in [("01", false), ("10", true)] {
        let mut sphere = format!(
            "NIST_1A\n   1024\nsample_rate -i 16000\nchannel_count -i 1\nsample_n_bytes -i 2\n\
             sample_byte_format -s2 {order}\nsample_coding -s3 pcm\nsample_count -i 4000\nend_head\n"
        )
        .into_bytes();
        sphere.resize(1024, b' ');
        let bytes = |s: i16| {
            if swap {
                s.to_be_bytes()
            } else {
                s.to_le_bytes()
            }
        };
        sphere.extend(word().into_iter().flat_map(bytes));
        assert!(hear_both(sphere).unwrap().samples == word_f32());
    }
}

#[test]
fn lengths_that_a_pipe_left_open_are_no_damage() {
    // SoX's AIFF, ffmpeg's AIFF, and ffmpeg's CAF, whose length is -1.
    let aiff = encode(0.25, "-c:a pcm_s16be", "aiff");
    let at = |magic: &[u8]| aiff.windows(4).position(|four| four == magic).unwrap();
    for (form, frames, sound) in [
        (0_u32, 0_u32, 0_u32),
        (0x7f00_0050, 0x3f80_0000, 0x7f00_0008),
    ] {
        let mut piped = aiff.clone();
        for (place, number) in [
            (4, form),
            (at(b"COMM") + 10, frames),
            (at(b"SSND") + 4, sound),
        ] {
            piped[place..place + 4].copy_from_slice(&number.to_be_bytes());
        }
        let heard = hear_both(piped).unwrap();
        assert!(heard.samples == speech_f32()[..4_000]);
        assert_eq!(heard.warnings, Vec::<String>::new());
    }
    for options in ["-c:a pcm_s16be", "-c:a pcm_alaw"] {
        let mut caf = encode(0.25, options, "caf");
        let data = caf.windows(4).rposition(|four| four == b"data").unwrap();
        let len = u64::from_be_bytes(*caf[data + 4..].first_chunk().unwrap());
        caf.truncate(data + 12 + len as usize);
        let complete = hear(memfd(&caf)).unwrap();
        caf[data + 4..data + 12].fill(0xff);
        let heard = hear(memfd(&caf)).unwrap();
        assert!(heard.samples == complete.samples && heard.samples.len() >= 4_000);
        assert_eq!(heard.warnings, Vec::<String>::new());
    }
}
