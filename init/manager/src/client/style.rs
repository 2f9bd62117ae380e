//! Colours and dots of systemctl. Pure.

/// Whether output goes to a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// To a terminal: colours.
    On,
    /// To a file or pipe: plain text.
    Off,
}

pub const RED: &str = "\x1b[0;1;31m";
pub const GREEN: &str = "\x1b[0;1;32m";
pub const YELLOW: &str = "\x1b[0;1;33m";
pub const BLUE: &str = "\x1b[0;1;34m";
pub const BOLD: &str = "\x1b[0;1;39m";
pub const GREY: &str = "\x1b[0;38;5;245m";
pub const UNDERLINE: &str = "\x1b[0;4m";
const RESET: &str = "\x1b[0m";

impl Colour {
    /// Whether standard output is a terminal.
    pub fn of_stdout() -> Colour {
        if std::io::IsTerminal::is_terminal(&std::io::stdout()) { Colour::On } else { Colour::Off }
    }
}

/// Text in a colour; an empty colour changes nothing.
pub fn paint(text: &str, colour: &str, when: Colour) -> String {
    match when {
        Colour::On if !colour.is_empty() && !text.is_empty() => format!("{colour}{text}{RESET}"),
        Colour::On | Colour::Off => text.to_owned(),
    }
}

/// The sign of an active state.
pub fn dot(active: &str) -> &'static str {
    match active {
        "inactive" | "maintenance" => "○",
        "failed" => "×",
        "reloading" | "refreshing" => "↻",
        _ => "●",
    }
}

/// The colour of an active state.
pub fn state_colour(active: &str) -> &'static str {
    match active {
        "failed" => RED,
        "active" | "reloading" | "refreshing" => GREEN,
        _ => "",
    }
}

/// The colour of an enablement word.
pub fn enablement_colour(word: &str) -> &'static str {
    match word {
        "enabled" | "enabled-runtime" | "alias" => GREEN,
        "masked" | "masked-runtime" | "bad" => RED,
        "disabled" | "linked" | "linked-runtime" => YELLOW,
        _ => "",
    }
}

/// Text from outside for a terminal: control characters become visible.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push('\t'),
            control if control.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out
}
