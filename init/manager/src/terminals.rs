//! The terminal of a unit, before its process gets it: hung up, sane, empty, and of the size that the unit says.
//! Runs in the child; best effort, as in systemd: a getty does the rest.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use ferrite_unit::exec::Exec;
use rustix::termios::{InputModes, LocalModes, OptionalActions, OutputModes};

use crate::streams::{open_terminal, terminal_path};

/// Forgets the colours and the title, clears the screen and what was scrolled away.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J\x1b[3J\x1bc";

/// Prepares it as the unit says.
pub fn prepare(exec: &Exec) {
    if exec.tty_vhangup
        && let Ok(terminal) = open_terminal(exec)
    {
        let _ = ferrite_sys::process::hang_up(terminal.as_fd());
    }
    if exec.tty_reset
        && let Ok(terminal) = open_terminal(exec)
    {
        reset(&terminal);
    }
    if exec.tty_vt_disallocate {
        clear(exec);
    }
    let used = crate::streams::uses_terminal(exec);
    if !used
        && (exec.tty_rows.is_some() || exec.tty_columns.is_some())
        && let Ok(terminal) = open_terminal(exec)
    {
        set_size(exec, &terminal);
    }
}

fn reset(terminal: &File) {
    if let Ok(mut settings) = rustix::termios::tcgetattr(terminal) {
        settings.input_modes |= InputModes::ICRNL | InputModes::IXON;
        settings.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        settings.local_modes |= LocalModes::ISIG | LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHOE;
        let _ = rustix::termios::tcsetattr(terminal, OptionalActions::Now, &settings);
    }
}

/// Nothing of the last session is left on the screen: a virtual console is given back to the kernel, others are
/// cleared.
fn clear(exec: &Exec) {
    let number = terminal_path(exec).strip_prefix("/dev/tty").and_then(|rest| rest.parse::<u8>().ok());
    if let Some(number) = number.filter(|number| *number > 0)
        && let Ok(console) = File::options().read(true).write(true).open("/dev/tty0")
        && ferrite_sys::terminal::give_back(console.as_fd(), number).is_ok()
    {
        return;
    }
    // The one that is shown cannot be given back.
    if let Ok(mut terminal) = open_terminal(exec) {
        let _ = terminal.write_all(CLEAR);
    }
}

/// Gives the terminal the size that the unit says; what it does not say stays.
pub fn set_size(exec: &Exec, terminal: &File) {
    if exec.tty_rows.is_none() && exec.tty_columns.is_none() {
        return;
    }
    let Ok(mut size) = rustix::termios::tcgetwinsize(terminal) else { return };
    let number = |wanted: Option<u32>, now: u16| wanted.and_then(|size| u16::try_from(size).ok()).unwrap_or(now);
    size.ws_row = number(exec.tty_rows, size.ws_row);
    size.ws_col = number(exec.tty_columns, size.ws_col);
    let _ = rustix::termios::tcsetwinsize(terminal, size);
}
