//! The words that `--state=help`, `--type=help` and `--job-mode=help` list: systemd's, in its order. Pure.

/// Kinds of units.
const TYPES: [&str; 11] =
    ["service", "mount", "swap", "socket", "target", "device", "automount", "timer", "path", "slice", "scope"];

/// Whether a unit could be loaded.
pub const LOAD_STATES: [&str; 7] = ["stub", "loaded", "not-found", "bad-setting", "error", "merged", "masked"];

const ACTIVE_STATES: &str = "active reloading inactive failed activating deactivating maintenance refreshing";

const FILE_STATES: &str = "enabled enabled-runtime linked linked-runtime alias masked masked-runtime static disabled \
    indirect generated transient bad";

const JOB_MODES: &str = "fail lenient replace replace-irreversibly isolate flush ignore-dependencies \
    ignore-requirements triggering restart-dependencies";

/// The states of each kind.
const SUB_STATES: [(&str, &str); 11] = [
    ("automount", "dead waiting running failed"),
    ("device", "dead tentative plugged"),
    (
        "mount",
        "dead mounting mounting-done mounted remounting unmounting remounting-sigterm remounting-sigkill \
         unmounting-sigterm unmounting-sigkill failed cleaning",
    ),
    ("path", "dead waiting running failed"),
    ("scope", "dead start-chown running abandoned stop-sigterm stop-sigkill failed"),
    (
        "service",
        "dead condition start-pre start start-post running exited reload reload-signal reload-notify mounting stop \
         stop-watchdog stop-sigterm stop-sigkill stop-post final-watchdog final-sigterm final-sigkill failed \
         dead-before-auto-restart failed-before-auto-restart dead-resources-pinned auto-restart auto-restart-queued \
         cleaning",
    ),
    ("slice", "dead active"),
    (
        "socket",
        "dead start-pre start-chown start-post listening running stop-pre stop-pre-sigterm stop-pre-sigkill stop-post \
         final-sigterm final-sigkill failed cleaning",
    ),
    (
        "swap",
        "dead activating activating-done active deactivating deactivating-sigterm deactivating-sigkill failed cleaning",
    ),
    ("target", "dead active"),
    ("timer", "dead waiting running elapsed failed"),
];

fn list<'a>(heading: &str, words: impl IntoIterator<Item = &'a str>, legend: bool) -> String {
    let heading = if legend { format!("{heading}:\n") } else { String::new() };
    words.into_iter().fold(heading, |text, word| text + word + "\n")
}

/// `--type=help`.
pub fn types(legend: bool) -> String {
    list("Available unit types", TYPES, legend)
}

/// `--job-mode=help`.
pub fn job_modes(legend: bool) -> String {
    list("Available job modes", JOB_MODES.split(' '), legend)
}

/// `--state=help`.
pub fn states(legend: bool) -> String {
    let mut parts = vec![
        list("Available unit load states", LOAD_STATES, legend),
        list("Available unit active states", ACTIVE_STATES.split(' '), legend),
        list("Available unit file states", FILE_STATES.split(' '), legend),
    ];
    let of_kind =
        |(kind, words): &(&str, &str)| list(&format!("Available {kind} unit substates"), words.split(' '), legend);
    parts.extend(SUB_STATES.iter().map(of_kind));
    parts.join(if legend { "\n" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_listed_by_what_they_belong_to() {
        let text = states(true);
        assert!(text.starts_with("Available unit load states:\nstub\nloaded\n"), "{text}");
        assert!(text.ends_with("\n\nAvailable timer unit substates:\ndead\nwaiting\nrunning\nelapsed\nfailed\n"));
        assert!(!states(false).contains(':'));
    }
}
