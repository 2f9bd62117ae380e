//! `ferrite boards`: lists the boards of the source tree.

use std::process::ExitCode;

use clap::Args;
use ferrite_boards::Board;
use ferrite_cli::Table;

use super::build::Source;

/// List the boards that images can be built for
#[derive(Debug, Args)]
pub struct Boards {
    #[command(flatten)]
    source: Source,
    /// Leave out the heading
    #[arg(long)]
    no_legend: bool,
}

impl Boards {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let folder = self.source.tree()?.boards();
        let mut table = match self.no_legend {
            true => Table::without_heading(),
            false => Table::with_heading(["BOARD", "KERNEL", "DESCRIPTION"]),
        };
        for name in Board::names(&folder) {
            let board = Board::find(&name, &folder)?;
            table.row([board.name, board.kernel, board.description]);
        }
        print!("{}", table.render());
        Ok(ExitCode::SUCCESS)
    }
}
