//! `sttctl report` and `sttctl advise`: from real entries of a real journal, and from more of them
//! than anybody reads, to what a browser shows.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use crate::common::{
    LONG,
    browser::{self, Browser},
    clips::wav,
    daemon::{Daemon, Setup},
    http::Form,
    journal::Journal,
    process, wait_until,
};
use serde_json::{Value, json};
use stt_isolated::events;
use tempfile::TempDir;

const STTCTL: &str = env!("CARGO_BIN_EXE_sttctl");

/// Where what is to be looked at is kept.
const KEPT: &str = env!("CARGO_TARGET_TMPDIR");

const CONFIG: &str = "default_model = \"fault\"\n[models.fault]\nengine = \"fault\"";

fn sttctl(arguments: &[&str]) -> Output {
    Command::new(STTCTL).args(arguments).output().unwrap()
}

fn start(arguments: &[&str]) -> Child {
    Command::new(STTCTL)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[track_caller]
fn text(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The number of requests that a page tells of, with this word in the journal.
fn ended(page: &str, word: &str) -> Option<u64> {
    let (_, row) = page.split_once(&format!("STT_OUTCOME={word}</code></td><td>"))?;
    let (count, _) = row.split_once('<')?;
    count.replace('\u{202f}', "").parse().ok()
}

/// The figures of a point: what is told when the pointer is on it.
fn points(page: &str, section: &str) -> Vec<String> {
    let Some((_, section)) = page.split_once(&format!("<section id=\"{section}\">")) else {
        return Vec::new();
    };
    let (section, _) = section.split_once("</section>").unwrap();
    let circles = section.split("<circle ").skip(1);
    let titles = circles.map(|circle| {
        let (_, title) = circle.split_once("<title>").unwrap();
        title.split_once("</title>").unwrap().0.to_owned()
    });
    titles.collect()
}

fn ask(daemon: &Daemon, model: &str) -> u16 {
    let form = Form::of("a.wav", &wav(&vec![0; 64_000])).field("model", model);
    daemon.post(&form).status
}

/// Five requests, in a journal that has all of them.
fn five_requests(journal: &Journal) -> Daemon {
    let daemon = Setup::new(CONFIG).journal().start();
    for (model, status) in [
        ("fault", 200),
        ("fault:leak=48M", 200),
        ("fault:segfault", 502),
        ("fault:fail", 502),
    ] {
        assert_eq!(ask(&daemon, model), status, "{model}");
    }
    let garbage = Form::of("a.wav", b"no recording").field("model", "fault");
    assert_eq!(daemon.post(&garbage).status, 400);
    wait_until("all five are in the journal", LONG, || {
        let output = journal.ctl(&["-o", "json", "--output-fields=STT_OUTCOME"]);
        let entries = String::from_utf8(output.stdout).unwrap();
        entries.matches("\"STT_OUTCOME\"").count() == 5
    });
    daemon
}

#[test]
fn a_real_journal_becomes_a_page() {
    let Some(journal) = Journal::around("report::a_real_journal_becomes_a_page") else {
        return;
    };
    let daemon = five_requests(&journal);
    // As another host's journal comes, all its other entries included.
    let exported = daemon.folder().join("exported");
    fs::write(&exported, journal.ctl(&["-o", "json"]).stdout).unwrap();
    let pages = [
        Some(text(sttctl(&[
            "report",
            "--input",
            exported.to_str().unwrap(),
        ]))),
        journal.unit.as_ref().map(|unit| {
            let path = daemon.folder().join("page.html");
            let arguments = ["report", "--since", "1h", "--unit", unit, "--output"];
            let told = text(sttctl(
                &[&arguments[..], &[path.to_str().unwrap()]].concat(),
            ));
            assert_eq!(told, "");
            fs::read_to_string(path).unwrap()
        }),
    ];
    if journal.unit.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: journalctl, for want of a cgroup"
        );
    }
    for page in pages.into_iter().flatten() {
        assert_eq!(ended(&page, "ok"), Some(2));
        for word in ["worker_crashed", "engine_failed", "invalid_audio"] {
            assert_eq!(ended(&page, word), Some(1), "{word}");
        }
        // Whether there is a limit depends on the machine.
        let peaks = [points(&page, "peaks"), points(&page, "unlimited")].concat();
        assert_eq!(peaks.len(), 5, "{peaks:?}");
        // Requests that lived to be asked, and did not leak, left next to nothing behind.
        let leaks = points(&page, "leaks");
        assert_eq!(leaks.len(), 4, "{leaks:?}");
        let leaky: Vec<&String> = leaks
            .iter()
            .filter(|leak| leak.contains("M left"))
            .collect();
        let [leak] = leaky[..] else {
            panic!("{leaks:?}");
        };
        let (_, size) = leak
            .split_once(", ")
            .unwrap()
            .1
            .rsplit_once("\npeak ")
            .unwrap();
        let size = size.split_once(", ").unwrap().1;
        let size: f64 = size.split_once("M left").unwrap().0.parse().unwrap();
        assert!((47.9..56.0).contains(&size), "{leak}");
        assert!(page.contains("<h1>Transcriptions on "), "{page}");
        let (_, failures) = page.split_once("<section id=\"failures\">").unwrap();
        assert_eq!(failures.matches("<td class=\"wide\">").count(), 2);
        assert!(failures.contains("SIGSEGV"), "{failures}");
    }
    // Of another time, or another unit, there is nothing; that is an answer and no mistake.
    for arguments in [
        ["--until", "2001-01-01"],
        ["--unit", "no-such-unit.service"],
    ] {
        let page = text(sttctl(
            &[&["report", "--since", "2000-01-01"], &arguments[..]].concat(),
        ));
        assert!(page.contains("no entry about any request"), "{page}");
    }
    let wrong = sttctl(&["report", "--since", "no time at all"]);
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(1), "{told}");
    assert!(told.contains("journalctl failed"), "{told}");
}

