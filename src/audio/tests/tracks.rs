//! Files with several tracks, joined files, and files that are mostly damage.

use super::*;
use crate::audio::Wanted;

/// Decodes what is wanted of a file; returns the samples and the warnings.
fn hear_wanted(bytes: &[u8], wanted: &Wanted) -> Result<Heard, AudioError> {
    let mut decoder = Decoder::open_for(memfd(bytes), Hint::default(), wanted)?;
    let mut samples = Vec::new();
    while let Some(block) = decoder.next_block()? {
        samples.extend_from_slice(block);
    }
    let warnings = decoder.warnings();
    Ok(Heard { samples, warnings })
}

/// A film with 3 s of tone, then speech as the second track.
fn film(options: &str, extension: &str) -> Vec<u8> {
    let tone = "-f lavfi -i sine=f=440:r=16000:d=3 -map 1:a -map 0:a";
    encode(60.0, &format!("{tone} {options}"), extension)
}

/// True for the tone, which is never quiet.
fn is_tone(samples: &[f32]) -> bool {
    samples[800..1_600].iter().any(|sample| sample.abs() > 0.05)
}

const CONTAINERS: [(&str, &str); 4] = [
    ("mp4", "-c:a aac"),
    ("mov", "-c:a pcm_s16le"),
    ("mkv", "-c:a libopus"),
    ("mp4", "-c:a aac -movflags +frag_keyframe+empty_moov"),
];

#[test]
fn the_enabled_track_is_heard_unless_another_is_wanted() {
    for (extension, codec) in CONTAINERS {
        for default in [0, 1] {
            let others = format!("-disposition:a:{} 0", 1 - default);
            let flags = format!("{others} -disposition:a:{default} default");
            let bytes = film(&format!("{codec} {flags}"), extension);
            let hear = |track| {
                let wanted = Wanted {
                    track,
                    ..Wanted::default()
                };
                hear_wanted(&bytes, &wanted)
            };
            let heard = hear(None).unwrap();
            assert_eq!(
                is_tone(&heard.samples),
                default == 0,
                "{extension} {default}"
            );
            let warning = format!(
                "the file has 2 audio tracks, and only number {} was heard: `track` selects another",
                default + 1
            );
            assert_eq!(heard.warnings, [warning]);
            for track in [1, 2] {
                let heard = hear(Some(track)).unwrap();
                assert_eq!(is_tone(&heard.samples), track == 1, "{extension} {track}");
                assert_eq!(heard.warnings, [""; 0]);
            }
            for track in [0, 3] {
                let error = hear(Some(track)).unwrap_err().to_string();
                let message =
                    format!("there is no audio track {track}: the file has 2, counted from 1");
                assert_eq!(error, message);
            }
        }
    }
}

#[test]
fn the_asked_language_selects_a_track_if_it_is_the_only_one() {
    for (extension, codec) in CONTAINERS {
        for (second, language, is_second) in [
            ("ger", "de", true),
            ("ger", "de-AT", true),
            ("ger", "en", false),
            ("eng", "en", false),
        ] {
            let tags = format!("-metadata:s:a:0 language=eng -metadata:s:a:1 language={second}");
            let flags = "-disposition:a:0 default -disposition:a:1 0";
            let bytes = film(&format!("{codec} {tags} {flags}"), extension);
            let wanted = Wanted {
                language: Some(language.into()),
                ..Wanted::default()
            };
            let heard = hear_wanted(&bytes, &wanted).unwrap();
            let what = format!("{extension} {second} {language}");
            assert_eq!(is_tone(&heard.samples), !is_second, "{what}");
        }
    }
}

#[test]
fn a_track_that_cannot_be_decoded_is_passed_over() {
    let codecs = "-c:a:0 ac3 -c:a:1 aac -disposition:a:0 default -disposition:a:1 0";
    for extension in ["mp4", "mkv"] {
        let heard = hear_wanted(&film(codecs, extension), &Wanted::default()).unwrap();
        assert!(!is_tone(&heard.samples), "{extension}");
        assert!(heard.warnings[0].contains("only number 2"), "{extension}");
        let wanted = Wanted {
            track: Some(1),
            ..Wanted::default()
        };
        let error = hear_wanted(&film(codecs, extension), &wanted).unwrap_err();
        assert!(error.to_string().contains("AC-3"), "{extension}: {error}");
    }
}

