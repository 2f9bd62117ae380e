//! The program on roots that resist: killed at any moment, full, read-only, with links out of them; and documents full
//! of secrets. Whole trees are compared. Needs root, because files of a document belong to root.

#[path = "support/machine_files.rs"]
mod machine_files;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use machine_files::MACHINE_FILES;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGSnPSrFHGXYWzCiVgW2Wd0bTMHQkyXIUHSqdRwpmCEY alice@laptop";
const HASH: &str = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";

/// A root in a folder that also holds the documents.
struct Place(tempfile::TempDir);

impl Place {
    fn path(&self) -> PathBuf {
        self.0.path().join("root")
    }
}

fn root() -> Place {
    let root = Place(tempfile::tempdir().unwrap());
    std::fs::create_dir(root.path()).unwrap();
    assert_eq!(root.path().metadata().unwrap().uid(), 0, "this test needs root");
    for folder in ["etc/skel", "etc/ssh", "home", "run", "var/lib"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    let other = [
        ("etc/skel/.bashrc", "# skel\n"),
        ("etc/ssh/ssh_host_rsa_key", "the other machine's\n"),
        ("var/lib/ferrite/cloudinit/instance", "i-0\n"),
    ];
    for (path, text) in MACHINE_FILES.into_iter().chain(other) {
        std::fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
        std::fs::write(root.path().join(path), text).unwrap();
    }
    root
}

/// Files of this size, and users, keys, units and settings with them.
fn document(word: &str, files: usize) -> String {
    let mut text = format!(
        "#cloud-config\nhostname: {word}\nssh_authorized_keys: [\"{KEY}\"]\ntimezone: Europe/Rome\n\
         users:\n  - default\n  - {{name: ada, groups: [sudo], passwd: {HASH}, ssh_authorized_keys: [\"{KEY}\"]}}\n  \
         - {{name: bob, system: true}}\nmanage_etc_hosts: true\ncoreos:\n  update: {{group: {word}}}\n  units:\n    \
         - {{name: a.service, enable: true, content: \"[Service]\\nExecStart=/bin/echo {word}\\n[Install]\\n\
         WantedBy=multi-user.target\\n\"}}\n    - {{name: b.service, mask: true}}\nwrite_files:\n"
    );
    for number in 0..files {
        let content = format!("{word} {number} ").repeat(200);
        text.push_str(&format!("  - {{path: /etc/many/{}/{number}, content: \"{content}\"}}\n", number % 5));
    }
    text
}

fn start(root: &Path, document: &str, instance: &str) -> Command {
    // Beside the root, so that it is no part of the tree.
    let file = |name: &str| root.with_extension(name);
    std::fs::write(file("user"), document).unwrap();
    std::fs::write(file("meta"), format!("instance-id: {instance}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrite-cloudinit"));
    command.arg("--root").arg(root).arg("apply");
    command.arg("--user-data").arg(file("user")).arg("--meta-data").arg(file("meta"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every path but those of /run, with what is there.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let data = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap().to_path_buf();
            if name == Path::new("run") {
                continue;
            }
            let what = if data.is_dir() {
                folders.push(path.clone());
                String::new()
            } else if data.is_symlink() {
                format!("{:?}", std::fs::read_link(&path).unwrap())
            } else {
                String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
            };
            found.insert(name, format!("{:o} {}:{} {what}", data.mode(), data.uid(), data.gid()));
        }
    }
    // A clone's id is random.
    found.remove(Path::new("etc/machine-id"));
    found
}

/// The numbers and times of all files.
fn stamps(root: &Path) -> Vec<(PathBuf, u64, i64, i64)> {
    tree(root)
        .into_keys()
        .map(|name| {
            let data = root.join(&name).symlink_metadata().unwrap();
            (name, data.ino(), data.mtime(), data.mtime_nsec())
        })
        .collect()
}

fn assert_same(one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>, name: &str) {
    let differs = |(path, _): &(&PathBuf, &String)| one.get(*path) != other.get(*path);
    let paths: Vec<&PathBuf> = one.iter().chain(other).filter(differs).map(|(path, _)| path).collect();
    let shown: Vec<_> = paths.iter().map(|path| (path, one.get(*path), other.get(*path))).collect();
    assert!(shown.is_empty(), "{name}: {shown:?}");
}

#[test]
fn a_killed_apply_leaves_whole_files_and_the_next_one_does_the_rest() {
    let (first, second) = (document("first", 60), document("second", 60));
    let clean = root();
    let begun = Instant::now();
    let output = start(&clean.path(), &first, "i-1").output().unwrap();
    let usual = begun.elapsed();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let before = tree(&clean.path());
    let output = start(&clean.path(), &second, "i-2").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let wanted = tree(&clean.path());
    let stamped = stamps(&clean.path());
    let output = start(&clean.path(), &second, "i-2").output().unwrap();
    assert!(said(&output).starts_with("run systemctl enable a.service"), "nothing but commands: {}", said(&output));
    assert_eq!(stamps(&clean.path()), stamped, "nothing is written twice");

    let rounds: u32 = if std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1") { 1000 } else { 12 };
    let mut killed = 0;
    for round in 0..rounds {
        let root = root();
        let output = start(&root.path(), &first, "i-1").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let mut child = start(&root.path(), &second, "i-2").spawn().unwrap();
        // Spread over the usual time, each round another moment of it.
        std::thread::sleep(usual * (round * 617 % rounds) / rounds);
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        let name = format!("round {round}");
        for (path, what) in tree(&root.path()) {
            let is_part = path.file_name().unwrap().to_string_lossy().ends_with(".new");
            let is_whole = [before.get(&path), wanted.get(&path)].contains(&Some(&what));
            // A new folder may not have its owner yet.
            assert!(is_whole || is_part || root.path().join(&path).is_dir(), "{name}: {path:?} is torn: {what}");
        }
        let output = start(&root.path(), &second, "i-2").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
        assert_same(&tree(&root.path()), &wanted, &name);
    }
    assert!(killed > rounds / 4, "only {killed} of {rounds} were killed");
}

#[test]
fn the_plan_is_what_apply_does() {
    let root = root();
    let before = tree(&root.path());
    let mut command = start(&root.path(), &document("word", 9), "i-1");
    let planned = {
        let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let words = words.iter().map(|word| if word == "apply" { "plan".as_ref() } else { word.as_os_str() });
        Command::new(env!("CARGO_BIN_EXE_ferrite-cloudinit")).args(words).output().unwrap()
    };
    assert_same(&tree(&root.path()), &before, "a plan changes nothing");
    let output = command.output().unwrap();
    let lines = |output: &Output| -> Vec<String> {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().filter(|line| !line.starts_with("datasource ")).map(str::to_string).collect()
    };
    assert_eq!(lines(&planned), lines(&output));
    let named: Vec<&str> = Vec::from_iter(planned.stdout.split(|byte| *byte == b'\n'))
        .into_iter()
        .filter_map(|line| std::str::from_utf8(line).unwrap().split(' ').find(|word| word.starts_with('/')))
        .collect();
    for (path, what) in tree(&root.path()) {
        let is_new = before.get(&path) != Some(&what);
        let path = format!("/{}", path.display());
        let is_above = named.iter().any(|named| named.starts_with(&format!("{path}/")));
        assert!(!is_new || is_above || named.contains(&path.as_str()), "{path} was changed without a plan: {named:?}");
    }
}

/// Runs the program in a mount namespace that this script has prepared. `$R` is the root.
fn mounted(root: &Path, document: &str, prepare: &str) -> Output {
    let command = start(root, document, "i-1");
    let script = format!("{prepare}\nexec \"$@\"");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-ec", &script, "sh"]).arg(command.get_program()).args(command.get_args());
    unshare.env("R", root).stdin(Stdio::null()).output().expect("unshare (util-linux) is installed")
}

#[test]
fn a_full_disk_costs_what_does_not_fit_and_nothing_else() {
    let root = root();
    let big = "x".repeat(900_000);
    let document = format!(
        "#cloud-config\nssh_authorized_keys: [\"{KEY}\"]\nwrite_files:\n  - {{path: /etc/old, content: \"{big}\"}}\n"
    );
    std::fs::write(root.path().join("etc/old"), "as it was").unwrap();
    // What is in the small file system is shown after the run.
    let prepare = "cp -a $R/etc $R.etc; mount -t tmpfs -o size=256k none $R/etc; cp -a $R.etc/. $R/etc; code=0; \
        \"$@\" || code=$?; cat $R/etc/old; ls -A $R/etc | grep new || true; exit $code";
    let output = mounted(&root.path(), &document, prepare);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("error: applying 'file /etc/old") && text.contains("No space left on device"), "{text}");
    assert!(text.contains("as it was") && !text.contains(".old.new"), "{text}");
    assert!(tree(&root.path())[Path::new("home/core/.ssh/authorized_keys")].contains(KEY), "the keys are there");
    let status = std::fs::read_to_string(root.path().join("run/ferrite/cloudinit/status")).unwrap();
    assert!(status.starts_with("state=degraded\n") && status.contains("No space left on device"), "{status}");
}

