//! The sockets on which clients come over TCP, and what the journal says of them: with which proof
//! clients are served there.

use std::net::SocketAddr;

use crate::{api::Listener, config::Config};

use super::sockets::Sockets;

/// The addresses of the TCP sockets.
#[derive(Debug)]
pub(super) struct Network {
    http: Vec<SocketAddr>,
    wyoming: Vec<SocketAddr>,
}

/// A sentence for the journal.
#[derive(Debug, PartialEq, Eq)]
struct Remark {
    /// Whether the administrator probably wanted something else.
    is_warning: bool,
    text: String,
}

impl Network {
    pub(super) fn of(sockets: &Sockets) -> Self {
        let addresses = |listeners: &[Listener]| {
            let addresses = listeners.iter().filter_map(Listener::tcp_address);
            addresses.collect()
        };
        Self {
            http: addresses(&sockets.http),
            wyoming: addresses(&sockets.wyoming),
        }
    }

    /// Tell who is served under `config`; after a reload only if that was another under `old`.
    pub(super) fn tell(&self, config: &Config, old: Option<&Config>) {
        let remarks = |config: &Config| {
            let access = &config.clients;
            self.remarks(access.keys(), access.wyoming_network())
        };
        let told = old.map(remarks).unwrap_or_default();
        for remark in remarks(config)
            .iter()
            .filter(|remark| !told.contains(remark))
        {
            match remark.is_warning {
                true => tracing::warn!("{}", remark.text),
                false => tracing::info!("{}", remark.text),
            }
        }
    }

    /// All sentences, if there are this many `keys`, or none is asked for.
    fn remarks(&self, keys: Option<usize>, wyoming_network: bool) -> Vec<Remark> {
        let http = self.http.iter().map(|address| {
            let is_local = address.ip().to_canonical().is_loopback();
            let (is_warning, who) = match (keys, is_local) {
                (Some(0), _) => (true, "nobody is served, because no key is known (clients.keys)".into()),
                (Some(count), _) => (false, format!("clients are served who show one of {count} keys")),
                (None, true) => (false, "every program of this machine is served, without a key".into()),
                (None, false) => (
                    true,
                    "only this machine is served, because there are no keys for others (clients.keys)".into(),
                ),
            };
            Remark { is_warning, text: format!("on TCP {address}, {who}") }
        });
        let wyoming = self.wyoming.iter().map(|address| {
            let is_local = address.ip().to_canonical().is_loopback();
            let (is_warning, who) = match (is_local, wyoming_network) {
                (true, _) => (false, "with every program of this machine"),
                (false, true) => (
                    false,
                    "with everybody who can connect (clients.wyoming_network)",
                ),
                (false, false) => (
                    true,
                    "only with this machine: Wyoming knows no keys (clients.wyoming_network)",
                ),
            };
            Remark {
                is_warning,
                text: format!("on TCP {address}, Wyoming is spoken {who}"),
            }
        });
        http.chain(wyoming).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_says_who_is_turned_away() {
        let local: SocketAddr = "127.0.0.1:8088".parse().unwrap();
        let open: SocketAddr = "[::]:8088".parse().unwrap();
        let network = Network {
            http: vec![local, open],
            wyoming: vec![local, open],
        };
        let warnings = |keys, wyoming| -> Vec<bool> {
            let remarks = network.remarks(keys, wyoming);
            remarks.iter().map(|remark| remark.is_warning).collect()
        };
        assert_eq!(warnings(None, false), [false, true, false, true]);
        assert_eq!(warnings(Some(2), true), [false, false, false, false]);
        assert_eq!(warnings(Some(0), true), [true, true, false, false]);
        let text = &network.remarks(Some(2), true)[1].text;
        assert_eq!(
            text,
            "on TCP [::]:8088, clients are served who show one of 2 keys"
        );
    }
}
