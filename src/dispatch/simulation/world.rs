//! Zygotes and jobs as tasks: they work, are slow, lie, hang and die as their dice tell them.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use nix::sys::stat::fstat;
use tokio::{sync::Notify, time::sleep};

use super::{dice::Dice, ledger::Ledger};
use crate::{
    isolation::{
        FromZygote, How, ToZygote,
        channel::AsyncChannel,
        sandbox::Confinement,
        simulated::{self, Process},
    },
    job::wire::{FromJob, Order, ToJob},
    request::{Code, Failure, Figures},
    transcript::Segment,
};

/// Above the highest number that the kernel gives a process.
const FIRST_PID: i32 = 5_000_000;

/// Longer than anything waits for a process.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

type ZygoteChannel = AsyncChannel<FromZygote, ToZygote>;
type JobChannel = AsyncChannel<FromJob, ToJob>;

/// Everything outside the scheduler: its processes, and the record of all that happens.
pub struct World(Mutex<State>);

pub struct State {
    pub dice: Dice,
    /// Of a hundred steps of a process, how many go wrong.
    pub mischief: u64,
    /// Of a hundred requests of this model, how many crash their job, whoever sends them.
    pub broken: BTreeMap<String, u64>,
    pub ledger: Ledger,
    /// The most requests that may run at once, by any configuration until now.
    pub max_running: usize,
    /// Jobs forked until now.
    pub forks: u64,
    next_pid: i32,
    zygotes: BTreeMap<i32, Living>,
    pub jobs: BTreeMap<i32, Living>,
}

/// A process that has not ended.
pub struct Living {
    process: Arc<Process>,
    doom: Arc<Notify>,
    model: String,
    /// Tells the job's slot apart from others.
    slot: u64,
    /// The number of the request that it has.
    pub request: Option<u64>,
}

impl State {
    fn goes_wrong(&mut self) -> bool {
        let mischief = self.mischief;
        self.dice.percent(mischief)
    }

    /// A job of `pid` reads the order for this request.
    fn given(&mut self, pid: i32, number: Option<u64>) {
        let Some(number) = number else { return };
        let holder = self.jobs.iter().find(|(other, job)| {
            **other != pid && job.request == Some(number) && !job.process.is_killed()
        });
        if let Some((other, _)) = holder {
            let what = format!("request {number} is given to job {pid}, and job {other} has it");
            self.ledger.complain(what);
        }
        if let Some(job) = self.jobs.get_mut(&pid)
            && let Some(before) = job.request.replace(number)
        {
            let what = format!("job {pid} has request {before} and is given {number}");
            self.ledger.complain(what);
        }
        let running = self.jobs.values().filter(|job| !job.process.is_killed());
        let running: Vec<u64> = running.filter_map(|job| job.request).collect();
        if running.len() > self.max_running {
            let (count, most) = (running.len(), self.max_running);
            self.ledger
                .complain(format!("{count} requests run, {most} may"));
        }
        self.ledger.given(number, &running);
    }
}

