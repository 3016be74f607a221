//! A job's work: take a request, decode, transcribe, report, then wait for the next request or for
//! dismissal.

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

/// Run as a zygote whose jobs transcribe.
///
/// # Errors
/// See [`zygote::run`].
pub fn zygote_main() -> std::io::Result<()> {
    #[cfg(feature = "fault-engine")]
    engine::fault::escape::look_around();
    zygote::run(Transcribing::new)
}

/// The work of jobs: transcription.
struct Transcribing {
    /// The request for rehearsals: that of the self-test.
    request: JobRequest,
    recording: Arc<File>,
}

impl Transcribing {
    fn new() -> io::Result<Self> {
        let (request, noise) = self_test(0);
        Ok(Self {
            request,
            // Sealed, because the model that is loaded next to it may be hostile.
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
        // Rehearse with the null engine, because the real one is untrusted, and discard the result.
        let recording = self.recording.clone();
        let _ = transcribe(&mut Null, &self.request, recording, &mut Unheard);
    }

    fn serve(&self, engine: &mut Self::Model, channel: &'static JobChannel) {
        serve(engine.as_mut(), channel);
    }
}

/// Discards every report of a rehearsal.
struct Unheard;

impl Report for Unheard {
    fn progress(&mut self, _: Duration) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn segment(&mut self, _: Segment) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Number of the current request, for the panic hook.
static REQUEST: AtomicU64 = AtomicU64::new(0);

/// Serve one request after the other. In mode `process` there is only one: the supervisor hangs up
/// after it. If a message cannot be sent or received, the supervisor is gone and the job ends.
fn serve(engine: &mut dyn Engine, channel: &'static JobChannel) {
    blame_the_recording(channel);
    if channel.send(&FromJob::Ready, &[]).is_err() {
        return;
    }
    #[cfg(feature = "fault-engine")]
    let mut afterwards = fault::Afterwards::Behave;
    let mut is_first = true;
    // A job that exits right after its answer delays it: the supervisor would be woken on this CPU,
    // behind the teardown of this process's memory. So wait until it hangs up.
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

/// The request that tests a model: a moment of faint noise, which every engine must accept. The
/// noise is not speech, but the engine must get it, so voice detection is off.
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
