//! systemd-analyze, called by a link, asks a real process 1 in its own namespaces.

use std::path::PathBuf;
use std::process::{Command, Output};

use ferrite_control::{InjectedFault, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

const TARGET: &str = "[Unit]\nDescription=All\nWants=third.service aside.service\n";

fn oneshot(unit: &str, seconds: &str) -> String {
    format!("[Unit]\n{unit}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep {seconds}\n")
}

/// A machine whose units wait for each other.
fn chain() -> Machine {
    let first = oneshot("", "0.15");
    let second = oneshot("Requires=first.service\nAfter=first.service", "0.12");
    let third = oneshot("Requires=second.service\nAfter=second.service", "0.03");
    let aside = oneshot("Conflicts=odd.service", "0.01");
    Machine::boot(&[
        ("default.target", TARGET),
        ("first.service", &first),
        ("second.service", &second),
        ("third.service", &third),
        ("aside.service", &aside),
    ])
}

/// Runs the command by a link of its name.
fn analyze(machine: &Machine, line: &str) -> (i32, String, String) {
    let link: PathBuf = machine.output("systemd-analyze");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_systemctl"), &link).unwrap();
    }
    let mut command = Command::new(link);
    command.args(line.split_whitespace()).env("FERRITE_INIT_SOCKET", machine.output("run/ferrite/init.sock"));
    let Output { status, stdout, stderr } = command.env("LANG", "C.UTF-8").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// What systemctl prints for the same machine.
fn systemctl(machine: &Machine, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_systemctl"));
    let output = command.args(words).env("FERRITE_INIT_SOCKET", machine.output("run/ferrite/init.sock")).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// The output of a call that goes well.
fn output(machine: &Machine, line: &str) -> String {
    let (code, out, complaints) = analyze(machine, line);
    assert_eq!((code, complaints.as_str()), (0, ""), "{line}: {out}");
    out
}

#[test]
fn the_boot_is_told_in_one_sentence_and_by_unit() {
    let machine = chain();
    let sentence = output(&machine, "");
    let lines: Vec<&str> = sentence.lines().collect();
    assert!(lines[0].starts_with("Startup finished in ") && lines[0].ends_with(" (userspace) "), "{sentence}");
    assert!(lines[1].starts_with("default.target reached after ") && lines[1].ends_with(" in userspace."));
    let took = |text: &str| ferrite_unit::timespan::parse(text).unwrap();
    let whole = took(lines[0].trim_start_matches("Startup finished in ").trim_end_matches(" (userspace) "));
    assert!((300_000..30_000_000).contains(&whole), "{sentence}");
    assert_eq!(output(&machine, "time"), sentence);
    let blame = output(&machine, "blame --no-pager");
    let rows: Vec<(u64, &str)> = blame
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(time, name)| (took(time.trim()), name))
        .collect();
    assert!(rows.is_sorted_by(|a, b| a.0 >= b.0), "{blame}");
    for (name, least) in [("first.service", 150_000), ("second.service", 120_000), ("aside.service", 10_000)] {
        let (time, _) = rows.iter().find(|(_, unit)| *unit == name).expect(&blame);
        assert!((least..=whole).contains(time), "{blame}");
    }
    assert!(!blame.contains("default.target"), "a target takes no time: {blame}");
}

#[test]
fn the_critical_chain_names_who_was_waited_for() {
    let machine = chain();
    let text = output(&machine, "critical-chain");
    let lines: Vec<&str> = text.lines().skip(3).collect();
    let begins = ["default.target @", "└─third.service @", "  └─second.service @", "    └─first.service @"];
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{text}");
        assert_eq!(line.contains(" +"), !begin.starts_with("default"), "{text}");
    }
    assert!(lines.len() >= begins.len() && !text.contains("aside.service"), "{text}");
    let fuzzy = output(&machine, "critical-chain --fuzz=1min");
    assert!(fuzzy.contains("─aside.service"), "{fuzzy}");
    let second = output(&machine, "critical-chain second");
    assert!(second.lines().nth(3).unwrap().starts_with("second.service +"), "{second}");
    let (code, _, complaints) = analyze(&machine, "critical-chain --fuzz=soon");
    assert_eq!((code, complaints.as_str()), (1, "Failed to parse --fuzz= parameter: Invalid argument\n"));
}