#[test]
fn joined_files_are_heard_to_their_end() {
    for (extension, codec) in [
        ("flac", "-c:a flac"),
        ("m4a", "-c:a aac"),
        ("mp4", "-c:a aac -movflags +frag_keyframe+empty_moov"),
        ("webm", "-c:a libopus"),
        ("mkv", "-c:a flac"),
        ("ogg", "-c:a libvorbis"),
        ("ogg", "-c:a libopus"),
    ] {
        let one = encode(60.0, codec, extension);
        let alone = hear_well(memfd(&one)).len();
        for file in [
            memfd(&[&one[..], &one].concat()),
            pipe([&one[..], &one].concat()),
        ] {
            if extension == "m4a" && !matches!(file.metadata(), Ok(about) if about.is_file()) {
                // Its index is behind the sound.
                continue;
            }
            let heard = hear(file).unwrap();
            println!("{extension} {codec}: {:?}", heard.warnings);
            let both = heard.samples.len();
            assert_eq!(heard.warnings, [""; 0], "{extension} {codec}");
            let difference = both.abs_diff(2 * alone);
            assert!(
                difference < 1_600,
                "{extension} {codec}: {both} of 2 times {alone}"
            );
        }
    }
}

#[test]
fn a_file_that_is_mostly_damage_is_refused() {
    let whole = encode(60.0, "-c:a aac -movflags +faststart", "m4a");
    let start = whole.windows(4).position(|four| four == b"mdat").unwrap() + 4;
    let damaged = |share: usize| {
        let mut bytes = whole.clone();
        let end = start + (bytes.len() - start) * share / 100;
        for (number, byte) in bytes[start..end].iter_mut().enumerate() {
            *byte = (number * 7_919 % 251) as u8;
        }
        hear(memfd(&bytes))
    };
    let error = damaged(70).unwrap_err();
    assert!(error.to_string().contains("cannot be decoded"), "{error}");
    let heard = damaged(30).unwrap();
    let complete = hear_well(memfd(&whole)).len();
    assert_eq!(heard.samples.len(), complete);
    assert!(heard.warnings[0].starts_with("damaged parts that were skipped: "));
    assert!(heard.warnings[0].ends_with(" %)"), "{:?}", heard.warnings);
}

#[test]
fn defaults_of_fragments_belong_to_a_track_by_its_number() {
    let picture = "-f lavfi -i color=s=32x32:r=5:d=3 -map 1:v -map 0:a -c:v mpeg4";
    let flags = "-movflags +frag_keyframe+empty_moov";
    let film = encode(60.0, &format!("{picture} -c:a aac {flags}"), "mp4");
    let boxes: Vec<usize> = (0..film.len() - 4)
        .filter(|at| &film[*at..at + 4] == b"trex")
        .collect();
    let [first, second] = boxes[..] else {
        panic!("{boxes:?}");
    };
    // Each has 32 bytes, of which 4 come before its name, as Chromium writes them in any order.
    let mut swapped = film.clone();
    swapped[first - 4..first + 28].copy_from_slice(&film[second - 4..second + 28]);
    swapped[second - 4..second + 28].copy_from_slice(&film[first - 4..first + 28]);
    assert!(swapped != film);
    assert!(hear_well(memfd(&swapped)) == hear_well(memfd(&film)));
}

#[test]
fn ogg_announces_its_length_so_that_it_is_read_once() {
    for file in [
        &include_bytes!("../../../fuzz/corpus/decode/ogg_opus.opus")[..],
        include_bytes!("../../../fuzz/corpus/decode/ogg_vorbis.ogg"),
        include_bytes!("../../../fuzz/corpus/decode/ogg_flac.oga"),
    ] {
        let open = |file| Decoder::open(file, Hint::default()).unwrap();
        let mut decoder = open(memfd(file));
        let announced = decoder.announced().unwrap().as_secs_f64();
        while decoder.next_block().unwrap().is_some() {}
        let read = decoder.position().as_secs_f64();
        assert!((announced - read).abs() < 0.02, "{announced} and {read}");
        assert_eq!(open(pipe(file.to_vec())).announced(), None);
    }
}
