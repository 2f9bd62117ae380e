//! Updates: packing and installing a payload beside `dd` with fsync, and the size of a delta beside what other tools
//! make of the same two images. Rounds are interleaved and the median counts, as the machine may be busy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ferrite_cli::Table;
use ferrite_layout::bootctl::{Access, Bootctl};
use ferrite_layout::{Slot, SlotState, envblock};
use ferrite_payload::{KeySet, PartRole, Verified};
use ferrite_update_engine::disk::FileDisk;
use ferrite_update_engine::install::{Installer, Manner};
use ferrite_update_engine::machine::Machine;
use ferrite_update_engine::progress::NotesFile;
use ferrite_update_engine::source::FileSource;

const PARTS: [(PartRole, &str); 2] = [(PartRole::Root, "root.img"), (PartRole::Boot, "boot-a.img")];
/// Clock ticks of /proc in a second.
const TICKS: f64 = 100.0;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder that `ferrite build` filled
    #[arg(long)]
    image: PathBuf,
    /// Folder of an older build of the same board
    #[arg(long)]
    older: Option<PathBuf>,
    /// zstd's level
    #[arg(long, default_value_t = 19)]
    level: i32,
    /// Rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder for results and what is needed on the way
    out: PathBuf,
}

/// One install in a process of its own.
#[derive(Debug, clap::Args)]
pub struct InstallArguments {
    payload: PathBuf,
    folder: PathBuf,
}

#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
    rss_kib: u64,
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let out = crate::folder(&arguments.out)?.join("updates");
    match fs::remove_dir_all(&out) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => fs::create_dir_all(&out)?,
    }
    let keys = out.join("keys");
    ferrite(Command::new(program("ferrite")?).args(["keys", "new"]).arg(&keys))?;
    let mut sizes = Table::with_heading(["PAYLOAD", "BYTES", "OF RAW", "PACK CPU S"]);
    let raw: u64 = PARTS.iter().map(|(_, file)| file_size(&arguments.image.join("slot").join(file))).sum();
    let mut payloads = Vec::new();
    for older in [None, arguments.older.as_deref()].into_iter().take(if arguments.older.is_some() { 2 } else { 1 }) {
        let name = if older.is_some() { "delta" } else { "full" };
        let payload = out.join(format!("{name}.fup"));
        let mut command = Command::new(program("ferrite")?);
        command.args(["payload", "pack"]).arg(&arguments.image).arg("--out").arg(&payload).arg("--keys").arg(&keys);
        command.args(["--serial", "2", "--level", &arguments.level.to_string()]);
        if let Some(older) = older {
            command.arg("--base").arg(older).args(["--base-serial", "1"]);
        }
        let cost = cost_of(&mut command)?;
        let size = file_size(&payload);
        sizes.row([name.to_string(), size.to_string(), percent(size, raw), format!("{:.1}", cost.cpu)]);
        payloads.push((name, payload));
    }
    if let Some(older) = &arguments.older {
        peers(&mut sizes, older, &arguments.image, &out, raw)?;
    }
    print!("{}", sizes.render());
    let times = installs(arguments, &payloads, &out, raw)?;
    print!("\n{times}");
    fs::write(out.join("updates.txt"), format!("{}\n{times}", sizes.render()))?;
    Ok(())
}

/// Other tools on the two root images, as far as they are installed.
fn peers(sizes: &mut Table, older: &Path, image: &Path, out: &Path, raw: u64) -> anyhow::Result<()> {
    let (from, to) = (older.join("slot/root.img"), image.join("slot/root.img"));
    let delta = out.join("delta.peer");
    let mut zstd = Command::new("zstd");
    zstd.args(["-q", "-19", "--long=28", "-f"]).arg(format!("--patch-from={}", from.display())).arg(&to);
    zstd.arg("-o").arg(&delta);
    let mut xdelta = Command::new("xdelta3");
    xdelta.args(["-e", "-f", "-6", "-B", "268435456", "-s"]).arg(&from).arg(&to).arg(&delta);
    for (name, command) in [("zstd -19 --patch-from, root", &mut zstd), ("xdelta3 -6, root", &mut xdelta)] {
        let row = match cost_of(command) {
            Ok(cost) => {
                let size = file_size(&delta);
                [name.to_string(), size.to_string(), percent(size, raw), format!("{:.1}", cost.cpu)]
            }
            Err(error) => [name.to_string(), format!("{error:#}"), String::new(), String::new()],
        };
        sizes.row(row);
    }
    Ok(())
}

