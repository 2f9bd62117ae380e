//! How long a manager does not answer: a question is put again and again while something else goes on.
//!
//! This program itself asks, in the namespaces of the manager: systemd hears nobody from outside of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use ferrite_control::{Client, Request};

use super::kind::Kind;
use super::place::Place;

/// Where this program lies in the namespaces.
pub(crate) const PROGRAM: &str = "bench/ferrite-bench";
/// Between an answer and the next question.
const PAUSE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(60);
/// So long the first answer is waited for before the question is put again.
const WAKE: Duration = Duration::from_millis(100);
/// Kinds of messages of the bus.
const CALL: u8 = 1;
const ANSWER: u8 = 2;
const FAULT: u8 = 3;
/// Bytes of a message of the bus that are accepted.
const MESSAGE_MAX: usize = 1 << 20;

/// Whom to ask.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The manager
    kind: String,
    /// Its socket
    socket: PathBuf,
}

/// A connection to a manager.
enum Asker {
    Ferrite(Client),
    Systemd(UnixStream),
}

impl Asker {
    fn connect(kind: &str, path: &Path) -> anyhow::Result<Asker> {
        let place = || format!("connecting to '{}'", path.display());
        if kind == Kind::Ferrite.name() {
            return Ok(Asker::Ferrite(Client::connect(path).with_context(place)?));
        }
        ensure!(kind == Kind::Systemd.name(), "'{kind}' answers nobody");
        let stream = UnixStream::connect(path).with_context(place)?;
        authenticate(&stream).and_then(|()| wake(&stream)).with_context(place)?;
        Ok(Asker::Systemd(stream))
    }

    fn ask(&mut self) -> anyhow::Result<()> {
        match self {
            Asker::Ferrite(client) => client.ask(&Request::GetDefault).map(drop).context("asking Ferrite"),
            Asker::Systemd(stream) => ping(stream).and_then(|()| pong(stream)).context("asking systemd"),
        }
    }
}

/// Inside: asks until the end of the input, then prints the longest time without an answer in microseconds.
pub(crate) fn ask(arguments: &Arguments) -> anyhow::Result<()> {
    let mut asker = Asker::connect(&arguments.kind, &arguments.socket)?;
    asker.ask()?;
    println!("asking");
    let (sender, over) = channel();
    std::thread::spawn(move || {
        // However the input ends, it is over.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = sender.send(());
    });
    let mut longest = Duration::ZERO;
    while over.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        let began = Instant::now();
        asker.ask()?;
        longest = longest.max(began.elapsed());
    }
    println!("{}", longest.as_micros());
    Ok(())
}

/// Questions under way.
pub(crate) struct Asking {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Asking {
    /// Begins to ask a manager; `None` for those that answer nobody.
    pub(crate) fn begin(kind: Kind, place: &Place) -> anyhow::Result<Option<Asking>> {
        match kind {
            Kind::Ferrite | Kind::Systemd => {}
            Kind::S6 | Kind::Runit | Kind::Shell => return Ok(None),
        }
        let command = format!("exec /{PROGRAM} ask {} /{}", kind.name(), kind.ready_file());
        let mut words = place.command(&command);
        let mut child = words.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting nsenter")?;
        let Some(output) = child.stdout.take() else { bail!("nsenter has no output") };
        let mut asking = Asking { child, output: BufReader::new(output) };
        asking.line().with_context(|| format!("{} does not answer", kind.name()))?;
        Ok(Some(asking))
    }

    /// Stops, and tells the longest time between a question and its answer.
    pub(crate) fn end(mut self) -> anyhow::Result<Duration> {
        drop(self.child.stdin.take());
        let longest = self.line()?.trim().parse().context("reading the longest time without an answer")?;
        self.child.wait().context("waiting for the end of the questions")?;
        Ok(Duration::from_micros(longest))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "the questions broke off");
        Ok(line)
    }
}

/// The conversation that precedes messages of D-Bus: root says that it is root.
fn authenticate(mut stream: &UnixStream) -> anyhow::Result<()> {
    stream.write_all(b"\0AUTH EXTERNAL 30\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    ensure!(answer.starts_with(b"OK "), "refused: {}", String::from_utf8_lossy(&answer).trim_end());
    stream.write_all(b"BEGIN\r\n")?;
    Ok(())
}

/// What comes in one piece with the end of that conversation is answered when the next piece comes.
fn wake(stream: &UnixStream) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(WAKE))?;
    let deadline = Instant::now() + PATIENCE;
    let mut open = 1_usize;
    ping(stream)?;
    while let Err(error) = rustix::net::recv(stream, &mut [0_u8], rustix::net::RecvFlags::PEEK) {
        ensure!(error == rustix::io::Errno::AGAIN && Instant::now() < deadline, "no answer: {error}");
        ping(stream)?;
        open += 1;
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    (0..open).try_for_each(|_| pong(stream))
}

/// Calls `org.freedesktop.DBus.Peer.Ping`.
fn ping(mut stream: &UnixStream) -> anyhow::Result<()> {
    let mut fields = Vec::new();
    for (code, kind, value) in
        [(1, b'o', "/org/freedesktop/systemd1"), (2, b's', "org.freedesktop.DBus.Peer"), (3, b's', "Ping")]
    {
        fields.resize(usize::next_multiple_of(fields.len(), 8), 0);
        fields.extend([code, 1, kind, 0]);
        fields.extend((value.len() as u32).to_le_bytes());
        fields.extend(value.as_bytes());
        fields.push(0);
    }
    // Byte order, kind, flags, version; length of the body, serial number, length of the fields.
    let mut message = vec![b'l', CALL, 0, 1];
    for number in [0, 1, fields.len() as u32] {
        message.extend(number.to_le_bytes());
    }
    message.extend(fields);
    message.resize(message.len().next_multiple_of(8), 0);
    Ok(stream.write_all(&message)?)
}

/// Waits for an answer; signals that come before it are passed over.
fn pong(mut stream: &UnixStream) -> anyhow::Result<()> {
    loop {
        let mut head = [0; 16];
        stream.read_exact(&mut head)?;
        let [_, kind, _, _, b0, b1, b2, b3, _, _, _, _, f0, f1, f2, f3] = head;
        let fields = u32::from_le_bytes([f0, f1, f2, f3]) as usize;
        let rest = fields.saturating_add(7) / 8 * 8 + u32::from_le_bytes([b0, b1, b2, b3]) as usize;
        ensure!(rest <= MESSAGE_MAX, "a message of {rest} bytes");
        stream.read_exact(&mut vec![0; rest])?;
        if [ANSWER, FAULT].contains(&kind) {
            return Ok(());
        }
    }
}
