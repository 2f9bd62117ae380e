//! `ferrite-qemu`: boots a disk file and shows its console with the seconds and the processor seconds of every line.
//!
//! The bare tool under `ferrite run`: any disk, any bus, no keys, no state.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use ferrite_qemu::console::{Mark, Waited};
use ferrite_qemu::{
    AcceleratorChoice, Disk, DiskBus, Firmware as SpecFirmware, Guest, MachineSpec, Nic as SpecNic, UserData,
};

/// Boot a disk in QEMU and show its serial console
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80)]
struct Arguments {
    /// Disk files; the first one is booted
    ///
    /// A name that ends in .qcow2 is of that format, all others are raw. Writes are thrown away unless --keep is given.
    #[arg(required = true)]
    disks: Vec<PathBuf>,
    /// Keep what the guest writes
    #[arg(long)]
    keep: bool,
    /// Firmware
    #[arg(long, value_enum, default_value_t = Firmware::Bios)]
    firmware: Firmware,
    /// How the disks are attached
    #[arg(long, value_enum, default_value_t = Bus::VirtioBlk)]
    bus: Bus,
    /// Network card
    #[arg(long, value_enum, default_value_t = Nic::VirtioNet)]
    nic: Nic,
    /// Memory in MiB
    #[arg(long, default_value_t = 1024)]
    memory: u32,
    /// Processors
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// auto, kvm or tcg
    #[arg(long, default_value = "auto")]
    accel: AcceleratorChoice,
    /// Port of 127.0.0.1 that leads to ssh
    #[arg(long)]
    ssh_port: Option<u16>,
    /// User-data file, given by fw_cfg
    #[arg(long)]
    user_data: Option<PathBuf>,
    /// Add a hardware watchdog
    #[arg(long)]
    watchdog: bool,
    /// End with success when a line holds this text
    #[arg(long)]
    until: Option<String>,
    /// End with failure after so many seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Firmware {
    Bios,
    Uefi,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bus {
    VirtioBlk,
    VirtioScsi,
    Nvme,
    Ahci,
    Usb,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Nic {
    VirtioNet,
    E1000e,
}

impl Arguments {
    fn spec(&self) -> anyhow::Result<MachineSpec> {
        let bus = match self.bus {
            Bus::VirtioBlk => DiskBus::VirtioBlk,
            Bus::VirtioScsi => DiskBus::VirtioScsi,
            Bus::Nvme => DiskBus::Nvme,
            Bus::Ahci => DiskBus::Ahci,
            Bus::Usb => DiskBus::Usb,
        };
        let accelerator = self.accel.resolve()?;
        if let Some(note) = accelerator.note {
            eprintln!("{note}");
        }
        let mut disks = self.disks.iter().map(|file| Disk { ephemeral: !self.keep, ..Disk::new(file).on(bus) });
        let mut spec = MachineSpec::new(disks.next().context("no disk was named")?);
        spec.disks.extend(disks);
        spec.firmware = match self.firmware {
            Firmware::Bios => SpecFirmware::Bios,
            Firmware::Uefi => SpecFirmware::Uefi,
        };
        spec.nic = match self.nic {
            Nic::VirtioNet => SpecNic::VirtioNet,
            Nic::E1000e => SpecNic::E1000e,
        };
        spec.memory_mib = self.memory;
        spec.cpus = self.cpus;
        spec.accelerator = accelerator.accelerator;
        spec.ssh_port = self.ssh_port;
        spec.watchdog = self.watchdog;
        spec.user_data = self.user_data.clone().map_or(UserData::None, UserData::FwCfg);
        Ok(spec)
    }
}

fn main() -> ExitCode {
    ferrite_cli::exit_with(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut guest = Guest::start(&arguments.spec()?, None)?;
    let console = guest.console().clone();
    let end = std::time::Instant::now() + Duration::from_secs(arguments.seconds);
    let (mut mark, mut shown) = (Mark::default(), Mark::default());
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        let before = console.mark();
        let waited = console.wait(mark, left.min(Duration::from_secs(1)), |line| {
            arguments.until.as_ref().is_some_and(|until| line.contains(until.as_str()))
        });
        mark = before;
        for line in console.take_new(&mut shown) {
            println!("{:8.2} {:7.2} cpu  {}", line.at.as_secs_f64(), line.cpu.as_secs_f64(), line.text);
        }
        match waited {
            Waited::Line(_) => break,
            Waited::Ended if arguments.until.is_none() => break,
            Waited::Ended => bail!("the guest ended before it said what was waited for"),
            Waited::TimedOut if left.is_zero() => bail!("nothing came of it within {} s", arguments.seconds),
            Waited::TimedOut => {}
        }
    }
    eprintln!("QEMU used {:.2} s of processor time", guest.cpu_used().as_secs_f64());
    Ok(())
}
