//! The kernel's table of mounts (/proc/self/mountinfo), and which of them are worth a unit. Pure but for
//! [`text`] and those that ask by it.

use std::collections::BTreeMap;

use crate::facts::unoctal;

/// Where the kernel tells it.
pub const TABLE: &str = "/proc/self/mountinfo";

/// What is mounted at a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounted {
    /// The source.
    pub what: String,
    /// The file system.
    pub kind: String,
    /// Options of the mount and of the file system.
    pub options: String,
}

/// The fields of a line of the table that somebody asks for.
pub struct Line<'a> {
    /// Where.
    pub place: String,
    /// Options of the mount.
    pub options: &'a str,
    /// The file system.
    pub kind: &'a str,
    /// The source, as the kernel writes it.
    pub what: &'a str,
    /// Options of the file system.
    pub inner: &'a str,
}

/// The lines of the table, newest last.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(4);
        let (place, options) = (unoctal(fields.next()?), fields.next()?);
        let mut rest = fields.skip_while(|field| *field != "-").skip(1);
        Some(Line { place, options, kind: rest.next()?, what: rest.next()?, inner: rest.next().unwrap_or("") })
    })
}

/// The table itself; empty when it cannot be read.
pub fn text() -> String {
    std::fs::read_to_string(TABLE).unwrap_or_default()
}

/// Reads the table; of several mounts at one place the last one is on top.
pub fn parse(text: &str) -> BTreeMap<String, Mounted> {
    // An autofs is a place where something will be mounted, not a mount.
    let mounts = lines(text).filter(|line| line.kind != "autofs");
    let mounted = |line: Line<'_>| {
        let mut all: Vec<&str> = line.options.split(',').collect();
        all.extend(line.inner.split(',').filter(|word| !matches!(*word, "rw" | "ro" | "")));
        let (what, kind) = (unoctal(line.what), unoctal(line.kind));
        (line.place, Mounted { what, kind, options: unoctal(&all.join(",")) })
    };
    mounts.map(mounted).collect()
}

/// Is something mounted exactly here?
pub fn is_mounted(place: &str) -> bool {
    parse(&text()).contains_key(place)
}

/// Does a mount at this place get a unit although no file describes it?
pub fn has_unit(place: &str) -> bool {
    !ferrite_unit::mount::is_api(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let text = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n\
                    23 22 0:5 / /mnt/a\\040b ro - tmpfs none rw,size=5k\n\
                    24 22 0:6 / /mnt/a\\040b rw,nosuid master:1 shared:2 - tmpfs top rw\nnonsense\n";
        let table = parse(text);
        assert_eq!(table.keys().collect::<Vec<_>>(), ["/", "/mnt/a b"]);
        assert_eq!(table["/"].options, "rw,relatime,errors=remount-ro");
        let top = Mounted { what: "top".into(), kind: "tmpfs".into(), options: "rw,nosuid".into() };
        assert_eq!(table["/mnt/a b"], top);
    }

    #[test]
    fn file_systems_of_the_kernel_have_no_unit() {
        for (place, want) in [("/proc", false), ("/sys/fs/cgroup/x", false), ("/", true), ("/run/lock", true)] {
            assert_eq!(has_unit(place), want, "{place}");
        }
    }
}
