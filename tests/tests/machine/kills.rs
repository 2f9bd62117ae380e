//! D2: QEMU is killed at random while a machine installs a release. Each time the boot loader finds a whole release and
//! the machine runs it.
//!
//! The machine boots once; its memory is saved, and each round goes on from there with a fresh copy of the disk. The
//! writes are logged: half of the rounds go on with what QEMU had written, half with a disk that loses, reorders and
//! tears what was not flushed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ferrite_layout::slots::Choice;
use ferrite_qemu::{disk, ssh};
use ferrite_tests::machine::BOOT_DEADLINE;
use ferrite_tests::publisher::{SlotFiles, WebServer};
use ferrite_tests::replay::{Replay, Tally, holds};
use ferrite_tests::write_log::WriteLog;
use ferrite_tests::{Chance, Machine, Part, Publisher, Setup, Slot, amount};

/// A machine that ran release 1 and is about to be told of release 2.
struct Scene {
    publisher: Publisher,
    _server: WebServer,
    machine: Machine,
    disk: PathBuf,
    memory: PathBuf,
    releases: [SlotFiles; 2],
    folder: tempfile::TempDir,
}

/// Where an install was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    BeforeTheFirstWrite,
    FlagsThatHide,
    Root,
    Boot,
    ReadBack,
    FlagsThatStart,
    After,
}

impl Scene {
    fn prepare() -> anyhow::Result<Scene> {
        let publisher = Publisher::new()?;
        // Nobody listens there until the memory is saved: the engine finds nothing by itself.
        let port = ssh::free_port()?;
        let document = format!(
            "#cloud-config\nssh_authorized_keys:\n  - KEY\ncoreos:\n  update:\n    group: stable\n    \
             server: http://10.0.2.2:{port}/\n    reboot_strategy: off\n"
        );
        let setup = Setup::with_image(&publisher.build(1, &[])?)?.user_data(&document)?.write_log();
        publisher.build(2, &[])?;
        publisher.publish(2)?;
        let mut machine = setup.kernel_words("ferrite.settle=4").memory_mib(512).boot()?;
        machine.sudo("sync")?;
        let folder = tempfile::tempdir().context("making a folder")?;
        let (memory, disk) = (folder.path().join("memory"), folder.path().join("disk"));
        machine.save(&memory)?;
        disk::copy_sparse(machine.setup().disk_path(), &disk)?;
        let server = publisher.serve_at(port)?;
        let releases = [publisher.slot(1), publisher.slot(2)];
        Ok(Scene { publisher, _server: server, machine, disk, memory, releases, folder })
    }

    /// Goes on from the saved moment.
    fn go_on(&mut self) -> anyhow::Result<()> {
        let own = self.machine.setup().disk_path().to_path_buf();
        fs::remove_file(&own).context("removing a disk")?;
        disk::copy_sparse(&self.disk, &own)?;
        self.machine.go_on_from(&self.memory)
    }

    /// A whole install, then the plug is pulled.
    fn install(&mut self) -> anyhow::Result<WriteLog> {
        self.go_on()?;
        installs(&mut self.machine)?;
        self.machine.power_cut()?;
        WriteLog::open(&self.machine.setup().write_log_path())
    }

    /// Begins to install and kills QEMU when the log of writes is so long, or soon after the install.
    fn killed_install(&mut self, log_bytes: u64) -> anyhow::Result<WriteLog> {
        // A machine that has nothing to do still writes a little, so that its log never stands still.
        const AFTERWARDS: Duration = Duration::from_secs(20);
        self.go_on()?;
        let log = self.machine.setup().write_log_path();
        let mut client = self.machine.begin_ssh("sudo ferrite-update update")?;
        let mut ended: Option<Instant> = None;
        loop {
            let length = fs::metadata(&log).context("asking for the size of the write log")?.len();
            if length >= log_bytes || ended.is_some_and(|at| at.elapsed() > AFTERWARDS) {
                break;
            }
            if ended.is_none() && client.try_wait().context("asking for the client")?.is_some() {
                ended = Some(Instant::now());
            }
            // A file that grows makes no event.
            self.machine.console().wait_for_more(Duration::from_millis(5));
        }
        self.machine.power_cut()?;
        // It cannot reach the machine any more.
        let _ = client.kill();
        client.wait().context("waiting for the client")?;
        WriteLog::open(&log)
    }

    fn phase(&self, log: &WriteLog) -> anyhow::Result<Phase> {
        let disk = self.machine.disk()?;
        let place = |part| disk.place(part);
        let (root, boot) = (place(Part::root_of(Slot::B))?, place(Part::boot_of(Slot::B))?);
        let env = disk.boot_control()?.locations.env;
        let flags = place(Part::Bootctl)?.offset;
        let mut phase = Phase::BeforeTheFirstWrite;
        for write in log.writes.iter().filter(|write| write.length > 0) {
            let within = |place: &ferrite_tests::disk_file::Place| {
                write.offset >= place.offset && write.offset < place.offset + place.length
            };
            let of_flags =
                env.iter().flatten().any(|at| write.offset <= flags + at && write.offset + write.length > flags + at);
            phase = match phase {
                Phase::BeforeTheFirstWrite if of_flags => Phase::FlagsThatHide,
                _ if within(&root) => Phase::Root,
                _ if write.offset == boot.offset => Phase::ReadBack,
                _ if within(&boot) => Phase::Boot,
                Phase::ReadBack | Phase::FlagsThatStart if of_flags => {
                    if phase == Phase::FlagsThatStart {
                        Phase::After
                    } else {
                        Phase::FlagsThatStart
                    }
                }
                phase => phase,
            };
        }
        Ok(phase)
    }

