//! Golden plans: what is printed for typical machines and documents.

use std::collections::BTreeMap;

use ferrite_files::Entry;

use super::*;
use crate::config::Sources;
use crate::facts::SkelEntry;
use crate::keys::SAMPLE;
use crate::{config, meta};

fn seen(kind: EntryKind, mode: u32, owner: (u32, u32), content: Option<&str>) -> Option<Seen> {
    let content = content.map(|text| text.as_bytes().to_vec());
    Some(Seen { entry: Entry { kind, mode, owner }, content, target: None })
}

fn fresh() -> Facts {
    let mut facts = Facts {
        skel: vec![SkelEntry { path: "/.bashrc".into(), mode: 0o644, content: Some(b"x".to_vec()) }],
        kernel_hostname: Some("(none)".into()),
        today: 20_000,
        random: "abcdefghijklmnopqrstuvwxyz0123456789".into(),
        ..Facts::default()
    };
    for (name, text) in [
        ("passwd", "root:x:0:0:root:/root:/bin/bash\ncore:x:1000:1000:Core:/home/core:/bin/bash\n"),
        ("group", "root:x:0:\nsudo:x:27:core\nshadow:x:42:\ncore:x:1000:\n"),
        ("shadow", "root:*:1::::::\ncore:!:1::::::\n"),
        ("gshadow", "root:*::\nsudo:*::core\ncore:!::\n"),
        ("machine-id", "0123456789abcdef0123456789abcdef\n"),
    ] {
        facts.seen.insert(format!("/etc/{name}"), seen(EntryKind::File, 0o644, (0, 0), Some(text)));
    }
    facts
}

fn made(user_data: &str, meta_data: &str, facts: &Facts) -> Plan {
    let (meta, _) = meta::read(meta_data.as_bytes());
    let environment = BTreeMap::new();
    let sources = Sources { user_data: user_data.as_bytes(), vendor_data: b"", meta: &meta, environment: &environment };
    let (config, _, _) = config::read(&sources, None);
    let mut facts = facts.clone();
    let mut made = plan(&config, &meta, &facts);
    for _ in 0..3 {
        for path in made.paths().collect::<Vec<_>>() {
            facts.seen.entry(path).or_insert(None);
        }
        made = plan(&config, &meta, &facts);
    }
    made.settle(&facts);
    made
}

/// The machine after a plan.
fn after(plan: &Plan, facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    for step in &plan.steps {
        let (path, seen) = match step {
            Step::Folder { path, mode, owner } => (path, seen(EntryKind::Folder, *mode, *owner, None)),
            Step::MissingFolder { path } => (path, seen(EntryKind::Folder, 0o755, (0, 0), None)),
            Step::File { path, content, mode, owner, .. } => {
                let entry = Entry { kind: EntryKind::File, mode: *mode, owner: *owner };
                (path, Some(Seen { entry, content: Some(content.clone()), target: None }))
            }
            Step::Link { path, target } => {
                let entry = Entry { kind: EntryKind::Link, mode: 0o777, owner: (0, 0) };
                (path, Some(Seen { entry, content: None, target: Some(target.clone()) }))
            }
            Step::Unlink { path } | Step::Remove { path } => (path, None),
            Step::Hostname { name } => {
                facts.kernel_hostname = Some(name.clone());
                continue;
            }
            Step::Seed { .. } | Step::Disk(_) | Step::FileSystem(_) | Step::Console { .. } => continue,
        };
        facts.seen.insert(path.clone(), seen);
    }
    facts
}

fn everything() -> String {
    include_str!("../tests/seeds/everything").replace("KEY", SAMPLE)
}

