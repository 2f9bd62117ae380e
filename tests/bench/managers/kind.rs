//! The managers: their files, how they are started, told to start services, and asked.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

use super::answers;
use super::measure::{CHAIN, SERVICES};

/// Says how to run a service that does nothing, for those whose services are scripts.
const RUN: &str = "#!/bin/sh\nexec sleep infinity\n";

/// There is no journal, and programs do the same under every manager: without this they would read a locale.
const PLAIN: &str = "StandardOutput=null\nUnsetEnvironment=LANG\n";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ferrite,
    Systemd,
    S6,
    Runit,
    /// No manager: a shell that starts the same programs, as a measure of what they cost alone.
    Shell,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] = [Kind::Ferrite, Kind::Systemd, Kind::S6, Kind::Runit, Kind::Shell];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Ferrite => "ferrite",
            Kind::Systemd => "systemd",
            Kind::S6 => "s6",
            Kind::Runit => "runit",
            Kind::Shell => "shell",
        }
    }

    /// The command line of process 1.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Kind::Ferrite => "/bench/ferrite-init",
            Kind::Systemd => "/usr/lib/systemd/systemd --system --unit=default.target",
            Kind::S6 => "s6-svscan -c 1100 /run/service",
            Kind::Runit => "runit",
            Kind::Shell => "sh /bench/shell",
        }
    }

    /// A file that is there as soon as it listens.
    pub(crate) fn ready_file(self) -> &'static str {
        match self {
            Kind::Ferrite => "run/ferrite/init.sock",
            Kind::Systemd => "run/systemd/private",
            Kind::S6 => "run/service/.s6-svscan/control",
            Kind::Runit | Kind::Shell => "run/ready",
        }
    }

    /// Starts all services, inside.
    pub(crate) fn start_services(self) -> &'static str {
        match self {
            Kind::Ferrite => "/bench/systemctl start all.target",
            Kind::Systemd => "systemctl start all.target",
            Kind::S6 => "ln -s /bench/services/* /run/service/ && s6-svscanctl -a /run/service",
            Kind::Runit => "ln -s /bench/services/* /run/service/",
            Kind::Shell => "echo > /run/go",
        }
    }

    /// Starts a chain of services each of which needs the one before it, inside. Only where order is known.
    pub(crate) fn start_chain(self) -> Option<String> {
        let last = format!("start chain{}.service", CHAIN - 1);
        match self {
            Kind::Ferrite => Some(format!("/bench/systemctl {last}")),
            Kind::Systemd => Some(format!("systemctl {last}")),
            Kind::S6 | Kind::Runit | Kind::Shell => None,
        }
    }

    /// Has all unchanged definitions looked at again, inside.
    pub(crate) fn reload(self) -> Option<&'static str> {
        match self {
            Kind::Ferrite => Some("/bench/systemctl daemon-reload"),
            Kind::Systemd => Some("systemctl daemon-reload"),
            Kind::S6 => Some("s6-svscanctl -an /run/service"),
            Kind::Runit | Kind::Shell => None,
        }
    }

    /// Writes what lies over the root: programs and services.
    pub(crate) fn write_files(self, folder: &Path, init: &Path) -> anyhow::Result<()> {
        let _ = fs::remove_dir_all(folder); // It may not be there.
        let copy = |from: &Path, name: &str| {
            let to = folder.join(name);
            fs::copy(from, &to).with_context(|| format!("copying '{}' to '{}'", from.display(), to.display()))
        };
        match self {
            Kind::Ferrite => {
                write_units(folder)?;
                copy(init, "bench/ferrite-init")?;
                copy(&init.with_file_name("systemctl"), "bench/systemctl")?;
                copy(Path::new("/proc/self/exe"), answers::PROGRAM)?;
            }
            Kind::Systemd => {
                write_units(folder)?;
                copy(Path::new("/proc/self/exe"), answers::PROGRAM)?;
            }
            Kind::S6 => write_scripts(folder)?,
            Kind::Runit => {
                write_scripts(folder)?;
                write(folder, "etc/runit/1", "#!/bin/sh\nmkdir -p /run/service\n: > /run/ready\n")?;
                write(folder, "etc/runit/2", "#!/bin/sh\nexec runsvdir -P /run/service\n")?;
                write(folder, "etc/runit/3", "#!/bin/sh\n")?;
            }
            Kind::Shell => write(folder, "bench/shell", &shell())?,
        }
        Ok(())
    }
}

fn shell() -> String {
    format!(
        "mkfifo /run/go\n: > /run/ready\nread line < /run/go\nnumber=0\nwhile [ $number -lt {SERVICES} ]; do\n\
         sleep infinity &\nnumber=$((number + 1))\ndone\nwhile :; do wait; done\n"
    )
}

/// The same units for both who read units: a small set of targets, the services, and the chain.
fn write_units(folder: &Path) -> anyhow::Result<()> {
    let unit = |name: &str, text: &str| write(folder, &format!("bench/units/{name}"), text);
    for name in ["sysinit", "basic", "shutdown", "umount"] {
        unit(&format!("{name}.target"), "[Unit]\nDefaultDependencies=no\n")?;
    }
    unit("default.target", "[Unit]\nDescription=Nothing\n")?;
    let mut all = "[Unit]\nDescription=All services\n".to_owned();
    for number in 0..SERVICES {
        let text = format!("[Unit]\nDescription=Service {number}\n\n[Service]\nExecStart=/bin/sleep infinity\n{PLAIN}");
        unit(&format!("service{number}.service"), &text)?;
        // Writing into memory cannot fail.
        let _ = writeln!(all, "Wants=service{number}.service");
    }
    unit("all.target", &all)?;
    for number in 0..CHAIN {
        let mut text = format!("[Unit]\nDescription=Link {number}\n");
        if let Some(before) = number.checked_sub(1) {
            let _ = write!(text, "Requires=chain{before}.service\nAfter=chain{before}.service\n");
        }
        text += "\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n";
        text += PLAIN;
        unit(&format!("chain{number}.service"), &text)?;
    }
    Ok(())
}

fn write_scripts(folder: &Path) -> anyhow::Result<()> {
    (0..SERVICES).try_for_each(|number| write(folder, &format!("bench/services/service{number}/run"), RUN))
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = folder.join(name);
    let place = || format!("writing '{}'", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(place)?;
    }
    fs::write(&path, text).with_context(place)?;
    let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).with_context(place)
}
