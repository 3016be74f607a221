//! Eight large recordings that arrive in parallel: none of them may be in the supervisor's heap,
//! and no job may wait for them.

use std::{
    io::Write,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    client::Client,
    client::get,
    common::{
        LONG,
        clips::wav_header,
        daemon::Daemon,
        http::{BOUNDARY, Raw, content_type},
        process::private_memory,
        wait_until,
    },
    outcome::Outcome,
    scale::Scale,
    service::{self, settle},
};

const UPLOADS: usize = 8;

const BLOCK: usize = 1 << 20;

const CONFIG: &str = r#"
[http]
max_upload = "2G"
[limits]
max_audio = "24h"
deadline = "10min"
[models.process]
engine = "null"
"#;

pub fn measure(scale: &Scale, outcome: &mut Outcome) {
    let folder = std::env::temp_dir();
    let room = nix::sys::statvfs::statvfs(&folder)
        .map_or(0, |room| room.blocks_available() * room.fragment_size());
    if room < scale.upload * (UPLOADS as u64 + 1) {
        let why = format!(
            "{} has no room for eight of {} MiB",
            folder.display(),
            scale.upload >> 20
        );
        outcome.not("upload_heap", why.clone());
        outcome.not("upload_jobs", why);
        return;
    }
    let daemon = service::start(CONFIG);
    // Everything that the first upload allocates permanently exists now.
    all(&daemon, BLOCK as u64 * 32);
    // The jobs of these uploads need a moment to end.
    settle(&daemon);
    let before = private_memory(daemon.pid());
    let (most, jobs) = all(&daemon, scale.upload);
    let remark = format!("{UPLOADS} × {} MiB, each answered", scale.upload >> 20);
    let growth = most as f64 - before as f64;
    outcome.tell("upload_heap", growth, UPLOADS, remark.clone());
    outcome.tell("upload_jobs", jobs as f64, UPLOADS, remark);
}

/// Make eight uploads of this size. Returns the supervisor's highest heap meanwhile, and the
/// highest number of jobs before all data was there.
fn all(daemon: &Daemon, size: u64) -> (u64, u64) {
    let arrived = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..UPLOADS {
            scope.spawn(|| {
                let mut client = Raw::connect(daemon.socket());
                client.0.set_read_timeout(Some(10 * LONG)).unwrap();
                upload(&mut client, size, &arrived);
                let answer = client.answer();
                assert_eq!(answer.status, 200, "{answer:?}");
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut looks = Client::connect(daemon.socket()).unwrap();
        let mut look = || {
            let reply = looks.exchange(&get("/v1/stats")).unwrap();
            let stats: Value = serde_json::from_slice(reply.body).unwrap();
            let running = stats["total"]["running"].as_u64().unwrap();
            (private_memory(daemon.pid()), running)
        };
        let mut most = (0, 0);
        wait_until("all have come", 10 * LONG, || {
            let (memory, jobs) = look();
            most.0 = most.0.max(memory);
            // Once all have come, each gets its end and then, rightly, a job, perhaps before this
            // reading.
            let has_come = arrived.load(Ordering::SeqCst) == UPLOADS;
            if !has_come {
                most.1 = most.1.max(jobs);
                thread::sleep(Duration::from_millis(20));
            }
            has_come
        });
        wait_until("all are answered", 10 * LONG, || {
            most.0 = most.0.max(look().0);
            done.load(Ordering::Relaxed) == UPLOADS
        });
        most
    })
}

/// Send everything but the end, and the end when all the others have come as far.
fn upload(client: &mut Raw, size: u64, arrived: &AtomicUsize) {
    let part = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n"
    );
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    let samples = size / BLOCK as u64 * BLOCK as u64;
    let header = wav_header(u32::try_from(samples).unwrap());
    let length = part.len() + header.len() + samples as usize + end.len();
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\r\n",
        content_type()
    );
    client
        .send(head.as_bytes())
        .send(part.as_bytes())
        .send(&header);
    let block = vec![0; BLOCK];
    for _ in 0..samples / BLOCK as u64 {
        client.0.write_all(&block).unwrap();
    }
    arrived.fetch_add(1, Ordering::SeqCst);
    wait_until("all have come", 10 * LONG, || {
        arrived.load(Ordering::SeqCst) == UPLOADS
    });
    client.send(end.as_bytes());
}
