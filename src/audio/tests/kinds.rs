//! Files that were taken for another kind, or of which a part was taken for something else.

use super::*;

#[test]
fn silence_of_a_telephone_is_no_gsm() {
    // In A-law silence is 0xd5, and each frame of GSM begins with 0xd.
    for options in [
        "",
        "-af adelay=1500:all=1",
        "-af volume=0.001,adelay=800:all=1",
    ] {
        let file = encode(60.0, &format!("{options} -ar 8000 -f alaw"), "al");
        let hint = Hint {
            extension: Some("al"),
            mime: None,
        };
        let error = checks::hear(memfd(&file), hint, usize::MAX).unwrap_err();
        assert!(
            matches!(error, AudioError::Headerless("audio/PCMA")),
            "{options}: {error}"
        );
    }
    let gsm = "-af adelay=1500:all=1 -ar 8000 -c:a libgsm -f gsm";
    assert!(hear_well(memfd(&encode(60.0, gsm, "gsm"))).len() > 60_000);
}

#[test]
fn a_false_media_type_of_samples_makes_no_noise() {
    for (options, extension) in [
        (
            "-c:a libmp3lame -b:a 64k -write_xing 0 -id3v2_version 0",
            "mp3",
        ),
        ("-c:a libmp3lame -b:a 64k", "mp3"),
        ("-c:a aac -b:a 64k", "aac"),
        ("-c:a mp2 -b:a 64k", "ts"),
        ("-c:a mp2 -b:a 64k -f vob", "vob"),
        ("-c:a libgsm -ar 8000 -f gsm", "gsm"),
        ("-c:a libopus", "webm"),
    ] {
        let file = encode(60.0, options, extension);
        let right = hear_well(memfd(&file));
        for mime in [
            "audio/basic",
            "audio/L16;rate=16000",
            "audio/pcm;rate=24000",
        ] {
            let hint = Hint {
                extension: None,
                mime: Some(mime),
            };
            let heard = checks::hear(memfd(&file), hint, usize::MAX).unwrap();
            assert!(heard.samples == right, "{options} as {mime}");
        }
    }
}

#[test]
fn quicktime_of_old_programs_begins_without_a_type() {
    for options in [
        "-c:a pcm_s16be",
        "-c:a libmp3lame",
        "-c:a aac -movflags +faststart",
        "-c:a pcm_mulaw -ar 8000 -movflags +faststart",
    ] {
        let file = encode(60.0, options, "mov");
        let right = hear_well(memfd(&file));
        let first = u32::from_be_bytes(*file.first_chunk().unwrap());
        let mut old = file[first as usize..].to_vec();
        // The positions of chunks count from the start of the file.
        let table = old.windows(4).position(|four| four == b"stco").unwrap() + 8;
        let number = |bytes: &[u8]| u32::from_be_bytes(*bytes.first_chunk().unwrap());
        for entry in 0..number(&old[table..]) as usize {
            let place = table + 4 + 4 * entry;
            let moved = number(&old[place..]) - first;
            old[place..place + 4].copy_from_slice(&moved.to_be_bytes());
        }
        assert!(hear_well(memfd(&old)) == right, "{options}");
    }
}

#[test]
fn pieces_of_companded_samples_in_a_movie_have_a_size_of_their_own() {
    // GStreamer describes pieces of 1024 samples, each by its size and its duration.
    let mut file = encode(60.0, "-c:a pcm_alaw -ar 8000 -movflags +faststart", "mov");
    let right = hear_well(memfd(&file));
    let at = |file: &[u8], name: &[u8]| file.windows(4).position(|four| four == name).unwrap();
    let samples = (right.len() / 2) as u32;
    let (stts, stsc, stsz) = (at(&file, b"stts"), at(&file, b"stsc"), at(&file, b"stsz"));
    // One piece with all samples.
    for (place, numbers) in [
        (stts + 8, &[1_u32, 1, samples][..]),
        (stsc + 8, &[1, 1, 1, 1]),
        (stsz + 8, &[samples, 1]),
    ] {
        for (n, number) in numbers.iter().enumerate() {
            file[place + 4 * n..place + 4 * n + 4].copy_from_slice(&number.to_be_bytes());
        }
    }
    let stco = at(&file, b"stco") + 8;
    file[stco..stco + 4].copy_from_slice(&1_u32.to_be_bytes());
    let heard = hear_well(memfd(&file));
    assert!(heard.len().abs_diff(right.len()) <= 2, "{}", heard.len());
    let (fit, shift) = super::formats::correlation(&heard, &speech_f32(), 500);
    assert!(fit > 0.7 && shift.abs() < 20, "{fit} at {shift}");
}

