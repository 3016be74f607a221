//! Containers and codecs read by code of our own: every sample must be the one that ffmpeg decodes.

use super::*;

/// Runs ffmpeg over a file and returns the WAV file that it decodes to, at the file's own rate.
fn decoded_by_ffmpeg(bytes: &[u8], extension: &str) -> Vec<u8> {
    let input = tempfile::Builder::new()
        .suffix(&format!(".{extension}"))
        .tempfile()
        .unwrap();
    fs::write(input.path(), bytes).unwrap();
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(input.path())
        .args(["-vn", "-c:a", "pcm_f32le", "-f", "wav", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "ffmpeg cannot decode .{extension}");
    output.stdout
}

#[track_caller]
fn assert_same(what: &str, heard: &[f32], expected: &[f32]) {
    // ffmpeg drops the silence before sound that begins later than its picture.
    let late = heard.len().saturating_sub(expected.len());
    let (silence, heard) = heard.split_at(late);
    assert!(
        late <= 1_600 && silence.iter().all(|sample| *sample == 0.0),
        "{what}: {late}"
    );
    assert_eq!(heard.len(), expected.len(), "{what}");
    let differences = heard.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let most = differences.fold(0.0, f32::max);
    // Decoders of MPEG audio and AAC round in their own ways, and ffmpeg takes over what a block
    // of QuickTime's ADPCM says only roughly from the block before.
    let bound = if what.contains("ima_qt") { 1e-2 } else { 2e-3 };
    assert!(most < bound, "{what}: {most}");
    assert!(
        heard.iter().any(|sample| sample.abs() > 0.05),
        "{what}: silence"
    );
}

/// Option for a picture in addition to the sound.
const FILM: &str = "-f lavfi -i testsrc=size=160x120:rate=25 -shortest -c:v mpeg2video";

#[test]
fn containers_of_films_and_streams_decode_as_ffmpeg_does() {
    for (options, extension) in [
        ("-c:a libmp3lame -b:a 64k", "ts"),
        ("-c:a mp2 -b:a 128k", "ts"),
        ("-c:a aac -b:a 64k", "ts"),
        ("-c:a aac -b:a 64k -ar 44100 -ac 2", "ts"),
        ("-c:a aac -b:a 64k -mpegts_m2ts_mode 1", "m2ts"),
        ("-c:a mp2 -b:a 64k", "mpg"),
        ("-c:a mp2 -b:a 64k -f vob", "vob"),
        ("-c:a mp2 -b:a 64k -f mpeg", "mpg"),
        ("-c:a libmp3lame -ar 22050", "flv"),
        ("-c:a aac -b:a 64k", "flv"),
        ("-c:a pcm_mulaw -ar 8000", "flv"),
        ("-c:a pcm_s16le -ar 22050", "flv"),
        ("-c:a pcm_u8 -ar 11025", "flv"),
        ("-c:a libmp3lame -q:a 4", "avi"),
        ("-c:a libmp3lame -b:a 64k", "avi"),
        ("-c:a mp2 -b:a 64k", "avi"),
        ("-c:a aac -b:a 64k", "avi"),
        ("-c:a pcm_s16le", "avi"),
        ("-c:a pcm_s24le -ac 2", "avi"),
        ("-c:a pcm_u8", "avi"),
        ("-c:a pcm_alaw -ar 8000", "avi"),
        ("-c:a adpcm_ima_wav", "avi"),
        ("-c:a adpcm_ms", "avi"),
    ] {
        for film in ["", FILM] {
            // FLV has other pictures, and ffmpeg leaves out the last frame of MP2 in this AVI.
            let is_odd = extension == "flv" || (extension == "avi" && options.contains("mp2"));
            if is_odd && !film.is_empty() {
                continue;
            }
            let what = format!("{options} {film} {extension}");
            let file = encode(60.0, &format!("{film} {options}"), extension);
            let expected = hear_well(memfd(&decoded_by_ffmpeg(&file, extension)));
            assert_same(&what, &hear_well(memfd(&file)), &expected);
            assert_same(&what, &hear_well(pipe(file)), &expected);
        }
    }
}

#[test]
fn headers_of_other_systems_are_read() {
    for (options, extension) in [
        ("-c:a pcm_s8", "au"),
        ("-c:a pcm_s16be", "au"),
        ("-c:a pcm_s24be", "au"),
        ("-c:a pcm_s32be", "au"),
        ("-c:a pcm_f32be", "au"),
        ("-c:a pcm_f64be", "au"),
        ("-c:a pcm_mulaw -ar 8000", "au"),
        ("-c:a pcm_alaw -ar 8000", "au"),
        ("-c:a pcm_s16le", "w64"),
        ("-c:a pcm_u8", "w64"),
        ("-c:a pcm_f64le", "w64"),
        ("-c:a adpcm_ima_wav", "w64"),
        ("-c:a pcm_u8 -ar 10000", "voc"),
        ("-c:a pcm_s16le", "voc"),
        ("-c:a pcm_mulaw -ar 8000", "voc"),
        ("-c:a pcm_s8", "caf"),
        ("-c:a pcm_s8", "aiff"),
        ("-c:a pcm_s64le", "wav"),
        ("-c:a libmp3lame -b:a 64k", "wav"),
        ("-c:a mp2 -b:a 64k", "wav"),
        ("-c:a pcm_mulaw -ar 8000 -movflags +faststart", "mov"),
        ("-c:a pcm_alaw -ar 8000 -movflags +faststart", "mov"),
    ] {
        let what = format!("{options} {extension}");
        let file = encode(60.0, options, extension);
        let expected = hear_well(memfd(&decoded_by_ffmpeg(&file, extension)));
        assert_same(&what, &hear_well(memfd(&file)), &expected);
        assert_same(&what, &hear_well(pipe(file)), &expected);
    }
}

/// Speech on each of six channels, at a rate of its own: ffmpeg's upmix leaves most of them silent.
const SURROUND: &str = "-af pan=5.1|c0=c0|c1=0.5*c0|c2=c0|c3=0.2*c0|c4=0.3*c0|c5=0.4*c0";

#[test]
fn forms_that_symphonia_refuses_decode_as_ffmpeg_does() {
    let opus = format!("{SURROUND} -c:a libopus -b:a 256k -mapping_family 1");
    for (options, extension) in [
        ("-c:a mp2 -b:a 384k -ar 44100", "mp2"),
        ("-c:a mp2 -b:a 320k -ar 44100", "ts"),
        ("-c:a mp2 -b:a 48k -ac 2 -ar 48000", "mp2"),
        ("-c:a pcm_s24le -movflags +faststart", "mov"),
        ("-c:a pcm_s24be -ac 2 -movflags +faststart", "mov"),
        ("-c:a pcm_s32le -movflags +faststart", "mov"),
        ("-c:a pcm_s32be -movflags +faststart", "mov"),
        ("-c:a pcm_f32le -movflags +faststart", "mov"),
        ("-c:a pcm_f64be -movflags +faststart", "mov"),
        ("-c:a adpcm_ima_qt -movflags +faststart", "mov"),
        ("-c:a adpcm_ima_qt -ac 2 -movflags +faststart", "mov"),
        ("-c:a adpcm_ima_qt", "caf"),
        ("-c:a adpcm_ima_qt -ac 2", "aiff"),
        (&opus, "opus"),
    ] {
        let what = format!("{options} {extension}");
        let file = encode(60.0, options, extension);
        let expected = hear_well(memfd(&decoded_by_ffmpeg(&file, extension)));
        assert_same(&what, &hear_well(memfd(&file)), &expected);
    }
}

#[test]
fn opus_of_many_channels_sounds_the_same_in_matroska() {
    let opus = format!("{SURROUND} -c:a libopus -b:a 256k -mapping_family 1");
    let [ogg, mkv] = ["opus", "mkv"].map(|kind| hear_well(memfd(&encode(60.0, &opus, kind))));
    // Matroska's times are rounded to milliseconds.
    assert!(ogg.len().abs_diff(mkv.len()) < 160);
    let (best, shift) = super::formats::correlation(&mkv, &ogg, 200);
    assert!(best > 0.95 && shift.abs() < 160, "{best} at {shift}");
}

#[test]
fn samples_of_quicktime_have_any_width() {
    let mov = |codec: &str| encode(60.0, &format!("-c:a {codec} -movflags +faststart"), "mov");
    let renamed = |codec: &str, from: &[u8; 4], to: &[u8; 4]| {
        let mut bytes = mov(codec);
        let places: Vec<usize> = (0..bytes.len() - 4)
            .filter(|at| &bytes[*at..at + 4] == from)
            .collect();
        for at in places {
            bytes[at..at + 4].copy_from_slice(to);
        }
        hear_well(memfd(&bytes))
    };
    assert_eq!(renamed("pcm_s24le", b"in24", b"sowt"), speech_f32());
    assert_eq!(renamed("pcm_s24be", b"in24", b"twos"), speech_f32());
    assert_eq!(renamed("pcm_s32be", b"in32", b"twos"), speech_f32());
}

/// QuickTime's own tables count the samples of ADPCM, each of one byte, and ffmpeg's the blocks.
#[test]
fn adpcm_of_quicktime_is_counted_in_either_way() {
    let mut bytes = encode(60.0, "-c:a adpcm_ima_qt -movflags +faststart", "mov");
    let heard = hear_well(memfd(&bytes));
    let mut change = |name: &[u8], at: usize, change: fn(u32) -> u32| {
        let place = bytes.windows(4).position(|four| four == name).unwrap() + at;
        let old = u32::from_be_bytes(bytes[place..place + 4].try_into().unwrap());
        bytes[place..place + 4].copy_from_slice(&change(old).to_be_bytes());
    };
    change(b"stsz", 8, |_| 1);
    change(b"stsz", 12, |blocks| blocks * 64);
    change(b"stts", 12, |blocks| blocks * 64);
    change(b"stts", 16, |length| length / 64);
    change(b"stsc", 16, |blocks| blocks * 64);
    assert!(hear_well(memfd(&bytes)) == heard);
}

#[test]
fn codecs_of_telephones_decode_as_ffmpeg_does() {
    for (options, extension, mime) in [
        ("-c:a libgsm_ms -ar 8000", "wav", None),
        ("-c:a libgsm -ar 8000 -f gsm", "gsm", None),
        ("-c:a libgsm -ar 8000 -f gsm", "gsm", Some("audio/GSM")),
        ("-c:a g722", "wav", None),
        ("-c:a g722 -f g722", "g722", Some("audio/G722;rate=8000")),
        ("-c:a g722", "au", None),
    ] {
        let what = format!("{options} {extension}");
        let file = encode(60.0, options, extension);
        let expected = hear_well(memfd(&decoded_by_ffmpeg(&file, extension)));
        let hint = Hint {
            extension: None,
            mime,
        };
        let heard = checks::hear(memfd(&file), hint, usize::MAX).unwrap();
        assert_eq!(heard.warnings, Vec::<String>::new(), "{what}");
        assert_same(&what, &heard.samples, &expected);
    }
}

/// Made by SoX with opencore-amr and by GStreamer with vo-amrwbenc.
const AMR: [(&str, &[u8]); 3] = [
    (
        "AMR-NB 4.75",
        include_bytes!("../../../fuzz/corpus/decode/475.amr"),
    ),
    (
        "AMR-NB 12.2",
        include_bytes!("../../../fuzz/corpus/decode/1220.amr"),
    ),
    (
        "AMR-WB 12.65",
        include_bytes!("../../../fuzz/corpus/decode/1265.awb"),
    ),
];

#[test]
fn recordings_of_mobile_phones_sound_like_the_original() {
    // A narrow band and few bits change the waves.
    for ((what, file), least) in AMR.into_iter().zip([0.6; 3]) {
        let heard = hear_well(memfd(file));
        let (best, shift) = super::formats::correlation(&heard, &speech_f32(), 1_000);
        assert!(
            best > least && shift.abs() < 400,
            "{what}: {best} at {shift}"
        );
        assert!(
            heard.len().abs_diff(44_580) < 960,
            "{what}: {}",
            heard.len()
        );
        assert!(hear_well(pipe(file.to_vec())) == heard, "{what}");
    }
}

/// Files of real programs whose beginning looks like another format's, or like none.
#[test]
fn later_pieces_of_a_recording_are_told_from_broken_ones() {
    let webm = encode(60.0, "-c:a libopus -cluster_time_limit 500", "webm");
    let cluster = b"\x1f\x43\xb6\x75";
    let second = webm.windows(4).rposition(|four| four == cluster).unwrap();
    let block = second
        + webm[second..]
            .windows(1)
            .position(|one| one == b"\xa3")
            .unwrap();
    let fragments = "-c:a aac -movflags +empty_moov+default_base_moof -frag_duration 500000";
    let mp4 = encode(60.0, fragments, "mp4");
    let moof = mp4.windows(4).rposition(|four| four == b"moof").unwrap();
    let ogg = encode(60.0, "-c:a libopus -page_duration 500000", "opus");
    let page = ogg.windows(4).rposition(|four| four == b"OggS").unwrap();
    for (piece, name) in [
        (&webm[second..], "WebM"),
        (&webm[block..], "WebM"),
        (&mp4[moof - 4..], "MP4"),
        (&ogg[page..], "Ogg"),
    ] {
        let error = hear(memfd(piece)).unwrap_err();
        assert!(
            matches!(error, AudioError::NoBeginning(what) if what == name),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_transport_stream_may_begin_and_break_off_anywhere() {
    let file = encode(60.0, &format!("{FILM} -c:a mp2 -b:a 64k"), "ts");
    let complete = hear_well(memfd(&file)).len();
    for (start, len) in [
        (0, file.len() - 1000),
        (100, file.len() - 100),
        (5_000, 150_000),
    ] {
        let piece = &file[start..file.len().min(start + len)];
        let heard = hear(memfd(piece)).unwrap();
        assert!(heard.samples.len() <= complete + 400);
        assert!(heard.samples.len() > 8_000, "{start} {len}");
    }
}

#[test]
fn flv_counts_from_its_first_picture_as_it_is_shown() {
    // A picture that refers to later ones is stored behind them, and shown before.
    for (rate, order) in [(25, "-bf 2"), (10, "-bf 3"), (10, "-bf 0")] {
        for sound in ["-c:a aac -ar 44100", "-c:a libmp3lame -ar 44100"] {
            let options = format!(
                "-f lavfi -t 3 -i testsrc=size=64x48:rate={rate} -map 0:a -map 1:v \
                 -c:v libx264 {order} {sound}"
            );
            let [flv, mkv] =
                ["flv", "mkv"].map(|kind| hear_well(memfd(&encode(60.0, &options, kind))));
            let (fit, shift) = super::formats::correlation(&flv, &mkv, 3_000);
            // The encoder's priming of AAC is not told.
            assert!(
                fit > 0.8 && shift.abs() < 600,
                "{options}: {fit} at {shift}"
            );
            assert!(flv.len().abs_diff(mkv.len()) < 1_600, "{options}");
        }
    }
}
