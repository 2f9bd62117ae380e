//! Tests of reading user-data: forms, parts, faults, what is joined.

use super::*;
use crate::keys::SAMPLE;
use crate::meta;

fn refuse(_url: &str) -> Result<Vec<u8>, String> {
    Err("nobody is there".into())
}

fn read_all(user: &[u8], vendor: &[u8], meta_data: &str) -> (Config, Faults) {
    let (meta, _) = meta::read(meta_data.as_bytes());
    let environment = BTreeMap::new();
    let sources = Sources { user_data: user, vendor_data: vendor, meta: &meta, environment: &environment };
    let (config, faults, _) = read(&sources, Some(&refuse));
    (config, faults)
}

fn lines(text: &str) -> Vec<String> {
    validate(text.as_bytes()).0.iter().map(|fault| fault.line_for("f")).collect()
}

#[test]
fn keys_are_the_same_with_either_spelling() {
    for key in ["ssh_authorized_keys", "ssh-authorized-keys"] {
        let (config, faults) = read_all(format!("#cloud-config\n{key}:\n  - {SAMPLE}\n").as_bytes(), b"", "");
        assert_eq!(faults.0, []);
        assert_eq!(config.root.get("ssh_authorized_keys").unwrap().items().len(), 1);
    }
}

#[test]
fn all_faults_are_told_at_once_with_a_place_and_what_would_be_right() {
    let text = format!(
        "#cloud-config\nhostnam: x\nhostname: 5\nssh_authorized_keys:\n  - ssh-rsa nonsense!\n  - {SAMPLE}\n\
         write_files:\n  - path: /a\n    permissions: 0644\n    contents: x\nruncmd:\n  - echo: hi\npackages: [vim]\n\
         coreos:\n  units:\n    - name: ../x.service\n    - name: a.service\n      command: strat\nhostname: y\n"
    );
    assert_eq!(
        lines(&text),
        [
            "f:2:1: error: 'hostnam' is not a key here; did you mean 'hostname'?",
            "f:5:5: error: the part after ssh-rsa is not base64; the line was cut or broken",
            "f:9:18: warning: 'permissions' is read as the octal number 0644; other tools may not, quote it: '0644'",
            "f:10:5: error: 'contents' is not a key here; did you mean 'content'?",
            "f:12:5: error: 'runcmd' must be a command as text, or a list of its words, not a map; quote it because it \
             contains ': ': \"echo: hi\"",
            "f:13:1: warning: 'packages' has no meaning on an image without a package manager, ignored",
            "f:16:13: error: '../x.service' must be a file name of a unit, without '/', '..' and blanks",
            "f:18:16: error: 'command' must be 'start', 'stop', 'restart', 'reload', 'try-restart', \
             'reload-or-restart' or 'reload-or-try-restart', not 'strat'; did you mean 'start'?",
            "f:19:1: error: 'hostname' was given before, on line 3; keep one of them, the last counts",
        ]
    );
}

#[test]
fn half_a_file_is_none_and_its_neighbours_stay() {
    let text = "#cloud-config\nwrite_files:\n  - {path: /a, permissions: rw, content: secret}\n  - {path: /b}\n";
    let (config, faults) = read_all(text.as_bytes(), b"", "");
    assert_eq!(config.root.get("write_files").unwrap().items().len(), 1);
    assert_eq!(faults.worst(), Some(Severity::Error));
}

#[test]
fn empty_documents_ask_for_nothing() {
    for text in ["", "\n \n", "#cloud-config", "#cloud-config\n---\n", "\n#Cloud-Config  \n{}\n"] {
        let (config, faults) = read_all(text.as_bytes(), b"", "");
        assert_eq!(config.root.pairs().len(), 0, "{text:?}");
        assert!(faults.worst().is_none_or(|worst| worst == Severity::Warning), "{text:?}");
    }
}

#[test]
fn documents_of_another_kind_are_refused_by_name() {
    for (text, line, part) in [
        ("hostname: x\n", 1, "must begin with the line '#cloud-config'"),
        ("# mine\n#cloud-config\nhostname: x\n", 1, "must be the first line"),
        ("#cloud-confg\nhostname: x\n", 1, "did you mean '#cloud-config'"),
        ("#cloud-config\n- a\n", 2, "a list, not a map"),
        ("#cloud-config\na\u{a0}b\n", 2, "text, not a map"),
        ("#part-handler\n", 1, "Python"),
        ("#include\nnot a url\n", 2, "must be a URL"),
        ("#cloud-config-archive\nx: y\n", 2, "list of parts"),
        ("network: {}\n", 1, "--network-config"),
        ("{\"ignition\": {}}", 1, "Ignition"),
    ] {
        let faults = validate(text.as_bytes());
        assert_eq!(faults.0.len(), 1, "{text:?} {faults}");
        assert!(faults.0[0].line == line && faults.0[0].message.contains(part), "{text:?} {faults}");
    }
    assert_eq!(validate(b"#cloud-config\na: \xff\n").0[0].line, 2);
    assert!(validate(&[0x1f, 0x8b, 8, 0]).0[0].message.contains("gzip"));
}