impl World {
    pub fn new(dice: Dice, mischief: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            dice,
            mischief,
            broken: BTreeMap::new(),
            ledger: Ledger::default(),
            max_running: 0,
            forks: 0,
            next_pid: FIRST_PID,
            zygotes: BTreeMap::new(),
            jobs: BTreeMap::new(),
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Start a zygote that talks over `control`.
    pub fn zygote(self: &Arc<Self>, control: OwnedFd) -> (i32, OwnedFd) {
        let (process, pidfd) = simulated::process();
        let (process, doom) = (Arc::new(process), Arc::<Notify>::default());
        let pid = {
            let mut state = self.state();
            state.next_pid += 1;
            let pid = state.next_pid;
            let living = Living {
                process: process.clone(),
                doom: doom.clone(),
                model: String::new(),
                slot: 0,
                request: None,
            };
            state.zygotes.insert(pid, living);
            pid
        };
        let world = self.clone();
        tokio::spawn(async move {
            let channel = simulated::channel(control);
            let how = tokio::select! {
                biased;
                () = process.killed() => None,
                () = doom.notified() => Some(How::Signal(libc::SIGSEGV)),
                how = world.load_and_fork(pid, &channel) => Some(how),
            };
            drop(channel);
            if let Some(how) = how {
                process.exit(how);
            }
            world.state().zygotes.remove(&pid);
        });
        (pid, pidfd)
    }

    /// The zygotes that live.
    pub fn zygotes(&self) -> usize {
        self.state().zygotes.len()
    }

    /// Let a zygote or an idle job of `model` die.
    pub fn kill(&self, model: &str, is_zygote: bool) {
        let state = self.state();
        let all = if is_zygote {
            &state.zygotes
        } else {
            &state.jobs
        };
        let mut of_model = all.values().filter(|living| living.model == model);
        if let Some(living) = of_model.find(|living| living.request.is_none()) {
            living.doom.notify_one();
        }
    }

    async fn load_and_fork(self: &Arc<Self>, pid: i32, channel: &ZygoteChannel) -> How {
        let Ok((ToZygote::Load(load), _)) = channel.receive().await else {
            return How::Status(1);
        };
        let (pause, wrong) = {
            let mut state = self.state();
            if let Some(zygote) = state.zygotes.get_mut(&pid) {
                zygote.model = load.model.clone();
            }
            let wrong = state.goes_wrong().then(|| state.dice.below(4));
            (state.dice.time(4000), wrong)
        };
        sleep(pause).await;
        let answer = match wrong {
            None | Some(3) => FromZygote::Loaded(Confinement::default()),
            Some(0) => FromZygote::LoadFailed("it is told to fail".into()),
            Some(1) => return How::Signal(libc::SIGABRT),
            Some(_) => {
                sleep(FOR_EVER).await;
                return How::Status(0);
            }
        };
        if channel.send(&answer, &[]).is_err() {
            return How::Status(1);
        }
        loop {
            let Ok((ToZygote::Fork { .. }, descriptors)) = channel.receive().await else {
                return How::Status(0);
            };
            let mut descriptors = descriptors.into_iter();
            let (Some(job), Some(stderr)) = (descriptors.next(), descriptors.next()) else {
                self.state()
                    .ledger
                    .complain("a fork without descriptors".into());
                return How::Status(1);
            };
            let (pause, wrong) = {
                let mut state = self.state();
                let rare = state.goes_wrong() && state.dice.percent(30);
                let wrong = rare.then(|| state.dice.below(5));
                (state.dice.time(20), wrong)
            };
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let answer = match wrong {
                Some(0) => return How::Signal(libc::SIGKILL),
                Some(1) => {
                    sleep(FOR_EVER).await;
                    return How::Status(0);
                }
                Some(2) => {
                    drop((job, stderr));
                    channel.send(&FromZygote::ForkFailed("it is told to fail".into()), &[])
                }
                Some(3) => {
                    // Nobody will hear of this one.
                    self.job(&load.model, job, stderr);
                    return How::Signal(libc::SIGKILL);
                }
                _ => {
                    let (pid, pidfd) = self.job(&load.model, job, stderr);
                    channel.send(&FromZygote::Forked { pid }, &[pidfd.as_fd()])
                }
            };
            if answer.is_err() {
                return How::Status(1);
            }
        }
    }

    /// Start a job of `model` that talks over `channel`.
    fn job(self: &Arc<Self>, model: &str, channel: OwnedFd, stderr: OwnedFd) -> (i32, OwnedFd) {
        let slot = fstat(&stderr).unwrap().st_ino;
        let (process, pidfd) = simulated::process();
        let (process, doom) = (Arc::new(process), Arc::<Notify>::default());
        let pid = {
            let mut state = self.state();
            state.next_pid += 1;
            state.forks += 1;
            let pid = state.next_pid;
            let jobs = &state.jobs;
            let in_it = |job: &Living| job.slot == slot && !job.process.is_killed();
            let twice = jobs.iter().find(|(_, job)| in_it(job)).map(|(pid, _)| *pid);
            if let Some(other) = twice {
                let what = format!("job {pid} is forked into the slot of job {other}");
                state.ledger.complain(what);
            }
            let living = Living {
                process: process.clone(),
                doom: doom.clone(),
                model: model.into(),
                slot,
                request: None,
            };
            state.jobs.insert(pid, living);
            simulated::set_footprint(pid, 1 << 20, Duration::ZERO);
            pid
        };
        let world = self.clone();
        tokio::spawn(async move {
            let mut channel = Some(simulated::channel(channel));
            let work = Work {
                world: &world,
                pid,
                memory: 1 << 20,
            };
            let how = tokio::select! {
                biased;
                () = process.killed() => None,
                () = doom.notified() => Some(How::Signal(libc::SIGSEGV)),
                how = work.all(&mut channel) => Some(how),
            };
            // As the kernel does it: first the descriptors, then the exit.
            drop((channel, stderr));
            if let Some(how) = how {
                process.exit(how);
            }
            world.state().jobs.remove(&pid);
            simulated::forget_footprint(pid);
        });
        (pid, pidfd)
    }
}

/// One job at work.
struct Work<'a> {
    world: &'a Arc<World>,
    pid: i32,
    memory: u64,
}