/// An entry as the journal writes it, of the second `time` after a midnight.
fn entry(time: f64, outcome: &str, fields: Value) -> Value {
    let kind = match outcome {
        "ok" => events::REQUEST_OK,
        "memory_limit_exceeded" => events::REQUEST_MEMORY_LIMIT,
        "queue_full" => events::REQUEST_REFUSED,
        _ => events::REQUEST_FAILED,
    };
    let micros = 1_795_392_000_000_000 + (time * 1e6) as u64;
    let mut entry = json!({
        "__REALTIME_TIMESTAMP": micros.to_string(), "_HOSTNAME": "host", "MESSAGE_ID": kind, "STT_OUTCOME": outcome,
        "MESSAGE": format!("request failed ({outcome})"), "STT_MODEL": "default",
        "STT_REQUEST_ID": format!("{micros:032x}"), "STT_MODE": "process", "STT_AUDIO_MS": "8000",
    });
    let object = entry.as_object_mut().unwrap();
    for (name, value) in fields.as_object().unwrap() {
        let value = match value {
            Value::Number(number) => number.to_string().into(),
            other => other.clone(),
        };
        object.insert(format!("STT_{name}"), value);
    }
    entry
}

/// A request that had a job with 512 MiB.
fn served(time: f64, outcome: &str, peak: u64, leak: u64, queue: u64, wall: u64) -> Value {
    let fields = json!({
        "PEAK_BYTES": peak, "LIMIT_BYTES": 512 << 20, "START_ANON_BYTES": 50_000, "ANON_BYTES": 50_000 + leak,
        "QUEUE_MS": queue, "WALL_MS": wall,
    });
    entry(time, outcome, fields)
}