#[test]
fn parts_are_joined_and_one_that_is_broken_leaves_the_others() {
    let parts = [
        "Content-Type: text/cloud-config\n\nhostname: good\n",
        "Content-Type: text/cloud-config\n\nruncmd: [open\n",
        "Content-Type: text/x-shellscript\n\n#!/bin/sh\n",
        "Content-Type: text/cloud-config\nMerge-Type: list(append)+dict(recurse_array)\n\nbootcmd: [a]\n",
    ];
    let parts: String = parts.iter().map(|part| format!("--B\n{part}")).collect();
    let message = format!("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n{parts}--B--\n");
    let (config, faults) = read_all(message.as_bytes(), b"", "");
    assert_eq!(config.root.get("hostname").unwrap().text(), Some("good"));
    assert_eq!((config.scripts.len(), config.root.get("bootcmd").unwrap().items().len()), (1, 1));
    assert_eq!(faults.worst(), Some(Severity::Error), "{faults}");
    assert!((11..=13).contains(&faults.0[0].line), "{faults}");
}

#[test]
fn a_patch_changes_what_the_parts_before_it_made() {
    let archive = "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    hostname: a\n- type: \
        text/cloud-config-jsonp\n  content: '[{op: replace, path: /hostname, value: b}, {op: remove, path: /none}]'\n";
    let (config, faults) = read_all(archive.as_bytes(), b"", "");
    assert_eq!(config.root.get("hostname").unwrap().text(), Some("b"));
    assert!(faults.to_string().contains("no such path"), "{faults}");
}

#[test]
fn an_archive_an_include_and_base64_are_taken_apart() {
    let archive = "#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    hostname: a\n- |\n  #!/bin/sh\n";
    let (config, faults) = read_all(archive.as_bytes(), b"", "");
    assert_eq!((config.scripts.len(), faults.0.len()), (1, 0), "{faults}");
    let (_, faults) = read_all(b"#include\nhttp://h/x\n", b"", "");
    assert!(faults.to_string().contains("nobody is there"), "{faults}");
    let (config, _) = read_all(b"I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogYgo=", b"", "");
    assert_eq!(config.root.get("hostname").unwrap().text(), Some("b"));
}

#[test]
fn an_include_of_itself_ends() {
    fn itself(_url: &str) -> Result<Vec<u8>, String> {
        Ok(b"#include\nhttp://h/a\nhttp://h/b\n".to_vec())
    }
    let environment = BTreeMap::new();
    let meta = MetaData::default();
    let sources =
        Sources { user_data: b"#include\nhttp://h/a\n", vendor_data: b"", meta: &meta, environment: &environment };
    let (_, faults, _) = read(&sources, Some(&itself));
    assert_eq!(faults.worst(), Some(Severity::Broken));
}

#[test]
fn the_users_word_counts_more_than_the_vendors() {
    let vendor = b"#cloud-config\nhostname: vendor\ntimezone: UTC\n";
    let (config, _) = read_all(b"#cloud-config\nhostname: user\n", vendor, "");
    let text = |key: &str| config.root.get(key).and_then(Node::text);
    assert_eq!((text("hostname"), text("timezone")), (Some("user"), Some("UTC")));
    let (config, _) = read_all(b"#cloud-config\nvendor_data: {enabled: false}\n", vendor, "");
    assert!(config.root.get("timezone").is_none());
}

#[test]
fn addresses_are_filled_in() {
    let meta = "public-ipv4: 203.0.113.1\n";
    for (text, expected) in [
        ("#cloud-config\nhostname: a-$public_ipv4\n", None),
        (
            "#cloud-config\nbootcmd: ['$public_ipv4x $private_ipv4 \\$public_ipv4']\n",
            Some("203.0.113.1x $private_ipv4 $public_ipv4"),
        ),
        ("#cloud-config\ncoreos: {}\nbootcmd: ['$private_ipv4']\n", Some("$private_ipv4")),
        ("#cloud-config\ncoreos:\n  units: []\nbootcmd: ['<$private_ipv4>']\n", Some("<>")),
    ] {
        let (config, _) = read_all(text.as_bytes(), b"", meta);
        let found = config.root.get("bootcmd").and_then(|node| node.items()[0].text());
        if let Some(expected) = expected.filter(|_| !text.contains("coreos: {}")) {
            assert_eq!(found, Some(expected), "{text}");
        }
    }
}

