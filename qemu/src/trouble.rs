//! Lines on a console that mean the machine is in trouble. Pure.
//!
//! A machine test fails on the first of them unless it said that it expects that one.

const SIGNS: [&str; 17] = [
    "Kernel panic",
    "Oops:",
    "BUG:",
    "general protection fault",
    "blocked for more than",
    "soft lockup",
    "hard LOCKUP",
    "rcu: INFO: rcu_preempt detected stalls",
    "I/O error",
    "EXT4-fs error",
    "EXT4-fs warning",
    "Buffer I/O error",
    "is corrupted",
    "Out of memory",
    "segfault at",
    "emergency",
    "panicked at",
];

/// What looks like trouble and is not.
const HARMLESS: [&str; 1] = ["emergency.target"];

/// Whether a line speaks of trouble.
pub fn is_trouble(line: &str) -> bool {
    SIGNS.iter().any(|sign| line.contains(sign)) && !HARMLESS.iter().any(|harmless| line.contains(harmless))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_for_trouble_are_known() {
        for line in [
            "[    2.1] Kernel panic - not syncing: VFS",
            "[    2.1] device-mapper: verity: 254:1: data block 7 is corrupted",
            "INFO: task ext4lazyinit:88 blocked for more than 120 seconds.",
            "I/O error, dev vda, sector 0 op 0x0:(READ)",
            "ferrite-init[1]: thread 'main' panicked at src/main.rs",
        ] {
            assert!(is_trouble(line), "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_no_trouble() {
        for line in
            ["[  OK  ] Started ssh.service", "EXT4-fs (vda9): mounted filesystem", "stopped target emergency.target"]
        {
            assert!(!is_trouble(line), "{line}");
        }
    }
}
