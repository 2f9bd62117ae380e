//! The engine: takes events, lets the schedule decide, carries its effects out. Acts.
//!
//! One thread owns all that is remembered; the worker and the clients' threads send it messages. When updates are not
//! possible it stays, says why to whoever asks, and does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use ferrite_control::{Client, Request as InitRequest, ShutdownAction};
use ferrite_layout::Slot;
use ferrite_payload::{Channel, KeySet};

use crate::change::Change;
use crate::check::News;
use crate::choose::{Choice, Offer};
use crate::config::{Config, Fault, Server};
use crate::host::{self, Host, Off};
use crate::lock::Taken;
use crate::people;
use crate::places::Places;
use crate::protocol::{Reply, Request};
use crate::schedule::{Circumstances, Effect, Event, Refusal, ReleaseName, State, Wish, Work, step};
use crate::store::{Seen, Staged, Store};
use crate::view;
use crate::worker::{Errand, Job, LookError, Looked};

/// A client that waits for a change is answered after so long anyway.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// The flags of a slot under test, and those who are logged in, are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Name of the memory.
pub const STORE: &str = "state.json";

/// Nobody is left to do anything.
#[derive(Debug, thiserror::Error)]
#[error("the worker of the engine has ended")]
struct WorkerGone;

/// What the engine hears.
pub enum Message {
    /// A client asks; it may wait at the other end.
    Asked(Request, Sender<Reply>),
    /// A look at the server ended.
    Looked(Result<Box<Looked>, LookError>),
    /// A payload was opened and is believed.
    Opened {
        /// Its serial.
        serial: u64,
        /// Its version.
        version: String,
        /// Its length.
        size_bytes: u64,
    },
    /// Bytes written, of so many.
    Progress(u64, u64),
    /// This is whole in its slot, whose flags change when the answer has come.
    Ready(Box<Staged>, Sender<Result<(), String>>),
    /// An install ended.
    Installed(anyhow::Result<Staged>),
    /// What came of asking for the lock.
    Lock(Taken),
    /// What came of giving it back.
    LockReleased(Result<(), String>),
}

/// All that the engine knows; `view` makes the status of it.
pub struct Engine {
    pub(crate) places: Places,
    pub(crate) host: Option<Host>,
    pub(crate) keys: Option<KeySet>,
    pub(crate) config: Config,
    pub(crate) faults: Vec<Fault>,
    pub(crate) store: Store,
    pub(crate) state: State,
    pub(crate) view: view::Remembered,
    offer: Option<Box<Offer>>,
    worker: Sender<Job>,
    cancel: Arc<AtomicBool>,
    waiting: Vec<(u64, Sender<Reply>, Instant)>,
    started: Instant,
    chance: u64,
    pub(crate) on_trial: bool,
    /// When to try again to give the lock back, in seconds since the start.
    pub(crate) lock_due: Option<u64>,
    /// What was written last for those who log in.
    pub(crate) announced: String,
}

impl Engine {
    /// Gathers what there is, and settles what became of the last install.
    pub fn new(places: Places, worker: Sender<Job>, cancel: Arc<AtomicBool>) -> anyhow::Result<Engine> {
        let host = Host::gather(&places)?;
        let (config, faults) = host::configuration(&places);
        for fault in &faults {
            eprintln!("{}: {}", fault.place, fault.text);
        }
        let store = Store::load(&places.state(STORE)).unwrap_or_else(|error| {
            // The floor is in the file: what is left of it would be a guess.
            eprintln!("{error:#}, beginning with an empty memory");
            Store::default()
        });
        let keys = host.as_ref().and_then(Host::keys);
        let chance = host.as_ref().map_or(1, |host| u64::from_le_bytes(first_bytes(&host.id)));
        let mut engine = Engine {
            state: State::new(None, 0, 0),
            view: view::Remembered::default(),
            places,
            host,
            keys,
            config,
            faults,
            store,
            offer: None,
            worker,
            cancel,
            waiting: Vec::new(),
            started: Instant::now(),
            chance,
            on_trial: false,
            lock_due: None,
            announced: String::new(),
        };
        engine.settle()?;
        let staged = engine.staged_name();
        engine.state = State::new(staged, 0, engine.next_chance());
        Ok(engine)
    }

