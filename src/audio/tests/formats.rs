//! Files of every kind, as ffmpeg writes them, must sound like the original.

use std::ops::Range;

use super::*;

/// Longest time by which a codec may shift or lengthen the recording, in samples at 16 kHz: 60 ms,
/// plus the priming of AAC and of MP3 in Matroska, which is not cut off (1024 samples at the coded
/// rate, of 8 kHz or more).
fn slack(name: &str, rate: u32) -> usize {
    let aac = name.contains("aac") || name.starts_with("m4a") || name.starts_with("mp4");
    960 + if aac || name == "mkv_mp3" {
        1_024 * 16_000 / rate as usize
    } else {
        0
    }
}

/// Finds the shift of up to `reach` samples at which the loudest word of `heard` fits `original`
/// best. Returns the correlation there, and the shift.
pub(super) fn correlation(heard: &[f32], original: &[f32], reach: isize) -> (f64, isize) {
    let energy = |s: &[f32]| s.iter().map(|x| f64::from(x * x)).sum::<f64>();
    let norm = (energy(heard) * energy(original)).sqrt();
    let loudness = |at: &usize| (energy(&original[*at..at + 2_000]) * 1e6) as i64;
    let loudest = (4_000..original.len() - 6_000)
        .step_by(500)
        .max_by_key(loudness)
        .unwrap();
    let product = |word: Range<usize>, shift: isize, step: usize| {
        let heard = &heard[word.start.saturating_add_signed(shift).min(heard.len())..];
        let pairs = heard.iter().zip(&original[word]).step_by(step);
        pairs.map(|(a, b)| f64::from(a * b)).sum::<f64>()
    };
    // Every third sample is enough to find the place for a closer search.
    let fit = |shift: &isize, step| (product(loudest..loudest + 2_000, *shift, step) * 1e6) as i64;
    let near = (-reach..=reach)
        .step_by(3)
        .max_by_key(|shift| fit(shift, 3))
        .unwrap();
    let shift = (near - 6..=near + 6)
        .max_by_key(|shift| fit(shift, 1))
        .unwrap();
    let start = usize::try_from(-shift).unwrap_or(0);
    (product(start..original.len(), shift, 1) / norm, shift)
}

fn assert_same_speech(what: &str, name: &str, rate: u32, heard: &[f32]) {
    let original = speech_f32();
    let slack = slack(name, rate);
    let longer = heard.len().abs_diff(original.len());
    let (best, shift) = correlation(heard, &original, slack as isize + 100);
    println!("{what}: {longer} samples longer or shorter, correlation {best:.4} at {shift}");
    assert!(longer <= slack, "{what}: {} samples", heard.len());
    assert!(best > 0.9, "{what}: correlation {best:.3} at {shift}");
    assert!(shift.unsigned_abs() <= slack, "{what}: shifted by {shift}");
}

#[test]
fn sixteen_bit_wav_is_exact() {
    assert_eq!(hear_well(memfd(&wav(16_000, 1, &speech()))), speech_f32());
}

#[test]
fn lossless_formats_are_exact() {
    for (name, options, extension) in &FORMATS {
        let lossless = [
            "wav_s", "wav_f", "wav_rf", "aif", "caf", "flac", "ogg_flac", "mkv_flac", "mkv_pcm",
            "m4a_alac", "au_s", "w64", "voc_s", "avi_pcm",
        ];
        let lossy = name.ends_with("law") || name.ends_with("opus");
        if !lossy && lossless.iter().any(|lossless| name.starts_with(lossless)) {
            println!("{name}");
            assert_eq!(
                hear_well(memfd(&encode(60.0, options, extension))),
                speech_f32()
            );
        }
    }
}

#[test]
fn every_format_sounds_like_the_original() {
    for (name, options, extension) in &FORMATS {
        let heard = hear_well(memfd(&encode(60.0, options, extension)));
        assert_same_speech(name, name, 16_000, &heard);
    }
}

#[test]
fn every_format_can_be_streamed_that_its_container_allows() {
    for (name, options, extension) in &FORMATS {
        // ffmpeg puts the index after the samples in CAF, and in MP4 unless told otherwise.
        if name.starts_with("caf") {
            continue;
        }
        let options = match *extension {
            "m4a" => format!("{options} -movflags +faststart"),
            _ => (*options).into(),
        };
        let file = encode(60.0, &options, extension);
        println!("{name}");
        let from_file = hear_well(memfd(&file));
        let streamed = hear_well(pipe(file));
        assert_eq!(streamed.len(), from_file.len(), "{name}");
        assert!(streamed == from_file, "{name}");
    }
}

#[test]
fn every_rate_and_number_of_channels() {
    let rates = [
        8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000,
    ];
    let few = [8_000, 12_000, 16_000, 24_000, 48_000];
    for (name, options, extension, rates, channels) in [
        (
            "wav_s16",
            "-c:a pcm_s16le",
            "wav",
            &rates[..],
            &[1, 2, 6][..],
        ),
        ("flac", "-c:a flac", "flac", &rates, &[1, 2, 6]),
        (
            "ogg_vorbis",
            "-c:a libvorbis -q:a 5",
            "ogg",
            &rates,
            &[1, 2, 6],
        ),
        ("mp3", "-c:a libmp3lame -b:a 64k", "mp3", &rates, &[1, 2]),
        ("m4a", "-c:a aac -b:a 64k", "m4a", &rates, &[1, 2]),
        ("ogg_opus", "-c:a libopus -b:a 32k", "opus", &few, &[1, 2]),
        (
            "wav_adpcm_ima",
            "-c:a adpcm_ima_wav",
            "wav",
            &[8_000, 44_100],
            &[1, 2],
        ),
    ] {
        for rate in rates {
            for channels in channels {
                let what = format!("{name} at {rate} Hz, {channels} channels");
                let options = format!("{options} -ar {rate} -af pan={}", pan(*channels));
                let heard = hear_well(memfd(&encode(60.0, &options, extension)));
                assert_same_speech(&what, name, *rate, &heard);
            }
        }
    }
}

/// Option for the speech on every channel: ffmpeg's own upmix would leave most of six silent.
fn pan(channels: u32) -> String {
    let layout = ["", "mono", "stereo", "", "", "", "5.1"][channels as usize];
    let copies = (0..channels)
        .map(|channel| format!("|c{channel}=c0"))
        .collect::<String>();
    format!("{layout}{copies}")
}
