//! Every format in which recordings come, made by ffmpeg from one that is real speech: word for
//! word through the daemon.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use crate::common::{
    clips::{Encoding, GOFORWARD},
    daemon::Daemon,
    http::Form,
};

/// The name of a file, and the arguments with which ffmpeg makes it.
type Format = (&'static str, &'static str);

const WAV: [Format; 13] = [
    ("wav", "-c:a pcm_u8"),
    ("wav", "-c:a pcm_s16le"),
    ("wav", "-c:a pcm_s24le"),
    ("wav", "-c:a pcm_s32le"),
    ("wav", "-c:a pcm_f32le"),
    ("wav", "-c:a pcm_f64le"),
    ("wav", "-c:a pcm_mulaw"),
    ("wav", "-c:a pcm_alaw"),
    ("wav", "-c:a adpcm_ima_wav"),
    ("wav", "-c:a adpcm_ms"),
    ("wav", "-c:a pcm_s16le -rf64 always"),
    ("wav", "-c:a pcm_s24le -ac 6 -ar 48000"),
    ("wav", "-c:a pcm_s16le -fflags +bitexact -write_bext 1"),
];

const AIFF_AND_CAF: [Format; 19] = [
    ("aiff", "-c:a pcm_s8"),
    ("aiff", "-c:a pcm_s16be"),
    ("aiff", "-c:a pcm_s24be"),
    ("aiff", "-c:a pcm_s32be"),
    ("aiff", "-c:a pcm_s16le"),
    ("aiff", "-c:a pcm_f32be"),
    ("aiff", "-c:a pcm_f64be"),
    ("aiff", "-c:a pcm_mulaw"),
    ("aiff", "-c:a pcm_alaw"),
    ("caf", "-c:a pcm_s16be"),
    ("caf", "-c:a pcm_s16le"),
    ("caf", "-c:a pcm_s24le"),
    ("caf", "-c:a pcm_s32be"),
    ("caf", "-c:a pcm_f32le"),
    ("caf", "-c:a pcm_f64be"),
    ("caf", "-c:a pcm_mulaw"),
    ("caf", "-c:a pcm_alaw"),
    ("caf", "-c:a libopus -b:a 48k"),
    ("caf", "-c:a alac"),
];

const COMPRESSED: [Format; 14] = [
    ("flac", "-c:a flac"),
    ("flac", "-c:a flac -sample_fmt s32 -ar 96000 -ac 2"),
    ("oga", "-c:a flac -f ogg"),
    ("mp3", "-c:a libmp3lame -b:a 64k"),
    ("mp3", "-c:a libmp3lame -q:a 2 -ar 44100 -ac 2"),
    ("mp3", "-c:a libmp3lame -b:a 128k -ar 48000 -write_xing 0"),
    ("ogg", "-c:a libvorbis -q:a 6"),
    ("ogg", "-c:a libvorbis -q:a 6 -ar 44100 -ac 2"),
    ("opus", "-c:a libopus -b:a 48k"),
    ("opus", "-c:a libopus -b:a 96k -ac 2"),
    (
        "opus",
        "-c:a libopus -b:a 24k -application voip -frame_duration 60",
    ),
    ("aac", "-c:a aac -b:a 128k"),
    ("aac", "-c:a aac -b:a 128k -ar 44100 -ac 2"),
    ("aac", "-c:a aac -b:a 96k -ar 22050"),
];

/// Some with a picture in addition to the sound, as films are.
const CONTAINERS: [Format; 18] = [
    ("webm", "-c:a libopus -b:a 48k"),
    ("webm", "-c:a libvorbis -q:a 6"),
    ("webm", "-c:a libopus -b:a 48k -live 1"),
    ("m4a", "-c:a aac -b:a 128k"),
    ("m4a", "-c:a alac"),
    ("mp4", "-c:a aac -b:a 128k -movflags +faststart"),
    (
        "mp4",
        "-c:a aac -b:a 128k -movflags +frag_keyframe+empty_moov+default_base_moof",
    ),
    ("mov", "-c:a pcm_s16le"),
    ("mov", "-c:a aac -b:a 128k"),
    ("mkv", "-c:a aac -b:a 128k"),
    ("mkv", "-c:a libvorbis -q:a 6"),
    ("mkv", "-c:a flac"),
    ("mkv", "-c:a pcm_s16le"),
    ("mkv", "-c:a libmp3lame -b:a 64k"),
    ("mkv", "-c:a libopus -b:a 48k"),
    (
        "mp4",
        "-f lavfi -i color=s=32x32:r=5 -shortest -c:a aac -b:a 128k",
    ),
    (
        "mkv",
        "-f lavfi -i color=s=32x32:r=5 -shortest -c:a libopus -b:a 48k",
    ),
    (
        "webm",
        "-f lavfi -i color=s=32x32:r=5 -shortest -c:a libvorbis -q:a 6",
    ),
];

/// In addition to those of the recording itself.
const RATES: [Format; 9] = [
    ("wav", "-ar 11025"),
    ("wav", "-ar 12000 -ac 2"),
    ("flac", "-ar 22050"),
    ("wav", "-ar 24000 -ac 4"),
    ("flac", "-ar 32000 -ac 8"),
    ("wav", "-ar 44100 -ac 2"),
    ("flac", "-ar 48000"),
    ("wav", "-ar 96000"),
    ("flac", "-ar 192000 -ac 2"),
];

