//! A schedule: the configuration, the clients, and what happens one after the other.

use std::{path::Path, sync::OnceLock, time::Duration};

use super::dice::Dice;
use crate::{
    config::{self, Config, MemoryBudget, Mode, Share},
    dispatch::request::client::Client,
    units::{ByteSize, Lifetime},
};

/// Everything that a schedule decides before it begins.
#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    pub config: Config,
    pub clients: Vec<(Client, Share)>,
    /// Of a hundred steps of a process, how many go wrong.
    pub mischief: u64,
    /// A model of which so many in a hundred requests crash.
    pub broken: Option<(String, u64)>,
    pub steps: Vec<Step>,
    /// Whether the service is stopped in the end while requests are served.
    pub stops: bool,
}

/// Something that happens to the scheduler.
#[derive(Clone, Debug)]
pub enum Step {
    Sleep(Duration),
    /// Client, model, whether the request crashes every job, and how long its client stays.
    Submit(usize, usize, bool, Stay),
    MemoryIsScarce,
    Reload(Box<Config>),
    KillZygote(usize),
    KillIdle(usize),
}

/// How long a client stays.
#[derive(Clone, Copy, Debug)]
pub enum Stay {
    ToTheEnd,
    /// It reads an event, and pauses for this time.
    Slow(Duration),
    /// It hangs up after this time.
    HangUp(Duration),
}

fn default_config() -> Config {
    static DEFAULT: OnceLock<Config> = OnceLock::new();
    let load = || Config::load(Some(Path::new("/dev/null")), [].into_iter()).unwrap();
    DEFAULT.get_or_init(load).clone()
}

/// The same service without models.
pub fn without_models(config: &Config) -> Config {
    Config {
        models: Vec::new(),
        ..config.clone()
    }
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let config = first_config(&mut dice);
        let count = 1 + dice.index(4);
        let mut clients: Vec<(Client, Share)> = (0..count as u32)
            .map(|uid| (Client::User(uid), share(&mut dice)))
            .collect();
        if dice.percent(30) {
            clients.push((Client::Network, share(&mut dice)));
        }
        let mischief = dice.of(&[0, 0, 2, 10, 30, 60]);
        let broken = dice.percent(15).then(|| {
            let model = dice.index(config.models.len());
            let name = config.models[model].name.clone();
            (name, dice.of(&[50, 90, 100]))
        });
        let hexer = dice.percent(20).then(|| dice.index(clients.len()));
        let mut steps = Vec::new();
        let mut latest = config.clone();
        let gap = dice.of(&[5, 100, 1000, 8000]);
        for _ in 0..5 + dice.index(25) {
            steps.push(step(&mut dice, &mut latest, clients.len(), hexer));
            if dice.percent(70) {
                steps.push(Step::Sleep(dice.time(gap)));
            }
        }
        Self {
            seed,
            config,
            clients,
            mischief,
            broken,
            steps,
            stops: dice.percent(20),
        }
    }
}

fn share(dice: &mut Dice) -> Share {
    Share {
        max_running: dice.of(&[0, 0, 1, 2]),
        max_queued: dice.of(&[0, 0, 1, 3]),
    }
}

fn step(dice: &mut Dice, config: &mut Config, clients: usize, hexer: Option<usize>) -> Step {
    let model = dice.index(3);
    match dice.below(100) {
        0..=84 => {
            let client = dice.index(clients);
            let stay = match dice.below(10) {
                0 => Stay::Slow(dice.time(2000)),
                1 | 2 => Stay::HangUp(dice.time(4000)),
                _ => Stay::ToTheEnd,
            };
            Step::Submit(client, model, hexer == Some(client), stay)
        }
        85 | 86 => Step::MemoryIsScarce,
        87..=90 => {
            change(dice, config);
            Step::Reload(Box::new(config.clone()))
        }
        91..=94 => Step::KillZygote(model),
        95..=98 => Step::KillIdle(model),
        _ => Step::Sleep(Duration::from_secs(20 + dice.below(100))),
    }
}

/// The name of a model by its number, whether or not the configuration has it.
pub fn name(model: usize) -> String {
    format!("model-{model}")
}

fn model(dice: &mut Dice, number: usize) -> config::Model {
    let mut model = default_config().models.remove(0);
    model.name = name(number);
    model.aliases.clear();
    model.mode = dice.of(&[Mode::Process, Mode::Process, Mode::Hybrid]);
    model.limits.memory = ByteSize::mib(dice.of(&[100, 200, 300]));
    model.limits.deadline = Duration::from_secs(dice.of(&[3, 10, 60]));
    model.limits.stall = Duration::from_secs(dice.of(&[2, 30]));
    model.limits.cpu_time = Duration::from_secs(dice.of(&[5, 300]));
    model.spares.max = dice.index(4);
    model.spares.min = dice.index(model.spares.max + 1);
    model.spares.refill_delay = dice.time(500);
    model.spares.ttl = match dice.below(5) {
        0 => Lifetime::Zero,
        1 => Lifetime::Limited(Duration::from_secs(5)),
        2 => Lifetime::Limited(Duration::from_secs(60)),
        _ => Lifetime::Unlimited,
    };
    model.recycle.max_requests = dice.of(&[1, 2, 100]);
    model.recycle.max_growth = ByteSize::mib(dice.of(&[10, 50, 1000]));
    model.recycle.max_age = Duration::from_secs(dice.of(&[10, 3600]));
    model
}

fn first_config(dice: &mut Dice) -> Config {
    let mut config = default_config();
    let count = 1 + dice.index(3);
    config.models = (0..count).map(|number| model(dice, number)).collect();
    config.default_model = name(0);
    config.jobs.max_running = 1 + dice.index(4);
    config.jobs.max_queued = dice.of(&[1, 4, 100]);
    config.jobs.queue_timeout = Duration::from_secs(dice.of(&[1, 10, 60]));
    config.memory.budget = match dice.below(3) {
        0 => MemoryBudget::Unlimited,
        1 => MemoryBudget::Size(ByteSize::mib(300)),
        _ => MemoryBudget::Size(ByteSize::mib(500 + dice.below(1000))),
    };
    config.zygote.load_timeout = Duration::from_secs(8);
    config.zygote.max_backoff = Duration::from_secs(5);
    config.zygote.max_forks = dice.of(&[0, 0, 1, 5, 20]);
    config.health.interval = Duration::from_secs(dice.of(&[0, 10, 60]));
    config.breaker.crashes = dice.of(&[0, 1, 2, 3, 5]);
    config.breaker.within = Duration::from_secs(dice.of(&[10, 60]));
    config.breaker.pause = Duration::from_secs(dice.of(&[1, 10, 30]));
    config
}

/// Change something of the configuration.
fn change(dice: &mut Dice, config: &mut Config) {
    match dice.below(6) {
        0 => config.jobs.max_running = 1 + dice.index(4),
        1 => config.jobs.max_queued = dice.of(&[1, 4, 100]),
        2 if config.models.len() > 1 => {
            config.models.pop();
        }
        3 if config.models.len() < 3 => {
            let number = config.models.len();
            config.models.push(model(dice, number));
        }
        _ => {
            let number = dice.index(config.models.len());
            config.models[number] = model(dice, number);
        }
    }
}