#[test]
fn plans_are_as_reviewed() {
    let keys = format!("#cloud-config\nhostname: web1\nssh_authorized_keys: [\"{SAMPLE}\"]\n");
    let meta = format!("local-hostname: meta1\npublic-keys: [\"{SAMPLE}\", \"{}\"]\n", SAMPLE.replace("alice", "bob"));
    let second = after(&made(&keys, "", &fresh()), &fresh());
    let mut no_user = fresh();
    no_user
        .seen
        .insert("/etc/passwd".into(), seen(EntryKind::File, 0o644, (0, 0), Some("root:x:0:0::/root:/bin/sh\n")));
    let mut text = String::new();
    for (name, user_data, meta_data, facts) in [
        ("fresh machine, keys and name", keys.as_str(), "", &fresh()),
        ("fresh machine, no documents", "", "", &fresh()),
        ("keys of user-data and meta-data", keys.as_str(), meta.as_str(), &fresh()),
        ("second boot, same document", keys.as_str(), "", &second),
        ("second boot, keys are gone", "#cloud-config\nhostname: web1\n", "", &second),
        ("no user core", keys.as_str(), "", &no_user),
        ("everything", everything().as_str(), "public-ipv4: 203.0.113.1\n", &fresh()),
    ] {
        text.push_str(&format!("== {name}\n{}", made(user_data, meta_data, facts)));
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
fn a_plan_that_was_applied_leaves_no_step_to_do() {
    let document = everything();
    let first = made(&document, "", &fresh());
    let machine = after(&first, &fresh());
    let second = made(&document, "", &machine);
    assert_eq!(second.steps, [], "{second}");
    assert!(machine.text("/etc/log") == "one\ntwo\n", "{}", machine.text("/etc/log"));
}

#[test]
fn secrets_are_neither_in_the_text_nor_in_the_json() {
    let plan = made(&everything(), "", &fresh());
    let shown = format!("{plan}\n{:#}", crate::report::json(&plan, &[]));
    for secret in ["hunter2secret", "alsosecret", "topsecret", "$6$", "0123456789abcdef0123456789"] {
        assert!(!shown.contains(secret), "{secret}\n{shown}");
    }
}

#[test]
fn a_password_in_plain_text_becomes_a_hash_that_crypt_knows() {
    use sha_crypt::PasswordVerifier;
    let machine = after(&made(&everything(), "", &fresh()), &fresh());
    let accounts = machine.accounts();
    for (name, plain) in [("core", "hunter2secret"), ("alice", "alsosecret")] {
        let field = accounts.password(name).unwrap();
        assert!(field.starts_with("$6$") && field.split('$').all(|part| part.len() <= 86), "{field}");
        assert!(sha_crypt::ShaCrypt::default().verify_password(plain.as_bytes(), field).is_ok(), "{name} {field}");
    }
    assert!(
        machine.text("/etc/shadow").contains(":0::::::") || machine.text("/etc/shadow").contains(":0:0:99999:7:::")
    );
}

#[test]
fn a_chosen_name_is_never_replaced_by_the_default() {
    let mut facts = fresh();
    facts.seen.insert("/etc/hostname".into(), seen(EntryKind::File, 0o644, (0, 0), Some("db7\n")));
    assert!(made("", "", &facts).to_string().contains("hostname db7\n"));
    facts.kernel_hostname = Some("from-dhcp".into());
    facts.seen.remove("/etc/hostname");
    assert!(!made("", "", &facts).to_string().contains("hostname"));
}

#[test]
fn a_cloned_machine_loses_the_host_keys_of_the_other_one_once() {
    let mut facts = fresh();
    let known = "/var/lib/ferrite/cloudinit/instance".to_string();
    let key = "/etc/ssh/ssh_host_rsa_key".to_string();
    facts.seen.insert(known.clone(), seen(EntryKind::File, 0o644, (0, 0), Some("i-1\n")));
    facts.seen.insert(key.clone(), seen(EntryKind::File, 0o600, (0, 0), Some("old")));
    let removes = |plan: &Plan| plan.steps.contains(&Step::Remove { path: key.clone() });
    let restarts = |plan: &Plan| plan.to_string().contains("restart ferrite-host-keys.service");
    let cloned = made("", "instance-id: i-2\n", &facts);
    assert!(removes(&cloned) && restarts(&cloned), "{cloned}");
    assert!(!removes(&made("", "instance-id: i-1\n", &facts)));
    assert!(!removes(&made("#cloud-config\nssh_deletekeys: false\n", "instance-id: i-2\n", &facts)));
    let given = "#cloud-config\nssh_keys: {rsa_private: new}\n";
    let replaced = made(given, "instance-id: i-2\n", &facts);
    assert!(!removes(&replaced) && after(&replaced, &facts).text(&key) == "new\n", "{replaced}");
    let next = after(&cloned, &facts);
    assert!(!removes(&made("", "instance-id: i-2\n", &next)) && next.text(&known) == "i-2\n");
    facts.seen.remove(&known);
    assert!(!removes(&made("", "instance-id: i-2\n", &facts)), "a first boot has no other instance");
}

#[test]
fn the_clock_has_servers_peers_and_those_it_serves() {
    let facts = fresh();
    let plan = made("#cloud-config\nntp: {pools: [a], peers: [b], allow: [10.0.0.0/8]}\n", "", &facts);
    let found = after(&plan, &facts);
    let ends = |path: &str, end: &str| assert!(found.text(path).ends_with(end), "{}", found.text(path));
    ends("/etc/systemd/timesyncd.conf.d/cloud-init.conf", "[Time]\nNTP=a\n");
    ends("/etc/chrony/sources.d/cloud-init.sources", "\npeer b\n");
    ends("/etc/chrony/conf.d/50-cloud-init.conf", "\nport 123\nallow 10.0.0.0/8\n");
    assert!(plan.to_string().contains("try-restart systemd-timesyncd.service"), "{plan}");
    let off = made("#cloud-config\nntp: {enabled: false, peers: [b]}\n", "", &facts);
    assert_eq!(after(&off, &facts).text("/etc/chrony/sources.d/cloud-init.sources"), "");
}

#[test]
fn the_kinds_of_host_keys_are_chosen_by_a_file() {
    let facts = fresh();
    let list = |document: &str| after(&made(document, "", &facts), &facts).text("/etc/ferrite/ssh-host-key-kinds");
    assert_eq!(list("#cloud-config\nssh_genkeytypes: [rsa, ed25519]\n"), "rsa\ned25519\n");
    assert_eq!(list("#cloud-config\nhostname: x\n"), "");
}

#[test]
fn a_cloned_machine_gets_an_id_and_a_name_of_its_own_once() {
    let mut facts = fresh();
    let (known, id) = ("/var/lib/ferrite/cloudinit/instance".to_string(), "/etc/machine-id".to_string());
    let old = "0123456789abcdef0123456789abcdef\n";
    facts.seen.insert(id.clone(), seen(EntryKind::File, 0o444, (0, 0), Some(old)));
    facts.kernel_hostname = Some(crate::hostname::HostName::default_of(old).as_str().to_string());
    facts.seen.remove("/etc/hostname");
    facts.random = "ab".repeat(512);
    let first = made("", "instance-id: i-1\n", &facts);
    let at_first = after(&first, &facts);
    assert_eq!((at_first.text(&id).as_str(), at_first.text(&known).as_str()), (old, "i-1\n"));
    // Documents without an instance id conclude nothing, and a machine without any has one that is known as such.
    let nameless = made("", "instance-id: none\n", &at_first);
    assert!(nameless.steps.iter().all(|step| step.path() != Some(&id) && step.path() != Some(&known)), "{nameless}");
    let clone = made("", "instance-id: i-2\n", &at_first);
    let cloned = after(&clone, &at_first);
    let new = cloned.text(&id);
    assert!(new != old && new.len() == 33 && new.trim().bytes().all(|byte| byte.is_ascii_hexdigit()), "{new}");
    assert!(clone.steps.contains(&Step::Hostname { name: clone.hostname.clone() }), "{clone}");
    assert!(clone.hostname.ends_with(&new[..8]), "{} {new}", clone.hostname);
    assert_eq!(after(&made("", "instance-id: i-2\n", &cloned), &cloned).text(&id), new);
    let mut image = after(&made("", "instance-id: none\n", &facts), &facts);
    assert_eq!(after(&made("", "instance-id: i-9\n", &image), &image).text(&id), old, "documents that come late");
    image.seen.remove("/run/ferrite/cloudinit/unnamed");
    assert!(after(&made("", "instance-id: i-9\n", &image), &image).text(&id) != old, "an image made of a machine");
}

#[test]
fn a_random_password_is_told_to_the_console_once_and_nowhere_else() {
    use sha_crypt::PasswordVerifier;
    let document = "#cloud-config\nchpasswd:\n  users: [{name: core, type: RANDOM}]\n  list: ['nobody-here:R']\n";
    let plan = made(document, "instance-id: i-1\n", &fresh());
    let told: Vec<&String> = plan
        .steps
        .iter()
        .filter_map(|step| if let Step::Console { text, .. } = step { Some(text) } else { None })
        .collect();
    let password = told[0].rsplit(' ').next().unwrap();
    assert_eq!((told.len(), password.len()), (1, 20));
    let shown = format!("{plan}\n{:#}", crate::report::json(&plan, &[]));
    assert!(!shown.contains(password) && shown.contains("the random password of core"), "{shown}");
    assert!(plan.problems.iter().any(|problem| problem.contains("nobody-here")), "{plan}");
    let machine = after(&plan, &fresh());
    let field = machine.accounts().password("core").unwrap().to_string();
    assert!(sha_crypt::ShaCrypt::default().verify_password(password.as_bytes(), field.as_str()).is_ok(), "{field}");
    let again = made(document, "instance-id: i-1\n", &machine);
    assert_eq!(again.steps, [], "{again}");
    assert!(made(document, "instance-id: i-2\n", &machine).to_string().contains("tell the console"));
}

#[test]
fn disks_the_end_and_the_call_home_are_planned() {
    let document = "#cloud-config\ndisk_setup: {data: {table_type: gpt, layout: [30, 70]}}\n\
        device_aliases: {data: /dev/vdb}\n\
        fs_setup: [{device: data.2, filesystem: ext4, label: d}]\nfinal_message: up $UPTIME\n\
        phone_home: {url: 'http://192.0.2.1/$INSTANCE_ID', post: [hostname]}\n\
        rsyslog: {remotes: {a: '@@192.0.2.9:601', b: 192.0.2.8}, config_dir: /x}\nruncmd: [last]\n";
    let plan = made(document, "instance-id: i-1\n", &fresh());
    let text = plan.to_string();
    for line in [
        "2 partitions on /dev/vdb when it is blank\n",
        "mkfs.ext4 on /dev/vdb (Number(2)) when it is blank\n",
        "file /etc/ferrite/journal-ship.conf ",
        "run systemctl restart ferrite-journal-ship.service (at every boot)\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let last: Vec<String> = plan.commands.iter().rev().take(3).map(|command| format!("{:?}", command.action)).collect();
    assert!(last[0].contains("final-message") && last[1].contains("http://192.0.2.1/i-1"), "{last:?}");
    assert!(last[1].contains("\"hostname\"") && last[2].contains("last"), "{last:?}");
    assert_eq!(plan.warnings.len(), 2, "{:?}", plan.warnings);
}

#[test]
fn what_documents_make_is_in_the_file_where_it_is_looked_for() {
    let keys = format!("ssh_authorized_keys: [\"{SAMPLE}\"]\n");
    let bob = SAMPLE.replace("alice", "bob");
    let meta = format!("instance-id: i-1\nlocal-hostname: node1\npublic-keys: [\"{bob}\"]\n");
    let says = "command=\"echo 'Please login as the user \\\"core\\\", not as";
    let (hosts, root) = ("/etc/hosts", "/root/.ssh/authorized_keys");
    let etcd3 = "/run/systemd/system/etcd.service.d/30-etcd3.conf";
    for (document, path, part) in [
        ("fqdn: a.example.org\n", "/etc/hostname", "a\n"),
        ("fqdn: a.example.org\nprefer_fqdn_over_hostname: true\n", "/etc/hostname", "a.example.org\n"),
        ("hostname: web\npreserve_hostname: true\n", "/etc/hostname", "node1\n"),
        ("hostname: web\nmanage_etc_hosts: true\n", hosts, "127.0.1.1 node1 web\n127.0.0.1 localhost\n"),
        ("hostname: w.example.org\nmanage_etc_hosts: localhost\n", hosts, "127.0.1.1\tw.example.org\tw\n"),
        (&keys, root, &format!("{says} \\\"root\\\".';echo;sleep 10;exit 142\" {SAMPLE}\n")),
        (&format!("{keys}disable_root: false\n"), root, &format!("{bob}\n{SAMPLE}\n")),
        (&format!("{keys}disable_root_opts: no-pty\n"), root, &format!("no-pty {bob}\nno-pty {SAMPLE}\n")),
        (&format!("users: [default, {{name: root, ssh_authorized_keys: ['{bob}']}}]\n"), root, &format!("{bob}\n")),
        (
            "users: [default, {name: r, ssh_redirect_user: true}]\n",
            "/home/r/.ssh/authorized_keys",
            &format!("{says} \\\"r\\\""),
        ),
        ("coreos: {etcd: {addr: '192.0.2.1:4001'}}\n", etcd3, "ETCD_LISTEN_CLIENT_URLS=http://192.0.2.1:4001\""),
        (
            "coreos: {etcd: {snapshot_count: 5}}\n",
            "/run/systemd/system/etcd.service.d/20-cloudinit.conf",
            "ETCD_SNAPSHOTCOUNT=5",
        ),
        ("device_aliases: {d: /dev/vdb}\nmounts: [[d.2, /d]]\n", "/etc/fstab", "/dev/vdb2\t/d\t"),
    ] {
        let plan = made(&format!("#cloud-config\n{document}"), &meta, &fresh());
        let machine = after(&plan, &fresh());
        assert!(machine.text(path).contains(part), "{document}{path}: {}\nnot {part}", machine.text(path));
    }
    let owned = made("#cloud-config\nwrite_files: [{path: /a/b, content: x, owner: core}]\n", "", &fresh());
    let is_owned = |step: &Step| matches!(step, Step::File { path, owner: (1000, 0), .. } if path == "/a/b");
    assert!(owned.steps.iter().any(is_owned), "{owned}");
    let power = made("#cloud-config\npower_state: {mode: reboot, message: bye}\n", "", &fresh());
    let last = format!("{:?}", power.commands.last().map(|command| &command.action));
    assert!(last.contains("final-message 'bye'; systemctl reboot"), "{last}");
}