/// A day of `count` requests with all that happens: noon is busy, some leak, some fail.
fn day(count: u32) -> impl Iterator<Item = Value> {
    let mut random = 7u64;
    let mut next = move || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 40) as f64 / f64::from(1 << 24)
    };
    (0..count).map(move |n| {
        let time = 86_400.0 * f64::from(n) / f64::from(count);
        let busy = (std::f64::consts::PI * time / 86_400.0).sin().powi(6);
        let mebibytes = |size: f64| (size * f64::from(1 << 20)) as u64;
        let queue = (next() * busy * 6000.0) as u64;
        let wall = 900 + (next() * next() * 9000.0) as u64;
        let mut leak = 14.0 + next() * 9.0;
        if next() < 0.02 {
            leak += next() * 250.0;
        }
        let peak = mebibytes(90.0 + next() * next() * 120.0 + leak);
        match (next() * 1000.0) as u32 {
            0..2 => served(time, "memory_limit_exceeded", 512 << 20, 0, queue, wall),
            2..6 => served(time, "worker_crashed", peak, 0, queue, wall),
            6..12 => served(time, "invalid_audio", peak / 4, 4096, queue, 40),
            12..400 if queue > 5000 => entry(time, "queue_full", json!({})),
            _ => served(time, "ok", peak, mebibytes(leak), queue, wall),
        }
    })
}

fn lines(entries: impl Iterator<Item = Value>) -> String {
    entries.map(|entry| entry.to_string() + "\n").collect()
}

/// The page of these entries, kept under this name.
fn page_of(name: &str, entries: impl Iterator<Item = Value>) -> PathBuf {
    let folder = TempDir::new().unwrap();
    let input = folder.path().join("entries");
    fs::write(&input, lines(entries)).unwrap();
    let page = Path::new(KEPT).join(name).with_extension("html");
    let arguments = ["report", "--input", input.to_str().unwrap(), "-o"];
    text(sttctl(
        &[&arguments[..], &[page.to_str().unwrap()]].concat(),
    ));
    page
}

#[test]
fn ten_requests_are_ten_points() {
    let entries = (0..10).map(|n| {
        let outcome = if n == 7 {
            "memory_limit_exceeded"
        } else {
            "ok"
        };
        let peak = (60 + 50 * n) << 20;
        served(
            3600.0 * n as f64,
            outcome,
            peak.min(512 << 20),
            n << 20,
            1 << n,
            400,
        )
    });
    let page = page_of("report-10", entries);
    let browser = Browser::open(&page);
    assert_eq!(browser.complaints, [""; 0]);
    // Its script ran to its end.
    assert!(browser.dom.contains("<html lang=\"en\" class=\"live\">"));
    assert_eq!(points(&browser.dom, "peaks").len(), 10);
    // Of the one that was killed nobody knows what it would have left.
    assert_eq!(points(&browser.dom, "leaks").len(), 9);
    // Ten columns of one request each.
    assert_eq!(browser.count("<rect "), 10);
    assert_eq!(browser.count("role=\"img\""), 4);
    assert_eq!(ended(&browser.dom, "ok"), Some(9));
    assert_eq!(browser.count("<nav"), 0, "there is but one model");
    browser::picture(&page, &page.with_extension("png"), 2300, false);
    assert!(fs::metadata(page.with_extension("png")).unwrap().len() > 20_000);
}

