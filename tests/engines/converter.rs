//! The converter: ffmpeg, with recordings that the service's own decoders refuse, and a program in
//! its place that does whatever it must not.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use crate::common::{
    clips::{Clip, GOFORWARD, TEN_OF_CLUBS, wav, wav_header},
    daemon::Daemon,
    http::Form,
};

const GENERAL: &str = r#"
[service]
log_level = "debug"
[health]
interval = "0s"
[breaker]
crashes = 0
"#;

/// The file name's extension, and the arguments with which ffmpeg makes a kind that only it reads.
const KINDS: [(&str, &str); 7] = [
    ("wma", "-c:a wmav2 -b:a 128k"),
    ("wma", "-c:a wmav1 -b:a 96k -ar 16000 -ac 1"),
    ("ac3", "-c:a ac3 -b:a 192k"),
    // The index is at the end of the file, so the converter must seek.
    ("mp4", "-c:a ac3 -b:a 192k"),
    ("mka", "-c:a dca -strict -2 -b:a 768k"),
    ("rm", "-c:a ac3 -b:a 192k"),
    ("tta", "-c:a tta"),
];

fn encoded(clip: Clip, extension: &str, arguments: &str) -> Vec<u8> {
    let file = tempfile::Builder::new()
        .suffix(&format!(".{extension}"))
        .tempfile()
        .unwrap();
    let mut ffmpeg = Command::new("ffmpeg")
        .args("-nostdin -v error -y -f s16le -ar 16000 -ac 1 -i pipe: -ar 48000 -ac 2".split(' '))
        .args(arguments.split(' '))
        .arg(file.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("install ffmpeg");
    ffmpeg
        .stdin
        .take()
        .unwrap()
        .write_all(&clip.samples())
        .unwrap();
    assert!(ffmpeg.wait().unwrap().success(), "{arguments}");
    fs::read(file.path()).unwrap()
}

/// A daemon with ffmpeg as the converter, and more keys.
fn with_ffmpeg(keys: &str) -> Daemon {
    let ffmpeg = "[audio]\nconverter = \"/usr/bin/ffmpeg\"\n";
    Daemon::start(&format!("{ffmpeg}{keys}{GENERAL}"))
}

#[test]
fn kinds_that_the_service_cannot_decode_are_transcribed_with_a_converter_only() {
    let (with, without) = (with_ffmpeg(""), Daemon::start(GENERAL));
    for (extension, arguments) in KINDS {
        let name = format!("a.{extension}");
        let recording = encoded(GOFORWARD, extension, arguments);
        let answer = with.transcribe(&name, &recording);
        assert_eq!(answer.text(), GOFORWARD.text, "{arguments}");
        let refusal = without.transcribe(&name, &recording);
        let message = refusal.assert_refusal(400, "invalid_audio", None);
        assert!(!message.contains("converter"), "{message}");
    }
    assert!(with.log().contains("converted=true"));
    // A recording that the service decodes itself never reaches the converter.
    let before = with.log().matches("converted=true").count();
    assert_eq!(before, KINDS.len());
    let answer = with.transcribe("a.wav", &GOFORWARD.wav());
    assert_eq!(answer.text(), GOFORWARD.text);
    assert_eq!(with.log().matches("converted=true").count(), before);
    with.wait_spares(2);
}

#[test]
fn a_large_recording_is_converted_from_its_file() {
    let daemon = with_ffmpeg("[http]\nspool_memory = \"1K\"\n");
    let recording = encoded(GOFORWARD, "mp4", "-c:a ac3 -b:a 192k");
    assert_eq!(
        daemon.transcribe("a.mp4", &recording).text(),
        GOFORWARD.text
    );
}

#[test]
fn wrong_time_stamps_cut_nothing_away() {
    // All of this file are 0. Its codec is too poor for the engine to hear every word.
    let recording = encoded(GOFORWARD, "rm", "-c:a real_144 -ar 8000 -ac 1");
    let answer = with_ffmpeg("").transcribe("a.rm", &recording);
    assert!(answer.text().starts_with("go forward"), "{answer:?}");
    assert!(answer.number("x-stt-audio-ms") > 2_700, "{answer:?}");
}

#[test]
fn speech_after_a_gap_keeps_its_time() {
    let daemon = with_ffmpeg("");
    let folder = tempfile::TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(
        at("a.mka"),
        encoded(TEN_OF_CLUBS, "mka", "-c:a ac3 -b:a 192k"),
    )
    .unwrap();
    let list = "ffconcat version 1.0\nfile a.mka\nduration 6\nfile a.mka\n";
    fs::write(at("list"), list).unwrap();
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "concat", "-i"])
        .arg(at("list"))
        .args(["-c", "copy"])
        .arg(at("b.mka"))
        .status();
    assert!(made.unwrap().success());
    let form = Form::of("b.mka", &fs::read(at("b.mka")).unwrap());
    let form = form
        .field("response_format", "verbose_json")
        .field("timestamp_granularities[]", "word");
    let json = daemon.post(&form).json();
    let starts = json["words"].as_array().unwrap().iter();
    let starts: Vec<f64> = starts
        .filter(|word| word["word"] == "ten")
        .map(|word| word["start"].as_f64().unwrap())
        .collect();
    assert!(
        matches!(starts[..], [first, second] if (second - first - 6.0).abs() < 0.05),
        "{json}"
    );
}

