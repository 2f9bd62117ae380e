//! The command on a root in a temporary folder: what it makes, twice, and what it leaves alone.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGSnPSrFHGXYWzCiVgW2Wd0bTMHQkyXIUHSqdRwpmCEY alice@laptop";

/// A root whose user `core` is whoever runs the test, so that the test needs no privilege.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let me = std::fs::metadata(root.path()).unwrap();
    for folder in ["etc/skel/sub", "home", "run"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    let passwd = format!("core:x:{}:{}:Core:/home/core:/bin/bash\n", me.uid(), me.gid());
    std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
    std::fs::write(root.path().join("etc/skel/.bashrc"), "# skel\n").unwrap();
    std::fs::write(root.path().join("etc/skel/sub/file"), "x").unwrap();
    root
}

fn run(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferrite-cloudinit")).arg("--root").arg(root).args(arguments).output().unwrap()
}

fn apply(root: &Path, user_data: &str) -> Output {
    let file = root.join("run/user-data");
    std::fs::write(&file, user_data).unwrap();
    run(root, &["apply", "--user-data", file.to_str().unwrap()])
}

fn text(root: &Path, path: &str) -> String {
    std::fs::read_to_string(root.join(path)).unwrap_or_default()
}

#[test]
fn keys_and_home_are_made_once_and_the_second_run_changes_nothing() {
    let root = root();
    let document = format!("#cloud-config\nhostname: web1\nssh_authorized_keys:\n  - {KEY}\n");
    // /etc/hostname belongs to root, which an ordinary user cannot give it to.
    let expected = if std::fs::metadata(root.path()).unwrap().uid() == 0 { 0 } else { 2 };
    let output = apply(root.path(), &document);
    assert_eq!(output.status.code(), Some(expected), "{output:?}");
    assert!(text(root.path(), "home/core/.ssh/authorized_keys.d/cloud-config").contains(KEY));
    assert_eq!(text(root.path(), "home/core/.bashrc"), "# skel\n");
    assert_eq!(text(root.path(), "home/core/sub/file"), "x");
    for (path, mode) in [
        ("home/core", 0o755),
        ("home/core/.ssh", 0o700),
        ("home/core/.ssh/authorized_keys.d", 0o700),
        ("home/core/.ssh/authorized_keys.d/cloud-config", 0o600),
    ] {
        assert_eq!(std::fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o7777, mode, "{path}");
    }
    if expected == 0 {
        let again = apply(root.path(), &document);
        assert!(String::from_utf8_lossy(&again.stdout).starts_with("nothing to change\n"), "{again:?}");
        assert_eq!(text(root.path(), "etc/hostname"), "web1\n");
    }
}

#[test]
fn keys_added_by_hand_stay_and_keys_that_left_the_document_go() {
    let root = root();
    apply(root.path(), &format!("#cloud-config\nssh_authorized_keys: [\"{KEY}\"]\n"));
    std::fs::write(root.path().join("home/core/.ssh/authorized_keys"), "by hand\n").unwrap();
    apply(root.path(), "#cloud-config\n");
    assert_eq!(text(root.path(), "home/core/.ssh/authorized_keys"), "by hand\n");
    assert!(!text(root.path(), "home/core/.ssh/authorized_keys.d/cloud-config").contains("ssh-ed25519"));
}

