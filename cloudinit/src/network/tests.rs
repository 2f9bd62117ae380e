//! Golden files: what networkd is told for typical descriptions, and what is wrong with broken ones.

use super::*;

/// All files and faults of a description as one text.
fn shown(bytes: &str, format: Format) -> String {
    let network = read(bytes.as_bytes(), format);
    let mut text = network.faults.render("network-config", "");
    for file in &network.files {
        let mode = if file.secret { " (secret)" } else { "" };
        let body: Vec<&str> = file.text.lines().skip(2).collect();
        text.push_str(&format!("-- {}{mode}\n{}\n", file.name, body.join("\n")));
    }
    text
}

/// The descriptions below tests/network, with who wrote them.
fn descriptions() -> Vec<(std::path::PathBuf, Format)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "yaml" || suffix == "json"))
        .collect();
    names.sort();
    assert!(names.len() >= 8, "{names:?}");
    let format = |path: &std::path::Path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Format::parse(name.split('-').next().unwrap()).unwrap_or(Format::CloudInit)
    };
    names.into_iter().map(|path| (path.clone(), format(&path))).collect()
}

#[test]
fn networkd_understands_every_line() {
    let mut all = Vec::new();
    for (path, format) in descriptions() {
        let network = read(&std::fs::read(&path).unwrap(), format);
        let files: Vec<ferrite_netconf::SourceFile> = network
            .files
            .iter()
            .map(|file| ferrite_netconf::SourceFile {
                path: format!("{}/{}", device::FOLDER, file.name),
                content: ferrite_netconf::Content::Bytes(file.text.clone().into_bytes()),
            })
            .collect();
        let faults = ferrite_netconf::read(&files).faults;
        all.extend(faults.iter().map(|fault| format!("{}: {fault}", path.display())));
    }
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn files_are_as_reviewed() {
    for (path, format) in descriptions() {
        let text = shown(&std::fs::read_to_string(&path).unwrap(), format);
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(text == expected, "UPDATE_GOLDEN=1 rewrites {}:\n{text}", golden.display());
    }
}

#[test]
fn good_ones_pass_and_faults_of_bad_ones_have_lines() {
    for text in [
        "version: 2\nethernets:\n  all: {match: {name: 'en*'}, dhcp4: true}\n",
        "network:\n  config: disabled\n",
        "config: disabled\n",
        "version: 1\nconfig: disabled\n",
        "version: 1\nconfig:\n  - {type: physical, name: eth0, subnets: [{type: dhcp}]}\n",
        "version: 2\nethernets: {e: {addresses: [192.0.2.1/24], routes: [{to: default, via: 192.0.2.254}]}}\n",
        "version: 2\nethernets: {eth0: }\n",
        "\u{feff}version: 2\r\nethernets:\r\n  e:\r\n    dhcp4: true\r\n",
        "{\n\t\"version\": 2,\n\t\"ethernets\": {\"e\": {\"dhcp4\": true}}\n}\n",
        "",
    ] {
        assert_eq!(read(text.as_bytes(), Format::CloudInit).faults, Faults::default(), "{text}");
    }
    for (text, line) in [
        ("version: 3\n", 1),
        ("ethernets: {}\n", 1),
        ("version: 2\nethernets:\n  e:\n    addresses: [192.0.2.1]\n", 4),
        ("version: 2\nethernets:\n  e:\n    adresses: [192.0.2.1/24]\n", 4),
        ("version: 2\nethernets:\n  e:\n    match: {macaddress: '52:54'}\n", 4),
        ("version: 2\nethernets: [a]\n", 2),
        ("version: 2\nvlans:\n  v: {link: eth0}\n", 3),
        ("version: 1\nconfig:\n  - {type: token-ring, name: a}\n", 3),
        ("version: 1\nconfig:\n  - {type: physical}\n", 3),
        (
            "version: 1\nconfig:\n  - type: physical\n    name: a\n    subnets: [{type: static, address: 300.1.1.1}]\n",
            5,
        ),
        ("- a\n", 1),
        ("version: 2\n\tethernets: {}\n", 2),
    ] {
        let faults = read(text.as_bytes(), Format::CloudInit).faults;
        assert_eq!(faults.0.first().map(|fault| fault.line), Some(line), "{text} {faults}");
        assert_eq!(faults.worst(), Some(Severity::Error), "{text} {faults}");
    }
}

#[test]
fn what_networkd_would_not_understand_costs_its_device_and_keys_are_not_told() {
    let text = "version: 2\nethernets:\n  good: {dhcp4: true}\n  bad:\n    mtu: -1\nvlans:\n  v: {id: 1, link: bad}\n";
    let network = read(text.as_bytes(), Format::CloudInit);
    let names: Vec<&str> = network.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["10-cloudinit-good.network", "10-cloudinit-v.netdev", "10-cloudinit-v.network"]);
    let fault = &network.faults.0[0];
    assert!(fault.line == 4 && fault.message.contains("MTUBytes=: '-1' is not a size"), "{}", network.faults);
}

#[test]
fn a_broken_device_is_left_out_and_the_others_are_there() {
    let text = "version: 2\nethernets:\n  good: {dhcp4: true}\n  bad: {dhcp4: true, mtu: wide}\nvlans:\n  \
        v1: {id: 1, link: good}\n  v2: {id: 9999, link: good}\n";
    let network = read(text.as_bytes(), Format::CloudInit);
    let names: Vec<&str> = network.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["10-cloudinit-good.network", "10-cloudinit-v1.netdev", "10-cloudinit-v1.network"]);
    assert!(network.files[0].text.contains("VLAN=v1\n") && !network.files[0].text.contains("v2"));
    let lines: Vec<u64> = network.faults.0.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [4, 7]);
}
