//! The listening sockets passed by systemd, distinguished by name.

use listenfd::ListenFd;

use super::error::ServeError;
use crate::api::Listener;

/// The sockets by their protocol.
#[derive(Debug)]
pub(super) struct Sockets {
    /// Sockets named `http` (`FileDescriptorName=`): OpenAI's API.
    pub(super) http: Vec<Listener>,
    /// Sockets named `wyoming`: the protocol of Home Assistant.
    pub(super) wyoming: Vec<Listener>,
    /// Sockets named `vosk`: the protocol of Vosk's server.
    pub(super) vosk: Vec<Listener>,
}

impl Sockets {
    /// Take the passed sockets (`LISTEN_FDS`, `LISTEN_FDNAMES`; sd_listen_fds(3)).
    ///
    /// A socket without a name serves HTTP (`systemd-socket-activate` gives "unknown", a socket
    /// unit its own name). An unknown name is refused, because it is a mistake in a unit.
    pub(super) fn take() -> Result<Self, ServeError> {
        // listenfd reads the number and the names, and forgets the names, so keep them first.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').filter(|name| !name.is_empty()).collect();
        let mut passed = ListenFd::from_env();
        let mut sockets = Self {
            http: Vec::new(),
            wyoming: Vec::new(),
            vosk: Vec::new(),
        };
        for index in 0..passed.len() {
            let name = names.get(index).copied().unwrap_or("unknown");
            let unusable = |reason: String| ServeError::Socket {
                name: name.to_owned(),
                reason,
            };
            let of_its_kind = match name {
                "http" | "unknown" | "stt-isolated.socket" | "connection" => &mut sockets.http,
                "wyoming" | "stt-isolated-wyoming.socket" => &mut sockets.wyoming,
                "vosk" | "stt-isolated-vosk.socket" => &mut sockets.vosk,
                _ => {
                    let reason = "its name must be `http`, `wyoming` or `vosk` (FileDescriptorName= \
                                  of the socket unit)";
                    return Err(unusable(reason.into()));
                }
            };
            // If the family does not fit, listenfd leaves the socket in place. It also checks that
            // it is a stream socket.
            let listener = match passed.take_unix_listener(index) {
                Ok(Some(socket)) => Listener::from_unix(socket),
                _ => match passed.take_tcp_listener(index) {
                    Ok(Some(socket)) => Listener::from_tcp(socket),
                    _ => return Err(unusable("it is no Unix or TCP stream socket".into())),
                },
            };
            of_its_kind.push(listener.map_err(|error| unusable(error.to_string()))?);
        }
        let all = [&sockets.http, &sockets.wyoming, &sockets.vosk];
        if all.iter().all(|listeners| listeners.is_empty()) {
            return Err(ServeError::NoSocket);
        }
        Ok(sockets)
    }
}