    /// Works until the senders of messages are gone.
    pub fn run(mut self, messages: &Receiver<Message>) -> anyhow::Result<()> {
        loop {
            self.announce();
            self.answer_waiting();
            let done = match messages.recv_timeout(self.patience()) {
                Ok(message) => self.hear(message),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            if let Err(error) = done.and_then(|()| self.look_at_the_time()) {
                if error.is::<WorkerGone>() {
                    return Err(error);
                }
                // A state partition that is full, for example: whoever looks finds it in the status.
                eprintln!("{error:#}, going on");
                self.view.ended(Err(format!("{error:#}")));
                self.view.revision += 1;
            }
        }
    }

    /// Whoever asks often does not keep the engine from its work.
    fn look_at_the_time(&mut self) -> anyhow::Result<()> {
        self.notice_proof()?;
        if self.lock_due.is_some_and(|due| due <= self.now()) {
            self.give_lock_back()?;
        }
        let circumstances = self.circumstances();
        if self.state.wake_at(&circumstances) <= circumstances.now { self.event(&Event::Time) } else { Ok(()) }
    }

    fn hear(&mut self, message: Message) -> anyhow::Result<()> {
        match message {
            Message::Asked(request, reply) => {
                // Asking changes nothing by itself.
                return self.asked(&request, reply);
            }
            Message::Progress(done, all) => self.view.progress = (done, all),
            Message::Opened { serial, version, size_bytes } => {
                self.view.release = Some((ReleaseName { serial, version }, size_bytes));
            }
            Message::Looked(outcome) => self.looked(outcome)?,
            Message::Ready(staged, noted) => {
                self.store.staged = Some(*staged);
                // A worker that has gone installs nothing.
                let _ = noted.send(self.save().map_err(|error| format!("{error:#}")));
            }
            Message::Installed(Ok(staged)) => {
                println!("release {} (serial {}) is installed in slot {}", staged.version, staged.serial, staged.slot);
                let release = ReleaseName { serial: staged.serial, version: staged.version.clone() };
                self.view.ended(Ok(format!("{} was installed", release.version)));
                let slot = staged.slot;
                self.store.staged = Some(staged);
                match self.save() {
                    Ok(()) => self.event(&Event::Installed(release))?,
                    Err(error) => self.not_remembered(slot, &error)?,
                }
            }
            Message::Installed(Err(error)) => {
                eprintln!("installing: {error:#}, keeping the running release");
                self.view.ended(Err(format!("installing: {error:#}")));
                if let Err(error) = self.still_staged() {
                    eprintln!("{error:#}, going on");
                }
                let staged = self.staged_name();
                self.event(&Event::Failed(staged))?;
            }
            Message::Lock(Taken::Yes) => {
                self.view.held = None;
                self.keep_lock()?;
                self.event(&Event::LockTaken)?;
            }
            Message::Lock(Taken::No(reason)) => {
                eprintln!("the lock for the restart: {reason}, waiting");
                self.view.held = Some(format!("waiting for the lock: {reason}"));
                self.event(&Event::LockRefused)?;
            }
            Message::LockReleased(outcome) => self.lock_released(outcome)?,
        }
        self.view.revision += 1;
        Ok(())
    }

    fn looked(&mut self, outcome: Result<Box<Looked>, LookError>) -> anyhow::Result<()> {
        self.view.last_check = Some(host::clock());
        let looked = match outcome {
            Ok(looked) => *looked,
            Err(LookError { error, stale }) => {
                eprintln!("looking for updates: {error:#}");
                self.view.ended(Err(format!("looking for updates: {error:#}")));
                self.view.stale = stale;
                let staged = self.staged_name();
                return self.event(&Event::Failed(staged));
            }
        };
        (self.view.last_success, self.view.stale) = (self.view.last_check, false);
        let Looked { news, choice } = looked;
        if let Some(Err(error)) = news.map(|news| self.learn(news)) {
            eprintln!("looking for updates: {error:#}");
            self.view.ended(Err(format!("looking for updates: {error:#}")));
            let staged = self.staged_name();
            return self.event(&Event::Failed(staged));
        }
        let event = match choice {
            Choice::Take(offer) => {
                let release = ReleaseName { serial: offer.serial, version: offer.version.clone() };
                self.view.ended(Ok(format!("{} is there (serial {})", release.version, release.serial)));
                let size_bytes = offer.delta.as_ref().unwrap_or(&offer.full).size_bytes;
                self.view.release = Some((release.clone(), size_bytes));
                self.offer = Some(offer);
                Event::Offered(release)
            }
            choice => {
                self.view.release = None;
                self.view.ended(Ok(view::choice_text(&choice)));
                Event::NothingNew
            }
        };
        self.event(&event)?;
        // A block may be over by now.
        self.give_lock_back()
    }

    /// Remembers what a published directory said.
    fn learn(&mut self, news: News) -> anyhow::Result<()> {
        if let Some(host) = self.host.as_ref().filter(|_| !news.new_sets.is_empty()) {
            host.keep_keys(&news.new_sets)?;
            println!("key set {} is trusted now", news.keys.number());
            self.keys = Some(news.keys);
        }
        let Channel { number, issued, expires, ref channel, .. } = news.channel;
        let seen = Seen { number, issued, expires };
        if self.store.seen(channel) != seen {
            self.store.see(channel, seen);
            self.save()?;
        }
        Ok(())
    }

    fn asked(&mut self, request: &Request, reply: Sender<Reply>) -> anyhow::Result<()> {
        self.read_configuration();
        self.notice_proof()?;
        let event = match request {
            Request::Status { after } => {
                // No revision is that high: the answer comes at once.
                self.waiting.push((after.unwrap_or(u64::MAX), reply, Instant::now() + WAIT_MAX));
                return Ok(());
            }
            Request::SlotsChanged => {
                self.settle()?;
                self.answer(&reply, Reply::Done(view::done_text(request).to_string()));
                return Ok(());
            }
            Request::Unblock { serial } => {
                let done = view::unblocked_text(self.store.unblock(*serial), *serial);
                self.save()?;
                self.view.revision += 1;
                self.give_lock_back()?;
                self.answer(&reply, Reply::Done(done));
                return Ok(());
            }
            Request::Check => Event::Asked(Wish::Look),
            Request::Update => Event::Asked(Wish::Update),
            Request::Install { path } => Event::AskedFile(self.places.path(path)),
            Request::Reset => Event::AskedReset,
            Request::Rollback => Event::AskedRollback,
            Request::Reboot => Event::AskedReboot,
            Request::Defer { seconds } => Event::AskedDefer(*seconds),
        };
        let answer = match self.refusal(request) {
            Some(text) => Reply::Refused(text),
            None => match self.wanted(&event)? {
                Ok(()) => Reply::Done(view::done_text(request).to_string()),
                Err(refusal) => Reply::Refused(match (refusal, self.why_off()) {
                    (Refusal::Off, Some(off)) => off.text().to_string(),
                    (refusal, _) => refusal.to_string(),
                }),
            },
        };
        self.answer(&reply, answer);
        Ok(())
    }

    /// What the schedule does not know of.
    fn refusal(&self, request: &Request) -> Option<String> {
        match request {
            Request::Install { .. } => match self.why_off() {
                None | Some(Off::NoServer | Off::Disabled) => None,
                Some(off) => Some(off.text().to_string()),
            },
            Request::Status { .. }
            | Request::Check
            | Request::Update
            | Request::Reset
            | Request::Rollback
            | Request::Unblock { .. }
            | Request::Reboot
            | Request::Defer { .. }
            | Request::SlotsChanged => None,
        }
    }

    fn answer(&self, reply: &Sender<Reply>, answer: Reply) {
        // A client that has gone needs no answer.
        let _ = reply.send(answer);
    }

    /// Something happened that nobody asked for: it cannot be refused.
    pub(crate) fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        match self.wanted(event)? {
            Ok(()) => Ok(()),
            Err(refusal) => anyhow::bail!("the schedule refuses {event:?}: {refusal}"),
        }
    }