#[test]
fn mistakes_are_told_with_their_line_and_what_would_be_right() {
    for (document, expected) in [
        ("runcmd: []\n", "f:2:9: error: 'runcmd' is an empty list; leave it out or give it items"),
        ("chpasswd: {expire: 'no'}\n", "f:2:20: error: 'expire' is a truth value in quotes; write no without them"),
        ("mount_default_fields: [a]\n", "f:2:23: error: 'mount_default_fields' must have 6 items, not 1"),
        ("ca_certs: {}\n", "f:2:11: error: 'ca_certs' is empty; give it 'trusted' or 'remove_defaults'"),
        (
            "timezone: Europa/Berlin\n",
            "f:2:11: error: 'Europa/Berlin' is not a time zone; did you mean 'Europe/Berlin'?",
        ),
        ("disk_setup: {/dev/vdb: {layout: [60, 60]}}\n", "f:2:33: error: the shares make 120 percent of the disk"),
        ("fs_setup: [{filesystem: ext4}]\n", "f:2:12: error: 'device' is missing; it must be given here"),
        (
            "ssh_authorized_keys: [\"SAMPLE\"]\nssh-authorized-keys: [\"SAMPLE\"]\n",
            "f:3:1: error: 'ssh-authorized-keys' was given before, on line 2, with '-' or '_'; the last counts",
        ),
        (
            "chpasswd: {users: [{name: a, type: RANDOM, password: b}]}\n",
            "f:2:54: error: 'type: RANDOM' makes a password, and this one is not used; leave out one of the two",
        ),
        (
            "coreos: {units: [{name: web.servce}]}\n",
            "f:2:25: error: 'web.servce' has no suffix of a unit; did you mean 'web.service'?",
        ),
        (
            "write_files: [{path: /usr/bin/x, content: y}]\n",
            "f:2:22: error: nothing can be written below /usr of the image; use /etc or /var",
        ),
        (
            "users: [{name: a, ssh_redirect_user: true, ssh_authorized_keys: [\"SAMPLE\"]}]\n",
            "f:2:38: error: who logs in is sent to the default user, so that keys have no use here; leave \
             out one of the two",
        ),
        (
            "hostname:\u{a0}web\n",
            "f:2:1: error: the document is text, not a map of keys; write 'key: value' lines, with plain \
             blanks instead of the invisible character U+00A0",
        ),
    ] {
        let document = format!("#cloud-config\n{}", document.replace("SAMPLE", SAMPLE));
        assert_eq!(lines(&document), [expected], "{document}");
    }
    for (variable, expected) in [
        ("v1.platfrom", "f:3:1: error: template: 'v1.platfrom' has no value here; did you mean 'v1.platform'?"),
        (
            "v1.nope",
            "f:3:1: error: template: 'v1.nope' has no value here, use '| default(...)' or a name of v1 or ds.meta_data",
        ),
        (
            "ds.x",
            "f:3:1: warning: template: 'ds.x' has no value here, and a machine whose meta-data has none refuses it",
        ),
    ] {
        let document = format!("## template: jinja\n#cloud-config\nfinal_message: \"{{{{ {variable} }}}}\"\n");
        assert_eq!(lines(&document), [expected]);
    }
    let header = lines("# cloud-config\nhostname: a\n");
    assert_eq!(header, ["f:1:1: error: '# cloud-config' must be written '#cloud-config', without a blank"]);
    let marked = lines("\u{feff}#cloud-config\nhostname: a\n");
    assert!(marked.len() == 1 && marked[0].starts_with("f:1:1: error: an invisible byte order mark"), "{marked:?}");
    let (config, faults) = read_all("\u{feff}#cloud-config\nhostname: a\nruncmd: []\n".as_bytes(), b"", "");
    assert_eq!(config.root.get("hostname").and_then(Node::text), Some("a"), "what works on a machine is used there");
    assert!(faults.0.iter().all(|fault| fault.severity == Severity::Desk), "{faults}");
}

#[test]
fn a_key_without_a_value_removes_an_earlier_one_only_when_that_is_allowed() {
    let document = |how: &str| {
        let part = |text: &str| format!("--B\nContent-Type: text/cloud-config\n\n{text}\n");
        let (one, other) = (part("hostname: a\nruncmd: [x]\n"), part(&format!("hostname:\n{how}")));
        format!("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n{one}{other}--B--\n")
    };
    for (how, expected) in [("", Some("a")), ("merge_how: dict(allow_delete)+list(append)\n", None)] {
        let (config, _) = read_all(document(how).as_bytes(), b"", "");
        assert_eq!(config.root.get("hostname").and_then(Node::text), expected, "{how}");
        assert_eq!(config.root.get("runcmd").map(|list| list.items().len()), Some(1));
    }
}
