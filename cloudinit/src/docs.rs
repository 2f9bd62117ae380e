//! docs/cloud-config.md and docs/cloud-config.schema.json, made from the language; a stale one fails the test here.

use std::path::PathBuf;

use crate::examples;
use crate::explain::children;
use crate::keys_cloud::CONFIG;
use crate::keys_coreos::variable;
use crate::language::{Key, Kind, Verdict};
use crate::plan_etcd::{LOST, OLD, Today};
use crate::{decode, document, fault, formats, network, patch, plan_files, plan_users, schema, template};

const HEAD: &str = include_str!("cloud-config.head.md");
const LIMITS_HEAD: &str = "
## Limits

A document that goes over one of these is a fault with a line, and what is over it is left out; a program that reads it
holds at most MEMORY, of a usual one some 5 MiB. `FERRITE_FUZZ_SECONDS=600 cargo test -p ferrite-cloudinit fuzz` reads
random documents and checks this.

| of | at most |
|---|---|
";

fn markdown() -> String {
    let mut text = String::from(HEAD);
    text.push_str(&limits());
    text.push_str("\n## Keys\n\n| key | value | verdict | what it does | example |\n|---|---|---|---|---|\n");
    rows(CONFIG, "", &mut text);
    for verdict in [Verdict::Recorded, Verdict::NoMeaning, Verdict::Silent] {
        let names: Vec<String> =
            CONFIG.iter().filter(|key| key.verdict == verdict).map(|key| format!("`{}`", key.name)).collect();
        let title = match verdict {
            Verdict::Recorded => "Only recorded in the plan",
            Verdict::NoMeaning => "Accepted with a warning: an image has no package manager",
            _ => "Accepted without a word",
        };
        text.push_str(&format!("\n## {title}\n\n{}\n", names.join(", ")));
    }
    text.push_str("\n## etcd 2 on etcd 3.5\n\n");
    text.push_str("The options of `coreos.etcd2` are written for `etcd2.service` as they are, and for `etcd.service` ");
    text.push_str(
        "as etcd 3.5 reads them: the same names, `debug: true` as `ETCD_LOG_LEVEL=debug`, without those here.\n\n",
    );
    text.push_str("| option | variable | instead |\n|---|---|---|\n");
    for (name, instead) in LOST {
        text.push_str(&format!("| `{}` | `{}` | {instead} |\n", name.replace('_', "-"), variable("etcd2", name)));
    }
    text.push_str("\n## etcd 0.4 on etcd 3.5\n\n");
    text.push_str(
        "The options of `coreos.etcd` are written for `etcd.service` as they are, and besides as etcd 3.5 reads ",
    );
    text.push_str(
        "them. `https` is for those with a `cert-file`; an address that nobody binds is listened on, too.\n\n",
    );
    text.push_str("| option | on etcd 3.5 |\n|---|---|\n");
    for (name, today) in OLD {
        let what = match today {
            Today::Urls(names) => format!("`{}=http://...`", names.join("`, `")),
            Today::Same(variable) => format!("`{variable}`"),
            Today::Debug => "`ETCD_LOG_LEVEL=debug`".into(),
            Today::Lost(instead) => format!("a warning: {instead}"),
        };
        text.push_str(&format!("| `{}` | {what} |\n", name.replace('_', "-")));
    }
    text
}

fn limits() -> String {
    let mut text = LIMITS_HEAD.replace("MEMORY", &bytes(crate::fuzz::MAX_MEMORY_BYTES as usize));
    let rows = [
        ("a document, also one that is included or decompressed", bytes(document::MAX_BYTES)),
        ("a part that is not a cloud-config, decompressed or rendered", bytes(decode::MAX_DECODED_BYTES)),
        ("all parts of a user-data, decoded, rendered, included", bytes(formats::MAX_ALL_BYTES)),
        ("parts of a user-data", formats::MAX_PARTS.to_string()),
        ("parts in parts, includes in includes", formats::MAX_LEVELS.to_string()),
        ("includes", formats::MAX_FETCHES.to_string()),
        ("lists in lists, maps in maps", document::MAX_DEPTH.to_string()),
        ("values, aliases replaced", document::MAX_NODES.to_string()),
        ("text, aliases replaced", bytes(document::MAX_TEXT_BYTES)),
        ("steps of a template", template::MAX_STEPS.to_string()),
        ("operations of a JSON patch", patch::MAX_OPERATIONS.to_string()),
        ("a file of `write_files`, decoded", bytes(decode::MAX_DECODED_BYTES)),
        ("all files of `write_files`", bytes(plan_files::MAX_ALL_BYTES)),
        ("passwords in plain text", plan_users::MAX_HASHED.to_string()),
        ("links of a network-config", network::MAX_DEVICES.to_string()),
        ("faults that are listed", fault::MAX_FAULTS.to_string()),
    ];
    text.extend(rows.map(|(of, limit)| format!("| {of} | {limit} |\n")));
    text
}

fn bytes(bytes: usize) -> String {
    format!("{} MiB", bytes >> 20)
}

fn rows(keys: &'static [Key], above: &str, text: &mut String) {
    for key in keys {
        if above.is_empty() && !matches!(key.verdict, Verdict::Done) {
            continue;
        }
        let path = if above.is_empty() { key.name.to_string() } else { format!("{above}.{}", key.name) };
        let (verdict, note) = match key.verdict {
            Verdict::Refused(instead) => ("refused", instead),
            verdict => (verdict.word(), key.doc),
        };
        let example = match (examples::of(&path, key), key.verdict) {
            (_, Verdict::Refused(_)) | (None, _) => String::new(),
            (Some(example), _) => format!("`{}: {example}`", key.name),
        };
        let required = if key.required { ", must be given" } else { "" };
        let what = key.kind.what();
        text.push_str(&format!(
            "| `{path}` | {what}{required} | {verdict} | {note} | {} |\n",
            example.replace('|', "\\|")
        ));
        let is_options =
            above == "coreos" && matches!(key.kind, Kind::Map(..)) && !["units", "update"].contains(&key.name);
        if is_options {
            let names: Vec<String> =
                children(&key.kind).iter().map(|key| format!("`{}`", key.name.replace('_', "-"))).collect();
            text.push_str(&format!("| | | done | its options: {} | |\n", names.join(", ")));
        } else if path == "user" {
            text.push_str("| | | | its keys are those of `users` | |\n");
        } else {
            rows(children(&key.kind), &path, text);
        }
    }
}

fn check(name: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/{name} is stale: UPDATE_GOLDEN=1 cargo test -p ferrite-cloudinit --lib docs");
}

#[test]
fn the_documentation_says_what_the_program_knows() {
    check("cloud-config.md", &markdown());
    check("cloud-config.schema.json", &format!("{:#}\n", schema::schema()));
}
