//! `systemd-analyze time`: how long the parts of the boot took, in one sentence.

use anyhow::Result;
use ferrite_control::Client;
use ferrite_unit::timespan;

use super::Call;
use super::boot::{self, Boot};
use crate::client::print;
use crate::client::verbs::details;

/// Prints it.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let mut client = call.connect()?;
    let boot = boot::boot(&mut client)?.finished()?;
    print(&format!("{}\n", of(&mut client, &boot)?))
}

/// The sentence, and a line on the default target.
pub fn of(client: &mut Client, boot: &Boot) -> Result<String> {
    let target = details(client, "default.target")?;
    Ok(sentence(boot, &target.summary.name, target.active_enter_monotonic_us))
}

/// A span in milliseconds.
pub fn milliseconds(span_us: u64) -> String {
    timespan::text(span_us, 1000)
}

fn sentence(boot: &Boot, target: &str, reached_us: u64) -> String {
    let mut text = String::from("Startup finished in ");
    let mut part = |span_us: u64, what: &str| text.push_str(&format!("{} ({what}) ", milliseconds(span_us)));
    let userspace = boot.finish_us.saturating_sub(boot.userspace_us);
    let before = [
        (boot.kernel_done_us > 0, boot.kernel_done_us, "kernel"),
        (boot.initrd_us > 0, boot.userspace_us.saturating_sub(boot.initrd_us), "initrd"),
        (boot.is_soft_reboot, boot.userspace_us, "soft reboot"),
    ];
    before.into_iter().filter(|(is_known, _, _)| *is_known).for_each(|(_, span, what)| part(span, what));
    part(userspace, "userspace");
    let mut text = text.replace(") ", ") + ");
    text.truncate(text.len().saturating_sub(2));
    if boot.kernel_done_us > 0 {
        text.push_str(&format!("= {} ", milliseconds(boot.finish_us)));
    }
    if reached_us == 0 {
        return format!("{text}\n{target} was never reached.");
    }
    let took = reached_us.saturating_sub(boot.userspace_us.saturating_add(boot.offset_us));
    format!("{text}\n{target} reached after {} in userspace.", milliseconds(took))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_boot_are_summed_up() {
        let machine = Boot {
            kernel_done_us: 1_250_000,
            initrd_us: 1_250_000,
            userspace_us: 2_000_000,
            finish_us: 65_400_000,
            ..Boot::default()
        };
        assert_eq!(
            sentence(&machine, "multi-user.target", 5_500_000),
            "Startup finished in 1.250s (kernel) + 750ms (initrd) + 1min 3.400s (userspace) = 1min 5.400s \n\
             multi-user.target reached after 3.500s in userspace."
        );
        let plain = Boot { initrd_us: 0, kernel_done_us: 2_000_000, ..machine };
        assert_eq!(
            sentence(&plain, "default.target", 0),
            "Startup finished in 2s (kernel) + 1min 3.400s (userspace) = 1min 5.400s \n\
             default.target was never reached."
        );
    }

    #[test]
    fn a_namespace_and_a_soft_reboot_have_no_kernel() {
        let namespace = Boot { finish_us: 30_000, offset_us: 9_000_000, ..Boot::default() };
        assert_eq!(
            sentence(&namespace, "a.target", 9_020_000),
            "Startup finished in 30ms (userspace) \na.target reached after 20ms in userspace."
        );
        let soft = Boot { is_soft_reboot: true, userspace_us: 10_000, ..namespace };
        assert_eq!(
            sentence(&soft, "a.target", 9_020_000),
            "Startup finished in 10ms (soft reboot) + 20ms (userspace) \na.target reached after 10ms in userspace."
        );
    }
}