#[test]
fn a_broken_document_fails_but_the_keys_of_the_meta_data_apply() {
    let root = root();
    let (user, meta) = (root.path().join("run/user"), root.path().join("run/meta"));
    std::fs::write(&user, "#cloud-config\nhostname: [\n").unwrap();
    std::fs::write(&meta, format!("instance-id: i-7\npublic-keys: [\"{KEY}\"]\n")).unwrap();
    let arguments = ["apply", "--user-data", user.to_str().unwrap(), "--meta-data", meta.to_str().unwrap()];
    let output = run(root.path(), &arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("user-data:"), "{output:?}");
    assert!(text(root.path(), "home/core/.ssh/authorized_keys.d/cloud-config").contains(KEY));
    let status = run(root.path(), &["status"]);
    assert_eq!(status.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(shown.starts_with("state=failed\ndatasource=file\ninstance-id=i-7\n"), "{shown}");
}

#[test]
fn a_link_out_of_the_root_is_not_followed() {
    let root = root();
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("home/core")).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("home/core/.ssh")).unwrap();
    let output = apply(root.path(), &format!("#cloud-config\nssh_authorized_keys: [\"{KEY}\"]\n"));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn validate_prints_every_fault_with_its_place_and_line() {
    let root = root();
    let file = root.path().join("bad");
    std::fs::write(&file, "#cloud-config\nhostname: -x\nssh_authorized_keys:\n  - nonsense\n").unwrap();
    let output = run(root.path(), &["validate", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = file.display();
    assert!(errors.contains(&format!("{name}:2:11: error: '-x' is not a host name")), "{errors}");
    assert!(errors.contains(&format!("{name}:4:5: error: 'nonsense' is not a key type")), "{errors}");
    assert!(errors.contains("      - nonsense\n"), "{errors}");
}

#[test]
fn without_documents_the_home_is_made_and_it_says_so() {
    let root = root();
    let output = run(root.path(), &["apply"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("no datasource: ok"));
    assert!(root.path().join("home/core/.bashrc").exists());
}

#[test]
fn files_of_a_document_stay_inside_the_root_whatever_links_and_dots_say() {
    let root = root();
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("etc/out")).unwrap();
    std::os::unix::fs::symlink("/etc/target", root.path().join("etc/link")).unwrap();
    let document = "#cloud-config\nwrite_files:\n  - {path: /etc/out/a, content: x}\n  - \
        {path: /../../b, content: y}\n  - {path: /etc/link, content: z}\n";
    let output = apply(root.path(), document);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "{output:?}");
    if std::fs::metadata(root.path()).unwrap().uid() == 0 {
        assert_eq!((text(root.path(), "b"), text(root.path(), "etc/target")), ("y".into(), "z".into()), "{output:?}");
        assert!(std::fs::symlink_metadata(root.path().join("etc/link")).unwrap().file_type().is_symlink());
    }
}

#[test]
fn nothing_is_executed_below_another_root_and_the_plan_says_what_would_be() {
    let root = root();
    let mark = root.path().join("mark");
    let touch = format!("touch {}", mark.display());
    let document = format!(
        "#cloud-config\nbootcmd: ['{touch}']\nruncmd: [[touch, '{}']]\ncoreos:\n  units:\n    - {{name: a.service, \
         command: start}}\n",
        mark.display()
    );
    apply(root.path(), &document);
    assert!(!mark.exists());
    let plan = text(root.path(), "run/ferrite/cloudinit/plan.json");
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let stages: Vec<&str> =
        plan["commands"].as_array().unwrap().iter().map(|command| command["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["bootcmd", "units", "runcmd"]);
    assert_eq!(plan["commands"][1]["argv"], serde_json::json!(["systemctl", "start", "a.service"]));
}

#[test]
fn a_wrong_value_leaves_out_its_part_and_secrets_stay_out_of_what_is_printed() {
    let root = root();
    let document = "#cloud-config\npassword: 12345678\nwrite_files:\n  - {path: /etc/a, content: one}\n  \
        - {path: /etc/b, permissions: nobody, content: hidden-text}\n";
    let output = apply(root.path(), document);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("user-data:2:11: error: 'password' must be text"), "{printed}");
    assert!(!printed.contains("12345678") && !printed.contains("hidden-text"), "{printed}");
    assert!(!root.path().join("etc/b").exists());
}

#[test]
fn strict_takes_warnings_for_errors_and_json_is_json() {
    let root = root();
    let file = root.path().join("doc");
    std::fs::write(&file, "#cloud-config\npackages: [vim]\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(run(root.path(), &["validate", file]).status.code(), Some(0));
    assert_eq!(run(root.path(), &["validate", "--strict", file]).status.code(), Some(1));
    let output = run(root.path(), &["validate", "--json", file]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["valid"], &json["faults"][0]["line"]), (&true.into(), &2.into()));
    let output = run(root.path(), &["plan", "--json", file]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["commands"].as_array().unwrap().is_empty(), "{json}");
}

#[test]
fn the_network_is_described_for_networkd_even_when_the_user_data_is_broken_and_old_files_go() {
    let root = root();
    let (user, network) = (root.path().join("run/user"), root.path().join("run/network"));
    let apply = |user_data: &str, config: &str| {
        std::fs::write(&user, user_data).unwrap();
        std::fs::write(&network, config).unwrap();
        let (user, network) = (user.to_str().unwrap(), network.to_str().unwrap());
        run(root.path(), &["apply", "--user-data", user, "--network-config", network])
    };
    let files = || {
        let folder = std::fs::read_dir(root.path().join("run/systemd/network")).unwrap();
        let mut names: Vec<String> =
            folder.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let tunnel = "version: 2\nethernets: {eth0: {dhcp4: true}, eth1: {mtu: wide}}\ntunnels:\n  wg0: {mode: \
        wireguard, key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}\n";
    let output = apply("#cloud-config\nhostname: [\n", tunnel);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(printed.contains("network-config:2:") && printed.contains("'mtu' must be a whole number"), "{printed}");
    assert!(!format!("{output:?}").contains("AAECAw"), "{output:?}");
    if std::fs::metadata(root.path()).unwrap().uid() != 0 {
        return;
    }
    assert_eq!(files(), ["10-cloudinit-eth0.network", "10-cloudinit-wg0.netdev", "10-cloudinit-wg0.network"]);
    let mode = |name: &str| {
        let path = root.path().join("run/systemd/network").join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("10-cloudinit-wg0.netdev"), mode("10-cloudinit-eth0.network")), (0o640, 0o644));
    let other = root.path().join("run/systemd/network/50-by-hand.network");
    std::fs::write(&other, "x").unwrap();
    let plan = || text(root.path(), "run/ferrite/cloudinit/plan.json");
    assert!(plan().contains("networkctl"));
    assert_eq!(apply("#cloud-config\n", "version: 2\nethernets: {eth5: {dhcp4: true}}\n").status.code(), Some(0));
    assert_eq!(files(), ["10-cloudinit-eth5.network", "50-by-hand.network"]);
    assert!(plan().contains("networkctl"));
    let again = apply("#cloud-config\n", "version: 2\nethernets: {eth5: {dhcp4: true}}\n");
    assert!(String::from_utf8_lossy(&again.stdout).starts_with("nothing to change\n"), "{again:?}");
    assert!(!plan().contains("networkctl"), "{}", plan());
    apply("#cloud-config\n", "config: disabled\n");
    assert_eq!(files(), ["50-by-hand.network"]);
}

#[test]
fn render_shows_the_files_of_networkd_without_keys() {
    let root = root();
    let network = root.path().join("run/network");
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let config = format!("version: 2\ntunnels: {{wg0: {{mode: wireguard, key: {key}, addresses: [10.9.0.1/24]}}}}\n");
    std::fs::write(&network, config).unwrap();
    let output = run(root.path(), &["render", "--network", "--network-config", network.to_str().unwrap()]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(shown.starts_with("# /run/systemd/network/10-cloudinit-wg0.netdev\n"), "{shown}");
    assert!(shown.contains("PrivateKey=<redacted>\n") && !shown.contains(key), "{shown}");
}