#[test]
fn priming_may_be_told_by_a_tag_only() {
    let file = encode(60.0, "-c:a aac -b:a 64k -movflags +faststart", "m4a");
    let right = hear_well(memfd(&file));
    let at = |file: &[u8], name: &[u8]| file.windows(4).position(|four| four == name).unwrap();
    let mut tagged = file.clone();
    let edits = at(&tagged, b"edts");
    tagged[edits..edits + 4].copy_from_slice(b"free");
    let later = hear_well(memfd(&tagged)).len();
    assert!(later > right.len() + 1_000, "{later}");
    // As iTunes writes it, among the movie's tags at the end of its header.
    let tag = format!(
        "\0\0\0\0udta----meancom.apple.iTunes----nameiTunSMPB\0\0\0\x7fdata\0\0\0\x01\0\0\0\0 \
         00000000 00000400 00000000 {:016X} 00000000",
        right.len()
    );
    let mut tag = tag.into_bytes();
    let len = tag.len() as u32;
    tag[..4].copy_from_slice(&len.to_be_bytes());
    let number = |file: &[u8], at: usize| u32::from_be_bytes(*file[at..].first_chunk().unwrap());
    let moov = at(&tagged, b"moov") - 4;
    let end = moov + number(&tagged, moov) as usize;
    for (place, more) in [(moov, len), (at(&tagged, b"stco") + 12, len)] {
        let changed = number(&tagged, place) + more;
        tagged[place..place + 4].copy_from_slice(&changed.to_be_bytes());
    }
    let chunks = number(&tagged, at(&tagged, b"stco") + 8) as usize;
    for entry in 1..chunks {
        let place = at(&tagged, b"stco") + 12 + 4 * entry;
        let changed = number(&tagged, place) + len;
        tagged[place..place + 4].copy_from_slice(&changed.to_be_bytes());
    }
    tagged.splice(end..end, tag);
    let heard = hear_well(memfd(&tagged));
    assert!(heard == right, "{} of {}", heard.len(), right.len());
}

#[test]
fn floats_of_another_scale_are_divided_in_every_container() {
    for (options, extension) in [
        ("-c:a pcm_f32le -movflags +faststart", "mov"),
        ("-c:a pcm_f64be", "mov"),
        ("-c:a pcm_f32le", "mkv"),
        ("-c:a pcm_f32le", "avi"),
        ("-c:a pcm_f64be", "aiff"),
        ("-c:a pcm_f32be", "au"),
    ] {
        for (by, is_warned) in [(1.0, false), (32_768.0, true), (8_388_608.0, true)] {
            let options =
                format!("-af aformat=sample_fmts=dbl,volume={by}:precision=double {options}");
            let heard = hear(memfd(&encode(60.0, &options, extension))).unwrap();
            let what = format!("{extension} {by}: {:?}", heard.warnings);
            assert_eq!(!heard.warnings.is_empty(), is_warned, "{what}");
            assert_eq!(heard.samples.len(), speech_f32().len(), "{what}");
            let pairs = heard.samples.iter().zip(speech_f32());
            let most = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most < 1e-3, "{what}: {most}");
        }
    }
}

