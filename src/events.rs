//! The kinds of events in the journal. Each is a `MESSAGE_ID=`, explained in
//! packaging/journal/stt-isolated.catalog. An event belongs to a kind if its target is the kind.

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $id:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $id;)*

        /// All kinds, each with its name in this file.
        pub const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

events! {
    /// A request ended with its transcript.
    REQUEST_OK = "4091c52c16654579be68180f4fa17863";
    /// A request failed because of its recording, or as its engine's library reported.
    REQUEST_FAILED = "7fc5df646b624662b6abc8c63be8bded";
    /// A request's job needed more memory than its limit.
    REQUEST_MEMORY_LIMIT = "5b2193f1091b49bcbf9d0391c642dde2";
    /// A request's job ended without an answer.
    REQUEST_CRASHED = "fa0adcd9ff1e46cf9ab41d9007341333";
    /// A request's job broke the protocol or left its sandbox.
    REQUEST_MISBEHAVED = "cb6ea5c0f6774a2ca531fe1b4713d90d";
    /// A request's job exceeded a time limit.
    REQUEST_TIMEOUT = "28fb136636e0470e88929e2161c2997c";
    /// A request's client disconnected, or the service stopped.
    REQUEST_CANCELLED = "92c95cfad5a8428c83ec51b71b4c50a4";
    /// A request was refused before it had a job.
    REQUEST_REFUSED = "0c6595d1048c42258d938f0ed10bb965";
    /// A session of live audio ended.
    SESSION_ENDED = "d0a3c5f4b1e84c0b9c1f6a7e52d8930e";
    /// A model has passed its self-test.
    MODEL_READY = "94532f3c1ee24de4b59a412bc723c94e";
    /// A model cannot be started.
    MODEL_FAILED = "522e1898875d44d281ef93283a536c8f";
    /// A model was removed by a reload.
    MODEL_REMOVED = "89f5e75d3cd045b581e0c7829088c1ef";
    /// A ready zygote ended or did not answer any more.
    ZYGOTE_LOST = "9d3f4570d0114252b9b31608e03364e2";
    /// A fresh zygote has replaced another one.
    ZYGOTE_REPLACED = "2a00e64b2700470f81f546c2ece8f854";
    /// A fresh zygote cannot be started; the old one stays.
    REPLACEMENT_FAILED = "25e87c23ded441a5873f28172b0ab606";
    /// A zygote cannot fork a job.
    FORK_FAILED = "5f5f3fa31e1d474585ac924a0065ed47";
    /// A job failed before it had read its request.
    SPARE_DIED = "3d939afd101145a186a6aa93e0de8135";
    /// A model's jobs crash again and again, so it is paused.
    BREAKER_OPENED = "076886f707434c1dbfcb712b1fe5d87d";
    /// A paused model serves again.
    BREAKER_CLOSED = "4701727ba68f43dead8e4db8bcbfc8f4";
    /// The jobs of one client's requests crash again and again, so only that client has to pause.
    CLIENT_PAUSED = "e1d05b3f77a64b27a3c5d9c08f6a41be";
    /// A model does not work any more, as a test request of the service has shown.
    CANARY_FAILED = "bb7f4bfb4725436f8ed0095e92aeeef4";
    /// All models were tried, and clients are served.
    SERVICE_READY = "2f199cdb33d5436db040787e2a9c442e";
    /// No new requests are accepted.
    SERVICE_STOPPING = "57340b2adffc4ff1baf15d7760d28fea";
    /// Requests wait that could run, but nothing happens.
    STALLED = "792a83ba98d745e4ab4d5b77f18a73c7";
    /// Another configuration is in force.
    SERVICE_RELOADED = "950ea520ba1b4ae08d9f137a42b8f5c8";
    /// Another configuration was refused because of a mistake in it.
    RELOAD_REFUSED = "0bf206575fd6467a9ffebfd7531688db";
    /// Memory is scarce, so spares were released.
    MEMORY_PRESSURE = "dadd48056abc4724908bd046dcd8d82c";
    /// Jobs run without memory limits.
    UNCONFINED = "fb4dd5b6cd314e87984689bc1d5a5a6e";
    /// A model's engine runs inside the service.
    MODE_THREAD = "7b6d2091d0184127967998f1b89100b1";
    /// The kernel cannot enforce every restriction.
    SANDBOX_PARTIAL = "08899c8f4d6b46368a5595c77ed2612f";
    /// A slot's cgroup cannot be cleared.
    SLOT_LOST = "c3f630ca439d439693ef8956a8391987";
}
