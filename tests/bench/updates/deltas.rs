//! Sizes: payloads of an image, full and from older ones, and what other tools make of the same two images.

use std::path::{Path, PathBuf};
use std::process::Command;

use ferrite_cli::Table;

use super::cost::{Cost, cost_of, shell};
use super::target::PARTS;
use super::{Image, file_size, percent, program};

/// What was packed.
pub(super) struct Packed {
    pub(super) full: PathBuf,
    pub(super) deltas: Vec<(String, PathBuf)>,
    pub(super) table: Table,
}

/// Packs the image, whole and as a delta from each older one.
pub(super) fn pack(image: &Image, olders: &[(String, Image)], level: i32, out: &Path) -> anyhow::Result<Packed> {
    let mut table = Table::with_heading(["PAYLOAD", "BYTES", "OF FULL", "OF RAW", "PACK CPU S", "PACK RSS MIB"]);
    let full = out.join("full.fup");
    let cost = cost_of(&packing(image, None, level, &full)?)?;
    let (whole, raw) = (file_size(&full), image.bytes());
    let mut row = |name: String, size: u64, cost: Cost| {
        let [cpu, rss] = [format!("{:.1}", cost.cpu), format!("{:.0}", cost.rss_mib())];
        table.row([name, size.to_string(), percent(size, whole), percent(size, raw), cpu, rss]);
    };
    row(format!("full, zstd -{level}"), whole, cost);
    let mut deltas = Vec::new();
    for (number, (name, older)) in olders.iter().enumerate() {
        let delta = out.join(format!("delta-{number}.fup"));
        let cost = cost_of(&packing(image, Some(older), level, &delta)?)?;
        row(format!("delta '{name}'"), file_size(&delta), cost);
        deltas.push((name.clone(), delta));
    }
    let stream = out.join("stream.zst");
    let parts = PARTS.map(|part| format!("'{}'", image.part(part.file).display())).join(" ");
    let cost = cost_of(&shell(&format!("cat {parts} | zstd -q -19 --long=27 -f -o '{}'", stream.display())))?;
    row("zstd -19 --long=27, one stream".to_string(), file_size(&stream), cost);
    Ok(Packed { full, deltas, table })
}

fn packing(image: &Image, older: Option<&Image>, level: i32, payload: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(program("ferrite")?);
    command.args(["payload", "pack"]).arg(&image.0).arg("--out").arg(payload);
    command.arg("--keys").arg(payload.with_file_name("keys"));
    command.args(["--serial", "2", "--level", &level.to_string()]);
    if let Some(older) = older {
        command.arg("--base").arg(&older.0).args(["--base-serial", "1"]);
    }
    Ok(command)
}

/// A tool: lines of bash that make `delta` (a file or folder) of `old` and `new`, and `made` of `old` and `delta`.
struct Tool {
    name: &'static str,
    make: &'static str,
    apply: &'static str,
    is_slow: bool,
}

const TOOLS: [Tool; 4] = [
    Tool {
        name: "zstd -19 --long=28 --patch-from",
        make: "zstd -q -19 --long=28 -f --patch-from=old new -o delta",
        apply: "zstd -q -d --long=28 -f --patch-from=old delta -o made",
        is_slow: false,
    },
    Tool {
        name: "xdelta3 -6",
        make: "xdelta3 -e -f -6 -B 268435456 -s old new delta",
        apply: "xdelta3 -d -f -B 268435456 -s old delta made",
        is_slow: false,
    },
    Tool {
        name: "casync, new chunks",
        make: "casync make --store=store new.caibx new; mkdir delta; cp new.caibx delta;
            find store -type f -newer mark -exec cp -t delta {} +",
        apply: "casync extract --store=store --seed=old new.caibx made",
        is_slow: false,
    },
    Tool { name: "bsdiff", make: "bsdiff old new delta", apply: "bspatch old made delta", is_slow: true },
];

/// Other tools on the two root images.
pub(super) fn beside(name: &str, older: &Image, image: &Image, out: &Path, quick: bool) -> anyhow::Result<String> {
    let heading = format!("ROOT '{name}'");
    let columns = ["BYTES", "MAKE CPU S", "MAKE RSS MIB", "APPLY CPU S", "APPLY RSS MIB"];
    let mut table = Table::with_heading([heading.as_str()].into_iter().chain(columns));
    let [root, _] = PARTS;
    for tool in TOOLS.iter().filter(|tool| !(quick && tool.is_slow)) {
        eprintln!("{}", tool.name);
        let folder = tempfile::Builder::new().prefix("delta-").tempdir_in(out)?;
        let (old, new) = (older.part(root.file), image.part(root.file));
        let link = |from: &Path, to: &str| format!("ln '{0}' {to} 2> /dev/null || cp '{0}' {to}; ", from.display());
        let links = link(&old, "old") + &link(&new, "new");
        let bash = |line: &str| cost_of(shell(line).current_dir(folder.path()));
        let measured = bash(&links).and_then(|_| {
            if tool.name.starts_with("casync") {
                // What a machine has of the older image, or could make of it, is not sent.
                bash("casync make --store=store old.caibx old; touch mark")?;
            }
            let make = bash(tool.make)?;
            let apply = bash(tool.apply)?;
            bash("cmp made new")?;
            let size = bash("du -sb --apparent-size delta | cut -f 1 > size")
                .and_then(|_| Ok(std::fs::read_to_string(folder.path().join("size"))?.trim().to_string()))?;
            Ok((size, make, apply))
        });
        match measured {
            Ok((size, make, apply)) => table.row([
                tool.name.to_string(),
                size,
                format!("{:.1}", make.cpu),
                format!("{:.0}", make.rss_mib()),
                format!("{:.2}", apply.cpu),
                format!("{:.0}", apply.rss_mib()),
            ]),
            Err(error) => table.row([tool.name.to_string(), format!("{error:#}")]),
        }
    }
    Ok(table.render())
}
