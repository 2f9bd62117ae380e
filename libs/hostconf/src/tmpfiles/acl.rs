//! Access control lists: the text of a line, joining with the list a file has, and the kernel's form of a list. Pure.

use std::collections::BTreeMap;

/// The version of the kernel's form.
const VERSION: u32 = 2;
/// The number of entries that have none.
const NO_ID: u32 = u32::MAX;

/// Whom an entry is for; in the order in which the kernel wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The owner.
    Owner,
    /// A user.
    User(u32),
    /// The group of the file.
    OwningGroup,
    /// A group.
    Group(u32),
    /// What users and groups get at most.
    Mask,
    /// Everybody else.
    Other,
}

/// A list: bits (4 read, 2 write, 1 execute) by whom they are for.
pub type List = BTreeMap<Who, u8>;

/// What a line asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclRequest {
    /// The list that governs access.
    pub access: List,
    /// Entries with `X`: execute only where somebody has it already, or on folders.
    pub access_if_executable: List,
    /// The list that new files of a folder begin with.
    pub default: List,
}

/// Reads `u:name:rwx,d:group:adm:r-x`; `users` and `groups` give numbers.
pub(super) fn parse(
    text: &str,
    users: &dyn Fn(&str) -> Option<u32>,
    groups: &dyn Fn(&str) -> Option<u32>,
) -> Result<AclRequest, &'static str> {
    let mut request = AclRequest::default();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (is_default, entry) = match entry.strip_prefix("default:").or_else(|| entry.strip_prefix("d:")) {
            Some(rest) => (true, rest),
            None => (false, entry),
        };
        let mut fields = entry.split(':');
        let tag = fields.next().unwrap_or_default();
        let mut name = fields.next().ok_or("Invalid argument")?;
        // Mask and others may be written with one colon.
        let bits = match (fields.next(), tag) {
            (Some(bits), _) => bits,
            (None, "m" | "mask" | "o" | "other") => std::mem::take(&mut name),
            (None, _) => return Err("Invalid argument"),
        };
        if fields.next().is_some() {
            return Err("Invalid argument");
        }
        let who = who(tag, name, users, groups)?;
        let (bits, is_conditional) = permissions(bits).ok_or("Invalid argument")?;
        let list = match (is_default, is_conditional) {
            (true, _) => &mut request.default,
            (false, true) => &mut request.access_if_executable,
            (false, false) => &mut request.access,
        };
        list.insert(who, bits);
    }
    Ok(request)
}

fn who(
    tag: &str,
    name: &str,
    users: &dyn Fn(&str) -> Option<u32>,
    groups: &dyn Fn(&str) -> Option<u32>,
) -> Result<Who, &'static str> {
    let number = |find: &dyn Fn(&str) -> Option<u32>| {
        name.parse().ok().or_else(|| find(name)).ok_or("No such file or directory")
    };
    Ok(match (tag, name) {
        ("u" | "user", "") => Who::Owner,
        ("u" | "user", _) => Who::User(number(users)?),
        ("g" | "group", "") => Who::OwningGroup,
        ("g" | "group", _) => Who::Group(number(groups)?),
        ("m" | "mask", "") => Who::Mask,
        ("o" | "other", "") => Who::Other,
        _ => return Err("Invalid argument"),
    })
}

/// The bits, and whether `x` depends on what the file has.
fn permissions(text: &str) -> Option<(u8, bool)> {
    if let Ok(bits) = text.parse::<u8>() {
        return (bits < 8).then_some((bits, false));
    }
    let (mut bits, mut is_conditional) = (0, false);
    for letter in text.chars() {
        bits |= match letter {
            'r' => 4,
            'w' => 2,
            'x' => 1,
            'X' => {
                is_conditional = true;
                1
            }
            '-' => 0,
            _ => return None,
        };
    }
    Some((bits, is_conditional))
}

/// The entries that a file's permission bits stand for.
pub fn of_mode(mode: u32) -> List {
    let bits = |shift: u32| u8::try_from(mode >> shift & 7).unwrap_or(0);
    List::from([(Who::Owner, bits(6)), (Who::OwningGroup, bits(3)), (Who::Other, bits(0))])
}

/// The list a file gets. `old`: what it has, which is kept when `adds`; `base`: what its permission bits stand for.
///
/// A mask that is there stays; a new one lets through what the entries give.
pub fn joined(old: &List, new: &List, base: &List, adds: bool) -> List {
    let mut list = if adds { old.clone() } else { List::new() };
    list.extend(new);
    let is_extended = list.keys().any(|who| matches!(who, Who::User(_) | Who::Group(_)));
    if is_extended && !list.contains_key(&Who::Mask) {
        let is_masked = |who: &Who| matches!(who, Who::User(_) | Who::Group(_) | Who::OwningGroup);
        let mask = list.iter().filter(|(who, _)| is_masked(who)).fold(0, |mask, (_, bits)| mask | bits);
        list.insert(Who::Mask, mask);
    }
    for (who, bits) in base {
        list.entry(*who).or_insert(*bits);
    }
    list
}

