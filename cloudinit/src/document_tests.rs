//! Tests of the reader: places, the words of YAML 1.1, budgets.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Node, Faults> {
    let mut faults = Faults::default();
    parse(text, &mut faults).ok_or(faults)
}

#[test]
fn every_value_knows_its_place() {
    let node = read("#cloud-config\na: 1\nlist:\n  - x\n  - [y, 'z']\n").unwrap();
    let pairs = node.pairs();
    assert_eq!((pairs[0].0.place, pairs[0].1.place), ((2, 1), (2, 4)));
    let items = pairs[1].1.items();
    assert_eq!((items[0].place, items[1].place), ((4, 5), (5, 5)));
}

#[test]
fn words_of_yaml_1_1_keep_their_source_text() {
    for (text, expected) in [
        ("yes", Value::Other("yes".into())),
        ("Off", Value::Other("Off".into())),
        ("0644", Value::Other("0644".into())),
        ("1.10", Value::Other("1.10".into())),
        ("1_000", Value::Other("1_000".into())),
        ("-0x1F", Value::Other("-0x1F".into())),
        ("22:22", Value::Text("22:22".into())),
        ("1.2.3", Value::Text("1.2.3".into())),
        ("e5", Value::Text("e5".into())),
        ("'yes'", Value::Text("yes".into())),
        ("!!str 7", Value::Text("7".into())),
        ("!!binary aGk=", Value::Binary("aGk=".into())),
        ("~", Value::Null),
        ("''", Value::Text(String::new())),
    ] {
        assert_eq!(read(&format!("k: {text}\n")).unwrap().pairs()[0].1.value, expected, "{text}");
    }
}

#[test]
fn merge_keys_and_aliases_are_replaced() {
    let node = read("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nlist: [*b]\n").unwrap();
    let merged = node.get("use").unwrap();
    assert_eq!((merged.get("x").unwrap().text(), merged.get("y").unwrap().text()), (Some("1"), Some("3")));
    assert_eq!(node.get("list").unwrap().items()[0].get("y").unwrap().text(), Some("2"));
}

#[test]
fn a_duplicate_key_names_both_lines_and_the_last_counts() {
    let mut faults = Faults::default();
    let node = parse("a: 1\nb: 2\na: 3\n", &mut faults).unwrap();
    assert_eq!(node.get("a").unwrap().text(), Some("3"));
    assert_eq!(faults.0.len(), 1);
    assert_eq!((faults.0[0].line, faults.0[0].severity), (3, Severity::Desk));
    assert!(faults.0[0].message.contains("line 1"), "{faults}");
}

#[test]
fn faults_of_yaml_have_a_place() {
    for (text, line) in [
        ("a: [1\n", 2),
        ("a: b: c\n", 1),
        ("x: 1\n\ty: 2\n", 2),
        ("a: \u{7}\n", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: *nope\n", 1),
        ("a: !foo b\n", 1),
        ("a: !!python/name:x b\n", 1),
        ("w:\n  - p: /x\n   c: y\n", 3),
    ] {
        let faults = read(text).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{text:?}");
        assert!(faults.0[0].line >= 1 && faults.0[0].line <= line, "{text:?}: {faults}");
    }
}

#[test]
fn hostile_documents_are_refused_quickly() {
    let bomb: String = (0..9).fold("a0: &a0 [x]\n".into(), |text: String, n| {
        let uses = vec![format!("*a{n}"); 9].join(", ");
        format!("{text}a{}: &a{} [{uses}]\n", n + 1, n + 1)
    });
    for text in [bomb, "[".repeat(20_000), "a: &a [*a]\n".into(), "x".repeat(MAX_BYTES + 1), "- ".repeat(5000)] {
        assert!(read(&text).is_err(), "{}", &text[..20.min(text.len())]);
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\n]{0,300}") {
        let _outcome = read(&text);
    }
}