/// What an XML parser of its own makes of a text: the classes of bars with their places, and all texts.
#[derive(Debug, Default)]
struct Drawing {
    texts: Vec<String>,
    /// Class, left end, width.
    bars: Vec<(String, f64, f64)>,
}

/// Reads XML; fails on what is not well formed.
fn parse_xml(text: &str) -> Drawing {
    let mut drawing = Drawing::default();
    let mut open: Vec<String> = Vec::new();
    let mut rest = text.strip_prefix("<?xml ").and_then(|rest| rest.split_once("?>")).expect("a declaration").1;
    while let Some((before, after)) = rest.split_once('<') {
        assert!(!before.contains('>'), "{before}");
        let words = before.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "\u{1}");
        assert!(!words.contains('&'), "{before}");
        if open.last().is_some_and(|name| name == "text") {
            drawing.texts.push(words.replace('\u{1}', "&"));
        }
        let (tag, next) = after.split_once('>').expect("the end of a tag");
        rest = next;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let parts: Vec<&str> = attributes.split('"').collect();
        assert!(parts.len() % 2 == 1 && parts.last().unwrap().trim().is_empty(), "{tag}");
        let value = |name: &str| {
            let pairs = parts.chunks_exact(2);
            pairs.map(|pair| (pair[0].trim(), pair[1])).find_map(|(n, v)| (n == format!("{name}=")).then_some(v))
        };
        if let (true, Some(class), Some(x)) = (name == "rect", value("class"), value("x")) {
            let width = value("width").unwrap().parse().unwrap();
            drawing.bars.push((class.to_owned(), x.parse().unwrap(), width));
        }
        if !is_empty {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?}{rest}");
    drawing
}

#[test]
fn the_picture_is_well_formed_and_holds_every_unit() {
    let machine = chain();
    let text = output(&machine, "plot");
    let drawing = parse_xml(&text);
    let numbers: serde_json::Value = serde_json::from_str(&output(&machine, "plot --json=short")).unwrap();
    let numbers = numbers.as_array().unwrap();
    let name = |unit: &serde_json::Value| unit["name"].as_str().unwrap().to_owned();
    for wanted in ["first.service", "second.service", "third.service", "aside.service", "default.target"] {
        assert!(numbers.iter().any(|unit| name(unit) == wanted), "{wanted}: {numbers:?}");
    }
    for unit in numbers {
        let found = drawing.texts.iter().any(|text| text.split(' ').next() == Some(name(unit).as_str()));
        assert!(found, "{unit}: {:?}", drawing.texts);
    }
    for words in ["PID 1", "Activating", "Deactivating", "Loading unit files", "0.00s"] {
        assert!(drawing.texts.iter().any(|text| text == words), "{words}: {:?}", drawing.texts);
    }
    assert!(drawing.texts.iter().any(|text| text.starts_with("Startup finished in ")));
    // The second service began when the first one was up.
    let unit = |wanted: &str| numbers.iter().find(|unit| name(unit) == wanted).unwrap();
    let at = |wanted: &str, moment: &str| unit(wanted)[moment].as_u64().unwrap();
    assert!(at("second.service", "activating") >= at("first.service", "activated"));
    assert_eq!(at("first.service", "time"), at("first.service", "activated") - at("first.service", "activating"));
    // The longest bar is that of the longest start: it stands where the numbers say.
    let longest = numbers.iter().max_by_key(|unit| unit["time"].as_u64()).map(name).unwrap();
    let bars = drawing.bars.iter().filter(|(class, ..)| class == "activating");
    let (_, left, width) = bars.filter(|bar| bar.1 > 0.0).max_by(|a, b| a.2.total_cmp(&b.2)).unwrap();
    let scale = width / at(&longest, "time") as f64;
    assert!((left - at(&longest, "activating") as f64 * scale).abs() < 0.01, "{left} {width} {scale}");
    let pretty = output(&machine, "plot --json=pretty");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&pretty).unwrap().as_array().unwrap(), numbers);
    let table = output(&machine, "plot --table");
    assert!(
        table.starts_with("NAME ") && table.ends_with(&format!("\n\n{} Units listed.\n", numbers.len())),
        "{table}"
    );
    assert_eq!(output(&machine, "plot --table --no-legend").lines().count(), numbers.len());
    let (code, _, complaints) = analyze(&machine, "plot --json=xml");
    assert_eq!((code, complaints.as_str()), (1, "Unknown argument to --json= switch: xml\n"));
}

