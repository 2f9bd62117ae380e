//! The files of 208 Debian packages applied to a root: the result is the one that systemd 257 was recorded with.
//!
//! The packages' files lie beside the repository (`shared/data/units/corpus`).

#[path = "support/peer.rs"]
mod peer;
#[path = "support/root.rs"]
mod root;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrite_hostconf::folders::{self, Found, Listing, SEARCH};
use ferrite_hostconf::modules_load;
use root::{TestRoot, said};

/// The users that maintainer scripts of the packages make, in the words of sysusers.d.
const BY_SCRIPTS: [&str; 15] = [
    "bind",
    "dnsmasq",
    "frr",
    "gluster",
    "haproxy",
    "i2pd",
    "memcache",
    "mpd",
    "mysql",
    "nsd",
    "opendkim",
    "postgres",
    "tinyproxy",
    "zabbix",
    "_rpc",
];
/// What a new machine has before any of it, as a shell makes it.
const BEFORE: &str = "mkdir -p etc dev/snd dev/net run var/log/journal/0123456789abcdef0123456789abcdef tmp/.X11-unix \
    usr/share/cockpit/issue usr/share/factory usr/lib proc/sys; ln -s ../run var/run; \
    touch dev/kvm dev/snd/seq dev/net/tun run/nologin forcefsck tmp/.X0-lock tmp/sshauth.x; \
    echo 0123456789abcdef0123456789abcdef > etc/machine-id; echo inactive > usr/share/cockpit/issue/inactive.issue; \
    touch var/log/journal/0123456789abcdef0123456789abcdef/system.journal; \
    mkdir -p tmp/systemd-private-old/tmp tmp/.ICE-unix/x var/tmp/container_images1/layer";

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/units/corpus")
}

/// Copies the files of one kind of all packages into the root.
fn lay_out(root: &Path, kind: &str) {
    let packages = fs::read_dir(corpus()).expect("the corpus of packages lies beside the repository");
    for package in packages {
        let package = package.unwrap().path();
        for folder in SEARCH {
            let folder = folder.trim_start_matches('/');
            let Ok(files) = fs::read_dir(package.join(folder).join(kind)) else { continue };
            let target = root.join(folder).join(kind);
            fs::create_dir_all(&target).unwrap();
            for file in files {
                let file = file.unwrap();
                // A link leads to a file that a maintainer script makes.
                if file.path().is_file() && !file.path().is_symlink() {
                    fs::copy(file.path(), target.join(file.file_name())).unwrap();
                }
            }
        }
    }
}

fn new_machine(root: &TestRoot) {
    let done = Command::new("sh").args(["-e", "-c", BEFORE]).current_dir(root.path()).status().unwrap();
    assert!(done.success());
    lay_out(root.path(), "tmpfiles.d");
    lay_out(root.path(), "sysusers.d");
    let scripted: String = BY_SCRIPTS.iter().map(|name| format!("u {name} -\n")).collect();
    root.write("/usr/lib/sysusers.d/zz-scripts.conf", &scripted);
}

/// What came of it: everything but the packages' own files and what has the day in it.
fn outcome(root: &TestRoot, codes: &[Option<i32>]) -> String {
    let shadow = root.read("/etc/shadow");
    let dated = |line: &str| {
        let mut fields: Vec<&str> = line.split(':').collect();
        fields[2] = "TODAY";
        fields.join(":")
    };
    let shadow: Vec<String> = shadow.lines().map(dated).collect();
    root.write("/etc/shadow", &format!("{}\n", shadow.join("\n")));
    let skips = ["usr/lib/tmpfiles.d", "usr/lib/sysusers.d", "etc/.pwd.lock"];
    format!("exits {codes:?}\n{}", root.listing(&skips))
}

const STEPS: [&[&str]; 3] =
    [&["systemd-sysusers"], &["systemd-tmpfiles", "--create", "--remove", "--boot"], &["systemd-tmpfiles", "--clean"]];

#[test]
fn files_users_and_folders_are_those_of_systemd() {
    let root = TestRoot::new();
    new_machine(&root);
    let step = |step: &&[&str]| {
        let output = root.run(step[0], &step[1..], "");
        assert!(!said(&output).contains("panicked"), "{}", said(&output));
        output.status.code()
    };
    let codes: Vec<Option<i32>> = STEPS.iter().map(step).collect();
    let ours = outcome(&root, &codes);
    let theirs = peer::peer_root().map(|peer| by_peer(&peer));
    peer::compare("corpus.txt", &ours, theirs.as_deref());
}

