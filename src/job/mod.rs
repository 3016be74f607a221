//! What runs inside a job: take a request, decode, transcribe, report, and wait for the next one or to be dismissed.

#[cfg(feature = "fault-engine")]
mod fault;
mod original;
mod transcribe;

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

pub use transcribe::{Report, transcribe};

use crate::{
    audio,
    engine::{self, Engine, null::Null},
    isolation::{
        Failure, FailureKind, FromJob, JobRequest, Load, ToJob, exit_now, sealed,
        zygote::{self, JobChannel},
    },
    transcript::Segment,
};

/// Be a zygote whose jobs transcribe.
///
/// # Errors
/// See [`zygote::run`].
pub fn zygote_main() -> std::io::Result<()> {
    #[cfg(feature = "fault-engine")]
    engine::fault::escape::look_around();
    zygote::run(Transcribing::new)
}

/// What jobs are there for: to transcribe.
struct Transcribing {
    /// What a job rehearses with: that of the self-test.
    request: JobRequest,
    recording: Arc<File>,
}

impl Transcribing {
    fn new() -> io::Result<Self> {
        let (request, noise) = self_test(0);
        Ok(Self {
            request,
            // The model is loaded beside it, and may be hostile.
            recording: Arc::new(sealed::file(c"rehearsal", &noise)?),
        })
    }
}

impl zygote::Work for Transcribing {
    type Model = Box<dyn Engine>;

    fn load(&self, order: &Load) -> Result<Self::Model, String> {
        engine::load(&order.engine, order.scratch.as_deref()).map_err(|error| error.to_string())
    }

    fn rehearse(&self) {
        // Neither with the engine, which is a stranger's, nor for what comes of it.
        let recording = self.recording.clone();
        let _ = transcribe(&mut Null, &self.request, recording, &mut Unheard);
    }

    fn serve(&self, engine: &mut Self::Model, channel: &'static JobChannel) {
        serve(engine.as_mut(), channel);
    }
}

/// Takes no notice.
struct Unheard;

impl Report for Unheard {
    fn progress(&mut self, _: Duration) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn segment(&mut self, _: Segment) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// The request that is being served, for the panic hook.
static REQUEST: AtomicU64 = AtomicU64::new(0);

/// Serve one request after the other: exactly one in mode `process`, where the supervisor hangs up after the first.
/// Every failure to talk means that the supervisor is gone, and so is the job's purpose.
fn serve(engine: &mut dyn Engine, channel: &'static JobChannel) {
    blame_the_recording(channel);
    if channel.send(&FromJob::Ready, &[]).is_err() {
        return;
    }
    #[cfg(feature = "fault-engine")]
    let mut afterwards = fault::Afterwards::Behave;
    let mut is_first = true;
    // Whoever exits right after its answer delays it: the supervisor would be woken on this CPU, behind the tearing
    // down of this process's memory. So wait until it hangs up.
    #[cfg_attr(not(feature = "fault-engine"), expect(unused_mut))]
    while let Ok((ToJob::Transcribe(mut request), mut descriptors)) = {
        engine.wait(channel.as_fd());
        channel.receive()
    } {
        let Some(recording) = descriptors.pop() else {
            return;
        };
        #[cfg(feature = "fault-engine")]
        afterwards.next(channel, REQUEST.load(Ordering::Relaxed));
        let id = request.id;
        REQUEST.store(id, Ordering::Relaxed);
        if !is_first && channel.send(&FromJob::Taken { id }, &[]).is_err() {
            return;
        }
        is_first = false;
        #[cfg(feature = "fault-engine")]
        {
            afterwards = fault::before(&mut request, channel);
        }
        let mut report = ToSupervisor { channel, id };
        let last_word = match transcribe(engine, &request, Arc::new(recording.into()), &mut report)
        {
            Ok(figures) => FromJob::Done { id, figures },
            Err(failure) => FromJob::Failed { id, failure },
        };
        if channel.send(&last_word, &[]).is_err() {
            return;
        }
        #[cfg(feature = "fault-engine")]
        afterwards.answered(channel, id);
    }
    #[cfg(feature = "fault-engine")]
    afterwards.dismissed();
}

/// Some damaged files make a demuxer panic (three places in symphonia 0.6.1 are known). That is the file's fault: say
/// so before the process ends. Any other panic is ours, and ends as a crash.
fn blame_the_recording(channel: &'static JobChannel) {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        default(panic);
        if audio::is_decoding() {
            let id = REQUEST.load(Ordering::Relaxed);
            let failure = Failure {
                kind: FailureKind::BrokenDecoder,
                message: "the file is damaged in a way that its decoder cannot cope with".into(),
            };
            if channel.send(&FromJob::Failed { id, failure }, &[]).is_ok() {
                let _ = channel.receive();
            }
            exit_now(0);
        }
    }));
}

/// Reports over the job's channel.
struct ToSupervisor<'a> {
    channel: &'a JobChannel,
    id: u64,
}

impl Report for ToSupervisor<'_> {
    fn progress(&mut self, audio: Duration) -> ControlFlow<()> {
        let id = self.id;
        self.send(&FromJob::Progress { id, audio })
    }

    fn segment(&mut self, segment: Segment) -> ControlFlow<()> {
        let id = self.id;
        self.send(&FromJob::Segment { id, segment })
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

/// The request by which a model proves itself: a moment of faint noise, which any engine must accept. It is no speech,
/// and the engine is to hear it all the same.
pub fn self_test(id: u64) -> (JobRequest, Vec<u8>) {
    let request = JobRequest {
        id,
        language: None,
        extension: Some("wav".into()),
        media_type: None,
        prompt: None,
        keywords: Vec::new(),
        temperature: None,
        translate: false,
        channel: None,
        self_test: true,
        vad: false,
        max_audio: Duration::from_secs(10),
        fault: None,
    };
    (request, transcribe::noise())
}