    /// The boot loader's decision on the disk as it is; the slot holds what it should.
    fn decision(&self) -> anyhow::Result<Slot> {
        let disk = self.machine.disk()?;
        let flags = disk.flags()?;
        let slot = match flags.choose() {
            Choice::Good(slot) | Choice::Try(slot, _) => slot,
            Choice::LastResort => anyhow::bail!("no slot is usable: {flags}"),
        };
        let release = &self.releases[slot as usize];
        ensure!(holds(&disk, slot, release)?, "slot {slot} is started and not whole: {flags}");
        ensure!(holds(&disk, Slot::A, &self.releases[0])?, "the running slot was changed: {flags}");
        Ok(slot)
    }

    /// Boots what is left with the real boot loader.
    fn boot(&mut self, slot: Slot, finish: bool) -> anyhow::Result<()> {
        self.machine.power_on()?;
        self.machine.wait_until_running()?;
        let facts = self.machine.facts()?;
        assert_eq!(facts.slot, Some(slot), "the boot loader decided otherwise");
        assert_eq!(facts.version, Publisher::version(if slot == Slot::A { 1 } else { 2 }));
        assert_eq!(facts.fallback, None);
        if finish && slot == Slot::A {
            installs(&mut self.machine)?;
            self.machine.power_cut()?;
            assert_eq!(self.decision()?, Slot::B, "release 2 is whole and starts next");
            return Ok(());
        }
        self.machine.power_cut()
    }
}

/// Tells the engine to install, and waits until it has done so. On a busy host that takes longer than a command may.
fn installs(machine: &mut Machine) -> anyhow::Result<()> {
    let said = machine.try_ssh("sudo ferrite-update update")?;
    machine.wait_for("release 2 to wait for the restart", BOOT_DEADLINE * 2, |machine| {
        let text = machine.try_ssh("ferrite-update status --json")?.out;
        let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        ensure!(status["error"].is_null(), "the install failed: {text}\n{said:?}");
        Ok((status["new_serial"] == 2 && status["reboot_pending"] == true).then_some(()))
    })
}

#[test]
fn a_machine_that_is_killed_while_it_installs_always_boots() -> anyhow::Result<()> {
    if !amount::everything() {
        // A short run has the cuts of modelled disks instead.
        return Ok(());
    }
    let kills: usize = std::env::var("FERRITE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    let mut chance = Chance::new();
    let mut scene = Scene::prepare()?;
    let whole = scene.install()?;
    assert_eq!((scene.phase(&whole)?, scene.decision()?), (Phase::After, Slot::B));
    let log_bytes = fs::metadata(scene.machine.setup().write_log_path())?.len();
    eprintln!("an install is {} writes, {} MiB of log", whole.writes.len(), log_bytes >> 20);
    let mut table: BTreeMap<(Phase, Slot, bool), usize> = BTreeMap::new();
    let mut replayed = Tally::default();
    for round in 0..kills {
        // A little more than a whole install: some are cut when all is done.
        let log = scene.killed_install(chance.below(log_bytes + log_bytes / 30))?;
        let phase = scene.phase(&log)?;
        let copy = scene.folder.path().join("replayed");
        let tally = Replay::new(&scene.disk, &copy, &scene.releases)?.cut_everywhere(&log, &mut chance)?;
        let loses = round % 2 == 1;
        if loses {
            let own = scene.machine.setup().disk_path().to_path_buf();
            fs::remove_file(&own).context("removing a disk")?;
            disk::copy_sparse(&scene.disk, &own)?;
            let file = File::options().write(true).open(&own).context("opening a disk")?;
            log.replay_power_cut(log.writes.len(), &file, &mut chance)?;
        }
        let slot = scene.decision().with_context(|| format!("round {round}, {phase:?}"))?;
        let begin = Instant::now();
        scene.boot(slot, round % 10 == 0).with_context(|| format!("round {round}, {phase:?}"))?;
        eprintln!("round {round}: {phase:?}, unflushed lost: {loses}, slot {slot}, {:?}, {tally:?}", begin.elapsed());
        *table.entry((phase, slot, loses)).or_default() += 1;
        for (sum, part) in [
            (&mut replayed.writes, tally.writes),
            (&mut replayed.flushes, tally.flushes),
            (&mut replayed.mixtures, tally.mixtures),
            (&mut replayed.trials, tally.trials),
        ] {
            *sum += part;
        }
    }
    for ((phase, slot, loses), count) in table {
        println!("{phase:?}, slot {slot} started, unflushed lost: {loses}: {count}");
    }
    println!("all logs: {replayed:?}");
    drop(scene.publisher);
    Ok(())
}
