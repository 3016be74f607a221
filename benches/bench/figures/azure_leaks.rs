//! A real library that leaks: Microsoft's Speech SDK, with nothing released, as in this project's
//! predecessor. A fake speech service of the benchmark answers it.

use std::fs;

use tempfile::TempDir;

use crate::{
    client::{Client, request},
    common::{
        azure::{self, Service},
        clips::wav,
        daemon::Daemon,
        process::private_memory,
    },
    outcome::Outcome,
    scale::Scale,
    service,
};

const WORDS: &str = "Go forward, ten meters.";

/// Length of a recording in bytes: four seconds.
const LENGTH: usize = 4 * 32_000;

/// Number of requests to each model before the supervisor's memory is first read.
const WARM: usize = 20;

/// Number of recognisers that a job of mode `hybrid` may leave behind: each keeps about ten
/// threads.
const OF_ONE_JOB: usize = 15;

const MIB: f64 = 1_048_576.0;

/// The engine refuses mode `thread`, in which the key would be in the supervisor's memory.
fn models(library: &str, port: u16, key: &str) -> String {
    let table = |model: &str| {
        format!(
            "[models.{model}.azure]\nlibrary = \"{library}\"\nhost = \"ws://localhost:{port}\"\nkey_file = \"{key}\"\n\
             upload_burst = \"1h\"\n"
        )
    };
    format!(
        "[models.process]\nengine = \"azure\"\nspares = {{ min = 2, max = 2 }}\n{}\
         [models.hybrid]\nengine = \"azure\"\nmode = \"hybrid\"\nlimits.pids = 256\nspares.max = 1\n\
         recycle = {{ max_requests = {OF_ONE_JOB}, max_growth = \"8G\" }}\n{}",
        table("process"),
        table("hybrid")
    )
}

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let library = match azure::try_library() {
        Ok(library) => library,
        Err(why) => {
            let why = format!("the SDK cannot be fetched: {why}");
            outcome.not("azure_answers", why.clone());
            outcome.not("azure_growth", why);
            return;
        }
    };
    let cloud = Service::saying(&[WORDS]);
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "0123456789abcdef\n").unwrap();
    let [library, key] = [&library, &key].map(|path| path.to_str().unwrap());
    let daemon = service::start(&models(library, cloud.port(), key));
    let count = scale.azure;
    let mut lost = 0;
    let mut growth: f64 = 0.0;
    let mut remarks = Vec::new();
    for model in ["process", "hybrid"] {
        ask(&daemon, &cloud, model, WARM);
        service::settle(&daemon);
        let before = private_memory(daemon.pid());
        let answers = ask(&daemon, &cloud, model, count);
        service::settle(&daemon);
        let grown = private_memory(daemon.pid()) as f64 - before as f64;
        growth = growth.max(grown);
        lost += answers.iter().filter(|answer| answer.is_none()).count();
        let series = |of: fn(&(u64, u64)) -> u64| -> Vec<(f64, f64)> {
            let numbered = answers.iter().enumerate();
            numbered
                .filter_map(|(number, answer)| {
                    Some(((number + 1) as f64, of(answer.as_ref()?) as f64 / MIB))
                })
                .collect()
        };
        let jobs = series(|(job, _)| *job);
        let most = jobs.iter().map(|(_, memory)| *memory).fold(0.0, f64::max);
        remarks.push(format!("{model}: jobs of up to {most:.0} MiB"));
        let of_job = match model {
            "process" => "process: each job".to_owned(),
            _ => format!("hybrid: the job of {OF_ONE_JOB}"),
        };
        outcome.plot("azure_leaks", &of_job, jobs);
        let supervisor = series(|(_, supervisor)| *supervisor);
        let name = format!("{model}: the service");
        outcome.plot("azure_leaks", &name, supervisor);
    }
    let remark = format!("SDK 1.53.0, 4 s each; {}", remarks.join("; "));
    outcome.tell("azure_answers", lost as f64, 2 * count, remark);
    let remark = "heap and stacks, the worse of both modes, before the first and after the last";
    outcome.tell("azure_growth", growth, count, remark);
}

/// Send `count` requests; returns the own memory of each one's job and of the supervisor, in bytes,
/// for those with an answer.
fn ask(daemon: &Daemon, cloud: &Service, model: &str, count: usize) -> Vec<Option<(u64, u64)>> {
    // A tone, because silence would not be sent.
    let samples = (0..LENGTH / 2).flat_map(|n| {
        let sample: i16 = if n % 40 < 20 { 3000 } else { -3000 };
        sample.to_le_bytes()
    });
    // Its engine gives nothing back to the library.
    let model = format!("{model}:keep-handles");
    let request = request(&model, &wav(&samples.collect::<Vec<u8>>()));
    let mut client = Client::connect(daemon.socket()).unwrap();
    let mut answers = Vec::new();
    for _ in 0..count {
        let reply = client.exchange(&request).unwrap();
        let is_right = reply.status == 200 && String::from_utf8_lossy(reply.body).contains(WORDS);
        let memory = is_right.then(|| reply.number("x-stt-anon-bytes"));
        answers.push(memory.map(|memory| (memory, private_memory(daemon.pid()))));
        // The fake service keeps all audio until it is taken.
        cloud.only();
    }
    answers
}
