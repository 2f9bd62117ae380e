//! Every datasource on a booted machine: users, keys, files, units, name and addresses are those of its documents.

use std::time::Duration;

use ferrite_qemu::metadata::{Behaviour, Cloud, CloudKind, Ec2, Request};
use ferrite_tests::{Board, CdBus, DiskBus, Machine, PluggedDisk, Setup, amount};
use serde_json::json;

const DOCUMENT: &str = "\
#cloud-config
users:
  - default
  - name: ada
    groups: [sudo]
write_files:
  - path: /etc/from-cloud
    content: $private_ipv4 $public_ipv4
coreos:
  units:
    - name: hi.service
      command: start
      content: |
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/bin/true
runcmd:
  - echo ran >> /var/lib/ran
";

/// What every machine with the document is.
fn assert_configured(machine: &mut Machine, datasource: &str, hostname: &str, addresses: &str) -> anyhow::Result<()> {
    let status = machine.ssh("ferrite-cloudinit status")?;
    assert!(status.starts_with(&format!("state=ok\ndatasource={datasource}\n")), "{status}");
    assert_eq!(machine.ssh("hostname")?.trim(), hostname);
    assert_eq!(machine.ssh("id -nG ada")?.trim(), "ada sudo");
    assert_eq!(machine.ssh("cat /etc/from-cloud")?, addresses);
    machine.wait_for("the command of the document", Duration::from_secs(120), |machine| {
        Ok((machine.try_ssh("cat /var/lib/ran")?.out == "ran\n").then_some(()))
    })?;
    assert_eq!(machine.ssh("systemctl is-active hi")?.trim(), "active");
    Ok(())
}

/// What was asked. On a busy host an answer may come too late, and the question is put again: once here.
fn questions(requests: &[Request]) -> Vec<String> {
    let mut lines: Vec<String> =
        requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    lines.dedup();
    lines
}

#[test]
fn an_instance_of_amazon_asks_little_and_never_without_a_token() -> anyhow::Result<()> {
    let setup = Setup::new(Board::Qemu)?.cloud(CloudKind::Ec2, Cloud::Ec2(Ec2::new(Some(DOCUMENT.into()))))?;
    let mut machine = setup.boot()?;
    assert_configured(&mut machine, "ec2", "ip-172-16-0-15", "172.16.0.15 198.51.100.7")?;
    assert!(machine.ssh("ip -4 -o addr")?.contains("172.16.0.15/"));
    let requests = machine.setup().service()?.requests();
    let shown = questions(&requests);
    assert!(shown.len() <= 10, "{shown:?}");
    assert_eq!(shown.first().map(String::as_str), Some("PUT /latest/api/token"));
    let is_bare = |request: &&Request| request.method != "PUT" && request.header("x-aws-ec2-metadata-token").is_none();
    assert_eq!(requests.iter().find(is_bare), None, "nobody is asked without a token");

    machine.power_off()
}

#[test]
fn a_droplet_has_its_addresses_without_dhcp() -> anyhow::Result<()> {
    let droplet = json!({
        "droplet_id": 2756294, "hostname": "droplet-1", "region": "nyc3", "user_data": DOCUMENT,
        "interfaces": { "public": [{
            "mac": "04:01:2a:0f:2a:01", "type": "public",
            "ipv4": { "ip_address": "172.16.5.20", "netmask": "255.255.0.0", "gateway": "172.16.0.1" },
            "ipv6": { "ip_address": "2001:0DB8:0000:0000:0000:0000:017D:2001", "cidr": 64,
                "gateway": "2001:0DB8:0000:0000:0000:0000:0000:0001" },
        }] },
        "dns": { "nameservers": ["172.16.0.3"] }, "features": { "dhcp_enabled": false },
    });
    let mut machine = Setup::new(Board::Qemu)?.cloud(CloudKind::DigitalOcean, Cloud::DigitalOcean(droplet))?.boot()?;
    assert_configured(&mut machine, "digitalocean", "droplet-1", "172.16.5.20")?;
    let addresses = machine.ssh("ip -o addr show dev eth0")?;
    assert!(addresses.contains(" 172.16.5.20/16 ") && addresses.contains(" 2001:db8::17d:2001/64 "), "{addresses}");
    // The first is DHCP's, the second the passing one of the question.
    assert!(!addresses.contains(" 172.16.0.15/") && !addresses.contains(" 169.254."), "{addresses}");
    let routes = machine.ssh("ip route show default")?;
    assert!(routes.starts_with("default via 172.16.0.1 dev eth0") && !routes.contains("proto dhcp"), "{routes}");
    let requests = machine.setup().service()?.requests();
    assert_eq!(questions(&requests), ["GET /metadata/v1.json"]);
    machine.power_off()
}