/// A telephone leaves too little of the voice to be understood to the word.
const NARROW: [Format; 8] = [
    ("wav", "-ar 8000"),
    ("wav", "-ar 8000 -c:a pcm_mulaw"),
    ("wav", "-ar 8000 -c:a pcm_alaw"),
    ("wav", "-ar 8000 -c:a adpcm_ima_wav"),
    ("mp3", "-ar 8000 -b:a 16k"),
    ("opus", "-ar 8000 -b:a 12k"),
    ("m4a", "-ar 8000 -c:a aac -b:a 16k"),
    ("ogg", "-ar 8000 -c:a libvorbis"),
];

/// Samples without a header: their media type, and what ffmpeg calls them.
const RAW: [(&str, &str); 16] = [
    ("audio/L16;rate=16000", "-f s16be"),
    (
        "audio/L16;rate=44100;channels=2",
        "-f s16be -ar 44100 -ac 2",
    ),
    (
        "audio/L24;rate=48000;channels=6",
        "-f s24be -ar 48000 -ac 6",
    ),
    ("audio/PCMU;rate=16000", "-f mulaw"),
    ("audio/PCMA;rate=16000", "-f alaw"),
    ("audio/pcm;rate=16000", "-f s16le"),
    ("audio/pcm;rate=24000", "-f s16le -ar 24000"),
    ("audio/pcm;rate=16000;encoding=s16be", "-f s16be"),
    ("audio/pcm;rate=16000;encoding=s24le", "-f s24le"),
    ("audio/pcm;rate=16000;encoding=s24be", "-f s24be"),
    ("audio/pcm;rate=16000;encoding=s32le", "-f s32le"),
    ("audio/pcm;rate=16000;encoding=s32be", "-f s32be"),
    ("audio/pcm;rate=16000;encoding=f32le", "-f f32le"),
    ("audio/pcm;rate=16000;encoding=f64be", "-f f64be"),
    ("audio/pcm;rate=16000;encoding=mulaw", "-f mulaw"),
    ("audio/pcm;rate=16000;encoding=alaw", "-f alaw"),
];

const NARROW_RAW: [(&str, &str); 4] = [
    ("audio/PCMU", "-f mulaw -ar 8000"),
    ("audio/PCMA", "-f alaw -ar 8000"),
    ("audio/basic", "-f mulaw -ar 8000"),
    ("audio/L16;rate=8000", "-f s16be -ar 8000"),
];

fn encoded(extension: &'static str, arguments: &'static str) -> Vec<u8> {
    GOFORWARD.encoded(Encoding {
        extension,
        arguments,
    })
}

/// Sends all forms, four at a time, and gives those whose answer is not as it must be.
fn wrong(forms: &[(String, Form)], is_right: impl Fn(&str) -> bool + Sync) -> Vec<String> {
    let daemon = Daemon::start("");
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((name, form)) = forms.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = daemon.post(form);
                    if answer.status != 200 || !is_right(&answer.text()) {
                        let body = String::from_utf8_lossy(&answer.body).into_owned();
                        wrong.lock().unwrap().push(format!("{name}: {body}"));
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

fn files(formats: &[Format]) -> Vec<(String, Form)> {
    let form = |(extension, arguments): &Format| {
        let file = encoded(extension, arguments);
        let name = format!("{extension} {arguments}");
        (name, Form::of(&format!("a.{extension}"), &file))
    };
    formats.iter().map(form).collect()
}

fn raw(formats: &[(&'static str, &'static str)]) -> Vec<(String, Form)> {
    let form = |(kind, arguments): &(&'static str, &'static str)| {
        let samples = encoded("raw", arguments);
        let form = Form::default().file_of(kind, "recording", &samples);
        (format!("{kind} {arguments}"), form)
    };
    formats.iter().map(form).collect()
}

#[track_caller]
fn assert_word_for_word(forms: &[(String, Form)]) {
    let wrong = wrong(forms, |text| text == GOFORWARD.text);
    assert!(wrong.is_empty(), "of {}: {wrong:#?}", forms.len());
}

#[test]
fn every_kind_of_wav_is_understood() {
    assert_word_for_word(&files(&WAV));
}

#[test]
fn every_kind_of_aiff_and_caf_is_understood() {
    assert_word_for_word(&files(&AIFF_AND_CAF));
}

#[test]
fn every_compressed_format_is_understood() {
    assert_word_for_word(&files(&COMPRESSED));
}

#[test]
fn every_container_is_understood() {
    assert_word_for_word(&files(&CONTAINERS));
}

#[test]
fn every_rate_and_layout_is_understood() {
    assert_word_for_word(&files(&RATES));
}

#[test]
fn raw_samples_are_understood() {
    assert_word_for_word(&raw(&RAW));
}

#[test]
fn a_narrow_band_is_transcribed() {
    let forms = [files(&NARROW), raw(&NARROW_RAW)].concat();
    let wrong = wrong(&forms, |text| !text.is_empty());
    assert!(wrong.is_empty(), "of {}: {wrong:#?}", forms.len());
}
