//! Updates: installing a payload beside `dd`, RAUC and SWUpdate, and the size of a delta beside what other tools make
//! of the same two images. Rounds are interleaved and the median counts, as the machine may be busy.
//!
//! A peer that is missing or that this host's kernel cannot run is named in its row, with the reason.

mod cost;
mod deltas;
mod install;
mod rauc;
mod swupdate;
mod target;
mod writers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use ferrite_cli::Table;

use cost::{Cost, cost_of};
pub use install::{InstallArguments, install};
use target::{PARTS, Target};
use writers::Writer;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder that `ferrite build --serial 2` filled
    #[arg(long)]
    image: PathBuf,
    /// Folder of an older build of the same board (--serial 1), with a name for its rows; the first one is also the
    /// slot that runs and the one that other tools are tried on
    #[arg(long, value_name = "NAME=FOLDER", value_parser = older)]
    older: Vec<(String, PathBuf)>,
    /// zstd's level
    #[arg(long, default_value_t = 19)]
    level: i32,
    /// Rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Leave tools for deltas out that take minutes (bsdiff)
    #[arg(long)]
    quick: bool,
    /// Folder for results and what is needed on the way
    out: PathBuf,
}

fn older(text: &str) -> Result<(String, PathBuf), String> {
    let (name, folder) = text.split_once('=').ok_or("expected NAME=FOLDER")?;
    Ok((name.to_string(), folder.into()))
}

/// The slot images of a build.
#[derive(Debug, Clone)]
struct Image(PathBuf);

impl Image {
    fn part(&self, file: &str) -> PathBuf {
        self.0.join("slot").join(file)
    }

    fn bytes(&self) -> u64 {
        PARTS.iter().map(|part| file_size(&self.part(part.file))).sum()
    }
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let out = crate::folder(&arguments.out)?.join("updates");
    match fs::remove_dir_all(&out) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => fs::create_dir_all(&out)?,
    }
    let image = Image(crate::folder(&arguments.image)?);
    let olders: Vec<(String, Image)> = arguments
        .older
        .iter()
        .map(|(name, folder)| Ok((name.clone(), Image(crate::folder(folder)?))))
        .collect::<anyhow::Result<_>>()?;
    let keys = out.join("keys");
    cost_of(Command::new(program("ferrite")?).args(["keys", "new"]).arg(&keys))?;
    let packed = deltas::pack(&image, &olders, arguments.level, &out)?;
    let mut text = packed.table.render();
    print!("{text}");
    let installs = installs(arguments, &image, &olders, &packed, &out)?;
    print!("\n{installs}");
    text = format!("{text}\n{installs}");
    if let Some((name, older)) = olders.first() {
        let beside = deltas::beside(name, older, &image, &out, arguments.quick)?;
        print!("\n{beside}");
        text = format!("{text}\n{beside}");
    }
    fs::write(out.join("updates.txt"), text)?;
    Ok(())
}

/// All ways to fill the slot that does not run, in turns.
fn installs(
    arguments: &Arguments,
    image: &Image,
    olders: &[(String, Image)],
    packed: &deltas::Packed,
    out: &Path,
) -> anyhow::Result<String> {
    let running = olders.first().map_or(image, |(_, older)| older);
    let target = Target::new(image, running)?;
    let mut writers: Vec<Box<dyn Writer>> = writers::plain(image, out)?;
    writers.push(Box::new(install::Full(packed.full.clone())));
    if let Some((name, delta)) = packed.deltas.first() {
        writers.push(Box::new(install::Delta { name: name.clone(), payload: delta.clone() }));
    }
    writers.push(Box::new(swupdate::Swupdate::new(out.join("swupdate"))));
    for format in rauc::Format::BOTH {
        writers.push(Box::new(rauc::Rauc::new(format, out.join(format.word()))));
    }
    let mut lines: Vec<(String, Result<Vec<Cost>, String>)> = Vec::new();
    let mut able = Vec::new();
    for mut writer in writers {
        eprintln!("preparing {}", writer.name());
        // The first time warms the page cache, and what it wrote is compared.
        let first = writer.prepare(image, &target).and_then(|()| target.reset()).and_then(|()| writer.write(&target));
        match first.and_then(|rows| target.compare(image).map(|()| rows)) {
            Ok(rows) => {
                lines.extend(rows.into_iter().map(|(name, _)| (name, Ok(Vec::new()))));
                able.push(writer);
            }
            Err(error) => lines.push((writer.name(), Err(format!("{error:#}")))),
        }
    }
    for round in 0..arguments.rounds.max(1) {
        eprintln!("round {} of {}", round + 1, arguments.rounds);
        for writer in &mut able {
            target.reset()?;
            for (name, cost) in writer.write(&target)? {
                if let Some((_, Ok(costs))) = lines.iter_mut().find(|(line, _)| *line == name) {
                    costs.push(cost);
                }
            }
        }
    }
    let mut table = Table::with_heading(["WRITING A SLOT", "MB/S", "WALL S", "CPU S", "PEAK RSS MIB"]);
    for (name, costs) in lines {
        match costs {
            Ok(costs) => {
                let median = Cost::median(&costs);
                let speed = image.bytes() as f64 / 1e6 / median.wall.max(1e-9);
                let [wall, cpu] = [median.wall, median.cpu].map(|seconds| format!("{seconds:.2}"));
                table.row([name, format!("{speed:.0}"), wall, cpu, format!("{:.1}", median.rss_mib())]);
            }
            Err(why) => table.row([name, why.lines().next().unwrap_or_default().to_string()]),
        }
    }
    Ok(table.render())
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

/// A file's SHA-256, by the program of that name.
fn sha256(path: &Path) -> anyhow::Result<String> {
    let output = Command::new("sha256sum").arg(path).output().context("running sha256sum")?;
    let text = String::from_utf8(output.stdout)?;
    text.split_whitespace().next().map(str::to_string).with_context(|| format!("hashing '{}'", path.display()))
}
