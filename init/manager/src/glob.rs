//! Patterns of paths with `*`, `?`, `[a-z]` in any component, as glob(7) has them. Looks a bounded number of names up.

use std::fs;

/// Names looked at for one pattern.
const NAMES_MAX: usize = 100_000;

/// The first path, in the order of names, that fits a pattern.
pub fn first(pattern: &str) -> Option<String> {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let mut open = vec![(String::new(), 0)];
    let mut looked = 0;
    while let Some((place, depth)) = open.pop() {
        let Some(part) = parts.get(depth) else { return Some(if place.is_empty() { "/".into() } else { place }) };
        if !ferrite_pattern::is_pattern(part) && !part.contains('\\') {
            let next = format!("{place}/{part}");
            if fs::symlink_metadata(&next).is_ok() {
                open.push((next, depth + 1));
            }
            continue;
        }
        let directory = if place.is_empty() { "/" } else { &place };
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            looked += 1;
            if looked > NAMES_MAX {
                return None;
            }
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if ferrite_pattern::matches_file(part, &name) {
                found.push(format!("{place}/{name}"));
            }
        }
        // The last one pushed is looked at first.
        found.sort_unstable_by(|a, b| b.cmp(a));
        open.extend(found.into_iter().map(|path| (path, depth + 1)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_path_in_order_is_found_in_any_component() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().display().to_string();
        for path in ["b/x.conf", "a/y", "a/.hidden.conf", "c/x.conf"] {
            fs::create_dir_all(directory.path().join(path).parent().unwrap()).unwrap();
            fs::write(directory.path().join(path), "").unwrap();
        }
        assert_eq!(first(&format!("{base}/*/*.conf")), Some(format!("{base}/b/x.conf")));
        assert_eq!(first(&format!("{base}/a/y")), Some(format!("{base}/a/y")));
        assert_eq!(first(&format!("{base}/[d-z]/*")), None);
        assert_eq!(first("/"), Some("/".into()));
    }
}
