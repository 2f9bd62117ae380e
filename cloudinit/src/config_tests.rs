//! Tests of reading cloud-config: what is taken, and what is said about the rest.

use super::*;
use crate::keys::SAMPLE;
use proptest::prelude::*;

fn faults(text: &str) -> Vec<String> {
    read(text.as_bytes()).1.0.iter().map(|fault| fault.line_for("f")).collect()
}

#[test]
fn keys_and_host_name_are_taken_with_either_spelling() {
    for key in ["ssh_authorized_keys", "ssh-authorized-keys"] {
        let (config, faults) = read(format!("#cloud-config\nhostname: Web1\n{key}:\n  - {SAMPLE}\n").as_bytes());
        assert_eq!(faults.0, []);
        assert_eq!(config.ssh_authorized_keys.len(), 1);
        assert_eq!(config.hostname.unwrap().as_str(), "web1");
    }
}

#[test]
fn a_bad_key_is_named_and_the_good_ones_stay() {
    let (config, faults) = read(
        format!("#cloud-config\nssh_authorized_keys:\n  - ssh-rsa nonsense!\n  - {SAMPLE}\n  - 5\nwrite_files: []\n")
            .as_bytes(),
    );
    assert_eq!(config.ssh_authorized_keys.len(), 1);
    let lines: Vec<String> = faults.0.iter().map(|fault| fault.line_for("f")).collect();
    assert_eq!(
        lines,
        [
            "f:3:5: error: the part after ssh-rsa is not base64; the line was cut or broken",
            "f:5:5: error: a key must be text, not a number or a truth value",
            "f:6:1: warning: 'write_files' is not supported by this version, ignored",
        ]
    );
}

#[test]
fn empty_documents_ask_for_nothing() {
    for text in ["", "\n \n", "#cloud-config", "#cloud-config\n---\n", "\n#Cloud-Config  \n{}\n"] {
        let (config, faults) = read(text.as_bytes());
        assert_eq!((config, faults), (Config::default(), Faults::default()), "{text:?}");
    }
}

#[test]
fn documents_of_another_kind_are_refused_by_name() {
    for (text, part) in [
        ("#!/bin/sh\n", "scripts are not supported"),
        ("hostname: x\n", "must begin with the line '#cloud-config'"),
        ("{\"ignition\": {}}", "Ignition"),
        ("MIME-Version: 1.0\n", "MIME"),
        ("#cloud-config\n- a\n", "a list, not a map"),
    ] {
        let lines = faults(text);
        assert!(lines.len() == 1 && lines[0].contains(part), "{lines:?}");
    }
    assert!(read(&[0x1f, 0x8b, 8, 0]).1.0[0].message.contains("compressed"));
    assert_eq!(read(b"#cloud-config\na: \xff\n").1.0[0].line, 2);
}

#[test]
fn slips_of_the_pen_get_a_proposal() {
    assert_eq!(
        faults("#cloud-config\nhostnam: x\nssh_autorized_keys: []\nhostname: 5\n"),
        [
            "f:2:1: warning: 'hostnam' is not a key of cloud-config; did you mean 'hostname'? ignored",
            "f:3:1: warning: 'ssh_autorized_keys' is not a key of cloud-config; \
             did you mean 'ssh_authorized_keys'? ignored",
            "f:4:11: error: 'hostname' must be text; quote it: hostname: \"5\"",
        ]
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _outcome = read(&bytes);
        let mut document = b"#cloud-config\n".to_vec();
        document.extend_from_slice(&bytes);
        let _outcome = read(&document);
    }
}