fn by_peer(peer: &Path) -> String {
    let root = TestRoot::new_in(peer);
    new_machine(&root);
    let inside = format!("--root=/{}", root.path().strip_prefix(peer).unwrap().display());
    let mut codes = Vec::new();
    for step in STEPS {
        let mut command = vec![step[0], inside.as_str()];
        command.extend(&step[1..]);
        codes.push(peer::run(peer, &command, "").status.code());
        // The names in access control lists are looked up in the root that the tool itself is in.
        for name in ["passwd", "group"] {
            fs::copy(root.path().join("etc").join(name), peer.join("etc").join(name)).unwrap();
        }
    }
    outcome(&root, &codes)
}

/// A folder in the place of /proc/sys, with every variable that the packages speak of.
fn variables(root: &Path) -> Vec<String> {
    lay_out(root, "sysctl.d");
    let mut keys = Vec::new();
    for folder in SEARCH {
        let Ok(files) = fs::read_dir(root.join(folder.trim_start_matches('/')).join("sysctl.d")) else { continue };
        for file in files {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let assigned = text.lines().filter(|line| !line.trim_start().starts_with(['#', ';']));
            keys.extend(assigned.filter_map(|line| line.split_once('=')).map(|(key, _)| key.trim().replace('.', "/")));
        }
    }
    keys.sort();
    keys.dedup();
    for key in &keys {
        let path = root.join("proc/sys").join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    keys
}

fn values(root: &Path, program: &str) -> String {
    let keys = variables(root);
    assert!(keys.len() >= 5, "{keys:?}");
    let output = Command::new("chroot").arg(root).arg(program).output().unwrap();
    let value = |key: &String| format!("{key}={}", fs::read_to_string(root.join("proc/sys").join(key)).unwrap());
    format!("exit {:?}\n{}", output.status.code(), keys.iter().map(value).collect::<String>())
}

#[test]
fn kernel_variables_are_those_of_systemd() {
    let root = TestRoot::new();
    fs::copy(env!("CARGO_BIN_EXE_ferrite-host"), root.path().join("systemd-sysctl")).unwrap();
    let ours = values(root.path(), "/systemd-sysctl");
    let theirs = peer::peer_root().map(|peer| {
        for folder in ["etc", "usr/lib"] {
            // The peer has its own files of this kind, which are among those of the corpus.
            let _ = fs::remove_dir_all(peer.join(folder).join("sysctl.d"));
        }
        let values = values(&peer, "/usr/lib/systemd/systemd-sysctl");
        fs::remove_dir_all(peer.join("proc/sys")).unwrap();
        values
    });
    peer::compare("corpus_variables.txt", &ours, theirs.as_deref());
}

#[test]
fn the_modules_that_are_loaded_are_those_of_systemd() {
    let root = TestRoot::new();
    lay_out(root.path(), "modules-load.d");
    let mut texts = BTreeMap::new();
    let listing = |folder: &str| {
        let folder = format!("{folder}/modules-load.d");
        let files = fs::read_dir(root.path().join(&folder[1..])).into_iter().flatten();
        let files =
            files.map(|file| Found { name: file.unwrap().file_name().into_string().unwrap(), is_masked: false });
        Listing { files: files.collect(), folder }
    };
    for path in folders::order(&SEARCH.map(listing)) {
        texts.insert(path.clone(), root.read(&path));
    }
    let mut ours: Vec<&str> = texts.values().flat_map(|text| modules_load::names(text)).collect();
    ours.sort_unstable();
    let ours = format!("{}\n", ours.join("\n"));
    let theirs = peer::peer_root().map(|peer| {
        let _ = fs::remove_dir_all(peer.join("etc/modules-load.d"));
        lay_out(&peer, "modules-load.d");
        // Without modules each is a failure that names it.
        let output = peer::run(&peer, &["/usr/lib/systemd/systemd-modules-load"], "");
        let told = said(&output);
        let mut names: Vec<&str> =
            told.lines().filter_map(|line| line.split_once("Failed to find module '")?.1.split('\'').next()).collect();
        names.sort_unstable();
        format!("{}\n", names.join("\n"))
    });
    peer::compare("corpus_modules.txt", &ours, theirs.as_deref());
}
