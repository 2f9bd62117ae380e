//! `ferrite lock`: renews the lock file of packages.

use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;
use ferrite_boards::Board;
use ferrite_image::cache::Cache;
use ferrite_image::packages::renew::{self, WithTools};
use ferrite_image::packages::store::Store;
use ferrite_image::progress::Progress;
use ferrite_image::source::{self, SourceTree};
use ferrite_image::{build, output};

use super::build::Source;

/// Renew the versions of packages that images are built from
#[derive(Debug, Args)]
pub struct LockCommand {
    /// Path of a board file (*.yaml) outside the tree's boards [default: all of the tree]
    ///
    /// Its versions are kept in a file beside it whose name ends in .lock; without one, a build takes those of the
    /// tree.
    #[arg(long, value_name = "FILE")]
    board: Option<String>,
    #[command(flatten)]
    source: Source,
}

impl LockCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let tree = self.source.tree()?;
        let folder = tree.boards();
        let (names, tools, path) = match self.board {
            None => (Board::names(&folder), WithTools::Yes, tree.lock()),
            Some(board) => {
                let path = SourceTree::lock_beside(&board);
                let path = path.with_context(|| format!("'{board}' is not the path of a board file (*.yaml)"))?;
                (vec![board], WithTools::No, path)
            }
        };
        let boards = names.iter().map(|name| Board::find(name, &folder)).collect::<Result<Vec<_>, _>>()?;
        let old = path.is_file().then(|| build::read_lock(&path)).transpose()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs();
        let progress = Progress::new();
        let step = progress.step("lock");
        let cache = Cache::open(&source::cache()?)?;
        let store = Store::new(&cache, self.source.mirror(), &|_| {});
        let renewed = renew::renew(&store, &boards, tools, old.as_ref(), now);
        progress.finish();
        let renewed = renewed?;
        if renewed.changes.is_empty() {
            step.done("nothing changed");
            return Ok(ExitCode::SUCCESS);
        }
        let name = path.file_name().and_then(|name| name.to_str()).context("the lock file has no name")?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        output::write(folder, name, renewed.lock.to_string().as_bytes())?;
        step.done(format!("{} changes", renewed.changes.len()));
        renewed.changes.iter().for_each(|change| println!("{change}"));
        Ok(ExitCode::SUCCESS)
    }
}
