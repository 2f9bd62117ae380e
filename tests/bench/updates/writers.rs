//! Ways to fill a slot. Here: what a careful script would do with `dd`.

use std::path::{Path, PathBuf};

use ferrite_layout::Slot;

use super::cost::{Cost, cost_of, shell};
use super::target::{PARTS, Part, Target};
use super::{Image, file_size};

/// Figures of one run, by the name of their row.
pub(super) type Rows = Vec<(String, Cost)>;

/// A way to fill slot b.
pub(super) trait Writer {
    fn name(&self) -> String;
    /// What a publisher does; not measured.
    fn prepare(&mut self, image: &Image, target: &Target) -> anyhow::Result<()>;
    /// Fills slot b.
    fn write(&mut self, target: &Target) -> anyhow::Result<Rows>;
}

/// The shell line that does a job.
type Line = fn(&Job) -> String;

/// One line of bash for each part.
struct Script {
    name: &'static str,
    image: Image,
    /// Where the compressed images are.
    out: PathBuf,
    line: Line,
}

/// What a line is about.
struct Job {
    raw: String,
    compressed: String,
    device: String,
    bytes: u64,
}

/// The scripts.
pub(super) fn plain(image: &Image, out: &Path) -> anyhow::Result<Vec<Box<dyn Writer>>> {
    for part in PARTS {
        let (raw, compressed) = (image.part(part.file), compressed(out, part));
        cost_of(&shell(&format!("zstd -q -3 --long=27 -T0 -f '{}' -o '{}'", raw.display(), compressed.display())))?;
    }
    let scripts: [(&str, Line); 3] = [
        ("dd bs=1M conv=fsync of the raw image", write_raw),
        ("the same, read back past the cache by dd | openssl dgst", |job| format!("{}; {}", write_raw(job), read(job))),
        ("zstd -d (-3) | dd conv=fsync, read back the same way", |job| {
            let Job { compressed, device, .. } = job;
            let dd = format!("dd of={device} bs=1M iflag=fullblock conv=fsync,notrunc status=none");
            let write = format!("zstd -q -dc --long=27 '{compressed}' | {dd}");
            format!("{write}; {}", read(job))
        }),
    ];
    let script = |(name, line)| Script { name, image: image.clone(), out: out.to_path_buf(), line };
    Ok(scripts.into_iter().map(|named| Box::new(script(named)) as Box<dyn Writer>).collect())
}

fn compressed(out: &Path, part: Part) -> PathBuf {
    out.join(part.file).with_extension("zst")
}

fn write_raw(job: &Job) -> String {
    format!("dd if='{}' of={} bs=1M conv=fsync,notrunc status=none", job.raw, job.device)
}

fn read(job: &Job) -> String {
    let (blocks, device) = (job.bytes.div_ceil(1 << 20), &job.device);
    format!("dd if={device} bs=1M count={blocks} iflag=direct status=none | openssl dgst -sha256 > /dev/null")
}

impl Writer for Script {
    fn name(&self) -> String {
        self.name.to_string()
    }

    fn prepare(&mut self, _: &Image, _: &Target) -> anyhow::Result<()> {
        Ok(())
    }

    fn write(&mut self, target: &Target) -> anyhow::Result<Rows> {
        let mut whole = Cost::default();
        for part in PARTS {
            let raw = self.image.part(part.file);
            let job = Job {
                bytes: file_size(&raw),
                raw: raw.display().to_string(),
                compressed: compressed(&self.out, part).display().to_string(),
                device: target.device(Slot::B, part.role).display().to_string(),
            };
            whole = whole.and(cost_of(&shell(&(self.line)(&job)))?);
        }
        Ok(vec![(self.name.to_string(), whole)])
    }
}
