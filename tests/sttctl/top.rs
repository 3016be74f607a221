//! `sttctl status` and `sttctl top` on a real terminal, with the real service and with recorded
//! answers.

mod recorded;
// The real thing, to panic while it has the terminal.
#[path = "../../src/bin/sttctl/top/screen.rs"]
mod screen;

use std::{
    io::IsTerminal,
    path::Path,
    process::{Command, Output},
};

use crate::common::{
    LONG, clips,
    daemon::Daemon,
    http::{Form, Raw},
    tmux::{Tmux, this_program},
    wait_until,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use recorded::Recorded;

const IDLE: &str = include_str!("../../src/bin/sttctl/samples/idle.json");
const BUSY: &str = include_str!("../../src/bin/sttctl/samples/busy.json");
const BROKEN: &str = include_str!("../../src/bin/sttctl/samples/broken.json");

/// A usual terminal.
const USUAL: (u16, u16) = (80, 24);

const CONFIG: &str = r#"
[jobs]
max_running = 40

[memory]
budget = "4G"

[breaker]
crashes = 0

[limits]
memory = "64M"
deadline = "1h"
stall = "1h"

[spares]
min = 1
max = 1

[models.fault]
engine = "fault"
"#;

fn sttctl(socket: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sttctl"))
        .args(arguments)
        .env("STT_ISOLATED_SOCKET", socket)
        .output()
        .unwrap()
}

/// The same in a terminal.
fn in_terminal(socket: &Path, arguments: &[&str]) -> Tmux {
    let socket = ["--socket", socket.to_str().unwrap()];
    let arguments = [arguments, &socket].concat();
    Tmux::run(USUAL, Path::new(env!("CARGO_BIN_EXE_sttctl")), &arguments)
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

/// As many requests, each with a job that does not end; they end when they are dropped.
fn hold(daemon: &Daemon, count: usize) -> Vec<Raw> {
    let second = clips::wav(&[0; 32_000]);
    let form = Form::of("a.wav", &second).field("model", "fault:sleep=1h");
    let requests = (0..count).map(|_| {
        let mut request = daemon.connect();
        request.send(&form.request());
        request
    });
    let requests = requests.collect();
    wait_until("all jobs have read their audio", LONG, || {
        let stats = daemon.get("/v1/stats").json();
        let jobs = stats["jobs"].as_array().expect("schema 2");
        jobs.len() == count && jobs.iter().all(|job| job["stage"] == "transcribing")
    });
    requests
}

/// The rows of jobs, and how many more there are.
fn table(screen: &str) -> (Vec<&str>, usize) {
    let rows = screen.lines().filter(|line| line.contains(" fault "));
    let more = screen.lines().find_map(|line| line.strip_prefix("and "));
    let more = more.and_then(|more| more.trim_end().strip_suffix(" more")?.parse().ok());
    (rows.map(str::trim_end).collect(), more.unwrap_or(0))
}

#[test]
fn the_service_is_shown_at_every_load() {
    let daemon = Daemon::start(CONFIG);
    for count in [0, 3, 40] {
        let requests = hold(&daemon, count);
        let running = format!("jobs     {count} running of 40, 0 queued of 256, ");

        let top = in_terminal(daemon.socket(), &["top", "--interval", "200ms"]);
        let screen = top.wait("all jobs shown or counted, and rates", |screen| {
            let (rows, more) = table(screen);
            rows.len() + more == count
                && screen.contains(&running)
                && !screen.contains("requests -/s")
        });
        println!("{screen}");
        let (rows, more) = table(&screen);
        assert_eq!(more > 0, count == 40);
        for row in rows {
            assert!(row.contains(" transcribing ") && row.contains(" 1.0s "));
            // Where nothing confines jobs they have no limit.
            assert!(row.len() <= 80 && (row.ends_with(" 64.0M") || row.ends_with(" -")));
        }
        top.press("q");
        top.ended(0);

        let status = in_terminal(daemon.socket(), &["status"]);
        let screen = status.ended(0);
        println!("{screen}");
        for shown in [
            &format!("\n  jobs       {count} running of 40, 0 queued of 256, "),
            "\nmodel fault: ready",
            "\n  zygote     pid ",
            " of 4.0G",
        ] {
            assert!(screen.contains(shown), "{shown}:\n{screen}");
        }
        drop(status);
        drop(requests);
        daemon.wait_idle(1);
    }
}

#[test]
fn a_stopped_service_is_missed() {
    let mut daemon = Daemon::start(CONFIG);
    let top = in_terminal(daemon.socket(), &["top", "--interval", "200ms"]);
    top.wait_for("jobs     0 running");
    daemon.stop();
    top.wait_for("! trying again; below is what was seen last");
    top.press("q");
    top.ended(0);
}

#[test]
fn a_returning_service_is_shown_again() {
    let service = Recorded::new(BUSY);
    let top = in_terminal(&service.socket(), &["top", "--interval", "100ms"]);
    top.wait_for("\n4194303 65534 default transcribing ");
    service.goes();
    top.wait("what is wrong above what was seen last", |screen| {
        screen.contains("No such file or directory")
            && screen.contains("\n! trying again; below is what was seen last")
            && screen.contains("\n4194303 ")
    });
    service.says(IDLE);
    service.comes_back();
    top.wait("well again", |screen| {
        !screen.contains('!') && screen.contains("\njobs     0 running")
    });
}

#[test]
fn the_screen_may_change_its_size() {
    let service = Recorded::new(BUSY);
    // Long enough that nothing but the new size can be why it is drawn again.
    let top = in_terminal(&service.socket(), &["top", "--interval", "1h"]);
    top.wait_for("h help; q quit");
    top.resize(120, 30);
    top.wait("the large screen", |screen| {
        let last = screen.lines().nth(29).unwrap_or_default();
        last.ends_with("h help; q quit") && screen.contains(" 6f1c0000-0000-4000-8000-000000000020")
    });
    top.resize(50, 8);
    top.wait("the small screen", |screen| {
        screen.lines().count() == 8 && screen.contains("\nand 2 more\n")
    });
}

#[test]
fn keys_do_what_they_say() {
    let service = Recorded::new(BUSY);
    let top = in_terminal(&service.socket(), &["top", "--interval", "1h"]);
    top.wait_for("\nby memory;");
    for (key, shown) in [
        ("a", "\nby age;"),
        ("c", "\nby CPU;"),
        ("m", "\nby memory;"),
        ("h", "Keys\n"),
        ("?", "stt-isolated 0.1.0, up 1d00h"),
    ] {
        top.press(key);
        top.wait_for(shown);
    }
}

#[test]
fn every_end_gives_the_terminal_back() {
    let service = Recorded::new(BUSY);
    let ends = |how: &str, end: &dyn Fn(&Tmux)| {
        println!("{how}");
        let top = in_terminal(&service.socket(), &["top"]);
        top.wait_for("h help; q quit");
        assert!(top.is_taken());
        end(&top);
        top.ended(0);
    };
    for key in ["q", "Escape", "C-c"] {
        ends(key, &|top| top.press(key));
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        ends(signal.as_str(), &|top| {
            kill(Pid::from_raw(top.pid()), signal).unwrap();
        });
    }
}

#[test]
fn a_panic_gives_the_terminal_back() {
    let name = "top::panic_while_the_terminal_is_taken";
    let test = ["--exact", "--ignored", "--nocapture", name];
    let screen = Tmux::run(USUAL, &this_program(), &test).ended(101);
    assert!(screen.contains("on purpose"), "{screen}");
}

#[test]
#[ignore = "run by another test in a terminal of its own"]
fn panic_while_the_terminal_is_taken() {
    if std::io::stdout().is_terminal() {
        // Nothing is dropped where a panic ends the program at once.
        std::mem::forget(screen::Screen::take().unwrap());
        panic!("on purpose");
    }
}

#[test]
fn scripts_get_no_escape_sequences() {
    let service = Recorded::new(BUSY);
    for arguments in [
        &["top", "--once", "--interval", "100ms"][..],
        &["top", "--interval", "100ms"],
    ] {
        let output = sttctl(&service.socket(), arguments);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        let frame = text(&output.stdout);
        assert!(frame.starts_with("stt-isolated 0.1.0, up 1d00h"), "{frame}");
        assert!(
            frame.ends_with("  0.0s   0.0s   0.0     0B [          ]  512M\n"),
            "{frame}"
        );
        assert_eq!(frame.lines().count(), 5 + 3);
        assert!(
            !frame.contains(|c: char| c.is_control() && c != '\n'),
            "{frame:?}"
        );
    }
    let terminal = in_terminal(&service.socket(), &["top", "--once", "--interval", "100ms"]);
    let screen = terminal.ended(0);
    assert!(
        screen.starts_with("stt-isolated 0.1.0, up 1d00h"),
        "{screen}"
    );
}

#[test]
fn the_exit_status_tells_the_health() {
    let service = Recorded::new(IDLE);
    let output = sttctl(&service.socket(), &["status"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("stt-isolated 0.1.0, up 1d00h\n"));

    service.says(BROKEN);
    let output = sttctl(&service.socket(), &["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).starts_with("! model large\u{fffd}[2J is not ready"));
    assert!(!output.stdout.contains(&0x1b));

    service.goes();
    for command in [&["status"][..], &["status", "--json"], &["top"]] {
        let output = sttctl(&service.socket(), command);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
        let hint = "is the service's socket up? Try: systemctl start stt-isolated.socket\n";
        assert!(text(&output.stderr).ends_with(hint), "{output:?}");
    }
}

#[test]
fn json_is_printed_as_it_came() {
    for (answer, status) in [(IDLE, 0), (BROKEN, 3), (r#"{"schema":3}"#, 1)] {
        let service = Recorded::new(answer);
        let output = sttctl(&service.socket(), &["status", "--json"]);
        assert_eq!(output.status.code(), Some(status));
        assert_eq!(text(&output.stdout).trim_end(), answer.trim_end());
    }
}

#[test]
fn another_schema_is_not_guessed_at() {
    for (schema, advice) in [
        (1, "was it restarted since the upgrade?"),
        (3, "the service's own version"),
    ] {
        let service =
            Recorded::new(&IDLE.replace("\"schema\": 2", &format!("\"schema\": {schema}")));
        for command in ["status", "top"] {
            let output = sttctl(&service.socket(), &[command]);
            assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
            let said = format!("have schema {schema}, this sttctl reads schema 2");
            let error = text(&output.stderr);
            assert!(error.contains(&said) && error.contains(advice), "{error}");
        }
    }
}

#[test]
fn a_wrong_command_line_is_status_2() {
    for arguments in [
        &["top", "--interval", "1ms"][..],
        &["top", "--interval", "often"],
        &["status", "--once"],
    ] {
        let output = sttctl(Path::new("x.sock"), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
}
