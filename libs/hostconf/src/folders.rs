//! Which files of /etc, /run, /usr/local/lib and /usr/lib count, and in which order. Pure.
//!
//! Files are read by their names whatever folder they lie in; of one name the first folder's file counts, and one that
//! is empty or leads to /dev/null hides the others without saying anything itself.

use std::collections::BTreeMap;

/// The folders, the strongest first; the kind's name, such as `tmpfiles.d`, goes behind.
pub const SEARCH: [&str; 4] = ["/etc", "/run", "/usr/local/lib", "/usr/lib"];

/// A file that was found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Whether it is a link to /dev/null.
    pub is_masked: bool,
}

/// One folder and what lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The folder.
    pub folder: String,
    /// Its files.
    pub files: Vec<Found>,
}

/// The paths that count, in the order they are read. `listings` has the strongest folder first.
pub fn order(listings: &[Listing]) -> Vec<String> {
    paths_by_name(listings).into_values().flatten().collect()
}

/// The same with a file that does not exist (yet) at `replacement`: `true` marks the place where it would be read.
///
/// Nothing marks it when a stronger folder has a file of this name, which then counts instead.
pub fn order_with(listings: &[Listing], replacement: &str) -> Vec<(String, bool)> {
    let mut by_name = paths_by_name(listings);
    let (folder, name) = replacement.rsplit_once('/').unwrap_or(("", replacement));
    let rank = |folder: &str| listings.iter().position(|listing| listing.folder == folder);
    let own = rank(folder).unwrap_or(usize::MAX);
    let is_beaten = listings
        .iter()
        .enumerate()
        .any(|(rank, listing)| rank < own && listing.files.iter().any(|file| file.name == name));
    if !is_beaten {
        by_name.insert(name, Some(replacement.to_string()));
    }
    by_name.into_values().flatten().map(|path| (path.clone(), !is_beaten && path == replacement)).collect()
}

/// `None`: the name is masked.
fn paths_by_name(listings: &[Listing]) -> BTreeMap<&str, Option<String>> {
    let mut by_name = BTreeMap::new();
    for Listing { folder, files } in listings {
        for file in files.iter().filter(|file| file.name.ends_with(".conf")) {
            let path = (!file.is_masked).then(|| format!("{folder}/{}", file.name));
            by_name.entry(file.name.as_str()).or_insert(path);
        }
    }
    by_name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(folder: &str, names: &[&str]) -> Listing {
        let found = |name: &&str| Found { name: name.trim_end_matches('!').into(), is_masked: name.ends_with('!') };
        Listing { folder: folder.into(), files: names.iter().map(found).collect() }
    }

    #[test]
    fn files_are_read_by_name_and_the_strongest_folder_wins() {
        let listings = [
            listing("/etc/x.d", &["20-b.conf", "30-c.conf!", "note.txt"]),
            listing("/usr/lib/x.d", &["10-a.conf", "20-b.conf", "30-c.conf", "40-d.conf"]),
        ];
        assert_eq!(order(&listings), ["/usr/lib/x.d/10-a.conf", "/etc/x.d/20-b.conf", "/usr/lib/x.d/40-d.conf"]);
    }

    #[test]
    fn a_replacement_is_read_at_its_place_unless_a_stronger_file_is_there() {
        let listings = [listing("/etc/x.d", &["30-c.conf"]), listing("/usr/lib/x.d", &["10-a.conf", "40-d.conf"])];
        let names = |path: &str| -> Vec<String> {
            let marked = |(path, is_it): (String, bool)| if is_it { format!("*{path}") } else { path };
            order_with(&listings, path).into_iter().map(marked).collect()
        };
        let usr = "/usr/lib/x.d/20-b.conf";
        assert_eq!(names(usr)[..2], ["/usr/lib/x.d/10-a.conf".to_string(), format!("*{usr}")]);
        assert!(!names("/usr/lib/x.d/30-c.conf").iter().any(|path| path.starts_with('*')));
    }
}
