//! Samples and other recordings behind those that a header announces.

use super::*;

/// The speech, high byte first or low byte first.
fn bytes(is_big_endian: bool) -> Vec<u8> {
    let order = |sample: i16| {
        if is_big_endian {
            sample.to_be_bytes()
        } else {
            sample.to_le_bytes()
        }
    };
    speech().into_iter().flat_map(order).collect()
}

/// Headers that announce so many bytes, as (name, header, high byte first).
fn headers(len: u32) -> Vec<(&'static str, Vec<u8>, bool)> {
    let au = [24, len, 3, 16_000, 1].map(u32::to_be_bytes).concat();
    let sphere = format!(
        "NIST_1A\n   1024\nsample_rate -i 16000\nchannel_count -i 1\nsample_n_bytes -i 2\n\
         sample_byte_format -s2 01\nsample_coding -s3 pcm\nsample_count -i {}\nend_head\n",
        len / 2
    );
    let mut sphere = sphere.into_bytes();
    sphere.resize(1024, b' ');
    let mut aiff = b"FORM".to_vec();
    aiff.extend((len + 46).to_be_bytes());
    aiff.extend(b"AIFFCOMM\0\0\0\x12\0\x01");
    aiff.extend((len / 2).to_be_bytes());
    aiff.extend(b"\0\x10\x40\x0c\xfa\0\0\0\0\0\0\0SSND");
    aiff.extend((len + 8).to_be_bytes());
    aiff.extend([0; 8]);
    let mut caf = b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x20".to_vec();
    caf.extend(16_000_f64.to_be_bytes());
    caf.extend(b"lpcm");
    caf.extend([2_u32, 2, 1, 1, 16].map(u32::to_be_bytes).concat());
    caf.extend(b"data");
    caf.extend((u64::from(len) + 4).to_be_bytes());
    caf.extend([0; 4]);
    vec![
        ("AU", [&b".snd"[..], &au].concat(), true),
        ("SPHERE", sphere, false),
        ("AIFF", aiff, true),
        ("CAF", caf, false),
    ]
}

#[test]
fn a_length_of_the_first_samples_only_is_not_believed() {
    // As Python's `sunau` and `aifc` write to a pipe, and SoX writes CAF.
    for len in [3_200, 20_000] {
        for (name, header, order) in headers(len) {
            let heard = hear(memfd(&[header, bytes(order)].concat())).unwrap();
            assert!(heard.samples == speech_f32(), "{name} {len}");
            assert_eq!(heard.warnings, Vec::<String>::new(), "{name} {len}");
        }
    }
    for (name, header, order) in headers(0).into_iter().skip(2) {
        let heard = hear(memfd(&[header, bytes(order)].concat())).unwrap();
        assert!(heard.samples == speech_f32(), "{name}");
    }
}

#[test]
fn a_second_recording_costs_a_warning_whatever_it_is() {
    let len = bytes(true).len() as u32;
    let others = [
        encode(1.0, "-c:a libmp3lame -id3v2_version 0", "mp3"),
        encode(1.0, "-c:a libmp3lame -id3v2_version 4", "mp3"),
        encode(1.0, "-c:a flac", "flac"),
    ];
    let mut files = headers(len);
    files.push(("WAV", wav_claiming(16_000, 1, &[], 36 + len, len), false));
    for (name, header, order) in files {
        let one = [header, bytes(order)].concat();
        assert_eq!(hear_well(memfd(&one)), speech_f32(), "{name}");
        for other in others.iter().chain([&one]) {
            let heard = hear(memfd(&[&one[..], other].concat())).unwrap();
            assert!(heard.samples == speech_f32(), "{name}");
            assert_eq!(heard.warnings.len(), 1, "{name}: {:?}", heard.warnings);
            let warning = &heard.warnings[0];
            assert!(warning.contains("another recording follows"), "{name}");
        }
    }
    let w64 = encode(60.0, "-c:a pcm_s16le", "w64");
    let heard = hear(memfd(&[&w64[..], &w64].concat())).unwrap();
    assert!(heard.warnings[0].contains("another recording follows"));
}

#[test]
fn bytes_behind_the_last_page_of_ogg_cost_a_warning() {
    let mp3 = encode(2.0, "-c:a libmp3lame", "mp3");
    for coding in ["-c:a libopus", "-c:a libvorbis", "-c:a flac"] {
        let ogg = encode(60.0, &format!("{coding} -page_duration 200000"), "ogg");
        let alone = hear_well(memfd(&ogg));
        let heard = hear(memfd(&[&ogg[..], &mp3].concat())).unwrap();
        assert!(heard.samples == alone, "{coding}");
        assert_eq!(heard.warnings.len(), 1, "{coding}: {:?}", heard.warnings);
        let warning = &heard.warnings[0];
        assert!(warning.contains("another recording follows"), "{warning}");
        // Tags and zeros are nothing to be heard.
        for rest in [[&b"TAG"[..], &[b'x'; 125]].concat(), vec![0; 10_000]] {
            assert!(hear_well(memfd(&[&ogg[..], &rest].concat())) == alone);
        }
        // The last half is damaged, so nothing tells where it ends.
        let mut damaged = ogg.clone();
        let middle = damaged.len() / 2;
        damaged[middle..].iter_mut().for_each(|byte| *byte ^= 0x55);
        let heard = hear(memfd(&damaged)).unwrap();
        let told = heard.warnings.join("; ");
        assert!(told.contains("ends early"), "{coding}: {told}");
        assert!(told.contains("damaged parts"), "{coding}: {told}");
    }
}