#[test]
fn a_read_only_etc_costs_what_belongs_there_and_nothing_else() {
    let root = root();
    let prepare = "mount --bind $R/etc $R/etc && mount -o remount,bind,ro $R/etc";
    let output = mounted(&root.path(), &document("word", 1), prepare);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("error: applying 'file /etc/hostname") && text.contains("Read-only file system"), "{text}");
    assert!(tree(&root.path())[Path::new("home/core/.ssh/authorized_keys")].contains(KEY), "{text}");
}

#[test]
fn no_link_below_the_root_leads_out_of_it() {
    let outside = tempfile::tempdir().unwrap();
    for (link, target) in [
        ("run", outside.path().to_path_buf()),
        ("run/ferrite", outside.path().to_path_buf()),
        ("etc/many", outside.path().to_path_buf()),
        ("etc/many/1", PathBuf::from("../../../../../../../../../..").join(outside.path().strip_prefix("/").unwrap())),
        ("home/core", outside.path().to_path_buf()),
        ("home/ada", outside.path().to_path_buf()),
        ("etc/systemd", outside.path().to_path_buf()),
        ("etc/hostname", outside.path().join("hostname")),
        ("etc/passwd", outside.path().join("passwd")),
        ("var/lib/ferrite", outside.path().to_path_buf()),
    ] {
        let root = root();
        let path = root.path().join(link);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        } else if path.exists() {
            std::fs::remove_file(&path).unwrap();
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&target, &path).unwrap();
        let output = start(&root.path(), &document("word", 10), "i-1").output().unwrap();
        let found: Vec<_> = std::fs::read_dir(outside.path()).unwrap().collect();
        assert!(found.is_empty(), "{link}: {found:?} {}", said(&output));
    }
}