fn installs(arguments: &Arguments, payloads: &[(&str, PathBuf)], out: &Path, raw: u64) -> anyhow::Result<String> {
    let slots = out.join("slots");
    let mut costs: Vec<(String, Vec<Cost>)> = vec![("dd bs=1M conv=fsync".to_string(), Vec::new())];
    costs.extend(payloads.iter().map(|(name, _)| (format!("install {name}"), Vec::new())));
    for round in 0..arguments.rounds.max(1) {
        eprintln!("round {} of {}", round + 1, arguments.rounds);
        let running = arguments.older.as_deref().unwrap_or(&arguments.image);
        prepare(&slots, running, &arguments.image)?;
        let mut dd = Cost { wall: 0.0, cpu: 0.0, rss_kib: 0 };
        for (role, file) in PARTS {
            let mut command = Command::new("dd");
            command.arg(format!("if={}", arguments.image.join("slot").join(file).display()));
            command.arg(format!("of={}", part(&slots, Slot::B, role).display()));
            let cost = cost_of(command.args(["bs=1M", "conv=fsync,notrunc", "status=none"]))?;
            dd = Cost { wall: dd.wall + cost.wall, cpu: dd.cpu + cost.cpu, rss_kib: 0 };
        }
        let mut measured = vec![dd];
        for (_, payload) in payloads {
            prepare(&slots, running, &arguments.image)?;
            let own = std::env::current_exe()?;
            let output = Command::new(own).arg("install-payload").arg(payload).arg(&slots).output()?;
            ensure!(output.status.success(), "install: {}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8(output.stdout)?;
            let values: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let [wall, cpu, rss] = values[..] else { anyhow::bail!("install says '{text}'") };
            measured.push(Cost { wall, cpu, rss_kib: rss as u64 });
        }
        costs.iter_mut().zip(measured).for_each(|((_, all), cost)| all.push(cost));
    }
    let mut table = Table::with_heading(["WRITING A SLOT", "MB/S", "WALL S", "CPU S", "PEAK RSS KIB"]);
    for (name, mut all) in costs {
        let mut median = |value: fn(&Cost) -> f64| {
            all.sort_by(|one, other| value(one).total_cmp(&value(other)));
            all.get(all.len() / 2).map_or(0.0, value)
        };
        let (wall, cpu, rss) = (median(|c| c.wall), median(|c| c.cpu), median(|c| c.rss_kib as f64));
        let speed = format!("{:.0}", raw as f64 / 1e6 / wall.max(1e-9));
        table.row([name, speed, format!("{wall:.2}"), format!("{cpu:.2}"), format!("{rss:.0}")]);
    }
    Ok(table.render())
}

/// Slot a with what runs, an empty slot b, flags.
fn prepare(slots: &Path, running: &Path, image: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(slots)?;
    for (role, file) in PARTS {
        let (old, new) = (running.join("slot").join(file), image.join("slot").join(file));
        let a = part(slots, Slot::A, role);
        if !a.exists() {
            fs::copy(&old, &a).with_context(|| format!("copying '{}'", old.display()))?;
        }
        let size = file_size(&old).max(file_size(&new));
        let b = File::create(part(slots, Slot::B, role))?;
        b.set_len(size.next_multiple_of(1 << 20))?;
        b.sync_all()?;
    }
    let mut flags = vec![0u8; 32 << 10];
    for at in [4096, 8192] {
        flags[at..at + 1024].copy_from_slice(&envblock::render(&SlotState::fresh()));
    }
    fs::write(slots.join("bootctl"), flags)?;
    match fs::remove_file(slots.join("progress")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Installs, then prints wall seconds, CPU seconds and peak memory in KiB.
pub fn install(arguments: &InstallArguments) -> anyhow::Result<()> {
    let keys = arguments.payload.with_file_name("keys").join("root.1.json");
    let keys = KeySet::parse_trusted(&fs::read(keys)?)?;
    let verified = Verified::read(&mut File::open(&arguments.payload)?, keys.release())?;
    let manifest = verified.manifest();
    let machine = Machine {
        product: manifest.product.clone(),
        board: manifest.board.clone(),
        id: String::new(),
        running: Slot::A,
        serial: 1,
        root: manifest.base.map_or(Default::default(), |base| base.root),
        floor: 0,
        blocked: Default::default(),
    };
    drop(verified);
    let mut disk = FileDisk::open(Slot::B, |slot, role| part(&arguments.folder, slot, role))?;
    let mut flags = Bootctl::open(&arguments.folder.join("bootctl"), Access::Write)?;
    let cancel = AtomicBool::new(false);
    let mut installer = Installer {
        machine: &machine,
        release: keys.release(),
        disk: &mut disk,
        flags: &mut flags,
        notes: &mut NotesFile(arguments.folder.join("progress")),
        manner: Manner::default(),
        cancel: &cancel,
        watch: &mut |_, _| {},
    };
    let begin = Instant::now();
    installer.install(&mut FileSource(arguments.payload.clone()), None)?;
    let wall: Duration = begin.elapsed();
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    println!("{} {} {}", wall.as_secs_f64(), ticks(&[11, 12])? / TICKS, peak.context("no peak of memory")?);
    Ok(())
}

fn part(folder: &Path, slot: Slot, role: PartRole) -> PathBuf {
    folder.join(format!("{}-{slot}", role.word()))
}

fn cost_of(command: &mut Command) -> anyhow::Result<Cost> {
    let (begin, before) = (Instant::now(), ticks(&[13, 14])?);
    ferrite(command)?;
    let cpu = (ticks(&[13, 14])? - before) / TICKS;
    Ok(Cost { wall: begin.elapsed().as_secs_f64(), cpu, rss_kib: 0 })
}

fn ferrite(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {name}"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The sum of fields of /proc/self/stat, counted behind the name of the program.
fn ticks(fields: &[usize]) -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = text.rsplit_once(") ").context("/proc/self/stat has no name in it")?;
    let values: Vec<&str> = rest.split_whitespace().collect();
    let number = |field: &usize| values.get(*field).and_then(|value| value.parse::<f64>().ok());
    fields.iter().map(number).sum::<Option<f64>>().context("/proc/self/stat has no such field")
}

/// A program that was built beside this one.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

fn file_size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn percent(size: u64, whole: u64) -> String {
    format!("{:.1} %", size as f64 * 100.0 / whole.max(1) as f64)
}
