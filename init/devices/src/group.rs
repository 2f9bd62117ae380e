//! Group numbers by name, from /etc/group. Pure.

/// The number of a group.
pub(crate) fn number(group_file: &str, name: &str) -> Option<u32> {
    group_file.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let file = "root:x:0:\ndisks:x:9:\ndisk:x:6:core\nbroken\nkvm:x:many:\n";
        assert_eq!(number(file, "disk"), Some(6));
        assert_eq!(number(file, "kvm"), None);
        assert_eq!(number(file, "none"), None);
    }
}
