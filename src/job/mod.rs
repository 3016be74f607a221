//! A job's work: take a request, decode, transcribe, report, then wait for the next request or for
//! dismissal.

pub mod converter;
mod live;
mod original;
mod report;
mod seam;
mod source;
mod speakers;
mod transcribe;
pub mod wire;

use std::{
    fs::File,
    io,
    ops::ControlFlow,
    os::fd::AsFd,
    panic,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use report::Report;
pub use transcribe::transcribe;

use self::{
    report::Unheard,
    seam::Seam,
    wire::{FromJob, JobChannel, Order, ToJob},
};
use crate::{
    audio,
    engine::{EngineSettings, LoadedModel, null::Null},
    isolation::{Load, Needs, Standby, exit_now, sealed, zygote},
    request::{Ask, Code, Failure},
    transcript::{Hypothesis, Segment},
};

/// Run as a zygote whose jobs transcribe.
///
/// # Errors
/// See [`zygote::run`].
pub fn zygote_main() -> std::io::Result<()> {
    seam::zygote();
    zygote::run(Transcribing::new)
}

/// The work of jobs: transcription.
struct Transcribing {
    /// The request for rehearsals: that of the self-test.
    order: Order,
    recording: Arc<File>,
}

impl Transcribing {
    fn new() -> io::Result<Self> {
        let (ask, noise) = self_test();
        Ok(Self {
            order: Order {
                id: 0,
                max_audio: Duration::from_secs(10),
                ask,
            },
            // Sealed, because the model that is loaded next to it may be hostile.
            recording: Arc::new(sealed::file(c"rehearsal", &noise)?),
        })
    }
}

impl zygote::Work for Transcribing {
    type Model = LoadedModel;
    type Order = ToJob;
    type Answer = FromJob;

    fn needs(&self, order: &Load) -> Result<Needs, String> {
        let settings =
            EngineSettings::decode(&order.settings).map_err(|error| error.to_string())?;
        Ok(settings.needs())
    }

    fn load(&self, order: &Load) -> Result<Self::Model, String> {
        let model = EngineSettings::decode(&order.settings)
            .and_then(|settings| settings.load(order.scratch.as_deref()));
        model.map_err(|error| error.to_string())
    }

    fn violation(call: u32) -> FromJob {
        FromJob::Violation { call }
    }

    fn rehearse(&self) {
        // Rehearse with the null engine, because the real one is untrusted, and discard the result.
        let recording = self.recording.clone();
        let mut null = LoadedModel::Samples(Box::new(Null));
        let _ = transcribe(&mut null, &self.order, recording, &mut Unheard, &mut None);
    }

    fn serve(
        &self,
        model: Result<&mut Self::Model, String>,
        channel: &'static JobChannel,
        standby: Option<Standby>,
    ) {
        match model {
            Ok(model) => serve(model, channel, standby),
            Err(reason) => {
                let _ = channel.send(&FromJob::LoadFailed(reason), &[]);
            }
        }
    }
}

/// Number of the current request, for the panic hook.
static REQUEST: AtomicU64 = AtomicU64::new(0);

/// Serve one request after the other. In mode `process` there is only one: the supervisor hangs up
/// after it. If a message cannot be sent or received, the supervisor is gone and the job ends.
fn serve(model: &mut LoadedModel, channel: &'static JobChannel, mut standby: Option<Standby>) {
    blame_the_recording(channel);
    if channel.send(&FromJob::Ready, &[]).is_err() {
        return;
    }
    let mut seam = seam::seam();
    let mut is_first = true;
    // A job that exits right after its answer delays it: the supervisor would be woken on this CPU,
    // behind the teardown of this process's memory. So wait until it hangs up.
    while let Ok((ToJob::Transcribe(mut order), mut descriptors)) = {
        model.engine().wait(channel.as_fd());
        channel.receive()
    } {
        let Some(recording) = descriptors.pop() else {
            return;
        };
        seam.next(channel, REQUEST.load(Ordering::Relaxed));
        let id = order.id;
        REQUEST.store(id, Ordering::Relaxed);
        if !is_first && channel.send(&FromJob::Taken { id }, &[]).is_err() {
            return;
        }
        is_first = false;
        seam.before(&mut order, channel);
        let mut report = ToSupervisor { channel, id };
        let recording = Arc::new(recording.into());
        let last_word = match transcribe(model, &order, recording, &mut report, &mut standby) {
            Ok(figures) => FromJob::Done { id, figures },
            Err(failure) => FromJob::Failed { id, failure },
        };
        if channel.send(&last_word, &[]).is_err() {
            return;
        }
        seam.answered(channel, id);
    }
    seam.dismissed();
}

/// Some damaged files make a demuxer panic (three places in symphonia 0.6.1 are known). Such a
/// panic is the file's fault, so report it before the process ends. Any other panic is our own
/// fault and ends as a crash.
fn blame_the_recording(channel: &'static JobChannel) {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        default(panic);
        if audio::is_decoding() {
            let id = REQUEST.load(Ordering::Relaxed);
            let failure = Failure {
                code: Code::InvalidAudio,
                message: "the file is damaged in a way that its decoder cannot cope with".into(),
                is_broken: true,
            };
            if channel.send(&FromJob::Failed { id, failure }, &[]).is_ok() {
                let _ = channel.receive();
            }
            exit_now(0);
        }
    }));
}

/// Sends reports over the job's channel.
struct ToSupervisor<'a> {
    channel: &'a JobChannel,
    id: u64,
}

impl Report for ToSupervisor<'_> {
    fn progress(&mut self, audio: Duration) -> ControlFlow<()> {
        let id = self.id;
        self.send(&FromJob::Progress { id, audio })
    }

    fn heard(&mut self, audio: Duration, total: Option<Duration>) -> ControlFlow<()> {
        let id = self.id;
        self.send(&FromJob::Heard { id, audio, total })
    }

    fn channels(&mut self, channels: &[u16]) -> ControlFlow<()> {
        let (id, channels) = (self.id, channels.to_vec());
        self.send(&FromJob::Channels { id, channels })
    }

    fn segment(&mut self, segment: Segment) -> ControlFlow<()> {
        let id = self.id;
        self.send(&FromJob::Segment { id, segment })
    }

    fn hypothesis(&mut self, hypothesis: Hypothesis) -> ControlFlow<()> {
        let id = self.id;
        self.send(&FromJob::Hypothesis { id, hypothesis })
    }
}

impl ToSupervisor<'_> {
    fn send(&self, message: &FromJob) -> ControlFlow<()> {
        match self.channel.send(message, &[]) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// The request that tests a model: a moment of faint noise, which every engine must accept. The
/// noise is not speech, but the engine must get it, so voice detection is off.
pub fn self_test() -> (Ask, Vec<u8>) {
    let ask = Ask {
        extension: Some("wav".into()),
        self_test: true,
        vad: false,
        ..Ask::default()
    };
    (ask, transcribe::noise())
}