/// The access entries of a request for one file.
pub fn access_entries(request: &AclRequest, old: &List, is_folder: bool, adds: bool) -> List {
    let counts = |who: &Who| *who != Who::Mask && (adds || !matches!(who, Who::User(_) | Who::Group(_)));
    let has_execute = |list: &List| list.iter().any(|(who, bits)| counts(who) && bits & 1 != 0);
    let executes = is_folder || has_execute(old) || request.access.values().any(|bits| bits & 1 != 0);
    let mut list = request.access.clone();
    for (who, bits) in &request.access_if_executable {
        list.insert(*who, if executes { *bits } else { bits & !1 });
    }
    list
}

/// The kernel's form (the value of `system.posix_acl_access` and `_default`).
pub fn encode(list: &List) -> Vec<u8> {
    let mut out = VERSION.to_le_bytes().to_vec();
    for (who, bits) in list {
        let (tag, id): (u16, u32) = match who {
            Who::Owner => (0x01, NO_ID),
            Who::User(id) => (0x02, *id),
            Who::OwningGroup => (0x04, NO_ID),
            Who::Group(id) => (0x08, *id),
            Who::Mask => (0x10, NO_ID),
            Who::Other => (0x20, NO_ID),
        };
        out.extend(tag.to_le_bytes());
        out.extend(u16::from(*bits).to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    out
}

/// Reads the kernel's form.
pub fn decode(bytes: &[u8]) -> Option<List> {
    let (version, entries) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % 8 != 0 {
        return None;
    }
    let mut list = List::new();
    for entry in entries.chunks_exact(8) {
        let (tag, rest) = entry.split_first_chunk::<2>()?;
        let (bits, rest) = rest.split_first_chunk::<2>()?;
        let id = u32::from_le_bytes(*rest.first_chunk::<4>()?);
        let who = match u16::from_le_bytes(*tag) {
            0x01 => Who::Owner,
            0x02 => Who::User(id),
            0x04 => Who::OwningGroup,
            0x08 => Who::Group(id),
            0x10 => Who::Mask,
            0x20 => Who::Other,
            _ => return None,
        };
        list.insert(who, u8::try_from(u16::from_le_bytes(*bits) & 7).ok()?);
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<AclRequest, &'static str> {
        let group = |name: &str| (name == "adm").then_some(4);
        parse(text, &|name| (name == "www").then_some(33), &group)
    }

    #[test]
    fn lists_are_read() {
        let request = read("d:group::r-x, d:group:adm:r-x,group::r-x,u:33:rw-,g:adm:r-X,o::-,m:7").unwrap();
        assert_eq!(request.default, List::from([(Who::OwningGroup, 5), (Who::Group(4), 5)]));
        assert_eq!(
            request.access,
            List::from([(Who::OwningGroup, 5), (Who::User(33), 6), (Who::Mask, 7), (Who::Other, 0)])
        );
        assert_eq!(request.access_if_executable, List::from([(Who::Group(4), 5)]));
        for (text, error) in [("g:nobody:r", "No such file or directory"), ("x::r", "Invalid argument"), ("u", "")] {
            assert!(read(text).unwrap_err().contains(error), "{text}");
        }
        assert!(read("u::q").is_err() && read("u:a:b:c:d").is_err() && read("o:w:r").is_err());
    }

    #[test]
    fn a_list_gets_a_mask_and_the_base_of_the_mode() {
        let request = read("u:www:rwx").unwrap();
        let base = of_mode(0o640);
        let list = joined(&base, &request.access, &base, true);
        let want = [(Who::Owner, 6), (Who::User(33), 7), (Who::OwningGroup, 4), (Who::Mask, 7), (Who::Other, 0)];
        assert_eq!(list, List::from(want));
        assert_eq!(decode(&encode(&list)), Some(list));
        assert_eq!(decode(&[2, 0, 0, 0, 1]), None);
    }

    #[test]
    fn conditional_execute_follows_the_file() {
        let request = read("g:adm:r-X").unwrap();
        let bits = |mode, is_folder| access_entries(&request, &of_mode(mode), is_folder, true)[&Who::Group(4)];
        assert_eq!((bits(0o644, false), bits(0o755, false), bits(0o644, true)), (4, 5, 5));
    }
}