#[test]
fn matroska_describes_samples_as_wav_does() {
    for options in [
        "-c:a pcm_mulaw -ar 8000",
        "-c:a pcm_alaw -ar 8000 -ac 2",
        "-c:a pcm_u8",
    ] {
        let heard = hear_well(memfd(&encode(60.0, options, "mkv")));
        let right = hear_well(memfd(&encode(60.0, options, "wav")));
        assert!(heard.len().abs_diff(right.len()) <= 20, "{options}");
        let most = heard.iter().zip(&right).map(|(a, b)| (a - b).abs());
        assert!(most.fold(0.0, f32::max) < 1e-3, "{options}");
    }
    for (options, extension, name) in [
        ("-c:a adpcm_ms", "mkv", "WAV format 0x0002"),
        ("-c:a libgsm_ms -ar 8000", "mkv", "GSM 6.10"),
        ("-c:a g726 -ar 8000", "mkv", "G.726"),
        ("-c:a g722", "mkv", "G.722"),
        ("-c:a adpcm_ms", "mov", "WAV format 0x0002"),
    ] {
        let error = hear(memfd(&encode(1.0, options, extension))).unwrap_err();
        assert!(error.to_string().contains(name), "{options}: {error}");
    }
}

#[test]
fn gsm_has_the_rate_that_a_header_tells() {
    let gsm = encode(60.0, "-c:a libgsm_ms -ar 8000", "wav");
    let right = hear_well(memfd(&gsm)).len();
    for rate in [11_025_u32, 16_000, 44_100] {
        let mut other = gsm.clone();
        other[24..28].copy_from_slice(&rate.to_le_bytes());
        let heard = hear_well(memfd(&other)).len() as f64;
        let expected = right as f64 * 8_000.0 / f64::from(rate);
        assert!((heard - expected).abs() < 400.0, "{rate}: {heard}");
    }
    // QuickTime names it as well.
    let mov = hear_well(memfd(&encode(60.0, "-c:a libgsm -ar 8000", "mov")));
    assert!(mov.len().abs_diff(right) < 700, "{}", mov.len());
    // Programs count the byte that fills the chunk up.
    let data = gsm.windows(4).position(|four| four == b"data").unwrap();
    let odd = (gsm.len() - data - 8) / 65 * 65;
    let mut padded = gsm[..data + 8 + odd].to_vec();
    padded.push(0);
    padded[data + 4..data + 8].copy_from_slice(&(odd as u32 + 1).to_le_bytes());
    assert!(hear_well(memfd(&padded)).len().abs_diff(right) < 700);
}

#[test]
fn words_behind_damage_in_packets_of_speech_keep_their_times() {
    let gsm = encode(60.0, "-c:a libgsm -ar 8000 -f gsm", "gsm");
    let amr = include_bytes!("../../../fuzz/corpus/decode/1220.amr");
    for (name, whole) in [("GSM", &gsm[..]), ("AMR-NB", amr)] {
        let intact = hear_well(memfd(whole));
        // Noise, zeros, and bytes that are missing or too many.
        for (how, lost, put) in [(0, 300, 300), (1, 300, 300), (2, 210, 0), (3, 0, 97)] {
            let middle = whole.len() * 2 / 5;
            let mut state = 5_u32;
            let mut noise = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            let filling: Vec<u8> = (0..put)
                .map(|_| if how == 1 { 0 } else { noise() })
                .collect();
            let bytes = [&whole[..middle], &filling, &whole[middle + lost..]].concat();
            let heard = hear(memfd(&bytes)).unwrap();
            let what = format!("{name} {how}: {:?}", heard.warnings);
            let (was, is) = (intact.len(), heard.samples.len());
            assert!(was.abs_diff(is) < 3_200, "{what}: {is} of {was}");
            // The last words, wherever they are now.
            let tail = &heard.samples[is - 16_000..];
            let right = &intact[was - 16_000..];
            let common: f32 = tail.iter().zip(right).map(|(a, b)| a * b).sum();
            let power: f32 = right.iter().map(|a| a * a).sum();
            assert!(common > 0.8 * power, "{what}: {}", common / power);
            assert!(!heard.warnings.is_empty(), "{what}");
        }
    }
}

#[test]
fn damage_up_to_the_end_counts() {
    let webm = encode(60.0, "-c:a libopus -cluster_time_limit 300", "webm");
    let damaged = |share: usize| {
        let mut bytes = webm.clone();
        let start = bytes.len() * share / 100;
        bytes[start..].fill(0x55);
        hear(memfd(&bytes))
    };
    let error = damaged(30).unwrap_err().to_string();
    assert!(error.contains("cannot be decoded"), "{error}");
    let heard = damaged(80).unwrap();
    assert!(
        heard.warnings[0].contains("damaged parts"),
        "{:?}",
        heard.warnings
    );
    assert!(
        !heard.warnings[0].contains("(0.0 %)"),
        "{:?}",
        heard.warnings
    );
}

