//! The model of the boot loader's decision, which all tests of power cuts rest on, held against the real GRUB: flags of
//! every kind, torn copies, kernels that do not load. The kernels only say which slot they are of.

use std::time::Duration;

use anyhow::{Context, bail};
use ferrite_layout::bootctl::{self, Contents};
use ferrite_layout::slots::{Choice, Order};
use ferrite_layout::{Part, Slot, SlotFlags, SlotState};
use ferrite_qemu::console::Waited;
use ferrite_qemu::{Disk, Guest, MachineSpec, disk};
use ferrite_tests::fake_kernel::{self, Loads};
use ferrite_tests::{Board, Chance, DiskFile, Firmware, amount, gate};

const START_DEADLINE: Duration = Duration::from_secs(300);
const FLAGS: [SlotFlags; 5] =
    [SlotFlags::Good, SlotFlags::Trying(3), SlotFlags::Trying(2), SlotFlags::Trying(1), SlotFlags::Unusable];

/// What the boot loader finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scene {
    copies: [Option<SlotState>; 2],
    loads: [Loads; 2],
}

impl Scene {
    fn random(chance: &mut Chance) -> Scene {
        let mut one = |limit: usize| chance.below(limit as u64) as usize;
        let mut state =
            || SlotState { order: Order::beginning_with(Slot::BOTH[one(2)]), a: FLAGS[one(5)], b: FLAGS[one(5)] };
        let (first, second) = (state(), state());
        // Mostly both copies are the same, or one is torn, or the first one is newer.
        let copies = match one(4) {
            0 => [None, Some(second)],
            1 => [Some(first), None],
            2 => [Some(first), Some(second)],
            _ => [Some(first), Some(first)],
        };
        let loads = match one(3) {
            0 => [Loads::Missing, Loads::Yes],
            1 => [Loads::Yes, Loads::Missing],
            _ => [Loads::Yes, Loads::Yes],
        };
        Scene { copies, loads }
    }

    /// The copy that the boot loader reads and writes.
    fn read(&self) -> usize {
        usize::from(self.copies[0].is_none())
    }

    fn flags(&self) -> anyhow::Result<SlotState> {
        self.copies[self.read()].context("no copy is whole")
    }

    fn written(mut self, flags: SlotState) -> Scene {
        self.copies[self.read()] = Some(flags);
        self
    }

    /// The slot that is started, and what is on the disk then. `None`: nothing that the model speaks of.
    fn start(mut self) -> anyhow::Result<Option<(Slot, Scene)>> {
        for _ in 0..3 {
            let flags = self.flags()?;
            let slot = match flags.choose() {
                Choice::Good(slot) => slot,
                Choice::Try(slot, after) => {
                    self = self.written(after);
                    slot
                }
                Choice::LastResort => {
                    let first = flags.order.first();
                    let after = SlotState { order: Order::beginning_with(first.other()), ..flags };
                    let loads = self.loads[first as usize] == Loads::Yes;
                    return Ok(loads.then(|| (first, self.written(after))));
                }
            };
            if self.loads[slot as usize] == Loads::Yes {
                return Ok(Some((slot, self)));
            }
            match self.flags()?.load_failed(slot) {
                Some(after) => self = self.written(after),
                None => return Ok(None),
            }
        }
        bail!("the model comes to no end: {self:?}")
    }
}

/// A machine whose slots hold nothing but kernels that speak.
struct Stand {
    disk: DiskFile,
    guest: Guest,
    _folder: tempfile::TempDir,
    _permit: gate::Permit,
}

impl Stand {
    fn new(firmware: Firmware) -> anyhow::Result<Stand> {
        let permit = gate::enter()?;
        let folder = tempfile::tempdir().context("making a folder")?;
        let path = folder.path().join("disk.raw");
        disk::copy_sparse(&Board::Qemu.image()?, &path)?;
        let disk = DiskFile::open(&path)?;
        let boot = disk.read_all(Part::boot_of(Slot::A))?;
        disk.write(Part::boot_of(Slot::B), 0, &boot)?;
        let mut spec = MachineSpec::new(Disk::new(path));
        (spec.firmware, spec.memory_mib, spec.cpus) = (firmware, 256, 1);
        let guest = Guest::start(&spec, None)?;
        Ok(Stand { disk, guest, _folder: folder, _permit: permit })
    }

    fn set(&self, scene: &Scene) -> anyhow::Result<()> {
        for slot in Slot::BOTH {
            fake_kernel::put(&self.disk, slot, scene.loads[slot as usize])?;
        }
        for (copy, flags) in scene.copies.iter().enumerate() {
            let partition = self.disk.read_all(Part::Bootctl)?;
            let mut places = bootctl::locate(&partition);
            let torn = places.env[copy].context("boot control has no such copy")?;
            places.env[1 - copy] = None;
            for write in bootctl::flag_writes(&partition, &places, &flags.unwrap_or(SlotState::fresh())) {
                self.disk.write(Part::Bootctl, write.offset, &write.sector)?;
            }
            if flags.is_none() {
                // The last key of a whole copy is missing.
                self.disk.write(Part::Bootctl, torn + 40, &[b'#'; 472])?;
            }
        }
        Ok(())
    }

    fn copies(&self) -> anyhow::Result<[Option<SlotState>; 2]> {
        Ok(Contents::parse(&self.disk.read_all(Part::Bootctl)?).copies)
    }

    /// Restarts the machine and hears which slot speaks.
    fn start(&mut self) -> anyhow::Result<Slot> {
        let mark = self.guest.console().mark();
        self.guest.reset()?;
        let told = |slot| fake_kernel::said(slot);
        let speaks = |line: &str| Slot::BOTH.into_iter().any(|slot| line.contains(&told(slot)));
        match self.guest.console().wait(mark, START_DEADLINE, speaks) {
            Waited::Line(line) if line.contains(&told(Slot::A)) => Ok(Slot::A),
            Waited::Line(_) => Ok(Slot::B),
            Waited::Ended | Waited::TimedOut => bail!("no slot was started:\n{}", self.guest.console().tail(30)),
        }
    }
}

fn agree(firmware: Firmware, scenes: usize, starts: usize) -> anyhow::Result<()> {
    let mut chance = Chance::new();
    let mut stand = Stand::new(firmware)?;
    let (mut compared, mut started) = (0, 0);
    while compared < scenes {
        let mut scene = Scene::random(&mut chance);
        if scene.start()?.is_none() {
            continue;
        }
        stand.set(&scene)?;
        assert_eq!(stand.copies()?, scene.copies, "the disk is not what it should be");
        for start in 0..starts {
            let Some((slot, after)) = scene.start()? else { break };
            let found = stand.start().with_context(|| format!("start {start} of {scene:?}"))?;
            assert_eq!((found, stand.copies()?), (slot, after.copies), "start {start} of {scene:?}");
            started += 1;
            if after == scene {
                break;
            }
            scene = after;
        }
        compared += 1;
    }
    println!("{firmware:?}: {compared} kinds of flags, {started} starts: GRUB does what the model says");
    Ok(())
}

#[test]
fn grub_decides_as_the_model_does() -> anyhow::Result<()> {
    agree(Firmware::Bios, amount::sample_or_all(10, 300), amount::sample_or_all(1, 4))
}

#[test]
fn grub_on_uefi_decides_as_the_model_does() -> anyhow::Result<()> {
    if amount::everything() { agree(Firmware::Uefi, 40, 4) } else { Ok(()) }
}
