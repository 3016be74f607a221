//! `sttctl listen`: words come while they are spoken, each turn as a line.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::common::{
    clips::{GOFORWARD, TEN_OF_CLUBS},
    daemon::Daemon,
    realtime::{samples, silence},
    tmux::Tmux,
};

const STTCTL: &str = env!("CARGO_BIN_EXE_sttctl");

/// Two turns and the pauses around them.
fn talk() -> Vec<u8> {
    let parts = [
        silence(500),
        samples(GOFORWARD),
        silence(1_200),
        samples(TEN_OF_CLUBS),
        silence(300),
    ];
    parts.concat()
}

fn listen(socket: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(STTCTL)
        .args(["listen", "--socket", socket.to_str().unwrap()])
        .args(arguments)
        .env_remove("STT_ISOLATED_KEY_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A program that fails does not read everything.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn each_turn_is_a_line_for_all_who_want_it() {
    let daemon = Daemon::start("");
    let folder = TempDir::new().unwrap();
    let (file, told) = (folder.path().join("notes.txt"), folder.path().join("told"));
    let command = format!("cat >> {0}; echo '|' >> {0}", told.display());
    let arguments = [
        "-",
        "--language",
        "en",
        "--output",
        file.to_str().unwrap(),
        "--command",
        &command,
    ];
    let output = listen(daemon.socket(), &arguments, &talk());
    assert!(output.status.success(), "{output:?}");
    let expected = format!("{}\n{}\n", GOFORWARD.text, TEN_OF_CLUBS.text);
    assert_eq!(text(&output.stdout), expected, "{output:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    let told = fs::read_to_string(told).unwrap();
    assert_eq!(told, expected.replace('\n', "|\n"));
}

#[test]
fn what_cannot_be_is_said() {
    let daemon = Daemon::start("");
    let nowhere = TempDir::new().unwrap();
    for (arguments, said) in [
        (
            &["-", "--model", "nobody"][..],
            "the model `nobody` does not exist",
        ),
        (&["-", "--language", "klingonese"], "language"),
        (
            &["-", "--command", "exit 3"],
            "the program of --command failed",
        ),
    ] {
        let output = listen(daemon.socket(), arguments, &talk());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(said), "{output:?}");
    }
    let output = listen(daemon.socket(), &["-"], b"");
    assert!(text(&output.stderr).contains("nothing came"), "{output:?}");
    let output = listen(&nowhere.path().join("http.sock"), &["-"], b"");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = listen(daemon.socket(), &["clip.wav"], b"");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn on_a_terminal_a_clip_is_heard_at_the_speed_of_speech() {
    let daemon = Daemon::start("");
    let folder = TempDir::new().unwrap();
    let clip = folder.path().join("talk.raw");
    fs::write(&clip, talk()).unwrap();
    // A recorder in place of the microphone's, which goes on with silence as that would.
    let recorder = folder.path().join("pw-record");
    let script = format!(
        "#!/bin/sh\nexec ffmpeg -nostdin -loglevel quiet -re -f s16le -ar 24000 -ac 1 -i {} \
         -af apad -f s16le -\n",
        clip.display()
    );
    fs::write(&recorder, script).unwrap();
    fs::set_permissions(&recorder, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!(
        "PATH={}:{}",
        folder.path().display(),
        std::env::var("PATH").unwrap()
    );
    let socket = daemon.socket().to_str().unwrap();
    let arguments = [path.as_str(), STTCTL, "listen", "--socket", socket];
    let tmux = Tmux::run((60, 12), Path::new("/usr/bin/env"), &arguments);
    tmux.wait("the level is shown", |screen| screen.contains('●'));
    let screen = tmux.wait("both turns are there", |screen| {
        screen.contains(GOFORWARD.text) && screen.contains(TEN_OF_CLUBS.text)
    });
    println!("{screen}");
    let screen = tmux.wait("the silence after them is told", |screen| {
        screen.contains("no sound")
    });
    println!("{screen}");
    tmux.press("C-c");
    let screen = tmux.ended(0);
    assert!(!screen.contains('●'), "{screen}");
}
