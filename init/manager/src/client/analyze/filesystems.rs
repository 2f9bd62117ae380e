//! `systemd-analyze filesystems`: the groups of file systems that `RestrictFileSystems=` may name.

use anyhow::{Result, bail};
use ferrite_unit::directives::nearest;
use ferrite_unit::file_system::{group, group_names, ungrouped};

use super::Call;
use crate::client::print;
use crate::client::style::{BOLD, Colour, GREY, paint};

/// What each group is about.
const MEANINGS: [(&str, &str); 11] = [
    ("@basic-api", "What every program expects of the kernel"),
    ("@anonymous", "Files without a name: pipes, sockets and their like"),
    ("@application", "File systems that programs or other file systems provide"),
    ("@auxiliary-api", "Further interfaces of the kernel"),
    ("@common-block", "File systems of today's disks"),
    ("@historical-block", "File systems of older disks"),
    ("@network", "File systems over the network"),
    ("@privileged-api", "Interfaces of the kernel for root"),
    ("@security", "Interfaces of security modules"),
    ("@temporary", "File systems in memory"),
    ("@known", "All known file systems"),
];

/// Prints the named groups, or all of them and what is in none.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let words = call.operands();
    let kernel = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if words.is_empty() {
        return print(&all(&kernel, call.line.has("quiet"), call.colour));
    }
    let blocks = words.iter().map(|name| block(name, call.colour)).collect::<Result<Vec<_>>>()?;
    print(&blocks.join("\n"))
}

fn block(name: &str, colour: Colour) -> Result<String> {
    let Some(members) = group(name) else {
        let near = nearest(name, group_names()).map(|near| format!(" Did you mean \"{near}\"?"));
        bail!("Filesystem set \"{name}\" not found.{}", near.unwrap_or_default());
    };
    let meaning = MEANINGS.iter().find(|(known, _)| *known == name).map_or("", |(_, meaning)| meaning);
    let lines: String = members.iter().map(|member| format!("    {member}\n")).collect();
    Ok(format!("{}\n    {}\n{lines}", paint(name, BOLD, colour), paint(&format!("# {meaning}"), GREY, colour)))
}

/// All groups; then, unless that is not wanted, what is in none of them and what only this kernel has.
fn all(kernel: &str, quiet: bool, colour: Colour) -> String {
    let mut blocks: Vec<String> = group_names().filter_map(|name| block(name, colour).ok()).collect();
    let known = group("@known").unwrap_or_default();
    let here = kernel.lines().filter_map(|line| line.split_whitespace().next_back());
    let mut unknown: Vec<&str> = here.filter(|name| !known.contains(name)).collect();
    unknown.sort_unstable();
    let list = |title: &str, names: Vec<&str>| {
        let lines: String = names.iter().map(|name| format!("#   {name}\n")).collect();
        (!names.is_empty()).then(|| format!("# {}:\n{lines}", paint(title, BOLD, colour)))
    };
    if !quiet {
        blocks.extend(list("File systems in no group but @known", ungrouped().collect()));
        blocks.extend(list("File systems of this kernel in no group", unknown));
    }
    blocks.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_a_meaning() {
        assert_eq!(group_names().collect::<Vec<_>>(), MEANINGS.map(|(name, _)| name));
        assert_eq!(
            block("@temporary", Colour::Off).unwrap(),
            "@temporary\n    # File systems in memory\n    ramfs\n    tmpfs\n"
        );
        let fault = block("@networks", Colour::Off).unwrap_err().to_string();
        assert_eq!(fault, "Filesystem set \"@networks\" not found. Did you mean \"@network\"?");
    }

    #[test]
    fn what_is_in_no_group_stands_at_the_end() {
        let text = all("nodev\tproc\n\text4\nnodev\tmyfs\n", false, Colour::Off);
        assert!(text.contains("\n# File systems in no group but @known:\n#   adfs\n"), "{text}");
        assert!(text.ends_with("\n# File systems of this kernel in no group:\n#   myfs\n"), "{text}");
        assert!(!all("nodev\tmyfs\n", true, Colour::Off).contains("myfs"));
    }
}
