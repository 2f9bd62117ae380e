//! Devices as mounts and swap units name them: `UUID=` and its like become links of /dev/disk. Pure.

/// `UUID=…` and the like as the link that leads to the device; anything else as it is.
pub fn device_path(text: &str) -> String {
    let tags =
        [("LABEL=", "by-label"), ("UUID=", "by-uuid"), ("PARTUUID=", "by-partuuid"), ("PARTLABEL=", "by-partlabel")];
    for (tag, directory) in tags {
        if let Some(value) = text.strip_prefix(tag) {
            let value = value.trim_matches(['"', '\'']);
            // Names of links are written as device managers write them.
            return format!("/dev/disk/{directory}/{}", link_name(value));
        }
    }
    text.to_owned()
}

/// A label as the name of a link: what is not plain is written as `\xNN`.
fn link_name(label: &str) -> String {
    label.chars().fold(String::new(), |mut name, c| {
        if c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() {
            name.push(c);
        } else {
            name.push_str(&format!("\\x{:02x}", u32::from(c)));
        }
        name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_links_and_paths_stay() {
        for (text, want) in [
            ("UUID=0a-1", "/dev/disk/by-uuid/0a-1"),
            ("LABEL=\"my data/1\"", "/dev/disk/by-label/my\\x20data\\x2f1"),
            ("PARTLABEL=é", "/dev/disk/by-partlabel/é"),
            ("/dev/vda1", "/dev/vda1"),
            ("tmpfs", "tmpfs"),
        ] {
            assert_eq!(device_path(text), want);
        }
    }
}
