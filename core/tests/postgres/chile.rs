//! As much of ChileCompra as counts requests.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A server that has no tender at all and remembers who asked when.
pub(crate) struct Chile {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The first number of the code that was asked for: the replica's name.
    pub(crate) who: String,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
}

#[derive(Default)]
struct State {
    takes: Duration,
    begun: usize,
    in_flight: usize,
    most_in_flight: usize,
    seen: Vec<Seen>,
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chile {
    /// A server that takes so long for each answer. It ends with the process.
    pub(crate) fn start(takes: Duration) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State { takes, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Ok(Self { address, state })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn answers_after(&self, takes: Duration) {
        locked(&self.state).takes = takes;
    }

    /// How many requests have arrived.
    pub(crate) fn begun(&self) -> usize {
        locked(&self.state).begun
    }

    /// The requests that were answered, in that order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        locked(&self.state).seen.clone()
    }

    pub(crate) fn most_in_flight(&self) -> usize {
        locked(&self.state).most_in_flight
    }
}

/// Answers the requests of one connection. One whose caller is gone is no longer in flight.
fn serve(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone().ok()?), stream);
    loop {
        let (mut request, mut line) = (String::new(), String::new());
        reader.read_line(&mut request).ok().filter(|length| *length > 0)?;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        }
        let code = request.split("codigo=").nth(1).unwrap_or_default();
        let who = code.split('-').next().unwrap_or_default().to_owned();
        let begun = Instant::now();
        let takes = {
            let mut state = locked(state);
            state.begun += 1;
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            state.takes
        };
        let patience = Instant::now() + takes;
        let gone = wait(&writer, patience);
        {
            let mut state = locked(state);
            state.in_flight -= 1;
            state.seen.extend((!gone).then(|| Seen { who, begun, ended: Instant::now() }));
        }
        if gone {
            return None;
        }
        let body = "{\"Cantidad\":0,\"Listado\":[]}";
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
        write!(writer, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    }
}

/// Waits until then, or until the other end is closed. Whether it was.
fn wait(stream: &TcpStream, until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now()).min(Duration::from_millis(20));
        if left.is_zero() {
            return false;
        }
        let gone = stream.set_read_timeout(Some(left)).is_ok() && matches!(stream.peek(&mut [0]), Ok(0));
        drop(stream.set_read_timeout(None));
        if gone {
            return true;
        }
    }
}
