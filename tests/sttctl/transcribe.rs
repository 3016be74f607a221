//! `sttctl transcribe` with the real service and real speech: formats, pipes, folders, streams and
//! a terminal.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::symlink, process::CommandExt as _},
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::common::{
    LONG,
    clips::{CLIPS, Clip, GOFORWARD, TEN_OF_CLUBS, long, wav, wav_header},
    daemon::Daemon,
    process::peak_memory,
    tmux::Tmux,
    wait_until,
};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use procfs::process::{FDTarget, Process};
use serde_json::Value;

const FAULT: &str = r#"
    [models.default]
    engine = "fault"
    spares = { min = 1, max = 1 }
"#;

/// The program in the daemon's folder, where the tests put their files.
fn program(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sttctl"));
    command
        .arg("transcribe")
        .args(arguments)
        .env("STT_ISOLATED_SOCKET", daemon.socket())
        .current_dir(daemon.folder());
    command
}

fn transcribe(daemon: &Daemon, arguments: &[&str]) -> Output {
    program(daemon, arguments).output().unwrap()
}

/// The program with a pipe into and out of it.
fn piped(daemon: &Daemon, arguments: &[&str]) -> (Child, ChildStdin) {
    let mut child = program(daemon, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

/// The program's output for these bytes on standard input.
fn of_bytes(daemon: &Daemon, arguments: &[&str], bytes: &[u8]) -> Output {
    let (child, mut stdin) = piped(daemon, arguments);
    stdin.write_all(bytes).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn put(daemon: &Daemon, name: &str, bytes: &[u8]) {
    let path = daemon.folder().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

#[track_caller]
fn assert_said(output: &Output, expected: &str) {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), expected, "{output:?}");
    assert_eq!(text(&output.stderr), "");
}

#[track_caller]
fn assert_failed(output: &Output, out: &str, err: &[&str]) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stdout), out);
    let lines: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(lines.len(), err.len(), "{lines:?}");
    for (line, expected) in lines.iter().zip(err) {
        assert!(line.contains(expected), "{line} is not {expected}");
    }
}

/// Some clips, with pauses at which a segment ends.
fn many_segments() -> Vec<u8> {
    let pause = vec![0; 14 * 2 * 16_000];
    let samples = CLIPS[..3]
        .iter()
        .flat_map(|clip| [clip.samples(), pause.clone()].concat());
    wav(&samples.collect::<Vec<u8>>())
}