#[test]
fn a_hundred_thousand_requests_fit_a_page() {
    let mut sttctl = start(&["report", "--input", "-"]);
    let mut stdin = sttctl.stdin.take().unwrap();
    let mut expected = std::collections::BTreeMap::<String, u64>::new();
    let all: Vec<Value> = day(100_000).collect();
    for entry in &all {
        let outcome = entry["STT_OUTCOME"].as_str().unwrap().to_owned();
        *expected.entry(outcome).or_default() += 1;
    }
    let lines = lines(all.into_iter());
    let memory = {
        let pid = i32::try_from(sttctl.id()).unwrap();
        let mut half = 0;
        for (n, part) in lines.as_bytes().chunks(1 << 20).enumerate() {
            stdin.write_all(part).unwrap();
            if n == 10 {
                half = process::peak_memory(pid);
            }
        }
        (half, process::peak_memory(pid))
    };
    drop(stdin);
    let page = text(sttctl.wait_with_output().unwrap());
    // Nine tenths of all entries came between these two looks.
    assert!(lines.len() > 40 << 20, "{}", lines.len());
    assert!(memory.1 < memory.0 + (8 << 20), "{memory:?}");
    assert!(memory.1 < 48 << 20, "{memory:?}");
    assert!(page.len() < 1_500_000, "{}", page.len());
    for (word, count) in &expected {
        assert_eq!(ended(&page, word), Some(*count), "{word}");
    }
    let path = Path::new(KEPT).join("report-100000.html");
    fs::write(&path, &page).unwrap();
    let browser = Browser::open(&path);
    assert_eq!(browser.complaints, [""; 0]);
    for section in ["peaks", "leaks"] {
        let of_page = points(&page, section);
        assert!((300..=2000).contains(&of_page.len()), "{section}");
        assert_eq!(points(&browser.dom, section).len(), of_page.len());
    }
    browser::picture(&path, &path.with_extension("png"), 2600, false);
    browser::picture(&path, &path.with_extension("dark.png"), 2600, true);
}

