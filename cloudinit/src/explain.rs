//! `explain KEY`: what a key does, from the tables that check it. Pure.

use crate::examples;
use crate::keys_cloud::CONFIG;
use crate::language::{Key, Kind, Verdict, nearest};

/// The text about a key such as `coreos.units.command`; without one, the keys at the top.
pub(crate) fn explain(path: Option<&str>) -> Result<String, String> {
    let Some(path) = path else {
        return Ok(list(CONFIG));
    };
    let mut keys: &'static [Key] = CONFIG;
    let mut found: Option<&'static Key> = None;
    for name in path.split('.') {
        let name = name.trim_end_matches("[]").replace('-', "_");
        let key = keys.iter().find(|key| key.name == name).ok_or_else(|| {
            let meant = nearest(&name, keys.iter().map(|key| key.name));
            let meant = meant.map(|meant| format!("; did you mean '{meant}'?")).unwrap_or_default();
            format!("'{name}' is not a key here{meant}")
        })?;
        keys = children(&key.kind);
        found = Some(key);
    }
    found.map(|key| about(path, key)).ok_or_else(|| "give the name of a key".into())
}

/// The keys of the map that a value is or holds.
pub(crate) fn children(kind: &Kind) -> &'static [Key] {
    match kind {
        Kind::Map(keys, _) => keys,
        Kind::List(item) | Kind::Count(item, ..) | Kind::Table(item) => children(item),
        Kind::OneOf(kinds, _) => kinds.iter().map(children).find(|keys| !keys.is_empty()).unwrap_or_default(),
        Kind::Bool
        | Kind::Int
        | Kind::Text(_)
        | Kind::Scalar(_)
        | Kind::Mode
        | Kind::Bytes
        | Kind::Words(_)
        | Kind::Null
        | Kind::Any => &[],
    }
}

fn about(path: &str, key: &Key) -> String {
    let mut text = format!("{path}: {}\n", key.kind.what());
    if !key.doc.is_empty() {
        text.push_str(&format!("    {}\n", key.doc));
    }
    if let Some((section, option)) = path.strip_prefix("coreos.").and_then(|rest| rest.split_once('.'))
        && ["etcd", "etcd2", "fleet", "flannel", "locksmith"].contains(&section)
    {
        let variable = crate::keys_coreos::variable(section, &option.replace('-', "_"));
        text.push_str(&format!("    written as {variable}\n"));
    }
    if key.required {
        text.push_str("    must be given\n");
    }
    match key.verdict {
        Verdict::Done => {}
        Verdict::Refused(instead) => text.push_str(&format!("    refused: {instead}\n")),
        verdict => text.push_str(&format!("    {}\n", verdict.word())),
    }
    if let (Some(example), false) = (examples::of(path, key), matches!(key.verdict, Verdict::Refused(_))) {
        text.push_str(&format!("    example: {}: {example}\n", key.name));
    }
    let below = children(&key.kind);
    if !below.is_empty() {
        text.push('\n');
        text.push_str(&list(below));
    }
    text
}

fn list(keys: &[Key]) -> String {
    let width = keys.iter().map(|key| key.name.len()).max().unwrap_or_default();
    keys.iter()
        .map(|key| {
            let note = if key.doc.is_empty() { key.kind.what() } else { key.doc.to_string() };
            let note = if key.verdict == Verdict::Done { note } else { key.verdict.word().to_string() };
            format!("{:width$}  {note}\n", key.name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_explained_at_every_level() {
        assert!(explain(None).unwrap().contains("write_files"));
        assert!(explain(Some("coreos.units.command")).unwrap().contains("'reload-or-restart'"));
        assert!(explain(Some("users.ssh-authorized-keys")).unwrap().contains("public keys"));
        assert!(explain(Some("coreos.flannel.interface")).unwrap().contains("written as FLANNELD_IFACE"));
        assert!(explain(Some("packages")).unwrap().contains("no meaning"));
        assert!(explain(Some("hostnmae")).unwrap_err().contains("'hostname'"));
    }

    #[test]
    fn every_key_stands_once() {
        fn walk(keys: &'static [Key], path: &str) {
            for (index, key) in keys.iter().enumerate() {
                let again = keys.iter().skip(index + 1).any(|other| other.name == key.name);
                assert!(!again && !key.name.contains('-'), "{path}.{}", key.name);
                walk(children(&key.kind), &format!("{path}.{}", key.name));
            }
        }
        walk(CONFIG, "");
    }
}
