//! Who sent a message: the unit by the control group of the process, its short name by /proc.

use std::fs;

/// The unit a process belongs to; empty if there is none.
pub fn unit_of(pid: i32) -> String {
    if pid <= 0 {
        return String::new();
    }
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    unit_in(&text).unwrap_or_default().to_owned()
}

/// The short name of a process; empty if it is gone.
pub fn comm_of(pid: i32) -> String {
    if pid <= 0 {
        return String::new();
    }
    fs::read_to_string(format!("/proc/{pid}/comm")).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

/// The outermost part of the unified path that is a unit with processes; slices only hold others.
fn unit_in(cgroup: &str) -> Option<&str> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.split('/').find(|part| {
        [".service", ".scope", ".socket", ".mount", ".swap"]
            .iter()
            .any(|end| part.ends_with(end) && part.len() > end.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_first_part_that_is_no_slice() {
        for (text, unit) in [
            ("0::/system.slice/ssh.service\n", Some("ssh.service")),
            ("0::/system.slice/system-getty.slice/getty@tty1.service/sub.scope\n", Some("getty@tty1.service")),
            ("1:name=systemd:/x.service\n0::/init.scope\n", Some("init.scope")),
            ("0::/\n", None),
            ("", None),
        ] {
            assert_eq!(unit_in(text), unit);
        }
        assert_eq!(unit_of(0), "");
        assert_eq!(comm_of(i32::MAX), "");
    }
}