#[test]
fn advice_follows_what_requests_needed() {
    let folder = TempDir::new().unwrap();
    let input = folder.path().join("entries");
    let of_model = |name: &'static str, entries: Vec<Value>| {
        entries.into_iter().map(move |mut entry| {
            entry["STT_MODEL"] = name.into();
            entry
        })
    };
    let many = |peak: u64, count: u32| -> Vec<Value> {
        let one = |n| {
            served(
                f64::from(n),
                "ok",
                (peak + u64::from(n % 50)) << 20,
                0,
                1,
                1,
            )
        };
        (0..count).map(one).collect()
    };
    let mut small = many(100, 2000);
    // One that needed more, one that came near the limit in vain, and two that a client had lowered
    // himself.
    small.push(served(1.0, "ok", 430 << 20, 0, 1, 1));
    small.push(served(1.0, "timeout", 470 << 20, 0, 1, 1));
    for n in 0..2 {
        small.push(served(f64::from(n), "ok", 90 << 20, 0, 1, 1));
        small.last_mut().unwrap()["STT_LIMIT_BYTES"] = (100 << 20).to_string().into();
    }
    let mut stopped = many(200, 500);
    stopped.push(served(1.0, "memory_limit_exceeded", 512 << 20, 0, 1, 1));
    let entries = of_model("small", small)
        .chain(of_model("v1.stopped", stopped))
        .chain(of_model("new", many(100, 20)));
    fs::write(&input, lines(entries)).unwrap();
    let input = input.to_str().unwrap();
    let advice: Value =
        serde_json::from_str(&text(sttctl(&["advise", "--json", "--input", input]))).unwrap();
    let models = &advice["models"];
    let small = &models["small"];
    assert_eq!(small["requests"], 2003);
    assert_eq!(small["limit_bytes"], 512 << 20);
    // Two of 90 in 100 MiB, and the one in vain.
    assert_eq!((&small["near"], &small["over"]), (&json!(3), &json!(0)));
    assert_eq!(small["peak_bytes"]["max"], 430 << 20);
    assert_eq!(small["proposal_bytes"], 432 << 20);
    assert_eq!(models["v1.stopped"]["proposal_bytes"], 512 << 20);
    assert_eq!(models["v1.stopped"]["over"], 1);
    assert_eq!(models["new"]["proposal_bytes"], Value::Null);
    let told = text(sttctl(&["advise", "--input", input]));
    println!("{told}");
    assert!(told.contains("! new: too little is known"), "{told}");
    assert!(
        told.contains("! v1.stopped: 1 request stopped at the limit"),
        "{told}"
    );
    // The daemon takes the lines that are to be pasted.
    let (_, paste) = told.split_once("# For these").unwrap();
    let config: toml::Table = toml::from_str(&format!("# {paste}")).unwrap();
    let models = config["models"].as_table().unwrap();
    assert_eq!(models.len(), 1, "{paste}");
    assert_eq!(models["small"]["limits"]["memory"].as_str(), Some("432M"));
    let path = folder.path().join("paste.toml");
    let paste = format!("# {paste}\nengine = \"fault\"\n");
    fs::write(&path, &paste).unwrap();
    let check = Command::new(crate::common::daemon::BINARY)
        .args(["check-config", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(check.status.success(), "{paste}{check:?}");
    let empty = text(sttctl(&["advise", "--input", "/dev/null"]));
    assert!(empty.contains("nothing to go by"), "{empty}");
}

#[test]
fn hostile_entries_stay_text() {
    let hostile = "</title><script>document.title='gone'</script><img src=x onerror=alert(1)>\"'&";
    let entries = (0..2000).map(|n| {
        let mut entry = served(f64::from(n), "ok", 1 << 20, 1 << 20, 1, 1);
        // Names of models, ways to end, hosts: none of them makes the page longer and longer.
        for field in [
            "STT_MODEL",
            "STT_OUTCOME",
            "_HOSTNAME",
            "MESSAGE",
            "STT_REQUEST_ID",
        ] {
            entry[field] = format!("{n}{hostile}").into();
        }
        entry
    });
    let page = page_of("report-hostile", entries);
    let browser = Browser::open(&page);
    assert_eq!(browser.complaints, [""; 0]);
    assert_eq!(browser.count("<script"), 1);
    assert_eq!(browser.count("<img"), 0);
    assert!(browser.dom.contains("<title>stt-isolated: report of "));
    assert!(browser.count("&lt;img src=x") > 10);
    assert!(
        browser.count("<button") < 30,
        "{}",
        browser.count("<button")
    );
    assert!(fs::metadata(page).unwrap().len() < 1_500_000);
    // Figures and times that cannot be, out of order.
    let entries = (0..500u64).map(|n| {
        let mut entry = served(
            0.0,
            "ok",
            u64::MAX >> (n % 64),
            n,
            u64::MAX,
            u64::MAX >> (n % 50),
        );
        let time = (n % 7) * 40_000_000_000_000_000 + n;
        entry["__REALTIME_TIMESTAMP"] = time.to_string().into();
        entry["STT_LIMIT_BYTES"] = (n % 3).to_string().into();
        entry
    });
    let browser = Browser::open(&page_of("report-strange", entries));
    assert_eq!(browser.complaints, [""; 0]);
    for nonsense in ["NaN", "inf"] {
        assert!(
            !browser.dom.contains(&format!("\"{nonsense}")),
            "{nonsense}"
        );
    }
}

#[test]
fn unusable_files_are_named() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("no.wav"), [0; 5000]).unwrap();
    fs::write(path("good"), lines(day(3))).unwrap();
    for (arguments, words) in [
        (
            vec![path("no.wav")],
            vec!["no.wav", "journalctl -u stt-isolated -o json"],
        ),
        (vec![path("missing")], vec!["missing", "No such file"]),
        (
            vec![path("good"), "-o".into(), path("no/where")],
            vec!["no/where", "No such file"],
        ),
    ] {
        let mut command = Command::new(STTCTL);
        let output = command
            .args(["report", "--input"])
            .args(&arguments)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
        assert_eq!(output.stdout, b"");
    }
    // A host without a journal.
    let mut command = Command::new(STTCTL);
    let output = command
        .arg("report")
        .env("PATH", folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("journalctl") && told.contains("--input FILE"),
        "{told}"
    );
    let output = sttctl(&["report", "--input", "-", "--since", "1h"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    // A page that is made anew takes the place of the one before.
    for count in [3, 5] {
        fs::write(path("good"), lines(day(count))).unwrap();
        text(sttctl(&[
            "report",
            "--input",
            &path("good"),
            "-o",
            &path("page.html"),
        ]));
        let page = fs::read_to_string(path("page.html")).unwrap();
        assert!(
            page.contains(&format!("<b>{count}</b><span>requests")),
            "{page}"
        );
    }
}
