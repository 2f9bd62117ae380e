//! Picks the lines of a boot that a waiting person wants to see. Pure.

/// Words at the beginning of a line, behind the kernel's time stamp, that make it worth showing.
const SHOWN: [&str; 6] = ["ferrite", "Ferrite", "GRUB", "[FAILED]", "Kernel panic", "Reached target"];

/// Targets that tell how far the boot is.
const MILESTONES: [&str; 4] = ["sysinit.target", "network-online.target", "multi-user.target", "boot-complete.target"];

/// The text to show for a console line, if any.
pub fn shown(line: &str) -> Option<&str> {
    let text = without_time(line).trim();
    let wanted = SHOWN.iter().any(|word| text.starts_with(word)) || is_milestone(text);
    wanted.then_some(text)
}

fn is_milestone(text: &str) -> bool {
    text.starts_with("[  OK  ]") && MILESTONES.iter().any(|target| text.contains(target))
}

fn without_time(line: &str) -> &str {
    let Some(rest) = line.trim_start().strip_prefix('[') else { return line };
    match rest.split_once(']') {
        Some((time, text)) if time.trim().parse::<f64>().is_ok() => text,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_lines_are_shown_without_the_kernels_time() {
        assert_eq!(shown("[    3.104512] ferrite: root verified"), Some("ferrite: root verified"));
        assert_eq!(
            shown("[  OK  ] Reached target multi-user.target"),
            Some("[  OK  ] Reached target multi-user.target")
        );
        assert_eq!(shown("[FAILED] Failed to start ssh.service"), Some("[FAILED] Failed to start ssh.service"));
    }

    #[test]
    fn the_rest_is_left_to_the_log() {
        assert_eq!(shown("[    0.000000] Linux version 6.12"), None);
        assert_eq!(shown("[  OK  ] Started ssh.service"), None);
    }
}