#[test]
fn one_channel_of_a_converted_recording_can_be_chosen() {
    let daemon = with_ffmpeg("");
    let left = "-af pan=stereo|c0=c0|c1=0*c0 -c:a wmav2 -b:a 192k";
    let form = Form::of("a.wma", &encoded(GOFORWARD, "wma", left));
    let heard = |channel: &str| daemon.post(&form.clone().field("channel", channel));
    assert_eq!(heard("0").text(), GOFORWARD.text);
    assert_eq!(heard("1").text(), "");
    let message = heard("2").assert_refusal(400, "invalid_audio", None);
    assert!(message.contains("no channel 2"), "{message}");
}

#[test]
fn a_job_that_serves_again_converts_each_recording() {
    let daemon = with_ffmpeg("[isolation]\nmode = \"hybrid\"\n");
    let recording = encoded(TEN_OF_CLUBS, "wma", "-c:a wmav2 -b:a 128k");
    for _ in 0..4 {
        assert_eq!(
            daemon.transcribe("a.wma", &recording).text(),
            TEN_OF_CLUBS.text
        );
        assert_eq!(
            daemon.transcribe("a.wav", &TEN_OF_CLUBS.wav()).text(),
            TEN_OF_CLUBS.text
        );
    }
}

#[test]
fn damage_is_refused_without_the_converter_and_noise_with_its_reason() {
    let daemon = with_ffmpeg("");
    let mut cut = GOFORWARD.wav();
    cut.truncate(30);
    let message = daemon
        .transcribe("a.wav", &cut)
        .assert_refusal(400, "invalid_audio", None);
    assert!(!message.contains("converter"), "{message}");
    let noise = b"No sound at all. ".repeat(1000);
    let message = daemon
        .transcribe("a.xyz", &noise)
        .assert_refusal(400, "invalid_audio", None);
    assert!(
        message.contains("the service's converter cannot read it either (Invalid data found"),
        "{message}"
    );
    assert!(!message.contains("/proc"), "{message}");
}

/// A daemon whose converter does what the recording says.
fn told() -> Daemon {
    let program = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/engines/converter/converter.sh"
    );
    Daemon::start(&format!(
        r#"{GENERAL}
[audio]
converter = "{program}"
[limits]
max_audio = "20s"
deadline = "4min"
stall = "3s"
cpu_time = "4s"
cpu_time_per_audio_second = 0.0
"#
    ))
}