    /// One step of the schedule, and its effects.
    fn wanted(&mut self, event: &Event) -> anyhow::Result<Result<(), Refusal>> {
        let mut circumstances = self.circumstances();
        if matches!(event, Event::AskedFile(_)) {
            // A file needs no server.
            circumstances.enabled = true;
        }
        match step(&self.state, event, &circumstances) {
            Ok(Some((state, effects))) => {
                self.state = state;
                self.view.revision += 1;
                for effect in effects {
                    self.act(effect)?;
                }
                Ok(Ok(()))
            }
            Ok(None) => Ok(Ok(())),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    fn act(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Check => self.send(Job::Check)?,
            Effect::Install => {
                if let Some(offer) = self.offer.take() {
                    self.install(|errand| Job::Install(errand, offer))?;
                }
            }
            Effect::InstallFile(path) => {
                self.install(|errand| Job::InstallFile(errand, path))?;
            }
            Effect::Cancel => self.cancel.store(true, Ordering::Relaxed),
            Effect::Unstage => {
                if let Some(staged) = self.store.staged.take() {
                    self.save()?;
                    self.change_slots(&Change::GiveUp(staged.slot))?;
                }
            }
            Effect::RollBack => self.roll_back()?,
            Effect::TakeLock => self.take_lock()?,
            Effect::ReleaseLock => self.release_lock()?,
            Effect::TellPeople(seconds) => self.tell_people(seconds),
            Effect::Reboot => self.reboot()?,
        }
        Ok(())
    }

    fn install(&mut self, job: impl FnOnce(Errand) -> Job) -> anyhow::Result<()> {
        match self.give_way() {
            Ok(()) => self.send(job),
            Err(error) => {
                eprintln!("{error:#}, installing nothing");
                self.view.ended(Err(format!("{error:#}")));
                let staged = self.staged_name();
                self.event(&Event::Failed(staged))
            }
        }
    }

    fn send(&mut self, job: impl FnOnce(Errand) -> Job) -> anyhow::Result<()> {
        self.cancel.store(false, Ordering::Relaxed);
        (self.view.progress, self.view.error) = ((0, 0), None);
        let (Some(host), Some(keys)) = (&self.host, &self.keys) else { return Ok(()) };
        let errand = Errand {
            machine: host.machine(keys.product(), &self.store),
            seen: self.store.seen(&self.config.group),
            now: host.now(&self.store),
            config: self.config.clone(),
            keys: keys.clone(),
        };
        self.job(job(errand))
    }

    pub(crate) fn job(&self, job: Job) -> anyhow::Result<()> {
        self.worker.send(job).map_err(|_| WorkerGone.into())
    }

    fn reboot(&mut self) -> anyhow::Result<()> {
        println!("restarting the machine");
        let request = InitRequest::Shutdown { action: ShutdownAction::Reboot, force: 0, argument: None };
        let asked = Client::connect(&self.places.init_socket()).and_then(|mut client| client.ask(&request));
        if let Err(error) = asked {
            eprintln!("asking PID 1 for the restart: {error}, trying again");
            self.view.held = Some(format!("PID 1 did not take the order to restart: {error}"));
            self.event(&Event::RebootRefused)?;
        }
        Ok(())
    }

    pub(crate) fn running(&self) -> Option<Slot> {
        self.host.as_ref().map(|host| host.running)
    }

    pub(crate) fn save(&self) -> anyhow::Result<()> {
        self.store.save(&self.places.state(STORE))
    }

    fn read_configuration(&mut self) {
        let (config, faults) = host::configuration(&self.places);
        for fault in faults.iter().filter(|fault| !self.faults.contains(fault)) {
            eprintln!("{}: {}", fault.place, fault.text);
        }
        (self.config, self.faults) = (config, faults);
    }

    /// Why there are no updates.
    pub(crate) fn why_off(&self) -> Option<Off> {
        let Some(host) = &self.host else { return Some(Off::NoSlots) };
        match (&self.keys, &self.config.server) {
            _ if host.facts.state == ferrite_layout::facts::StateKind::Volatile => Some(Off::NoState),
            (None, _) => Some(Off::NoKeys),
            (Some(_), None) => Some(Off::NoServer),
            (Some(_), Some(Server::Disabled)) => Some(Off::Disabled),
            (Some(_), Some(Server::Web(_) | Server::Folder(_) | Server::Omaha { .. })) => None,
        }
    }

    /// Seconds since the engine started.
    pub(crate) fn now(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    pub(crate) fn circumstances(&self) -> Circumstances {
        let flags = host::snapshot(&self.places).flags;
        let good = |slot: Slot| flags.is_some_and(|flags| flags.flags(slot).good());
        let window = self.config.window.map(|window| window.wait(&host::zone(&self.places), host::clock()));
        Circumstances {
            now: self.now(),
            chance: (self.chance >> 16) as u32,
            enabled: self.why_off().is_none(),
            on_trial: self.running().is_some_and(|running| !good(running)),
            way_back: self.running().is_some_and(|running| good(running.other())),
            strategy: self.config.strategy,
            window_wait: window.unwrap_or(0),
            people: self.state.staged.is_some() && !people::terminals(&self.places).is_empty(),
        }
    }

    /// Machines are to differ, not to be unguessable.
    fn next_chance(&mut self) -> u32 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 16) as u32
    }

