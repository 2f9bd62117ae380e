//! `ferrite lock`: renews the lock file of packages.

use std::fs;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;
use ferrite_boards::Board;
use ferrite_image::cache::Cache;
use ferrite_image::output;
use ferrite_image::packages::lock::Lock;
use ferrite_image::packages::renew;
use ferrite_image::packages::store::Store;
use ferrite_image::progress::Progress;
use ferrite_image::source;

use super::build::Source;

/// Renew the versions of packages that images are built from
#[derive(Debug, Args)]
pub struct LockCommand {
    #[command(flatten)]
    source: Source,
}

impl LockCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let tree = self.source.tree()?;
        let folder = tree.boards();
        let names = Board::names(&folder);
        let boards = names.iter().map(|name| Board::find(name, &folder)).collect::<Result<Vec<_>, _>>()?;
        let old = match fs::read_to_string(tree.lock()) {
            Ok(text) => Some(Lock::parse(&text).with_context(|| format!("reading '{}'", tree.lock().display()))?),
            Err(_) => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs();
        let progress = Progress::new();
        let step = progress.step("lock");
        let cache = Cache::open(&source::cache()?)?;
        let store = Store::new(&cache, self.source.mirror(), &|_| {});
        let renewed = renew::renew(&store, &boards, old.as_ref(), now);
        progress.finish();
        let renewed = renewed?;
        if renewed.changes.is_empty() {
            step.done("nothing changed");
            return Ok(ExitCode::SUCCESS);
        }
        output::write(&folder, "packages.lock", renewed.lock.to_string().as_bytes())?;
        step.done(format!("{} changes", renewed.changes.len()));
        renewed.changes.iter().for_each(|change| println!("{change}"));
        Ok(ExitCode::SUCCESS)
    }
}
