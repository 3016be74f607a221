//! Damage in the middle: what is lost, how much the warning says, and that later words keep their
//! times.

use super::{formats::correlation, *};

/// The speech five times.
const LOOPED: &str = "-af aloop=loop=4:size=44580";

/// Greatest difference of a time, in samples: 60 ms, and what codecs shift by themselves.
const NEAR: usize = 2_500;

/// Formats as (ffmpeg's options, extension), and whether the lost time is only estimated.
const KINDS: [(&str, &str, bool); 14] = [
    ("-c:a libmp3lame -b:a 64k", "mp3", true),
    ("-c:a libmp3lame -b:a 64k -write_xing 0", "mp3", true),
    ("-c:a mp2 -b:a 64k", "mp2", true),
    ("-c:a aac -b:a 64k", "aac", true),
    ("-c:a libmp3lame -b:a 64k", "wav", true),
    ("-c:a libopus -b:a 48k -page_duration 200000", "ogg", false),
    ("-c:a libvorbis -q:a 6 -page_duration 200000", "ogg", false),
    (
        "-c:a libopus -b:a 48k -cluster_time_limit 300",
        "mkv",
        false,
    ),
    ("-c:a aac -b:a 64k -movflags +faststart", "m4a", false),
    ("-c:a aac -b:a 64k", "ts", false),
    ("-c:a flac", "flac", false),
    ("-c:a aac -b:a 64k", "flv", false),
    ("-c:a libmp3lame -b:a 64k", "avi", false),
    ("-c:a aac -b:a 64k", "avi", false),
];

/// Overwrites a part of the file, in per cent, in its middle.
fn damaged(whole: &[u8], share: usize) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let len = bytes.len() * share / 100;
    let start = (bytes.len() - len) / 2;
    let mut state = 7_u32;
    for byte in &mut bytes[start..start + len] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    bytes
}

/// The share that a warning tells, in per cent.
fn share(warnings: &[String]) -> f64 {
    let told = warnings.iter().find_map(|warning| {
        let (_, rest) = warning.split_once('(')?;
        rest.split_once(" %)")?.0.parse().ok()
    });
    told.unwrap_or_else(|| panic!("no share: {warnings:?}"))
}

#[test]
fn words_behind_damage_keep_their_times() {
    for (options, extension, is_estimate) in KINDS {
        let what = format!("{extension} {options}");
        let whole = encode(60.0, &format!("{options} {LOOPED}"), extension);
        let intact = hear_well(memfd(&whole));
        let heard = hear(memfd(&damaged(&whole, 10))).unwrap();
        let last = heard.samples.len() - SPEECH_LEN;
        let (fit, shift) = correlation(&heard.samples[last..], &speech_f32(), NEAR as isize);
        let behind = intact.len() - heard.samples.len().min(intact.len());
        println!(
            "{what}: {fit:.2} at {shift}, {behind} missing, {:?}",
            heard.warnings
        );
        assert!(heard.samples.len().abs_diff(intact.len()) <= NEAR, "{what}");
        assert!(fit > 0.7, "{what}: {fit} at {shift}");
        assert_eq!(heard.warnings.len(), 1, "{what}: {:?}", heard.warnings);
        let told = heard.warnings[0].contains("estimated");
        assert_eq!(told, is_estimate, "{what}: {:?}", heard.warnings);
    }
}

/// Length of the speech in samples.
const SPEECH_LEN: usize = 44_580;

#[test]
fn the_share_is_that_of_time() {
    for (options, extension, _) in KINDS {
        let what = format!("{extension} {options}");
        let whole = encode(60.0, &format!("{options} {LOOPED}"), extension);
        let heard = hear(memfd(&damaged(&whole, 40))).unwrap_or_else(|error| {
            panic!("{what}: {error}");
        });
        let share = share(&heard.warnings);
        println!("{what}: {:?}", heard.warnings);
        assert!((32.0..=48.0).contains(&share), "{what}: {share}");
        let error = hear(memfd(&damaged(&whole, 60))).err().unwrap();
        println!("{what}: {error}");
        assert!(
            error.to_string().contains("cannot be decoded"),
            "{what}: {error}"
        );
    }
}

#[test]
fn an_incomplete_last_frame_is_told() {
    for (options, extension) in [
        ("-c:a libmp3lame -b:a 64k -write_xing 0", "mp3"),
        ("-c:a mp2 -b:a 64k", "mp2"),
        ("-c:a aac -b:a 64k", "aac"),
        ("-c:a libmp3lame -b:a 64k", "wav"),
    ] {
        let whole = encode(60.0, options, extension);
        for cut in [1, 10, 100] {
            let heard = hear(memfd(&whole[..whole.len() - cut])).unwrap();
            let warnings = heard.warnings;
            assert!(
                matches!(&warnings[..], [one] if one.starts_with("the file ends early")),
                "{extension} {options}, {cut}: {warnings:?}"
            );
        }
    }
}