    fn patience(&mut self) -> Duration {
        self.next_chance();
        let wake = self.state.wake_at(&self.circumstances()).saturating_sub(self.now());
        let mut patience = Duration::from_secs(wake.clamp(1, 24 * 3600));
        if (self.on_trial || self.state.people_until.is_some()) && self.state.work == Work::Waiting {
            patience = patience.min(LOOK_AGAIN);
        }
        if let Some(due) = self.lock_due {
            patience = patience.min(Duration::from_secs(due.saturating_sub(self.now()).max(1)));
        }
        let now = Instant::now();
        let until = self.waiting.iter().map(|(_, _, until)| until.saturating_duration_since(now)).min();
        until.map_or(patience, |until| until.min(patience))
    }

    fn answer_waiting(&mut self) {
        let now = Instant::now();
        let due: Vec<_> = {
            let revision = self.view.revision;
            let (due, waiting) = std::mem::take(&mut self.waiting)
                .into_iter()
                .partition(|(after, _, until)| *after != revision || *until <= now);
            self.waiting = waiting;
            due
        };
        for (_, reply, _) in due {
            self.answer(&reply, Reply::Status(Box::new(view::status(self))));
        }
    }
}

fn first_bytes(text: &str) -> [u8; 8] {
    *ferrite_payload::Hash::of(text.as_bytes()).as_bytes().first_chunk().unwrap_or(&[0; 8])
}
