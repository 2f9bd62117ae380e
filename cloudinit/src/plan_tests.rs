//! Golden plans: what is printed for typical machines and documents.

use super::*;
use crate::facts::SkelEntry;
use crate::keys::SAMPLE;
use crate::{config, meta};

fn fresh() -> Facts {
    Facts {
        user: Some(User { owner: (1000, 1000), home: "/home/core".into() }),
        skel: vec![SkelEntry { path: "/.bashrc".into(), mode: 0o644, content: Some(b"x".to_vec()) }],
        kernel_hostname: Some("(none)".into()),
        machine_id: "0123456789abcdef0123456789abcdef\n".into(),
        ..Facts::default()
    }
}

fn planned(user_data: &str, meta_data: &str, facts: &Facts) -> String {
    plan(&config::read(user_data.as_bytes()).0, &meta::read(meta_data.as_bytes()).0, facts).to_string()
}

#[test]
fn plans_are_as_reviewed() {
    let keys = format!("#cloud-config\nhostname: web1\nssh_authorized_keys: [\"{SAMPLE}\"]\n");
    let meta = format!("local-hostname: meta1\npublic-keys: [\"{SAMPLE}\", \"{}\"]\n", SAMPLE.replace("alice", "bob"));
    let mut settled = fresh();
    settled.hostname_file = Some("web1".into());
    settled.kernel_hostname = Some("web1".into());
    let entry = |mode| Some(Entry { kind: EntryKind::Folder, mode, owner: (1000, 1000) });
    let [ssh, managed] = key_folders("/home/core");
    settled.folders = vec![("/home/core".into(), entry(0o755)), (ssh, entry(0o700)), (managed, entry(0o700))];
    settled.managed_keys = Some(format!("{KEY_HEADER}{SAMPLE}\n").into_bytes());
    let mut no_user = fresh();
    no_user.user = None;
    let mut text = String::new();
    for (name, user_data, meta_data, facts) in [
        ("fresh machine, keys and name", keys.as_str(), "", &fresh()),
        ("fresh machine, no documents", "", "", &fresh()),
        ("keys of user-data and meta-data", keys.as_str(), meta.as_str(), &fresh()),
        ("second boot, same document", keys.as_str(), "", &settled),
        ("second boot, keys are gone", "#cloud-config\nhostname: web1\n", "", &settled),
        ("no user core", keys.as_str(), "", &no_user),
    ] {
        text.push_str(&format!("== {name}\n{}", planned(user_data, meta_data, facts)));
    }
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plans.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(text == expected, "the plans changed; UPDATE_GOLDEN=1 rewrites {}:\n{text}", golden.display());
}

#[test]
fn a_chosen_name_is_never_replaced_by_the_default() {
    let mut facts = fresh();
    facts.hostname_file = Some("db7".into());
    assert!(planned("", "", &facts).contains("hostname db7\n"));
    facts.kernel_hostname = Some("from-dhcp".into());
    facts.hostname_file = None;
    assert!(!planned("", "", &facts).contains("hostname"));
}
