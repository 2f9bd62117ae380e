//! What specifiers and conditions say about this machine, read from its files.

use ferrite_unit::environment::parse_file;
use ferrite_unit::specifier::Host;

use crate::disk::read_text;

/// The name that somebody gave the machine.
pub const HOST_NAME: &str = "/etc/hostname";
/// What somebody says of it.
pub const MACHINE_INFO: &str = "/etc/machine-info";

fn line(path: &str) -> String {
    read_text(path).trim().to_owned()
}

/// Reads it all.
pub fn read() -> Host {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    Host {
        machine_id: line("/etc/machine-id"),
        boot_id: line("/proc/sys/kernel/random/boot_id").replace('-', ""),
        host_name: text(uname.nodename()),
        pretty_host_name: machine_info("PRETTY_HOSTNAME"),
        kernel_release: text(uname.release()),
        architecture: architecture().into(),
        shell: shell().into(),
        os_release: parse_file(&read_text("/etc/os-release")),
        totals: crate::totals::read(),
    }
}

/// A variable of machine-info(5), if it has a value.
pub fn machine_info(key: &str) -> Option<String> {
    let pairs = parse_file(&read_text(MACHINE_INFO)).into_iter();
    pairs.filter(|(name, value)| name == key && !value.is_empty()).map(|(_, value)| value).next_back()
}

/// The name in hostname(5), if there is one.
pub fn static_host_name() -> Option<String> {
    let text = read_text(HOST_NAME);
    let name = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    name.map(str::to_owned)
}

/// The shell of root, as far as it is installed.
pub fn shell() -> &'static str {
    ["/bin/bash"].into_iter().find(|path| std::path::Path::new(path).exists()).unwrap_or("/bin/sh")
}

/// systemd's name of the processor architecture.
pub fn architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") { "x86-64" } else { "arm64" }
}
