//! To the network, and to any other process that listens.

use nix::errno::Errno;

use super::{Attempt, CHANNEL, Verdict, at, judge, judge_with, out, sys};

pub(super) const ATTEMPTS: &[Attempt] = &[
    Attempt::new("escape-socket-unix-stream", "socket", |_| {
        socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)
    }),
    Attempt::new("escape-socket-unix-datagram", "socket", |_| {
        socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)
    }),
    Attempt::new("escape-socket-tcp", "socket", |_| {
        socket(libc::AF_INET, libc::SOCK_STREAM, 0)
    }),
    Attempt::new("escape-socket-udp", "socket", |_| {
        socket(libc::AF_INET, libc::SOCK_DGRAM, 0)
    }),
    Attempt::new("escape-socket-raw", "socket", |_| {
        socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)
    }),
    Attempt::new("escape-socket-tcp6", "socket", |_| {
        socket(libc::AF_INET6, libc::SOCK_STREAM, 0)
    }),
    Attempt::new("escape-socket-udp6", "socket", |_| {
        socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)
    }),
    Attempt::new("escape-socket-netlink", "socket", |_| {
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
    }),
    Attempt::new("escape-socket-packet", "socket", |_| {
        socket(libc::AF_PACKET, libc::SOCK_RAW, 0)
    }),
    Attempt::new("escape-socket-vsock", "socket", |_| {
        socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)
    }),
    Attempt::new("escape-socket-alg", "socket", |_| {
        socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)
    }),
    Attempt::new("escape-socket-can", "socket", |_| {
        socket(libc::AF_CAN, libc::SOCK_RAW, 1)
    }),
    Attempt::new("escape-socket-bluetooth", "socket", |_| {
        socket(libc::AF_BLUETOOTH, libc::SOCK_RAW, 1)
    }),
    Attempt::new("escape-socketpair", "socketpair", |_| {
        let mut ends = [0_i32; 2];
        let stream = libc::SOCK_STREAM as usize;
        let arguments = [libc::AF_UNIX as usize, stream, 0, out(&mut ends)];
        judge(sys(libc::SYS_socketpair, arguments))
    }),
    // The one socket that a job has is connected already: where these pass, they fail or change
    // nothing for others.
    Attempt::new("escape-connect", "connect", |_| {
        let address = address(b"/run/stt-isolated/fault-engine-none");
        let arguments = [CHANNEL, at(&address), size_of_val(&address)];
        judge(sys(libc::SYS_connect, arguments))
    }),
    // To a port that nobody gave it, where nobody listens: whoever is let through is told so.
    Attempt::new("escape-connect-tcp", "socket", |_| {
        let kind = libc::SOCK_STREAM as usize;
        let socket = match sys(libc::SYS_socket, [libc::AF_INET as usize, kind, 0]) {
            Ok(socket) => socket,
            Err(errno) => return judge_with(Err(errno), &[Errno::EAFNOSUPPORT]),
        };
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: 1_u16.to_be(),
            sin_addr: libc::in_addr {
                s_addr: libc::INADDR_LOOPBACK.to_be(),
            },
            sin_zero: [0; 8],
        };
        let arguments = [socket, at(&address), size_of_val(&address)];
        judge(sys(libc::SYS_connect, arguments))
    }),
    Attempt::new("escape-bind", "bind", |_| {
        // Without a name the kernel invents an abstract one.
        let family = libc::AF_UNIX as u16;
        let arguments = [CHANNEL, at(&family), size_of_val(&family)];
        judge(sys(libc::SYS_bind, arguments))
    }),
    Attempt::new("escape-listen", "listen", |_| {
        judge(sys(libc::SYS_listen, [CHANNEL, 1]))
    }),
    Attempt::new("escape-accept", "accept4", |_| {
        judge(sys(libc::SYS_accept4, [CHANNEL, 0, 0, 0]))
    }),
    Attempt::new("escape-setsockopt", "setsockopt", |_| {
        // As much of the kernel's memory as it gives, held by messages.
        let size = i32::MAX;
        let level = libc::SOL_SOCKET as usize;
        let option = libc::SO_SNDBUFFORCE as usize;
        let arguments = [CHANNEL, level, option, at(&size), size_of_val(&size)];
        // The option exists: it is a filter that says otherwise.
        judge_with(sys(libc::SYS_setsockopt, arguments), &[Errno::ENOPROTOOPT])
    }),
    Attempt::new("escape-message-queue", "mq_open", |_| {
        // Looks for a queue and makes none.
        let name = super::path(c"stt-isolated-fault-engine-none");
        judge(sys(libc::SYS_mq_open, [name, libc::O_RDWR as usize, 0, 0]))
    }),
    Attempt::new("escape-sysv-messages", "msgget", |_| {
        judge(sys(libc::SYS_msgget, [0x5354_5432, 0]))
    }),
    Attempt::new("escape-sysv-semaphores", "semget", |_| {
        judge(sys(libc::SYS_semget, [0x5354_5433, 1, 0]))
    }),
];

/// EAFNOSUPPORT is the refusal of `RestrictAddressFamilies=`, and of a kernel without that family;
/// the other two are of a kernel that knows the family only by name.
fn socket(family: i32, kind: i32, protocol: i32) -> Verdict {
    let arguments = [family as usize, kind as usize, protocol as usize];
    judge_with(
        sys(libc::SYS_socket, arguments),
        &[
            Errno::EAFNOSUPPORT,
            Errno::EPROTONOSUPPORT,
            Errno::ESOCKTNOSUPPORT,
        ],
    )
}

/// An address as `struct sockaddr_un`.
fn address(name: &[u8]) -> libc::sockaddr_un {
    let mut address = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as u16,
        sun_path: [0; 108],
    };
    for (to, from) in address.sun_path.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    address
}