/// How a job goes on after a message.
type Step = Result<(), How>;

const GONE: How = How::Status(0);

impl Work<'_> {
    fn say(&self, channel: &JobChannel, message: FromJob) -> Step {
        channel.send(&message, &[]).map_err(|_| GONE)
    }

    async fn all(mut self, channel: &mut Option<JobChannel>) -> How {
        let Some(open) = channel else { return GONE };
        let (pause, wrong) = {
            let mut state = self.world.state();
            let wrong = (state.goes_wrong() && state.dice.percent(30)).then(|| state.dice.below(5));
            (state.dice.time(300), wrong)
        };
        sleep(pause).await;
        match wrong {
            Some(0) => return How::Signal(libc::SIGSEGV),
            Some(1) => sleep(FOR_EVER).await,
            Some(2) => {
                let _ = self.say(open, FromJob::LoadFailed("it is told to fail".into()));
                return GONE;
            }
            Some(3) => {
                let _ = self.say(open, FromJob::Taken { id: 1 });
            }
            _ => {}
        }
        if let Err(how) = self.say(open, FromJob::Ready) {
            return how;
        }
        let mut served = 0u64;
        loop {
            let idle = self.idle(open).await;
            let order = match idle {
                Ok(order) => order,
                Err(how) => return how,
            };
            let number = order
                .ask
                .prompt
                .as_deref()
                .and_then(|text| text.parse().ok());
            self.world.state().given(self.pid, number);
            if served > 0 {
                let wrong = self.world.state().goes_wrong();
                let id = if wrong { 0 } else { order.id };
                if let Err(how) = self.say(open, FromJob::Taken { id }) {
                    return how;
                }
            }
            served += 1;
            if let Err(how) = self.serve(open, &order, number).await {
                match how {
                    // It hangs up, and goes on for a while.
                    How::Status(-1) => {
                        *channel = None;
                        let pause = self.world.state().dice.time(4000);
                        sleep(pause).await;
                        return GONE;
                    }
                    how => return how,
                }
            }
        }
    }

    /// Wait for an order, or do what must not be done meanwhile.
    async fn idle(&mut self, channel: &JobChannel) -> Result<Order, How> {
        let wrong = {
            let mut state = self.world.state();
            let wrong = state.goes_wrong() && state.dice.percent(20);
            wrong.then(|| (state.dice.below(3), state.dice.time(5000)))
        };
        let talks = match wrong {
            // It dies without a look at what it is sent.
            Some((0, pause)) => {
                sleep(pause).await;
                return Err(How::Signal(libc::SIGBUS));
            }
            // It dies later, or speaks unasked, unless an order comes before.
            Some((kind, pause)) => Some((kind, pause)),
            None => None,
        };
        let mischief = async {
            match talks {
                Some((kind, pause)) => {
                    sleep(pause).await;
                    kind
                }
                None => std::future::pending().await,
            }
        };
        let received = tokio::select! {
            biased;
            received = channel.receive() => received,
            kind = mischief => {
                if kind == 1 {
                    self.say(channel, FromJob::Progress { id: 7, audio: Duration::ZERO })?;
                    sleep(FOR_EVER).await;
                }
                return Err(How::Signal(libc::SIGABRT));
            }
        };
        match received {
            Ok((ToJob::Transcribe(order), _recording)) => Ok(order),
            // Some take their time to end.
            Err(_) => {
                let pause = {
                    let mut state = self.world.state();
                    if state.goes_wrong() {
                        state.dice.time(3000)
                    } else {
                        Duration::ZERO
                    }
                };
                if !pause.is_zero() {
                    sleep(pause).await;
                }
                Err(GONE)
            }
        }
    }

    /// Serve one request, well or badly. An error is the end of the job.
    async fn serve(&mut self, channel: &JobChannel, order: &Order, number: Option<u64>) -> Step {
        let id = order.id;
        let (pause, segments, wrong) = self.intent(number);
        self.say(channel, progress(id, 1))?;
        sleep(pause / 2).await;
        if let Some(kind @ (11 | 12)) = wrong {
            let code = [Code::InvalidAudio, Code::EngineFailed][kind as usize - 11];
            self.over(number);
            let failure = Failure::new(code, "it is told to fail");
            return self.say(channel, FromJob::Failed { id, failure });
        }
        self.misbehave(channel, id, wrong).await?;
        for second in 0..segments {
            let segment = Segment {
                text: "so".into(),
                speaker: None,
                start: Duration::from_secs(second),
                end: Duration::from_secs(second),
                words: Vec::new(),
                decoding: None,
            };
            self.say(channel, FromJob::Segment { id, segment })?;
        }
        sleep(pause / 2).await;
        if let Some(number) = number {
            self.world.state().ledger.answered(number, self.pid);
        }
        self.over(number);
        let figures = Figures {
            audio: Duration::from_secs(1),
            ..Figures::default()
        };
        let done = || FromJob::Done {
            id,
            figures: figures.clone(),
        };
        self.say(channel, done())?;
        match wrong {
            // It answers twice.
            Some(14) => self.say(channel, done()),
            // It answers and dies.
            Some(15) => Err(How::Signal(libc::SIGSEGV)),
            _ => Ok(()),
        }
    }

    /// How long to work on a request, how much to say, and what to do wrong.
    fn intent(&self, number: Option<u64>) -> (Duration, u64, Option<u64>) {
        let mut state = self.world.state();
        let model = state.jobs.get(&self.pid).map(|job| job.model.clone());
        let model = model.unwrap_or_default();
        let broken = state.broken.get(&model).copied();
        let is_broken = broken.is_some_and(|chance| state.dice.percent(chance));
        let is_hexed = number.is_some_and(|number| state.ledger.is_hexed(number));
        let wrong = if is_broken || is_hexed {
            Some(4)
        } else {
            state.goes_wrong().then(|| state.dice.below(16))
        };
        if number.is_none() && wrong.is_some() {
            state.ledger.service_failed(&model);
        }
        let segments = match state.dice.below(8) {
            0 => 30,
            some => some % 4,
        };
        (state.dice.time(3000), segments, wrong)
    }

    /// Do something wrong in the middle of a request. An error is the end of the job.
    async fn misbehave(&mut self, channel: &JobChannel, id: u64, wrong: Option<u64>) -> Step {
        match wrong {
            Some(0) => Err(How::Signal(libc::SIGSEGV)),
            Some(1) => {
                self.grow(600 << 20, Duration::ZERO);
                Err(How::Signal(libc::SIGKILL))
            }
            Some(2) => {
                sleep(FOR_EVER).await;
                Ok(())
            }
            // It works and works, and says nothing.
            Some(3) => {
                for second in 0..100_000 {
                    self.grow(0, Duration::from_secs(second));
                    sleep(Duration::from_secs(1)).await;
                }
                Ok(())
            }
            Some(4) => Err(How::Signal(libc::SIGABRT)),
            Some(5) => self.say(channel, progress(id, 0)),
            Some(6) => self.say(channel, FromJob::Ready),
            // It hangs up.
            Some(7) => Err(How::Status(-1)),
            Some(8) => self.say(channel, FromJob::Violation { call: 0 }),
            Some(9) => (0..200).try_for_each(|_| self.say(channel, progress(id, 1))),
            Some(10) => {
                let (id, figures) = (id + 1, Figures::default());
                self.say(channel, FromJob::Done { id, figures })
            }
            // It leaks.
            Some(13) => {
                self.grow(40 << 20, Duration::ZERO);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Take this much more memory. It has used `cpu` by now.
    fn grow(&mut self, bytes: u64, cpu: Duration) {
        self.memory += bytes;
        simulated::set_footprint(self.pid, self.memory, cpu);
    }

    fn over(&self, number: Option<u64>) {
        if let Some(job) = self.world.state().jobs.get_mut(&self.pid)
            && number.is_some()
        {
            job.request = None;
        }
    }
}

/// The job has read so many seconds.
fn progress(id: u64, seconds: u64) -> FromJob {
    let audio = Duration::from_secs(seconds);
    FromJob::Progress { id, audio }
}

/// Whether nobody holds the other end of this pipe any more.
pub fn is_let_go(read: &OwnedFd) -> bool {
    use nix::sys::socket::{MsgFlags, recv};
    matches!(
        recv(read.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT),
        Ok(0)
    )
}