#[test]
fn a_recording_of_another_kind_behind_bare_frames_costs_a_warning() {
    for (options, others) in [
        ("-c:a libmp3lame -f mp3", ["flac", "m4a", "aac"]),
        ("-c:a mp2 -f mp2", ["flac", "ogg", "aac"]),
        ("-c:a aac -f adts", ["flac", "wav", "mp3"]),
    ] {
        let one = encode(60.0, options, "frames");
        let alone = hear_well(memfd(&one));
        for kind in others {
            let heard = hear(memfd(&[one.clone(), encode(2.0, "", kind)].concat())).unwrap();
            // The last frames may be filled up in another way.
            let longer = heard.samples.len().abs_diff(alone.len());
            assert!(longer < 2_000, "{options} {kind}: {longer}");
            let told = heard.warnings.join("; ");
            assert!(
                told.contains("another recording follows"),
                "{options} {kind}: {told}"
            );
        }
    }
}

#[test]
fn the_last_frame_of_flac_is_heard_whatever_follows_it() {
    let ape = [
        b"APETAGEX\xd0\x07\0\0".as_slice(),
        &[0x20; 20],
        &[b'x'; 100],
    ]
    .concat();
    let id3 = [&b"TAG"[..], &[b'x'; 125]].concat();
    let m4a = encode(1.0, "-c:a aac", "m4a");
    let mp3 = encode(1.0, "-c:a libmp3lame -id3v2_version 0", "mp3");
    for options in ["", "-frame_size 8192", "-ar 44100 -ac 2 -sample_fmt s32"] {
        let flac = encode(60.0, &format!("-c:a flac {options}"), "flac");
        let alone = hear_well(memfd(&flac));
        for rest in [
            &ape,
            &id3,
            &[ape.clone(), id3.clone()].concat(),
            &vec![0; 3_000],
        ] {
            assert!(
                hear_well(memfd(&[&flac[..], rest].concat())) == alone,
                "{options}"
            );
        }
        for other in [&m4a, &mp3] {
            let heard = hear(memfd(&[&flac[..], other].concat())).unwrap();
            assert!(heard.samples == alone, "{options}");
            assert_eq!(heard.warnings.len(), 1, "{:?}", heard.warnings);
            assert!(heard.warnings[0].contains("another recording follows"));
        }
        // A tag does not hide the next file.
        let both = hear_well(memfd(&[&flac[..], &id3, &flac].concat()));
        assert_eq!(both.len(), 2 * alone.len(), "{options}");
        // A file that is really cut off is told to be so.
        let cut = &flac[..flac.len() - 200];
        let heard = hear(memfd(cut)).unwrap();
        assert!(
            heard.warnings[0].contains("ends early"),
            "{:?}",
            heard.warnings
        );
    }
}

#[test]
fn joined_files_of_blocks_and_of_speech_packets_are_heard_to_their_end() {
    let amr = include_bytes!("../../../fuzz/corpus/decode/475.amr");
    let awb = include_bytes!("../../../fuzz/corpus/decode/1265.awb");
    let voc = encode(60.0, "-c:a pcm_s16le", "voc");
    let gsm = encode(60.0, "-c:a libgsm -ar 8000 -f gsm", "gsm");
    for (name, one) in [
        ("AMR-NB", &amr[..]),
        ("AMR-WB", awb),
        ("VOC", &voc),
        ("GSM", &gsm),
    ] {
        let alone = hear_well(memfd(one));
        let both = hear_well(memfd(&[one, one].concat()));
        assert_eq!(both.len(), 2 * alone.len(), "{name}");
        let (fit, shift) = super::formats::correlation(&both[alone.len()..], &alone, 1_000);
        assert!(fit > 0.9 && shift.abs() < 10, "{name}: {fit} at {shift}");
    }
}

#[test]
fn a_chunk_of_odd_length_may_lack_the_byte_that_fills_it_up() {
    let word = &speech()[12_000..16_000];
    let mut bytes = wav(16_000, 1, word);
    for list in [&b"LIST\x07\0\0\0INFOabc"[..], b"LIST\x07\0\0\0INFOabc\0"] {
        bytes.splice(36..36, list.iter().copied());
        assert!(hear_well(memfd(&bytes)) == speech_f32()[12_000..16_000]);
        bytes.drain(36..36 + list.len());
    }
}