/// Every key that holds a secret; `@` stands for its value, each with a word of its own.
const SECRETS: [&str; 16] = [
    "password: @",
    "chpasswd: {users: [{name: core, password: @}]}",
    "users: [{name: u1, passwd: @}]",
    "users: [{name: u2, hashed_passwd: @}]",
    "users: [{name: u3, plain_text_passwd: @}]",
    "ssh_keys: {rsa_private: @}",
    "write_files: [{path: /etc/secret, content: @}]",
    "write_files: [{path: /etc/secret, content: @, permissions: nobody}]",
    "write_files: [{path: /etc/secret, content: @, encoding: b64}]",
    "coreos: {units: [{name: a.service, content: @}]}",
    "coreos: {units: [{name: a.service, drop-ins: [{name: a.conf, content: @}]}]}",
    "coreos: {fleet: {etcd-password: @}}",
    "coreos: {flannel: {etcd-password: @}}",
    "coreos: {locksmith: {etcd-password: @}}",
    "random_seed: {data: @}",
    "wireguard: {interfaces: [{name: wg0, config_path: /etc/wireguard/wg0.conf, content: @}]}",
];

/// What people write there: right, and wrong in the usual ways.
const SHAPES: [&str; 8] = ["S", "\"S\"", "[S]", "{S: S}", "\"[Service]\\nS\\n[\"", "$6$salt$S", "!!binary S", "S: S"];

#[test]
fn no_secret_is_in_a_plan_a_log_or_a_status_however_it_is_written() {
    const SECRET: &str = "hUnTer2zQ9";
    let (root, mut found) = (root(), Vec::new());
    for template in SECRETS {
        for shape in SHAPES {
            let document = format!("#cloud-config\n{}\n", template.replace('@', &shape.replace('S', SECRET)));
            let mut printed = said(&start(&root.path(), &document, "i-1").output().unwrap());
            for words in [&["plan"][..], &["plan", "--json"], &["render"]] {
                let mut command = Command::new(env!("CARGO_BIN_EXE_ferrite-cloudinit"));
                command.arg("--root").arg(root.path()).args(words);
                let output = command.arg("--user-data").arg(root.path().with_extension("user")).output().unwrap();
                printed.push_str(&said(&output));
            }
            for file in ["status", "plan.json"] {
                let path = root.path().join("run/ferrite/cloudinit").join(file);
                printed.push_str(&std::fs::read_to_string(path).unwrap());
            }
            let leaks = printed.lines().filter(|line| line.contains(SECRET));
            found.extend(leaks.map(|line| format!("{template} {shape}: {line}")));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
