//! The kernel's table of mounts (/proc/self/mountinfo), and which of them are worth a unit. Pure but for
//! [`is_mounted`].

use std::collections::BTreeMap;

use crate::facts::unoctal;

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

/// Reads the table; of several mounts at one place the last one is on top.
pub fn parse(text: &str) -> BTreeMap<String, Mounted> {
    let mut table = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(' ').skip(4);
        let (Some(place), Some(options)) = (fields.next(), fields.next()) else { continue };
        let mut rest = fields.skip_while(|field| *field != "-").skip(1);
        let (Some(kind), Some(what)) = (rest.next(), rest.next()) else { continue };
        if kind == "autofs" {
            // A place where something will be mounted, not a mount.
            continue;
        }
        let mut all: Vec<&str> = options.split(',').collect();
        all.extend(rest.next().unwrap_or("").split(',').filter(|word| !matches!(*word, "rw" | "ro" | "")));
        let mounted = Mounted { what: unoctal(what), kind: unoctal(kind), options: unoctal(&all.join(",")) };
        table.insert(unoctal(place), mounted);
    }
    table
}

/// Is something mounted exactly here?
pub fn is_mounted(place: &str) -> bool {
    std::fs::read_to_string("/proc/self/mountinfo").is_ok_and(|text| parse(&text).contains_key(place))
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
