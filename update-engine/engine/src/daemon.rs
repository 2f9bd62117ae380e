//! `update-engine`: starts the engine, its worker and the threads that hear clients. Acts.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use ferrite_notify::Notifier;

use crate::engine::{Engine, Message};
use crate::host::Host;
use crate::places::Places;
use crate::protocol::{LINE_BYTES_MAX, Reply, Request};
use crate::worker::Worker;

/// Clients at a time.
const CLIENTS_MAX: usize = 32;
/// A client that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Look for updates, install them into the slot that does not run, restart
#[derive(Debug, Parser)]
#[command(name = "update-engine", version, max_term_width = 80)]
pub struct Arguments {
    /// Folder that stands for the root of the machine
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Note the progress of an install after so many bytes
    #[arg(long, value_name = "BYTES", hide = true)]
    note_bytes: Option<u64>,
}

/// Runs until the machine ends.
pub fn run(arguments: &Arguments, notifier: &Notifier) -> anyhow::Result<()> {
    let places = Places::below(&arguments.root);
    let state = places.state("");
    fs::create_dir_all(&state).with_context(|| format!("creating '{}'", state.display()))?;
    let (to_engine, messages) = channel();
    let (to_worker, jobs) = channel();
    let cancel = Arc::new(AtomicBool::new(false));
    let machine_id = Host::gather(&places)?.map(|host| host.id).unwrap_or_default();
    let worker = Worker {
        places: places.clone(),
        machine_id,
        note_bytes: arguments.note_bytes,
        cancel: cancel.clone(),
        engine: to_engine.clone(),
    };
    std::thread::Builder::new().name("worker".into()).spawn(move || worker.run(&jobs)).context("starting a thread")?;
    let engine = Engine::new(places.clone(), to_worker, cancel)?;
    let listener = listen(&places)?;
    let off = engine.why_off();
    let text = off.map_or("waiting for updates", |off| off.text());
    println!("{text}");
    notifier.ready(text).context("telling PID 1 that the engine is ready")?;
    std::thread::Builder::new()
        .name("listener".into())
        .spawn(move || accept(&listener, &to_engine))
        .context("starting a thread")?;
    engine.run(&messages)
}

fn listen(places: &Places) -> anyhow::Result<UnixListener> {
    let path = places.socket();
    let listening = || format!("listening on '{}'", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(listening)?;
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(listening),
        _ => {}
    }
    let listener = UnixListener::bind(&path).with_context(listening)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).with_context(listening)?;
    Ok(listener)
}

fn accept(listener: &UnixListener, engine: &Sender<Message>) {
    let clients = Arc::new(AtomicUsize::new(0));
    for client in listener.incoming().flatten() {
        if clients.load(Ordering::Relaxed) >= CLIENTS_MAX {
            // Whoever fills the socket waits for others to go.
            continue;
        }
        clients.fetch_add(1, Ordering::Relaxed);
        let (count, engine) = (clients.clone(), engine.clone());
        let hear = move || {
            if let Err(error) = hear(&client, &engine) {
                eprintln!("a client: {error:#}, closing its connection");
            }
            count.fetch_sub(1, Ordering::Relaxed);
        };
        if std::thread::Builder::new().stack_size(256 * 1024).spawn(hear).is_err() {
            clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn hear(client: &UnixStream, engine: &Sender<Message>) -> anyhow::Result<()> {
    client.set_read_timeout(Some(SILENCE)).context("setting a deadline")?;
    client.set_write_timeout(Some(SILENCE)).context("setting a deadline")?;
    let peer = rustix::net::sockopt::socket_peercred(client).context("asking who it is")?;
    let mut reader = BufReader::new(client);
    let mut writer = client;
    loop {
        let mut line = String::new();
        match (&mut reader).take(LINE_BYTES_MAX).read_line(&mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return Ok(());
            }
            Err(error) => return Err(error).context("reading"),
        }
        let reply = match serde_json::from_str::<Request>(&line) {
            Err(error) => Reply::Refused(format!("this is no request: {error}")),
            Ok(request) if !request.is_read_only() && !may_change(peer.uid) => {
                Reply::Refused("only root may change something: use sudo".into())
            }
            Ok(request) => {
                let (sender, answer) = channel();
                engine.send(Message::Asked(request, sender)).ok().context("the engine has ended")?;
                answer.recv().context("the engine has ended")?
            }
        };
        let mut text = serde_json::to_vec(&reply).context("writing the answer")?;
        text.push(b'\n');
        if writer.write_all(&text).is_err() {
            // It did not wait for the answer.
            return Ok(());
        }
    }
}

/// Root, and whoever runs the engine.
fn may_change(uid: rustix::process::Uid) -> bool {
    uid.is_root() || uid == rustix::process::geteuid()
}
