//! `sttctl transcribe` with the real service and real speech: formats, pipes, folders, streams and
//! a terminal.

use std::{
    collections::BTreeMap,
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
    process::{Seen, peak_memory},
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

/// The job of the only request that has one.
fn running(daemon: &Daemon) -> Seen {
    let stats = daemon.get("/v1/stats").json();
    let [job] = &stats["jobs"].as_array().unwrap()[..] else {
        panic!("not one job: {stats}")
    };
    let mut children = daemon.children().into_iter();
    let seen = children.find(|seen| job["pid"] == seen.pid);
    seen.filter(Seen::lives).expect("the job lives")
}

#[test]
fn streamed_words_come_early() {
    // A job that sleeps would count as hung, if this test has to wait that long for a CPU.
    let daemon = Daemon::start(&format!("{FAULT}\nlimits = {{ stall = \"1h\" }}"));
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
    // Not a spare from before: on a busy machine the service may have let that go.
    let job = running(&daemon);
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
        let summary = "5 transcribed, 1 failed (clips/2-broken.FLAC), 3 skipped (1 link, 1 folder \
                       without --recursive, 1 not named like audio)";
        assert_failed(&output, &expected, &["clips/2-broken.FLAC: ", summary]);
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
        "other/b.c.wav: its result would be new/texts/b.c.txt, which is that of b.c.wav: ",
        "1 transcribed, 2 failed (a.wav, other/b.c.wav)",
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

/// All files below a folder of the daemon's, with what is in them.
fn tree(daemon: &Daemon, folder: &str) -> BTreeMap<String, String> {
    let root = daemon.folder().join(folder);
    let files = walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap);
    let files = files.filter(|entry| entry.file_type().is_file());
    let read = |entry: walkdir::DirEntry| {
        let name = entry.path().strip_prefix(&root).unwrap().to_str().unwrap();
        (name.to_owned(), fs::read_to_string(entry.path()).unwrap())
    };
    files.map(read).collect()
}

#[test]
fn a_folder_is_kept_up_to_date() {
    let daemon = Daemon::start(FAULT);
    for name in [
        "in/a.wav",
        "in/b/a.wav",
        "in/b/c/z.MP3",
        "in/._a.wav",
        "in/.trash/a.wav",
        "in/notes.txt",
        "away/a.wav",
    ] {
        put(&daemon, name, &TEN_OF_CLUBS.wav());
    }
    symlink(
        daemon.folder().join("away"),
        daemon.folder().join("in/away"),
    )
    .unwrap();
    let accepted = || daemon.get("/v1/stats").json()["total"]["requests"]["accepted"].clone();
    let run = |more: &[&str]| transcribe(&daemon, &[&["-j3", "-o", "out"], more, &["in"]].concat());
    let summary = |output: &Output, status: i32, expected: &str| {
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert_eq!(text(&output.stdout), "");
        let last = text(&output.stderr).lines().last().map(str::to_owned);
        assert_eq!(last, Some(format!("sttctl: {expected}")), "{output:?}");
    };
    let skipped = "1 link, 2 hidden, 1 not named like audio";
    let all = |files: &[&str]| {
        let result = |name: &&str| ((*name).to_owned(), "fault engine\n".to_owned());
        files.iter().map(result).collect::<BTreeMap<_, _>>()
    };

    let output = run(&["--recursive"]);
    summary(
        &output,
        0,
        &format!("3 transcribed, 0 failed, 4 skipped ({skipped})"),
    );
    let files = ["a.txt", "b/a.txt", "b/c/z.txt"];
    assert_eq!(tree(&daemon, "out"), all(&files));
    assert_eq!(accepted(), 3);

    let output = run(&["-r"]);
    summary(
        &output,
        1,
        "0 transcribed, 3 failed (in/a.wav, in/b/a.wav, in/b/c/z.MP3), 4 skipped (1 link, 2 hidden, \
         1 not named like audio)",
    );
    let output = run(&["-r", "--skip-existing"]);
    let old = format!("0 transcribed, 0 failed, 7 skipped (3 have their result, {skipped})");
    summary(&output, 0, &old);
    assert_eq!(accepted(), 3);

    // One more, one whose result is no result, and one that would share the result of another: that
    // one is not taken for done.
    put(&daemon, "in/b/d.wav", &TEN_OF_CLUBS.wav());
    put(&daemon, "in/b/c/z.ogg", &TEN_OF_CLUBS.wav());
    put(&daemon, "out/a.txt", b"");
    let output = run(&["-r", "--skip-existing"]);
    summary(
        &output,
        1,
        &format!("3 transcribed, 1 failed (in/a.wav), 5 skipped (1 has its result, {skipped})"),
    );
    assert_eq!(text(&output.stderr).lines().count(), 2);
    assert!(text(&output.stderr).starts_with("sttctl: in/a.wav: out/a.txt is there already"));
    let files = [
        "b/a.txt",
        "b/c/z.MP3.txt",
        "b/c/z.ogg.txt",
        "b/c/z.txt",
        "b/d.txt",
    ];
    let mut expected = all(&files);
    expected.insert("a.txt".into(), String::new());
    assert_eq!(tree(&daemon, "out"), expected);
    assert_eq!(accepted(), 6);

    // All of these were written just now, and nothing is no mistake here.
    let output = run(&["-r", "--skip-existing", "--min-age", "1h"]);
    let young = "2 hidden, 5 younger than --min-age, 1 not named like audio";
    summary(
        &output,
        0,
        &format!("0 transcribed, 0 failed, 9 skipped (1 link, {young})"),
    );
    let output = transcribe(&daemon, &["--skip-existing", "a.wav"]);
    assert_eq!(output.status.code(), Some(2), "it needs --output");
    // A hidden file that is named is meant.
    let output = transcribe(&daemon, &["in/._a.wav"]);
    assert_said(&output, "fault engine\n");
}

#[test]
fn nobody_who_reads_ends_the_job() {
    let daemon = Daemon::start(FAULT);
    put(&daemon, "a.wav", &TEN_OF_CLUBS.wav());
    let mut child = program(&daemon, &["--model", "default:sleep=1h", "a.wav"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the job runs", LONG, || {
        daemon.get("/v1/stats").json()["total"]["running"] == 1
    });
    let job = running(&daemon);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(141), "")
    );
    wait_until("the job is killed", LONG, || !job.lives());

    // Whatever standard output is, it ends with at most one line.
    put(&daemon, "b.wav", &TEN_OF_CLUBS.wav());
    let files = ["a.wav", "b.wav"];
    for (way, more, status, lines) in [
        (">&-", &[][..], 0, 0),
        (">&- 2>&-", &[], 0, 0),
        (">/dev/full", &[], 1, 1),
        (">/dev/full", &["--stream"], 1, 1),
        (">/dev/full", &["--format", "json"], 1, 1),
        (">/dev/full", &["--output", "texts"], 0, 0),
    ] {
        let output = Command::new("sh")
            .args(["-c", &format!(r#""$0" transcribe "$@" {way}"#)])
            .arg(env!("CARGO_BIN_EXE_sttctl"))
            .args(more)
            .args(files)
            .env("STT_ISOLATED_SOCKET", daemon.socket())
            .current_dir(daemon.folder())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(status), "{way}: {output:?}");
        let said = text(&output.stderr);
        assert_eq!(said.lines().count(), lines, "{way}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
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
        screen.contains("1 of 2 files") && screen.contains("/a.wav: [")
    });
    let screen = terminal.ended(0);
    assert!(screen.contains("/a.wav: go forward ten meters"), "{screen}");
    assert!(screen.contains("/b.wav: ten of clubs"), "{screen}");
    assert!(
        !screen.contains(" files") && !screen.contains(": ["),
        "{screen}"
    );
}

/// The program in a terminal.
fn in_terminal(daemon: &Daemon, size: (u16, u16), arguments: &[&str]) -> Tmux {
    let socket = ["transcribe", "--socket", daemon.socket().to_str().unwrap()];
    let arguments = [&socket, arguments].concat();
    Tmux::run(size, Path::new(env!("CARGO_BIN_EXE_sttctl")), &arguments)
}

#[test]
fn a_long_recording_has_a_bar() {
    let daemon = Daemon::start("");
    let length = GOFORWARD.samples().len() * 40 / 32_000;
    put(&daemon, "a.wav", &wav(&GOFORWARD.samples().repeat(40)));
    let file = daemon.folder().join("a.wav");
    let terminal = in_terminal(&daemon, (80, 24), &[file.to_str().unwrap()]);
    let of = format!(" of {}m{:02}s, ", length / 60, length % 60);
    let bar = |screen: &str| {
        let line = screen.lines().find(|line| line.contains(&of))?;
        assert!(
            line.contains("/a.wav: [") && line.trim_end().chars().count() <= 80,
            "{line}"
        );
        Some((
            line.matches('█').count(),
            line.trim_end().ends_with(" left"),
        ))
    };
    terminal.wait("a part is done, and the time left is known", |screen| {
        bar(screen).is_some_and(|(filled, left)| left && (1..20).contains(&filled))
    });
    // The line stays one line in a narrower terminal.
    terminal.resize(60, 24);
    terminal.wait("the line in the narrow terminal", |screen| {
        screen.matches("/a.wav").count() == 1 && screen.contains(" left")
    });
    terminal.resize(120, 24);
    let screen = terminal.ended(0);
    assert!(screen.contains("go forward ten meters"), "{screen}");
    assert!(
        !screen.contains(" left") && !screen.contains('['),
        "{screen}"
    );
}

#[test]
fn a_waiting_recording_shows_its_place() {
    let daemon = Daemon::start(&format!("[jobs]\nmax_running = 1\n{FAULT}"));
    put(&daemon, "a.wav", &TEN_OF_CLUBS.wav());
    let file = daemon.folder().join("a.wav");
    let arguments = ["--model", "default:sleep=1h", "--jobs=3"];
    let files = [file.to_str().unwrap(); 3];
    let terminal = in_terminal(&daemon, (80, 24), &[&arguments[..], &files].concat());
    let screen = terminal.wait("one runs and two wait", |screen| {
        let contains = |text| screen.contains(text);
        contains("waiting, place 1 in the queue") && contains("waiting, place 2 in the queue")
    });
    assert_eq!(screen.matches("/a.wav: ").count(), 3, "{screen}");
    assert!(screen.contains("] 0 of 3 files"), "{screen}");
    kill(Pid::from_raw(terminal.pid()), Signal::SIGINT).unwrap();
    terminal.wait_for("status 130");
}

#[test]
fn a_dumb_terminal_and_a_pipe_have_no_bar() {
    let daemon = Daemon::start("");
    put(&daemon, "a.wav", &long());
    let file = daemon.folder().join("a.wav");
    let run = r#"TERM=dumb "$@" 2>&1 && "$@" 2>said && test ! -s said && NO_COLOR=1 "$@""#;
    let arguments = ["-c", run, "sh", env!("CARGO_BIN_EXE_sttctl"), "transcribe"];
    let socket = ["--socket", daemon.socket().to_str().unwrap()];
    let arguments = [&arguments[..], &socket, &[file.to_str().unwrap()]].concat();
    let terminal = Tmux::run((120, 24), Path::new("/bin/sh"), &arguments);
    let screen = terminal.ended(0);
    let words = screen.matches("go forward ten meters").count();
    assert!(words >= 3 && !screen.contains("transcribing"), "{screen}");
}

#[test]
fn words_cannot_steer_the_terminal() {
    let server = super::server::Server::new(|_, request, out| {
        let length = request.header("content-length").unwrap();
        out.read_exact(&mut vec![0; length.parse().unwrap()])?;
        super::server::head(out, "200 OK", "")?;
        out.write_all("go\u{1b}[2J\u{9b}31m forward\r\u{7}\tten".as_bytes())?;
        out.flush()
    });
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("a.wav");
    fs::write(&file, b"RIFF").unwrap();
    let socket = format!("tcp:127.0.0.1:{}", server.port);
    let arguments = ["transcribe", "--socket", &socket, file.to_str().unwrap()];
    let program = Path::new(env!("CARGO_BIN_EXE_sttctl"));
    let screen = Tmux::run((120, 24), program, &arguments).ended(0);
    let shown = r"go\u001b[2J\u009b31m forward\u000d\u0007";
    assert!(screen.starts_with(shown), "{screen}");
    // A pipe gets what came.
    let output = Command::new(program).args(arguments).output().unwrap();
    let came = "go\u{1b}[2J\u{9b}31m forward\r\u{7}\tten\n";
    assert_eq!(text(&output.stdout), came);
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
