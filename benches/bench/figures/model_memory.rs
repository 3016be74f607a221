//! Total memory of eight parallel jobs of one model, compared with eight complete copies.

use std::thread;

use crate::{
    client::{Client, request},
    common::{LONG, clips, process::Seen, wait_for},
    outcome::Outcome,
    service,
};

const JOBS: usize = 8;

/// CPU time in seconds after which each job has used all the memory that it needs.
const AT_WORK: f64 = 1.0;

const MODEL: &str = r#"
[jobs]
max_running = 8
[models.process]
engine = "pocketsphinx"
spares = { min = 0, max = 0 }
[limits]
deadline = "10min"
"#;

pub fn measure(outcome: &mut Outcome) {
    let daemon = service::start(MODEL);
    let zygote = daemon.zygote();
    let model = service::proportional(zygote.pid) as f64;
    let bytes = request("process", &clips::long());
    let (together, own) = thread::scope(|scope| {
        let clients = (0..JOBS).map(|_| {
            scope.spawn(|| {
                let mut client = Client::connect(daemon.socket()).unwrap();
                // Do not wait for jobs whose figures are known.
                let _ = client.exchange(&bytes);
            })
        });
        let clients: Vec<_> = clients.collect();
        let jobs = wait_for("eight jobs are at work", 4 * LONG, || {
            let children = daemon.children().into_iter();
            let jobs: Vec<Seen> = children
                .filter(|job| job.is_job() && job.cpu > AT_WORK)
                .collect();
            (jobs.len() == JOBS).then_some(jobs)
        });
        let own: u64 = jobs.iter().map(|job| service::private(job.pid)).sum();
        let share: u64 = jobs.iter().map(|job| service::proportional(job.pid)).sum();
        for job in &jobs {
            job.signal(nix::sys::signal::Signal::SIGKILL);
        }
        let together = share + service::proportional(zygote.pid);
        for client in clients {
            client.join().unwrap();
        }
        (together as f64, own as f64)
    });
    let mib = |bytes: f64| bytes / 1_048_576.0;
    let remark = format!(
        "all {:.0} MiB = model {:.0} MiB × {:.2} + the jobs' own {:.0} MiB",
        mib(together),
        mib(model),
        (together - own) / model,
        mib(own)
    );
    let naive = vec![(
        format!(
            "a model in each (computed), ×: {:.0} MiB",
            mib(JOBS as f64 * model + own)
        ),
        JOBS as f64,
    )];
    outcome.tell_beside("model_memory", (together - own) / model, 1, remark, naive);
}