#[test]
fn tags_padding_and_joined_files_are_no_damage() {
    let plain = encode(
        60.0,
        "-c:a libmp3lame -b:a 64k -write_xing 0 -id3v2_version 0",
        "mp3",
    );
    let adts = encode(60.0, "-c:a aac -b:a 64k", "aac");
    let layer2 = encode(60.0, "-c:a mp2 -b:a 64k", "mp2");
    let tagged = encode(60.0, "-c:a libmp3lame -b:a 64k", "mp3");
    let id3v1 = [&b"TAG"[..], &[b'x'; 125]].concat();
    let mut ape = b"APETAGEX\xd0\x07\0\0".to_vec();
    ape.extend(200_u32.to_le_bytes());
    ape.extend(1_u32.to_le_bytes());
    ape.extend([0, 0, 0, 0xa0]);
    ape.extend([0; 8]);
    ape.extend([b'y'; 200]);
    let lyrics = b"LYRICSBEGINLYR00007forward000025LYRICS200".to_vec();
    let picture = {
        // As long as pictures are, and full of bytes that begin frames.
        let mut tag = b"ID3\x04\0\0\0\x0d\0\0".to_vec();
        tag.extend([0xff, 0xfb, 0x90, 0x64].repeat(13 * 16_384 / 4));
        tag
    };
    let zeros = vec![0; 300_000];
    for stream in [&plain, &adts, &layer2, &tagged] {
        let alone = hear_well(memfd(stream)).len();
        for (behind, count) in [
            (id3v1.clone(), 1),
            (ape.clone(), 1),
            (lyrics.clone(), 1),
            ([&lyrics[..], &ape, &id3v1].concat(), 1),
            (zeros.clone(), 1),
            (stream.clone(), 2),
            ([&id3v1[..], &picture, stream].concat(), 2),
            ([&zeros[..100], &picture, stream, &id3v1].concat(), 2),
        ] {
            let joined = [&stream[..], &behind].concat();
            let heard = hear_well(memfd(&joined)).len();
            assert!(
                heard.abs_diff(alone * count) <= NEAR,
                "{heard} of {count} times {alone}"
            );
            assert_eq!(hear_well(pipe(joined)).len(), heard);
        }
    }
}

#[test]
fn a_hole_of_zeros_is_damage() {
    for (options, extension) in [
        ("-c:a libmp3lame -b:a 64k", "mp3"),
        ("-c:a aac -b:a 64k", "aac"),
        ("-c:a aac -b:a 64k -movflags +faststart", "m4a"),
        (
            "-c:a libopus -b:a 48k -movflags +faststart -strict -2",
            "mp4",
        ),
    ] {
        let mut bytes = encode(60.0, options, extension);
        let intact = hear_well(memfd(&bytes)).len();
        let (start, len) = (bytes.len() / 2, bytes.len() / 5);
        bytes[start..start + len].fill(0);
        let heard = hear(memfd(&bytes)).unwrap();
        println!("{extension} {options}: {:?}", heard.warnings);
        assert!(heard.samples.len().abs_diff(intact) <= NEAR, "{extension}");
        let share = share(&heard.warnings);
        assert!((14.0..30.0).contains(&share), "{extension}: {share}");
    }
}

#[test]
fn fragments_behind_missing_bytes_are_heard_whatever_their_positions_count_from() {
    for flags in ["+empty_moov", "+empty_moov+default_base_moof"] {
        let options = format!("-c:a aac -movflags {flags} -frag_duration 300000");
        let mp4 = encode(60.0, &options, "mp4");
        let whole = hear_well(memfd(&mp4));
        let data = mp4
            .windows(4)
            .enumerate()
            .filter(|(_, four)| four == b"mdat");
        let (third, _) = data.into_iter().nth(2).unwrap();
        let mut cut = mp4.clone();
        cut.drain(third + 100..third + 500);
        let heard = hear(memfd(&cut)).unwrap();
        assert!(!heard.warnings.is_empty(), "{flags}");
        let tail = |samples: &[f32]| samples[samples.len() - 16_000..].to_vec();
        let (fit, shift) = super::formats::correlation(&tail(&heard.samples), &tail(&whole), 1_000);
        assert!(fit > 0.9 && shift.abs() < 20, "{flags}: {fit} at {shift}");
    }
}
