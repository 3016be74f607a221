//! The scheduler under simulated time, jobs and clients: each seed is a schedule of what happens.
//!
//! All of `dispatch/` runs as it does in the service, and so does the supervisor's side of
//! `isolation/`, down to its sockets. Only processes are replaced: zygotes and jobs are tasks
//! (`world`). Time is Tokio's paused clock, which moves on when no task can run and no socket has
//! anything. So a schedule of minutes takes milliseconds, and one seed always gives one schedule.

mod dice;
mod faults;
mod ledger;
mod plan;
mod world;

use std::{
    cell::Cell,
    collections::BTreeMap,
    env,
    os::fd::OwnedFd,
    sync::{Arc, Once},
    thread,
    time::{Duration, Instant as WallClock},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use self::{
    dice::Dice,
    faults::Fault,
    ledger::Asked,
    plan::{Plan, Stay, Step, without_models},
    world::World,
};
use super::{Dispatcher, Health, OwnLimits, RequestEvent, Submission, request::client::Client};
use crate::{
    config::{Config, MemoryBudget, Share},
    isolation::{Probe, simulated},
    request::Ask,
    units::Lifetime,
};

/// Longer than any request may take, with all its attempts.
const AGES: Duration = Duration::from_secs(3000);

/// After this time without clients and mischief everything is as at the start.
const REST: Duration = Duration::from_secs(400);

/// Without progress for this time although something could be done, the scheduler is stuck.
const STUCK: Duration = Duration::from_secs(45);

/// Schedules that every run of the tests tries.
const SOME: u64 = 2000;

/// On a machine that is busy with other work it tries only as many as it can in this time.
const SOON: Duration = Duration::from_secs(20);

/// After so many schedules that break a rule no more are tried.
const MAX_COMPLAINTS: usize = 10;

/// One schedule while it runs.
struct Run {
    dispatcher: Dispatcher,
    world: Arc<World>,
    clients: Vec<(Client, Share)>,
    waiting: JoinSet<()>,
    number: u64,
    /// The largest memory budget until now; `None` if unbounded.
    budget: Option<u64>,
}

/// The outcome of one schedule.
#[derive(Debug, Default)]
struct Outcome {
    wrong: Vec<String>,
    schedules: u64,
    requests: u64,
    forks: u64,
    time: Duration,
    ends: BTreeMap<&'static str, u64>,
}

impl Outcome {
    /// Both together.
    fn and(mut self, other: Self) -> Self {
        self.wrong.extend(other.wrong);
        self.schedules += other.schedules;
        self.requests += other.requests;
        self.forks += other.forks;
        self.time += other.time;
        for (code, count) in other.ends {
            *self.ends.entry(code).or_default() += count;
        }
        self
    }
}

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// A panic of a task would otherwise go unseen.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}

/// Run a schedule, with a fault in the scheduler if one is planted.
fn run(plan: Plan, fault: Option<Fault>) -> Outcome {
    count_panics();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let panics = PANICS.get();
    let mut outcome = runtime.block_on(Run::whole(plan, fault));
    drop(runtime);
    simulated::end();
    if PANICS.get() > panics {
        outcome.wrong.push("a task has panicked".into());
    }
    outcome
}

fn probe() -> Probe {
    Probe {
        kernel: String::new(),
        cgroup: false,
        resets_memory_peak: false,
        cgroup_kill_poisons: false,
    }
}

fn bound(config: &Config) -> Option<u64> {
    match config.memory.budget {
        MemoryBudget::Size(size) => Some(size.bytes()),
        MemoryBudget::Auto | MemoryBudget::Unlimited => None,
    }
}

impl Run {
    async fn whole(plan: Plan, fault: Option<Fault>) -> Outcome {
        let start = Instant::now();
        let mut dice = Dice::new(plan.seed ^ 0x5eed);
        let world = World::new(dice.clone(), plan.mischief);
        {
            let mut state = world.state();
            state.max_running = plan.config.jobs.max_running;
            state.broken.extend(plan.broken.clone());
        }
        let starter = world.clone();
        simulated::begin(move |control| starter.zygote(control));
        let breaker = plan.config.breaker;
        let mut latest = plan.config.clone();
        let dispatcher = Dispatcher::start(Arc::new(plan.config), None, probe());
        let mut run = Self {
            dispatcher,
            world,
            clients: plan.clients,
            waiting: JoinSet::new(),
            number: 0,
            budget: bound(&latest),
        };
        let mut plant = faults::Plant::new(fault);
        if dice.percent(50) {
            sleep(dice.time(20_000)).await;
        }
        for step in plan.steps {
            if let Step::Reload(config) = &step {
                latest = Config::clone(config);
            }
            run.step(step).await;
            plant.tend(&run);
            run.check();
        }
        plant.tend(&run);
        if plan.stops {
            run.stop(&mut dice).await;
        } else {
            run.rest(&latest).await;
        }
        plant.end();
        run.world.state().ledger.close(breaker);
        let mut state = run.world.state();
        Outcome {
            wrong: std::mem::take(&mut state.ledger.wrong),
            schedules: 1,
            requests: state.ledger.numbers().len() as u64,
            forks: state.forks,
            time: start.elapsed(),
            ends: std::mem::take(&mut state.ledger.ends),
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Sleep(pause) => sleep(pause).await,
            Step::Submit(client, model, hexed, stay) => self.submit(client, model, hexed, stay),
            Step::MemoryIsScarce => self.dispatcher.relieve(),
            Step::Reload(config) => {
                let mut state = self.world.state();
                state.max_running = state.max_running.max(config.jobs.max_running);
                drop(state);
                self.budget = self.budget.zip(bound(&config)).map(|(a, b)| a.max(b));
                self.dispatcher.reconfigure(Arc::new(*config));
            }
            Step::KillZygote(model) => self.world.kill(&plan::name(model), true),
            Step::KillIdle(model) => self.world.kill(&plan::name(model), false),
        }
    }

    fn submit(&mut self, client: usize, model: usize, hexed: bool, stay: Stay) {
        self.number += 1;
        let number = self.number;
        let (client, share) = self.clients[client].clone();
        let model = plan::name(model);
        let flags = SockFlag::SOCK_CLOEXEC;
        let pair = socketpair(AddressFamily::Unix, SockType::Stream, None, flags);
        let (recording, other): (OwnedFd, OwnedFd) = pair.unwrap();
        let submission = Submission {
            model: model.clone(),
            ask: Ask {
                prompt: Some(number.to_string()),
                ..Ask::default()
            },
            own_limits: OwnLimits::default(),
            recording,
            upload: None,
            request_id: number.to_string(),
            label: None,
            client: client.clone(),
            share,
            follows: false,
        };
        let patience = self.dispatcher.config().jobs.queue_timeout;
        let asked = Asked {
            number,
            client: client.clone(),
            model: model.clone(),
            cap: share.max_running,
            patience,
            hexed,
            recording: other,
        };
        let mut ticket = match self.dispatcher.submit(submission) {
            Ok(ticket) => ticket,
            Err(refusal) => {
                let mut state = self.world.state();
                return state.ledger.turned_away(&client, &model, &refusal);
            }
        };
        let world = self.world.clone();
        world.state().ledger.asked(asked);
        let leave = match stay {
            Stay::HangUp(after) => Instant::now() + after,
            _ => Instant::now() + 2 * AGES,
        };
        self.waiting.spawn(async move {
            loop {
                let event = tokio::select! {
                    biased;
                    event = ticket.next() => event,
                    () = sleep_until(leave) => return world.state().ledger.hung_up(number),
                };
                world.state().ledger.told(number, event.as_ref());
                match event {
                    None => return,
                    Some(RequestEvent::Finished(_) | RequestEvent::Refused(_)) => break,
                    Some(_) => {}
                }
                if let Stay::Slow(pause) = stay {
                    sleep(pause).await;
                }
            }
            // Nothing comes after the last event, and nobody keeps the end at which it would.
            match timeout(AGES, ticket.next()).await {
                Ok(None) => {}
                Ok(event) => world.state().ledger.told(number, event.as_ref()),
                Err(_) => {
                    let what = format!("the channel of request {number} is kept");
                    world.state().ledger.complain(what);
                }
            }
        });
    }

    /// Check what holds at any moment.
    fn check(&self) {
        let mut wrong = Vec::new();
        let books = &self.dispatcher.shared.statistics;
        let total = books.total();
        let ended: u64 = total.ended.iter().map(|(_, count)| count).sum();
        let open = books.open().len() as u64;
        if total.accepted != ended + open {
            let accepted = total.accepted;
            wrong.push(format!(
                "{accepted} requests accepted, {ended} ended, {open} are open"
            ));
        }
        let schedule = self.dispatcher.shared.schedule();
        let committed = schedule.budget.committed;
        if self.budget.is_some_and(|bound| committed > bound) {
            wrong.push(format!(
                "{committed} bytes are committed, {:?} may",
                self.budget
            ));
        }
        let of_models: u64 = schedule.pools.values().map(|pool| pool.committed).sum();
        if of_models > committed {
            wrong.push(format!(
                "{committed} bytes are committed, {of_models} to models"
            ));
        }
        for counts in schedule.queue.clients() {
            let (cap, running) = (counts.share.max_running, counts.running);
            if cap > 0 && running > cap {
                wrong.push(format!(
                    "{running} requests of {:?} run, {cap} may",
                    counts.client
                ));
            }
            let (cap, queued) = (counts.share.max_queued, counts.queued);
            // Requests of jobs that died come back, whatever the cap.
            if cap > 0 && queued > cap + self.world.state().max_running {
                wrong.push(format!(
                    "{queued} requests of {:?} wait, {cap} may",
                    counts.client
                ));
            }
        }
        drop(schedule);
        wrong.extend(self.dispatcher.stalled(STUCK));
        self.world.state().ledger.wrong.append(&mut wrong);
    }

    /// Wait until every client has its answer.
    async fn all_answered(&mut self) {
        let all = async {
            while let Some(client) = self.waiting.join_next().await {
                client.unwrap();
            }
        };
        // Anything that is still wrong is told when the ledger is closed.
        let _ = timeout(2 * AGES, all).await;
    }

    /// Let everything come to rest: then all is as at the start.
    async fn rest(&mut self, latest: &Config) {
        let looks = self.dispatcher.clone();
        let world = self.world.clone();
        let watch = tokio::spawn(async move {
            loop {
                sleep(STUCK).await;
                if let Some(reason) = looks.stalled(STUCK) {
                    return world.state().ledger.complain(reason);
                }
            }
        });
        self.all_answered().await;
        {
            let mut state = self.world.state();
            state.mischief = 0;
            state.broken.clear();
        }
        let mut wrong = self.until_right(|run| run.at_rest(latest)).await;
        watch.abort();
        self.check();
        self.world.state().ledger.wrong.append(&mut wrong);
        self.dispatcher
            .reconfigure(Arc::new(without_models(latest)));
        let mut wrong = self.until_right(Self::gone).await;
        self.world.state().ledger.wrong.append(&mut wrong);
    }

    /// Wait until nothing is wrong any more, and give what is still wrong after a long time.
    async fn until_right(&self, look: impl Fn(&Self) -> Vec<String>) -> Vec<String> {
        let start = Instant::now();
        loop {
            let wrong = look(self);
            if wrong.is_empty() || start.elapsed() > REST {
                return wrong;
            }
            // Spares that are old are replaced even now: no look may always fall into that.
            sleep(start.elapsed() / 16 + Duration::from_millis(97)).await;
        }
    }

    /// The rules that do not hold though nobody asks for anything.
    fn at_rest(&self, config: &Config) -> Vec<String> {
        let mut wrong = Vec::new();
        let shared = &self.dispatcher.shared;
        let open = shared.statistics.open().len();
        let schedule = shared.schedule();
        let counts = schedule.counts();
        let clients = schedule.queue.clients().count();
        if (counts.running, counts.queued, clients, open) != (0, 0, 0, 0) {
            wrong.push(format!(
                "at rest: {counts:?}, {clients} clients, {open} in the books"
            ));
        }
        let mut memory = 0;
        let mut idle = Vec::new();
        for model in &config.models {
            let pool = schedule.pools.values().find(|pool| pool.name == model.name);
            let Some(pool) = pool else {
                wrong.push(format!("{} is gone", model.name));
                continue;
            };
            let (health, has) = (&pool.health, pool.idle.len());
            memory += pool.idle.len() as u64 * pool.model.limits.memory.bytes();
            idle.extend(pool.idle.iter().map(|handle| handle.key));
            let spares = pool.model.spares;
            if pool.upcoming + pool.running > 0 || has > spares.max.max(1) {
                wrong.push(format!("at rest {} has {has} spares", model.name));
            }
            let is_old = *pool.model != *model && pool.rejected.is_none();
            if is_old || *health != Health::Ready {
                wrong.push(format!(
                    "at rest {} is {health:?}, or has old settings",
                    model.name
                ));
            }
            let keeps = spares.ttl != Lifetime::Zero;
            if self.budget.is_none() && keeps && has < spares.min {
                wrong.push(format!("at rest {} has only {has} spares", model.name));
            }
        }
        let committed = schedule.budget.committed;
        drop(schedule);
        if committed != memory {
            wrong.push(format!(
                "at rest {committed} bytes are committed, {memory} are held"
            ));
        }
        let state = self.world.state();
        let living: Vec<u64> = state.jobs.keys().map(|pid| *pid as u64).collect();
        idle.sort_unstable();
        if living != idle {
            wrong.push(format!("at rest jobs {living:?} live, {idle:?} are idle"));
        }
        let lent = shared.slots.lent();
        if lent != living.len() {
            wrong.push(format!(
                "at rest {lent} slots are lent to {} jobs",
                living.len()
            ));
        }
        wrong
    }

    /// The things that are left though all models are gone.
    fn gone(&self) -> Vec<String> {
        let shared = &self.dispatcher.shared;
        let schedule = shared.schedule();
        let (models, committed) = (schedule.pools.len(), schedule.budget.committed);
        drop(schedule);
        let (lent, zygotes) = (shared.slots.lent(), self.world.zygotes());
        let jobs = self.world.state().jobs.len();
        if (models, committed, lent, jobs, zygotes) == (0, 0, 0, 0, 0) {
            return Vec::new();
        }
        vec![format!(
            "in the end: {models} models, {committed} bytes, {lent} slots, {jobs} jobs, \
             {zygotes} zygotes"
        )]
    }

    /// Stop the service: first what was accepted is served, then time is up.
    async fn stop(&mut self, dice: &mut Dice) {
        self.dispatcher.close();
        sleep(dice.time(20_000)).await;
        self.check();
        self.dispatcher.abort();
        self.all_answered().await;
        sleep(STUCK).await;
        let open = self.dispatcher.shared.statistics.open().len();
        let counts = self.dispatcher.counts();
        if (open, counts.running, counts.queued) != (0, 0, 0) {
            let what = format!("stopped: {counts:?}, {open} in the books");
            self.world.state().ledger.complain(what);
        }
    }
}

/// The number in this environment variable.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The complaints about a schedule, and how to see it again.
fn complaint(seed: u64, wrong: &[String]) -> String {
    format!(
        "schedule {seed}:\n  {}\nSee it again: make simulate SEED={seed}",
        wrong.join("\n  ")
    )
}

#[test]
fn no_schedule_breaks_a_rule() {
    if let Some(seed) = number("STT_SEED") {
        let plan = Plan::of(seed);
        println!("{plan:#?}");
        let outcome = run(plan, None);
        println!("{outcome:#?}");
        assert!(
            outcome.wrong.is_empty(),
            "{}",
            complaint(seed, &outcome.wrong)
        );
        return;
    }
    let (schedules, until) = match number("STT_SCHEDULES") {
        Some(schedules) => (schedules, None),
        None => (SOME, Some(WallClock::now() + SOON)),
    };
    let first = number("STT_FIRST_SCHEDULE").unwrap_or(1);
    let start = WallClock::now();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let all = thread::scope(|scope| {
        let seeds = |thread| (first + thread as u64..first + schedules).step_by(threads);
        let part = |thread| move || many(seeds(thread), until);
        let parts: Vec<_> = (0..threads).map(|at| scope.spawn(part(at))).collect();
        let parts = parts.into_iter().map(|part| part.join().unwrap());
        parts.fold(Outcome::default(), Outcome::and)
    });
    println!(
        "{} schedules from {first} on in {:.1} s: {} requests, {} jobs, {:.0} hours; {:?}",
        all.schedules,
        start.elapsed().as_secs_f64(),
        all.requests,
        all.forks,
        all.time.as_secs_f64() / 3600.0,
        all.ends,
    );
    assert!(all.wrong.is_empty(), "{}", all.wrong.join("\n"));
}

/// Run these schedules, until several break a rule or time is up.
fn many(seeds: impl Iterator<Item = u64>, until: Option<WallClock>) -> Outcome {
    let mut all = Outcome::default();
    for seed in seeds {
        let mut outcome = run(Plan::of(seed), None);
        if !outcome.wrong.is_empty() {
            outcome.wrong = vec![complaint(seed, &outcome.wrong)];
        }
        all = all.and(outcome);
        let is_late = until.is_some_and(|until| WallClock::now() > until);
        if is_late || all.wrong.len() >= MAX_COMPLAINTS {
            break;
        }
    }
    all
}

#[test]
fn the_same_seed_is_the_same_schedule() {
    for seed in [7, 8, 9, 10, 11, 12] {
        let outcomes = [(); 2].map(|()| format!("{:?}", run(Plan::of(seed), None)));
        assert_eq!(outcomes[0], outcomes[1], "schedule {seed}");
    }
}

#[test]
fn planted_faults_are_found() {
    for fault in Fault::ALL {
        let found = (1..=10_000).find(|seed| {
            let outcome = run(Plan::of(*seed), Some(fault));
            if let Some(wrong) = outcome.wrong.first() {
                println!("{fault:?}: schedule {seed}: {wrong}");
            }
            !outcome.wrong.is_empty()
        });
        assert!(found.is_some(), "{fault:?} is not found");
    }
}