/// A recording that tells the converter what to do, and holds `wav` for it.
fn telling(mode: &str, wav: &[u8]) -> Form {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), wav).unwrap();
    let text = Command::new("base64").arg(file.path()).output().unwrap();
    let text = text.stdout;
    Form::of("a.xyz", &[format!("{mode}\n").as_bytes(), &text].concat())
}

#[test]
fn each_fault_of_a_converter_costs_one_request() {
    let daemon = told();
    let endless = [wav_header(u32::MAX), GOFORWARD.samples()].concat();
    let either = "converter cannot read it either";
    for (mode, status, code, reason) in [
        ("hang", 504, "timeout", "3.0 s"),
        ("hang-amid", 504, "timeout", "3.0 s"),
        ("spin", 504, "timeout", "CPU"),
        ("complain-for-ever", 504, "timeout", "CPU"),
        ("child-holds-output", 504, "timeout", "3.0 s"),
        ("nothing", 400, "invalid_audio", "it found no audio"),
        ("text", 400, "invalid_audio", "it found no audio"),
        ("fail", 400, "invalid_audio", "no such luck"),
        ("silent", 400, "invalid_audio", "status 7"),
        ("crash", 400, "invalid_audio", "SIGSEGV"),
        ("read-file", 400, "invalid_audio", "Permission denied"),
        ("list-recordings", 400, "invalid_audio", either),
        ("write-file", 400, "invalid_audio", "Permission denied"),
        ("write-here", 400, "invalid_audio", "Permission denied"),
        ("connect", 400, "invalid_audio", "PermissionError"),
        ("local", 400, "invalid_audio", "PermissionError"),
        ("allocate", 400, "invalid_audio", "MemoryError"),
        ("ptrace", 400, "invalid_audio", "forbidden system call"),
        ("kill-job", 400, "invalid_audio", either),
        ("leave-group", 400, "invalid_audio", either),
    ] {
        let answer = daemon.post(&telling(mode, &endless));
        assert_eq!(answer.status, status, "{mode}: {answer:?}");
        let error = answer.error();
        assert_eq!(error["code"], code, "{mode}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(reason), "{mode}: {message}");
        assert!(!message.contains('/'), "{mode}: {message}");
        let next = daemon.post(&telling("behave", &TEN_OF_CLUBS.wav()));
        assert_eq!(next.text(), TEN_OF_CLUBS.text, "after {mode}");
    }
    let answer = daemon.post(&telling("flood", &endless));
    answer.assert_refusal(413, "audio_too_long", None);
    daemon.wait_spares(2);
}

#[test]
fn a_converter_that_fails_late_or_complains_still_serves() {
    let daemon = told();
    for (mode, warned) in [
        ("behave", ""),
        ("reopen", ""),
        ("complain", ""),
        ("child", ""),
        ("read-model", ""),
        // Its output is complete, so nobody waits for them long.
        ("hang-amid", ""),
        ("child-holds-output", ""),
        ("amid", "gave up (it broke): only 2.8 s"),
        ("crash-amid", "gave up (it was ended by SIGSEGV)"),
    ] {
        let answer = daemon.post(&telling(mode, &GOFORWARD.wav()));
        assert_eq!(answer.text(), GOFORWARD.text, "{mode}");
        let warning = answer.headers.get("x-stt-warnings");
        let warning = warning.map_or("", |value| value.to_str().unwrap());
        assert!(warning.contains(warned), "{mode}: {warning}");
        assert_eq!(warning.is_empty(), warned.is_empty(), "{mode}: {warning}");
    }
    // Too long only for a header that is believed: the limit holds while the converter works.
    let long = wav(&GOFORWARD.samples().repeat(9));
    let answer = daemon.post(&telling("behave", &long));
    answer.assert_refusal(413, "audio_too_long", None);
    daemon.wait_spares(2);
}