#[test]
fn the_graph_has_the_edges_that_the_units_have() {
    let machine = chain();
    let graph = |line: &str| {
        let (code, out, complaints) = analyze(&machine, line);
        assert!(code == 0 && complaints.contains("Color legend: black     = Requires"), "{line}: {complaints}");
        let body = out.strip_prefix("digraph systemd {\n").and_then(|text| text.strip_suffix("}\n")).expect(&out);
        body.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let all = graph("dot");
    for edge in [
        r#""third.service"->"second.service" [color="green"];"#,
        r#""third.service"->"second.service" [color="black"];"#,
        r#""default.target"->"third.service" [color="grey66"];"#,
        r#""aside.service"->"odd.service" [color="red"];"#,
    ] {
        assert!(all.iter().any(|have| have == edge), "{edge}: {all:?}");
    }
    let order = graph("dot --order");
    assert!(!order.is_empty() && order.iter().all(|edge| edge.contains("green")));
    assert_eq!(graph("dot --require").len() + order.len(), all.len());
    assert_eq!(
        graph("dot --require second"),
        [
            r#""second.service"->"first.service" [color="black"];"#,
            r#""second.service"->"sysinit.target" [color="black"];"#,
            r#""second.service"->"system.slice" [color="black"];"#,
            r#""second.service"->"shutdown.target" [color="red"];"#,
            r#""third.service"->"second.service" [color="black"];"#,
        ]
    );
    let some = graph("dot --order --from-pattern=t* --to-pattern=s*.service");
    assert_eq!(some, [r#""third.service"->"second.service" [color="green"];"#]);
}

#[test]
fn the_dump_tells_of_the_manager_its_units_and_jobs() {
    let hang = "[Service]\nType=notify\nExecStart=/bin/sleep 1000\n";
    let machine = Machine::boot(&[("hang.service", hang), ("on.service", "[Service]\nExecStart=/bin/sleep 1000\n")]);
    let request = |unit: &str| machine.send(&machine::start(unit));
    let _waits = request("hang.service");
    machine.job(ferrite_control::JobVerb::Start, "on.service");
    machine.wait_for("a start under way", |machine| machine.state("hang.service") == "activating start");
    let text = output(&machine, "dump");
    assert!(text.starts_with("Manager: Ferrite ") && text.contains("\nTimestamp userspace: "), "{text}");
    for part in [
        "\n-> Unit hang.service:\n\tDescription: hang.service\n\tInstance: n/a\n\tUnit Load State: loaded\n",
        "\tUnit Active State: activating\n",
        "\tActive Enter Timestamp: n/a\n",
        "\tRequires: system.slice\n",
        "\tAction: start -> hang.service\n\t\tState: running\n\t\tQueued: ",
        "\n-> Unit default.target:\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().any(|line| line.starts_with("-> Job ")), "{text}");
    let one = output(&machine, "dump o*.service");
    assert_eq!(one.matches("-> Unit ").count(), 1, "{one}");
    assert!(one.starts_with("-> Unit on.service:\n") && one.contains("\tFragment Path: "), "{one}");
    assert!(output(&machine, "dump on").starts_with("-> Unit on.service:\n"));
}

#[test]
fn a_dump_has_all_units_however_many_there_are() {
    let names: Vec<String> = (0..100).map(|number| format!("u{number}.service")).collect();
    let all = format!("[Unit]\nAfter={}\n", names.join(" "));
    let machine = Machine::boot(&[("all.target", &all), ("default.target", "[Unit]\nWants=all.target\n")]);
    let text = output(&machine, "dump");
    let told: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("-> Unit ")).collect();
    assert!(names.iter().all(|name| told.contains(&format!("{name}:").as_str())), "{told:?}");
    assert_eq!(told.iter().collect::<std::collections::BTreeSet<_>>().len(), told.len());
    let request = Request::ShowSome { units: names.clone() };
    assert!(matches!(&machine.ask(&request)[..], [Reply::Error { message, .. }] if message.contains("more than 32")));
}

#[test]
fn what_is_left_undone_is_listed_by_unit_with_and_without_process_1() {
    let odd =
        "[Unit]\nConditionNeedsUpdate=!/etc\n[Service]\nType=simple\nRootImage=/no\nPAMName=x\nExecStart=/bin/true\n";
    let machine = Machine::boot(&[
        ("default.target", "[Unit]\nAfter=odd.service plain.service tpl@one.service\n"),
        ("odd.service", odd),
        ("odd.service.d/more.conf", "[Service]\nMemoryAccounting=no\n"),
        ("plain.service", "[Service]\nExecStart=/bin/true\n"),
        ("tpl@.service", "[Service]\nExecStart=/bin/true\nUtmpMode=user\n"),
    ]);
    let path = |name: &str| machine.output("units").join(name).to_str().unwrap().to_owned();
    let row = |unit: &str, directive: &str, state: &str, file: &str, line: u64| {
        (unit.to_owned(), directive.to_owned(), state.to_owned(), path(file), line)
    };
    let rows = |json: &str| {
        let list: serde_json::Value = serde_json::from_str(json).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let row = |f: &serde_json::Value| {
            (text(&f["unit"]), text(&f["directive"]), text(&f["state"]), text(&f["path"]), f["line"].as_u64().unwrap())
        };
        list.as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    let odd = vec![
        row("odd.service", "RootImage", "refused", "odd.service", 5),
        row("odd.service", "PAMName", "refused", "odd.service", 6),
        row("odd.service", "ConditionNeedsUpdate", "partly", "odd.service", 2),
        row("odd.service", "MemoryAccounting", "partly", "odd.service.d/more.conf", 2),
    ];
    let instance = vec![row("tpl@one.service", "UtmpMode", "refused", "tpl@.service", 3)];
    assert_eq!(rows(&output(&machine, "coverage --json=short")), [odd.clone(), instance.clone()].concat());
    assert_eq!(rows(&output(&machine, "coverage --json=pretty tpl@*")), instance);
    let table = output(&machine, "coverage");
    assert!(table.contains("refused, the unit is less confined") && table.contains("partly: always on"), "{table}");
    assert!(table.ends_with(" units use directives that are refused (3) or done in part (2).\n"), "{table}");
    assert_eq!(
        output(&machine, "coverage plain"),
        "0 of 1 units use directives that are refused (0) or done in part (0).\n"
    );
    // Another root needs no process 1, and its templates are looked at too.
    let folder = machine.output("root/usr/lib/systemd");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::rename(machine.output("units"), folder.join("system")).unwrap();
    let mut command = Command::new(machine.output("systemd-analyze"));
    let line = ["coverage", "--json=short", "--root", machine.output("root").to_str().unwrap()].map(str::to_owned);
    let out = command.args(line).env("FERRITE_INIT_SOCKET", "/nowhere").output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    let moved = |row: &(String, String, String, String, u64)| {
        let file = row.3.replace(machine.output("units").to_str().unwrap(), "/usr/lib/systemd/system");
        (row.0.replace("@one", "@"), row.1.clone(), row.2.clone(), file, row.4)
    };
    let wanted: Vec<_> = odd.iter().chain(&instance).map(moved).collect();
    assert_eq!(rows(&String::from_utf8(out.stdout).unwrap()), wanted);
    let (code, _, complaints) = analyze(&machine, "time --root=/");
    assert!(code == 1 && complaints.starts_with("Option --root is only supported for "), "{complaints}");
}

#[test]
fn a_boot_that_goes_on_has_no_length_yet() {
    let program = env!("CARGO_BIN_EXE_systemctl");
    let unit = format!(
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'ln -s {program} @/systemd-analyze; \
         @/systemd-analyze time >@/out 2>&1; echo $? >>@/out; @/systemd-analyze blame >>@/out; echo $? >>@/out'\n"
    );
    let place = tempfile::tempdir().unwrap();
    let unit = unit.replace('@', place.path().to_str().unwrap());
    let _machine = Machine::boot(&[("default.target", "[Unit]\nWants=early.service\n"), ("early.service", &unit)]);
    let text = std::fs::read_to_string(place.path().join("out")).unwrap();
    let words = "Bootup is not yet finished (org.freedesktop.systemd1.Manager.FinishTimestampMonotonic=0).\n\
                 Please try again later.\nHint: Use 'systemctl list-jobs' to see active jobs\n1\n";
    assert!(text.starts_with(words) && text.ends_with("0\n"), "{text}");
}

#[test]
fn the_moments_survive_the_next_image_and_a_crash() {
    let machine = chain();
    let manager = |machine: &Machine| match machine.ask(&Request::ShowManager).remove(0) {
        Reply::Properties(properties) => properties,
        other => panic!("{other:?}"),
    };
    let before = manager(&machine);
    let moments = ["UserspaceTimestamp", "FinishTimestamp", "UnitsLoadStartTimestamp", "UnitsLoadFinishTimestamp"];
    for name in moments {
        assert_ne!(before.moment_us(name), 0, "{name}");
        assert_ne!(before.number(&format!("{name}Monotonic")), Some(0), "{name}");
    }
    let unit = |machine: &Machine| {
        let properties = machine.show("second.service").properties;
        ["InactiveExit", "ActiveEnter", "Condition", "Assert"]
            .map(|name| properties.number(&format!("{name}TimestampMonotonic")).unwrap())
    };
    let times = unit(&machine);
    assert!(times.iter().all(|time| *time > 0), "{times:?}");
    assert_eq!(output(&machine, "log-level"), "debug\n");
    assert_eq!(output(&machine, "log-level info"), "");
    let sentence = output(&machine, "time");
    let same = |machine: &Machine| {
        let after = manager(machine);
        for (name, _) in before.0.iter().filter(|(name, _)| name.contains("Timestamp")) {
            assert_eq!(after[name], before[name], "{name}");
        }
        assert_eq!((unit(machine), output(machine, "time")), (times, sentence.clone()));
        assert_eq!(output(machine, "log-level"), "info\n");
    };
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    same(&machine);
    drop(machine.send(&Request::InjectFault(InjectedFault::Panic)));
    machine.wait_for("word of the crash", |machine| machine.log().contains("PID 1 crashed and went on"));
    same(&machine);
}

#[test]
fn faults_of_the_line_are_worded_as_by_systemd() {
    let machine = chain();
    for (line, words) in [
        ("blam", "Unknown command verb 'blam', did you mean 'blame'?\n"),
        ("what-is-this-verb", "Unknown command verb 'what-is-this-verb'.\n"),
        ("time now", "Too many arguments.\n"),
        ("timespan", "Too few arguments.\n"),
        ("log-level loud", "Failed to set log level of PID 1 to loud: Invalid log level 'loud'\n"),
        ("--nonsense", "systemd-analyze: unrecognized option '--nonsense'\n"),
    ] {
        assert_eq!(analyze(&machine, line), (1, String::new(), words.to_owned()), "{line}");
    }
    assert!(output(&machine, "--help").contains("critical-chain"));
    assert_eq!(output(&machine, "log-target"), "console\n");
    assert_eq!(systemctl(&machine, &["log-target"]), "console\n");
    assert_eq!(systemctl(&machine, &["log-level", "notice"]), "");
    assert_eq!(output(&machine, "log-level"), "notice\n");
}