#[test]
fn parts_that_were_joined_without_coding_are_not_heard_twice() {
    // The packets in front of the second part last one sample each.
    let mut file = encode(60.0, "-c:a aac -b:a 64k -movflags +faststart", "m4a");
    let intact = hear_well(memfd(&file)).len();
    let stts = file.windows(4).position(|four| four == b"stts").unwrap();
    let count = u32::from_be_bytes(*file[stts + 12..].first_chunk().unwrap());
    let old = u32::from_be_bytes(*file[stts + 8..].first_chunk().unwrap()) as usize * 8 + 16;
    let mut table = Vec::new();
    for number in [0, 3, 20, 1024, 10, 1, count - 30, 1024] {
        table.extend(number.to_be_bytes());
    }
    let more = (table.len() as u32 + 8).wrapping_sub(old as u32);
    file.splice(stts + 4..stts - 4 + old, table);
    let mut parents = vec![stts - 4];
    for name in [&b"stbl"[..], b"minf", b"mdia", b"trak", b"moov"] {
        parents.push(file.windows(4).position(|four| four == name).unwrap() - 4);
    }
    let stco = file.windows(4).position(|four| four == b"stco").unwrap();
    let chunks = u32::from_be_bytes(*file[stco + 8..].first_chunk().unwrap()) as usize;
    parents.extend((0..chunks).map(|entry| stco + 12 + 4 * entry));
    for place in parents {
        let number = u32::from_be_bytes(*file[place..].first_chunk().unwrap());
        let number = number.wrapping_add(more);
        file[place..place + 4].copy_from_slice(&number.to_be_bytes());
    }
    let heard = hear_well(memfd(&file)).len();
    let expected = intact - 10 * 1024;
    assert!(heard.abs_diff(expected) < 1_600, "{heard} of {expected}");
}

/// Beginnings of files for which no program is at hand.
#[test]
fn formats_of_dictation_machines_and_games_have_names() {
    for (front, name) in [
        (&b"PVF1\n1 16000 16\n"[..], "PVF"),
        (b"PVF2\n1 8000 16\n", "PVF"),
        (b"\x02dss\x01\0\0\0", "DSS"),
        (b"\x03dss\x01\0\0\0", "DSS"),
        (b"\x03ds2\x01\0\0\0", "DS2"),
        (b"MS_VOICE\0\0\0\0", "MSV"),
        (b"VAGp\0\0\0\x20\0\0\0\0", "VAG"),
        (b"\x64\xa3\x03\0\0\0\x7a\x46", "IRCAM"),
    ] {
        let noise = encode(1.0, "-f s16le", "raw");
        let error = hear(memfd(&[front, &noise].concat())).unwrap_err();
        let is_named = matches!(&error, AudioError::UnsupportedFormat(what) if what.contains(name));
        assert!(is_named, "{name}: {error}");
    }
}

#[test]
fn a_program_stream_may_be_damaged_and_begin_anywhere() {
    let picture = "-f lavfi -i testsrc=size=160x120:rate=25 -shortest -c:v mpeg2video";
    let looped = "-af aloop=loop=4:size=44580 -c:a mp2 -b:a 96k";
    for options in [format!("{picture} {looped}"), format!("{looped} -f vob")] {
        let whole = encode(60.0, &options, "mpg");
        let intact = hear_well(memfd(&whole)).len();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        let len = bytes.len() / 12;
        let mut state = 3_u32;
        for byte in &mut bytes[middle..middle + len] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        let heard = hear(memfd(&bytes)).unwrap();
        let is = heard.samples.len();
        assert!(is.abs_diff(intact) < 1_600, "{options}: {is} of {intact}");
        assert!(!heard.warnings.is_empty(), "{options}");
        let (fit, shift) =
            super::formats::correlation(&heard.samples[is - 44_580..], &speech_f32(), 2_500);
        assert!(fit > 0.7, "{options}: {fit} at {shift}");
        let heard = hear(memfd(&whole[whole.len() / 5 + 77..])).unwrap();
        assert!(heard.samples.len() > intact / 2, "{options}");
    }
}