#[test]
fn a_real_machine_reads_a_usb_drive_and_a_folder_of_its_host() -> anyhow::Result<()> {
    if !amount::everything() {
        return Ok(());
    }
    let mut machine = Setup::new(Board::Metal)?.cd(CdBus::Usb, "cidata", &lend(&seed("usb")))?.boot()?;
    assert_seed(&mut machine, "nocloud /dev/sr0", "usb")?;
    machine.power_off()?;
    assert_drive(Setup::new(Board::Metal)?.shared_config_drive(&lend(&drive()))?, "config-2")
}

/// The tree of OpenStack's drive.
fn drive() -> [(&'static str, String); 5] {
    let meta_data = json!({
        "uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "hostname": "cd-node.novalocal",
        "public_keys": { "mine": "KEY" }, "files": [{ "path": "/etc/injected", "content_path": "/content/0000" }],
    });
    let vendor_data = json!({ "cloud-init": "#cloud-config\nbootcmd: [touch /run/vendor]\n" });
    [
        ("openstack/latest/meta_data.json", "not this one".into()),
        ("openstack/2018-08-27/meta_data.json", meta_data.to_string()),
        ("openstack/2018-08-27/user_data", DOCUMENT.into()),
        ("openstack/2018-08-27/vendor_data.json", vendor_data.to_string()),
        ("openstack/content/0000", "injected file\n".into()),
    ]
}

/// A seed of NoCloud whose name, file and address say where it came from.
fn seed(name: &str) -> [(&'static str, String); 4] {
    let document = DOCUMENT.replace("$private_ipv4 $public_ipv4", name);
    let meta_data = format!("instance-id: seed-7\nlocal-hostname: {name}\npublic-keys:\n  - KEY\n");
    let network = "version: 2\nethernets:\n  wire:\n    match: {name: 'e*'}\n    dhcp4: true\n    \
                   addresses: [10.0.2.77/24]\n";
    [
        ("user-data", document),
        ("meta-data", meta_data),
        ("network-config", network.into()),
        ("vendor-data", "#cloud-config\nbootcmd: [touch /run/vendor]\n".into()),
    ]
}

fn lend<'a, const COUNT: usize>(files: &'a [(&'static str, String); COUNT]) -> [(&'a str, &'a str); COUNT] {
    files.each_ref().map(|(path, text)| (*path, text.as_str()))
}

fn assert_drive(setup: Setup, device: &str) -> anyhow::Result<()> {
    let mut machine = setup.boot()?;
    assert_configured(&mut machine, &format!("configdrive {device}"), "cd-node", "")?;
    machine.ssh("test -e /run/vendor")?;
    assert_eq!(machine.sudo("stat -c %a /etc/injected; cat /etc/injected")?, "660\ninjected file\n");
    machine.power_off()
}

fn assert_seed(machine: &mut Machine, datasource: &str, name: &str) -> anyhow::Result<()> {
    assert_configured(machine, datasource, name, name)?;
    assert!(machine.ssh("ferrite-cloudinit status")?.contains("\ninstance-id=seed-7\n"));
    machine.ssh("test -e /run/vendor")?;
    machine.wait_for("the address of the seed", Duration::from_secs(60), |machine| {
        Ok(machine.ssh("ip -4 -o addr show dev eth0")?.contains(" 10.0.2.77/24 ").then_some(()))
    })
}

#[test]
fn a_droplet_whose_service_is_silent_has_its_drive_or_is_leased_an_address_until_it_answers() -> anyhow::Result<()> {
    if !amount::everything() {
        return Ok(());
    }
    let droplet = || {
        Cloud::DigitalOcean(json!({
            "droplet_id": 2756294, "hostname": "droplet-1", "user_data": DOCUMENT,
            "interfaces": { "public": [{ "mac": "04:01:2a:0f:2a:01", "type": "public",
                "ipv4": { "ip_address": "172.16.5.20", "netmask": "255.255.0.0", "gateway": "172.16.0.1" } }] },
        }))
    };
    let setup = Setup::new(Board::Qemu)?.cloud(CloudKind::DigitalOcean, droplet())?;
    setup.service()?.behave(Behaviour::Mute);
    let mut machine = setup.power_on()?;
    machine.wait_for_console("DEGRADED: the datasource gives no user-data yet", Duration::from_secs(400))?;
    machine.setup().service()?.behave(Behaviour::Well);
    machine.wait_for("the document in the background", Duration::from_secs(300), |machine| {
        Ok(machine.try_ssh("ferrite-cloudinit status")?.out.starts_with("state=ok\n").then_some(()))
    })?;
    assert_configured(&mut machine, "digitalocean", "droplet-1", "172.16.5.20")?;
    assert!(machine.ssh("journalctl -o cat -u ferrite-networkd")?.contains("172.16.0.15"), "it had a lease before");
    machine.power_off()?;

    let setup = Setup::new(Board::Qemu)?.cloud(CloudKind::DigitalOcean, droplet())?;
    setup.service()?.behave(Behaviour::Status(404));
    let mut machine = setup.cd(CdBus::VirtioScsi, "config-2", &lend(&drive()))?.without_static_address().boot()?;
    assert_configured(&mut machine, "configdrive /dev/sr0", "cd-node", "")?;
    machine.power_off()
}

#[test]
fn the_drive_of_openstack_in_an_optical_drive_is_read_with_its_files() -> anyhow::Result<()> {
    assert_drive(Setup::new(Board::Qemu)?.cd(CdBus::Ahci, "config-2", &lend(&drive()))?, "/dev/sr0")
}

#[test]
fn a_seed_that_comes_late_is_read_and_one_that_was_left_on_the_machine_goes_first() -> anyhow::Result<()> {
    let setup = Setup::new(Board::Qemu)?.without_user_data();
    let image = setup.image_of("CIDATA", &lend(&seed("late")))?;
    let mut machine = setup.power_on()?;
    machine.wait_for_ssh()?;
    assert_eq!(machine.try_ssh("true")?.code, 255, "nobody has a key");
    let disk = PluggedDisk { id: "late", file: &image, bus: DiskBus::VirtioScsi, serial: "late", slot: None };
    machine.on()?.plug_disk(&disk)?;
    machine.wait_for("the key of the seed", Duration::from_secs(240), |machine| {
        Ok((machine.try_ssh("true")?.code == 0).then_some(()))
    })?;
    machine.wait_until_running()?;
    assert_seed(&mut machine, "nocloud /dev/sda", "late")?;

    // As an installer leaves it.
    let folder = "/var/lib/ferrite/cloudinit/seed";
    machine.sudo(&format!("mkdir {folder}"))?;
    let key = machine.setup().public_key()?;
    for (name, text) in seed("left") {
        machine.send(&format!("{folder}/{name}"), text.replace("KEY", &key).as_bytes())?;
    }
    machine.sudo("ferrite-cloudinit run")?;
    assert_seed(&mut machine, &format!("local {folder}"), "left")?;
    machine.power_off()
}

#[test]
fn words_for_the_kernel_name_a_document_and_a_key() -> anyhow::Result<()> {
    let document = format!("{}hostname: by-url\n", DOCUMENT.replace("$private_ipv4 $public_ipv4", "web"));
    let setup = Setup::new(Board::Qemu)?.web(&[("my.yaml", &document)])?;
    // Nobody but these words knows the key that logs in.
    let words = "cloud-config-url=http://169.254.169.254/my.yaml sshkey=\"KEY\"";
    let mut machine = setup.kernel_words_with_key(words)?.boot()?;
    assert_configured(&mut machine, "url http://169.254.169.254/my.yaml", "by-url", "web")?;
    assert_eq!(questions(&machine.setup().service()?.requests()), ["GET /my.yaml"]);
    machine.power_off()
}

#[test]
fn every_medium_of_every_datasource_is_read() -> anyhow::Result<()> {
    if !amount::everything() {
        return Ok(());
    }
    let new = || Setup::new(Board::Qemu);
    for (bus, device) in [(CdBus::VirtioScsi, "/dev/sr0"), (CdBus::Ide, "/dev/sr0"), (CdBus::VirtioBlk, "/dev/vdb")] {
        let mut machine = new()?.cd(bus, "cidata", &lend(&seed("medium")))?.boot()?;
        assert_seed(&mut machine, &format!("nocloud {device}"), "medium")?;
        machine.power_off()?;
    }
    let mut machine = new()?.cidata_disk(&lend(&seed("fat")))?.boot()?;
    assert_seed(&mut machine, "nocloud /dev/vdb1", "fat")?;
    machine.power_off()?;
    assert_drive(new()?.config_drive(&lend(&drive()))?, "/dev/vdb1")?;
    assert_drive(new()?.cd(CdBus::VirtioScsi, "CONFIG-2", &lend(&drive()))?, "/dev/sr0")?;

    let mut machine = new()?.fw_cfg(&lend(&seed("handed")))?.boot()?;
    assert_seed(&mut machine, "fw_cfg opt/org.ferrite", "handed")?;
    // An installer's file goes before it.
    let left = "#cloud-config\nhostname: installed\nssh_authorized_keys: [KEY]\n";
    machine.sudo("mkdir /var/lib/coreos-install")?;
    let key = machine.setup().public_key()?;
    machine.send("/var/lib/coreos-install/user_data", left.replace("KEY", &key).as_bytes())?;
    machine.reboot()?;
    assert_eq!(machine.ssh("hostname")?.trim(), "installed");
    let status = machine.ssh("ferrite-cloudinit status")?;
    assert!(status.contains("\ndatasource=local /var/lib/coreos-install/user_data\n"), "{status}");
    machine.power_off()?;

    let mut machine = new()?.oem_file("cloud-config.yml", left)?.boot()?;
    assert_eq!(machine.ssh("hostname")?.trim(), "installed");
    let status = machine.ssh("ferrite-cloudinit status")?;
    assert!(status.contains("\ndatasource=oem /dev/vda8\n"), "{status}");
    machine.power_off()?;

    let document = DOCUMENT.replace("$private_ipv4 $public_ipv4", "web");
    let files = [("a/user-data", document.as_str()), ("a/meta-data", "public-keys: [KEY]\n")];
    let words = "ds=nocloud;s=http://169.254.169.254/a;h=by-words;i=words-1";
    let mut machine = new()?.web(&files)?.kernel_words(words).boot()?;
    assert_configured(&mut machine, "nocloud http://169.254.169.254/a/", "by-words", "web")?;
    machine.power_off()
}

#[test]
fn a_serial_number_leads_to_a_web_server() -> anyhow::Result<()> {
    let document = DOCUMENT.replace("$private_ipv4 $public_ipv4", "web");
    let files = [
        ("user-data", document.as_str()),
        ("meta-data", "instance-id: web-7\nlocal-hostname: web1\npublic-keys:\n  - KEY\n"),
    ];
    let mut machine = Setup::new(Board::Qemu)?.web_seed(&files)?.boot()?;
    assert_configured(&mut machine, "nocloud http://169.254.169.254/", "web1", "web")?;
    assert!(machine.ssh("ferrite-cloudinit status")?.contains("\ninstance-id=web-7\n"));
    machine.power_off()
}