#[test]
fn each_format_is_what_its_name_says() {
    let daemon = Daemon::start("");
    put(&daemon, "a.wav", &GOFORWARD.wav());
    let of = |format| {
        let output = transcribe(&daemon, &["--format", format, "--language", "en", "a.wav"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(of("text"), "go forward ten meters\n");
    assert_eq!(json(&of("json"))["text"], GOFORWARD.text);
    let verbose = json(&of("verbose_json"));
    assert_eq!(verbose["segments"][0]["text"], GOFORWARD.text);
    for (format, begin) in [("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:00:0")] {
        let subtitles = of(format);
        assert!(subtitles.starts_with(begin), "{subtitles}");
        assert!(
            subtitles.trim_end().ends_with(GOFORWARD.text),
            "{subtitles}"
        );
    }
}

#[test]
fn unsupported_options_are_told() {
    let daemon = Daemon::start("");
    put(&daemon, "a.wav", &GOFORWARD.wav());
    let output = transcribe(&daemon, &["--translate", "a.wav"]);
    assert_failed(&output, "", &["does not translate"]);
    // A hint that the model cannot use is a warning.
    let output = transcribe(&daemon, &["--prompt", "Go, forward!", "a.wav"]);
    assert_eq!(text(&output.stdout), "go forward ten meters\n");
    let warning = "sttctl: warning: the model `default` takes no prompt: `prompt` was left out\n";
    assert_eq!(text(&output.stderr), warning);
}

#[test]
fn a_slow_pipe_is_waited_for() {
    let daemon = Daemon::start("[http]\nbody_timeout = \"2s\"");
    let (child, mut stdin) = piped(&daemon, &["-"]);
    // Longer than the service would wait for the first byte: nobody speaks as soon as the program
    // runs.
    sleep(Duration::from_secs(3));
    for piece in GOFORWARD.wav().chunks(16_000) {
        stdin.write_all(piece).unwrap();
        sleep(Duration::from_millis(100));
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_said(&output, "go forward ten meters\n");
}

#[test]
fn claimed_lengths_do_no_harm() {
    let daemon = Daemon::start("");
    // arecord's, ffmpeg's, sox's, and none at all.
    for length in [0x7fff_ffff, 0x8000_0000, u32::MAX, 0x7fff_f000, 0] {
        let mut file = wav_header(length);
        if length == 0 {
            file[4..8].fill(0);
        }
        file.extend(GOFORWARD.samples());
        let output = of_bytes(&daemon, &["-"], &file);
        assert_said(&output, "go forward ten meters\n");
    }
}

#[test]
fn ffmpeg_can_be_piped_in() {
    let daemon = Daemon::start("");
    put(&daemon, "a.wav", &GOFORWARD.wav());
    for recorder in [
        "ffmpeg -nostdin -loglevel error -i a.wav -f wav -",
        "ffmpeg -nostdin -loglevel error -i a.wav -f flac -",
        "ffmpeg -nostdin -loglevel error -i a.wav -f ogg -",
    ] {
        let output = Command::new("sh")
            .args(["-c", &format!(r#"{recorder} | "$0" transcribe -"#)])
            .arg(env!("CARGO_BIN_EXE_sttctl"))
            .env("STT_ISOLATED_SOCKET", daemon.socket())
            .current_dir(daemon.folder())
            .output()
            .unwrap();
        assert!(output.status.success(), "{recorder}: {output:?}");
        assert_eq!(text(&output.stdout), "go forward ten meters\n");
    }
}

#[test]
fn raw_samples_follow_their_options() {
    let daemon = Daemon::start("");
    let samples = GOFORWARD.samples();
    let swapped: Vec<u8> = samples.chunks(2).flat_map(|two| [two[1], two[0]]).collect();
    let stereo: Vec<u8> = samples
        .chunks(2)
        .flat_map(|two| [two, two].concat())
        .collect();
    for (raw, bytes) in [
        ("rate=16000", &samples),
        ("format=S16_LE,rate=16000,channels=1", &samples),
        ("format=S16_BE", &swapped),
        ("channels=2", &stereo),
    ] {
        let output = of_bytes(&daemon, &["--raw", raw, "-"], bytes);
        assert_said(&output, "go forward ten meters\n");
    }
    // The same for a file. Without the option it is not audio.
    put(&daemon, "a.raw", &samples);
    let output = transcribe(&daemon, &["--raw", "rate=16000", "a.raw"]);
    assert_said(&output, "go forward ten meters\n");
    let output = transcribe(&daemon, &["a.raw"]);
    assert_failed(&output, "", &["code invalid_audio"]);
}

#[test]
fn an_empty_pipe_is_not_a_recording() {
    let daemon = Daemon::start("");
    let output = of_bytes(&daemon, &["-"], b"");
    assert_failed(&output, "", &["standard input: nothing came"]);
}

#[test]
fn a_pipe_is_never_wholly_in_memory() {
    let daemon = Daemon::start("");
    let (mut child, mut stdin) = piped(&daemon, &["--raw", "rate=48000,channels=2", "-"]);
    let second = vec![0; 1 << 20];
    for _ in 0..200 {
        stdin.write_all(&second).unwrap();
    }
    let peak = peak_memory(child.id() as i32);
    assert!(peak < 64 << 20, "{peak}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Waits until a program has its connection to the service, which it makes when the recording
/// begins.
fn wait_sending(child: &Child) {
    let descriptors = || Process::new(child.id() as i32).unwrap().fd().unwrap();
    let is_peer = |target: &FDTarget| matches!(target, FDTarget::Socket(_));
    // The runtime has three sockets of its own, for signals.
    wait_until("the recording is being sent", LONG, || {
        let sockets = descriptors().filter(|fd| is_peer(&fd.as_ref().unwrap().target));
        sockets.count() > 3
    });
}

#[test]
fn a_refusal_ends_the_recording() {
    let daemon = Daemon::start("[http]\nmax_upload = \"64K\"");
    let (child, mut stdin) = piped(&daemon, &["-"]);
    stdin.write_all(&GOFORWARD.wav()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_failed(&output, "", &["(code upload_too_large"]);
    drop(stdin);
}

#[test]
fn ctrl_c_ends_recording_then_program() {
    let daemon = Daemon::start("");
    let interrupt = |child: &Child| {
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    };
    // The writer goes on, as one does that does not heed Ctrl-C.
    let (child, mut stdin) = piped(&daemon, &["-"]);
    stdin.write_all(&GOFORWARD.wav()).unwrap();
    wait_sending(&child);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_said(&output, "go forward ten meters\n");

    let daemon = Daemon::start(FAULT);
    let (child, mut stdin) = piped(&daemon, &["--model", "default:stall", "-"]);
    stdin.write_all(&GOFORWARD.wav()).unwrap();
    wait_sending(&child);
    interrupt(&child);
    // Two at once would be one. The job begins when the recording has ended.
    wait_until("the first one has ended the recording", LONG, || {
        daemon.get("/v1/stats").json()["total"]["running"] == 1
    });
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn ctrl_c_keeps_the_last_samples() {
    let daemon = Daemon::start("");
    let silence = vec![0; 1200 * 32_000];
    put(
        &daemon,
        "a.wav",
        &wav(&[GOFORWARD.samples(), silence].concat()),
    );
    let recorder = "ffmpeg -nostdin -loglevel error -re -i a.wav -f wav -";
    let shell = Command::new("sh")
        .args(["-c", &format!(r#"{recorder} | "$0" transcribe -"#)])
        .arg(env!("CARGO_BIN_EXE_sttctl"))
        .env("STT_ISOLATED_SOCKET", daemon.socket())
        .current_dir(daemon.folder())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    // The words take less than 3 s, and all of the file longer than any wait.
    sleep(Duration::from_secs(10));
    let start = Instant::now();
    killpg(Pid::from_raw(shell.id() as i32), Signal::SIGINT).unwrap();
    let output = shell.wait_with_output().unwrap();
    assert_eq!(
        text(&output.stdout),
        "go forward ten meters\n",
        "{output:?}"
    );
    assert!(start.elapsed() < LONG);
}

#[test]
fn streamed_words_come_early() {
    let daemon = Daemon::start(FAULT);
    let job = daemon.wait_spares(1).remove(0);
    put(&daemon, "a.wav", &TEN_OF_CLUBS.wav());
    let mut child = program(&daemon, &["--stream", "--model", "default:stall", "a.wav"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = [0; "fault engine".len()];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut words).unwrap();
    assert_eq!(text(&words), "fault engine");
    assert!(child.try_wait().unwrap().is_none(), "the job has ended");
    assert!(job.lives());
    // Nothing is done for who hangs up.
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), None);
    wait_until("the job is killed", LONG, || !job.lives());
}

#[test]
fn streamed_words_are_the_text() {
    let daemon = Daemon::start("");
    put(&daemon, "a.wav", &many_segments());
    put(&daemon, "silence.wav", &wav(&[0; 32_000]));
    let whole = transcribe(&daemon, &["a.wav"]);
    assert!(text(&whole.stdout).split(' ').count() > 8, "{whole:?}");
    assert_said(
        &transcribe(&daemon, &["--stream", "a.wav"]),
        text(&whole.stdout),
    );
    assert_said(&transcribe(&daemon, &["--stream", "silence.wav"]), "\n");
    let both = transcribe(&daemon, &["--stream", "silence.wav", "a.wav"]);
    let expected = format!("silence.wav: \na.wav: {}", text(&whole.stdout));
    assert_said(&both, &expected);

    let events = transcribe(&daemon, &["--stream", "--format", "json", "a.wav"]);
    let events: Vec<Value> = text(&events.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(events.len() > 2, "{events:?}");
    let done = events.last().unwrap();
    assert_eq!(done["text"], text(&whole.stdout).trim_end());

    let output = transcribe(&daemon, &["--stream", "-v", "silence.wav"]);
    let figures = text(&output.stderr);
    assert!(
        figures.contains("peak ") && figures.contains("request "),
        "{figures}"
    );
}

#[test]
fn a_failure_in_a_stream_is_told() {
    let daemon = Daemon::start(FAULT);
    put(&daemon, "a.wav", &TEN_OF_CLUBS.wav());
    for (mode, out, err) in [
        (
            "default:out-of-order",
            "second\n",
            "(code worker_misbehaved, request ",
        ),
        ("default:segfault", "", "(code worker_crashed, request "),
    ] {
        let output = transcribe(&daemon, &["--stream", "--model", mode, "a.wav"]);
        assert_failed(&output, out, &[err]);
    }
}

/// A folder of clips, among which one is broken, and with things in it that are not meant.
fn folder(daemon: &Daemon) -> Vec<Clip> {
    let clips = CLIPS[..5].to_vec();
    for (number, clip) in clips.iter().enumerate() {
        put(daemon, &format!("clips/{number}.wav"), &clip.wav());
    }
    put(daemon, "clips/2-broken.FLAC", b"fLaC, not really");
    put(daemon, "clips/notes.txt", b"no audio");
    put(daemon, "clips/deeper/a.wav", &GOFORWARD.wav());
    put(daemon, "elsewhere.wav", &GOFORWARD.wav());
    symlink(
        daemon.folder().join("elsewhere.wav"),
        daemon.folder().join("clips/link.wav"),
    )
    .unwrap();
    clips
}

#[test]
fn a_folder_is_transcribed_in_order() {
    let daemon = Daemon::start("");
    let clips = folder(&daemon);
    let lines = clips.iter().enumerate();
    let expected: String = lines
        .map(|(number, clip)| format!("clips/{number}.wav: {}\n", clip.text))
        .collect();
    for jobs in ["1", "4"] {
        let output = transcribe(&daemon, &["--jobs", jobs, "clips"]);
        assert_failed(&output, &expected, &["clips/2-broken.FLAC: "]);
        assert!(text(&output.stderr).contains("(code invalid_audio"));
    }
}

#[test]
fn several_results_have_their_names() {
    let daemon = Daemon::start("");
    put(&daemon, "a.wav", &GOFORWARD.wav());
    put(&daemon, "b.wav", &TEN_OF_CLUBS.wav());
    let output = transcribe(&daemon, &["--format", "json", "b.wav", "a.wav"]);
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told = lines.iter().map(|line| (&line["file"], &line["text"]));
    let told: Vec<_> = told
        .map(|(f, t)| (f.as_str().unwrap(), t.as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [("b.wav", TEN_OF_CLUBS.text), ("a.wav", GOFORWARD.text)]
    );
    let output = transcribe(&daemon, &["--format", "srt", "b.wav", "a.wav"]);
    assert!(text(&output.stdout).starts_with("==> b.wav <==\n1\n00:"));
    assert!(text(&output.stdout).contains("\n==> a.wav <==\n1\n00:"));
}

#[test]
fn jobs_work_at_the_same_time() {
    let daemon = Daemon::start(&format!("[jobs]\nmax_running = 4\n{FAULT}"));
    for name in ["a.wav", "b.wav", "c.wav", "d.wav"] {
        put(&daemon, name, &TEN_OF_CLUBS.wav());
    }
    let arguments = [
        "--model",
        "default:sleep=1h",
        "--jobs",
        "3",
        "a.wav",
        "b.wav",
        "c.wav",
        "d.wav",
    ];
    let mut child = program(&daemon, &arguments).spawn().unwrap();
    let running = || {
        daemon.get("/v1/stats").json()["jobs"]
            .as_array()
            .unwrap()
            .len()
    };
    wait_until("three jobs run", LONG, || running() == 3);
    sleep(Duration::from_millis(300));
    assert_eq!(running(), 3);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    child.wait().unwrap();
}

#[test]
fn results_go_to_new_files() {
    let daemon = Daemon::start("");
    put(&daemon, "a.wav", &GOFORWARD.wav());
    put(&daemon, "b.c.wav", &TEN_OF_CLUBS.wav());
    let saved = |name: &str| fs::read_to_string(daemon.folder().join(name)).unwrap();
    let output = transcribe(
        &daemon,
        &["-j2", "--output", "new/texts", "a.wav", "b.c.wav"],
    );
    assert_said(&output, "");
    assert_eq!(saved("new/texts/a.txt"), "go forward ten meters\n");
    assert_eq!(saved("new/texts/b.c.txt"), "ten of clubs\n");

    put(&daemon, "new/texts/a.txt", b"precious\n");
    fs::remove_file(daemon.folder().join("new/texts/b.c.txt")).unwrap();
    // Two that would be the same file: one of them is refused.
    put(&daemon, "other/b.c.wav", &TEN_OF_CLUBS.wav());
    let arguments = [
        "-j2",
        "-o",
        "new/texts",
        "a.wav",
        "b.c.wav",
        "other/b.c.wav",
    ];
    let output = transcribe(&daemon, &arguments);
    let errors = [
        "a.wav: new/texts/a.txt is there already",
        "other/b.c.wav: new/texts/b.c.txt is there already",
    ];
    assert_failed(&output, "", &errors);
    assert_eq!(saved("new/texts/a.txt"), "precious\n");
    assert_eq!(saved("new/texts/b.c.txt"), "ten of clubs\n");

    let output = transcribe(&daemon, &["-o", "new/texts", "--format", "vtt", "a.wav"]);
    assert_said(&output, "");
    assert!(saved("new/texts/a.vtt").starts_with("WEBVTT\n"));
    let mut names: Vec<_> = fs::read_dir(daemon.folder().join("new/texts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["a.txt", "a.vtt", "b.c.txt"]);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let daemon = Daemon::start("");
    for number in 0..4 {
        put(&daemon, &format!("clips/{number}.wav"), &TEN_OF_CLUBS.wav());
    }
    let mut child = program(&daemon, &["clips"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "clips/0.wav: ten of clubs\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(141), "")
    );
}

#[test]
fn a_terminal_shows_progress() {
    let daemon = Daemon::start("");
    put(&daemon, "clips/a.wav", &long());
    put(&daemon, "clips/b.wav", &TEN_OF_CLUBS.wav());
    let folder = daemon.folder().join("clips");
    let arguments = [
        "transcribe",
        "--jobs=2",
        "--socket",
        daemon.socket().to_str().unwrap(),
        folder.to_str().unwrap(),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_sttctl"));
    let terminal = Tmux::run((120, 24), program, &arguments);
    terminal.wait("one of two files done, the other under way", |screen| {
        screen.contains("] 1 of 2 files") && screen.contains("/a.wav: transcribing, ")
    });
    let screen = terminal.ended(0);
    assert!(screen.contains("/a.wav: go forward ten meters"), "{screen}");
    assert!(screen.contains("/b.wav: ten of clubs"), "{screen}");
    assert!(
        !screen.contains(" files, ") && !screen.contains("transcribing"),
        "{screen}"
    );
}

#[test]
fn streamed_words_stay_on_the_terminal() {
    let daemon = Daemon::start(FAULT);
    put(&daemon, "a.wav", &TEN_OF_CLUBS.wav());
    let file = daemon.folder().join("a.wav");
    let file = file.to_str().unwrap();
    let socket = daemon.socket().to_str().unwrap();
    let terminal = Tmux::run(
        (120, 24),
        Path::new(env!("CARGO_BIN_EXE_sttctl")),
        &[
            "transcribe",
            "--stream",
            "--model",
            "default:stall",
            "--socket",
            socket,
            file,
            file,
        ],
    );
    let words = format!("{file}: fault engine");
    terminal.wait_for(&words);
    // Long enough for a progress bar to be drawn again, and again.
    sleep(Duration::from_millis(500));
    assert_eq!(terminal.screen().trim(), words);
    kill(Pid::from_raw(terminal.pid()), Signal::SIGINT).unwrap();
    let screen = terminal.ended(130);
    assert!(screen.starts_with(&words), "{screen}");
}

#[test]
fn a_terminal_is_no_recording() {
    let terminal = Tmux::run(
        (120, 24),
        Path::new(env!("CARGO_BIN_EXE_sttctl")),
        &["transcribe", "-"],
    );
    let screen = terminal.ended(1);
    assert!(screen.contains("arecord -f S16_LE"), "{screen}");
}

#[test]
fn warnings_reach_people() {
    let daemon = Daemon::start("");
    let mut cut = GOFORWARD.encoded(crate::common::clips::ENCODINGS[0]);
    cut.truncate(cut.len() / 2);
    fs::write(daemon.folder().join("half.flac"), cut).unwrap();
    fs::write(daemon.folder().join("whole.wav"), GOFORWARD.wav()).unwrap();
    for more in [
        &["--format", "srt", "--max-line-width", "9"][..],
        &["--stream"],
        &[],
    ] {
        let output = transcribe(&daemon, &[more, &["half.flac"]].concat());
        assert!(output.status.success(), "{output:?}");
        let lines: Vec<&str> = text(&output.stderr).lines().collect();
        assert_eq!(lines.len(), 1, "{output:?}");
        assert!(
            lines[0].starts_with("sttctl: warning: the file ends early"),
            "{output:?}"
        );
    }
    let output = transcribe(&daemon, &["whole.wav", "half.flac"]);
    let lines: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(lines.len(), 1, "{output:?}");
    assert!(
        lines[0].starts_with("sttctl: half.flac: warning: "),
        "{output:?}"
    );
    let output = transcribe(&daemon, &["--max-line-count", "1", "whole.wav"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
