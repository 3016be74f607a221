//! A server of files that misbehaves as a test wants it to.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method and target, as in `GET /a`.
    pub line: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The first byte that is wanted.
    pub fn start(&self) -> usize {
        let range = self.header("range");
        let range = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        range.map_or(0, |start| start.parse().unwrap())
    }
}

/// Gives an answer to a request, of which so many came before it.
type Answer = dyn Fn(usize, &Request, &mut dyn Connection) -> io::Result<()> + Send + Sync;

/// A way to the client.
pub trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

/// A server on this machine; its connections end when it is dropped.
pub struct Server {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    requests: Mutex<Vec<Request>>,
    /// Whether connections that wait shall go on.
    released: Mutex<bool>,
    release: Condvar,
    answer: Box<Answer>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Server {
    pub fn new(
        answer: impl Fn(usize, &Request, &mut dyn Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Server {
        Server::start(None, Box::new(answer))
    }

    /// A server that speaks TLS.
    pub fn tls(
        config: Arc<rustls::ServerConfig>,
        answer: impl Fn(usize, &Request, &mut dyn Connection) -> io::Result<()> + Send + Sync + 'static,
    ) -> Server {
        Server::start(Some(config), Box::new(answer))
    }

    /// A server of this file that supports parts, with its tag.
    pub fn of(file: Vec<u8>) -> Server {
        Server::new(move |_, request, out| whole(&file, "\"one\"", request, out))
    }

    fn start(tls: Option<Arc<rustls::ServerConfig>>, answer: Box<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            requests: Mutex::default(),
            released: Mutex::new(false),
            release: Condvar::new(),
            answer,
            tls,
        });
        let shared = state.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                if *shared.released.lock().unwrap() {
                    return;
                }
                let (connection, shared) = (connection.unwrap(), shared.clone());
                thread::spawn(move || shared.serve(connection));
            }
        });
        Server { port, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The first byte that each request wanted.
    pub fn starts(&self) -> Vec<usize> {
        self.requests().iter().map(Request::start).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        *self.state.released.lock().unwrap() = true;
        self.state.release.notify_all();
        // Its listener looks at that.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    fn serve(&self, connection: TcpStream) {
        let other = connection.try_clone().unwrap();
        match &self.tls {
            None => self.talk(connection),
            Some(config) => {
                let tls = rustls::ServerConnection::new(config.clone()).unwrap();
                self.talk(rustls::StreamOwned::new(tls, connection));
            }
        }
        let _ = other.shutdown(Shutdown::Both);
    }

    /// One request and its answer; then the connection ends.
    fn talk(&self, mut connection: impl Connection) {
        let Some(request) = read(&mut connection) else {
            return;
        };
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        // A client that has gone away is none of the server's business.
        match (self.answer)(number, &request, &mut connection) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let released = self.released.lock().unwrap();
                drop(self.release.wait_while(released, |released| !*released));
            }
            _ => {}
        }
    }
}

/// Tells the server to keep this connection open without another word.
pub fn hang() -> io::Result<()> {
    Err(io::ErrorKind::WouldBlock.into())
}

fn read(connection: &mut impl Connection) -> Option<Request> {
    let mut lines = BufReader::with_capacity(1, connection).lines();
    let line = lines.next()?.ok()?;
    let line = line.trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.push((name.to_owned(), value.to_owned()));
    }
    Some(Request { line, headers })
}

/// An answer without a body.
pub fn head(out: &mut dyn Connection, status: &str, headers: &str) -> io::Result<()> {
    write!(
        out,
        "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n"
    )
}

/// The file, or the part of it that is wanted and fits the tag.
pub fn whole(
    file: &[u8],
    tag: &str,
    request: &Request,
    out: &mut dyn Connection,
) -> io::Result<()> {
    let start = begin(file, tag, request, out)?;
    out.write_all(&file[start..])?;
    out.flush()
}

/// The head of that answer; gives the first byte that is to follow.
pub fn begin(
    file: &[u8],
    tag: &str,
    request: &Request,
    out: &mut dyn Connection,
) -> io::Result<usize> {
    let fits = request
        .header("if-range")
        .is_none_or(|wanted| wanted == tag);
    let start = if fits { request.start() } else { 0 };
    let length = file.len() - start;
    let mut headers = format!("ETag: {tag}\r\nContent-Length: {length}\r\n");
    if start == 0 {
        head(out, "200 OK", &headers)?;
    } else {
        headers += &format!(
            "Content-Range: bytes {start}-{}/{}\r\n",
            file.len() - 1,
            file.len()
        );
        head(out, "206 Partial Content", &headers)?;
    }
    Ok(start)
}
