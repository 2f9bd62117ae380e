//! Every datasource on a booted machine: users, keys, files, units, name and addresses are those of its documents.

use std::time::Duration;

use ferrite_qemu::metadata::{Behaviour, Cloud, CloudKind, Ec2, Request};
use ferrite_tests::{Board, Machine, Setup};
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
fn an_instance_of_amazon_asks_little_and_survives_the_absence_of_its_service() -> anyhow::Result<()> {
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

    machine.setup().service()?.behave(Behaviour::Mute);
    machine.reboot_and("the service is away")?;
    machine.wait_for_ssh()?;
    machine.wait_for_console("the boot goes on without user-data", Duration::from_secs(300))?;
    let said = machine.try_ssh("ferrite-cloudinit status; systemctl is-failed ferrite-cloudinit-network")?;
    assert!(
        said.out.starts_with("state=degraded\ndatasource=ec2\n") && said.out.ends_with("\nfailed\n"),
        "{}",
        said.out
    );
    assert_eq!(machine.ssh("hostname")?.trim(), "ip-172-16-0-15");

    machine.setup().service()?.behave(Behaviour::Well);
    machine.wait_for("the document in the background", Duration::from_secs(300), |machine| {
        Ok(machine.try_ssh("ferrite-cloudinit status")?.out.starts_with("state=ok\n").then_some(()))
    })?;
    machine.wait_for("no failed unit", Duration::from_secs(60), |machine| {
        Ok((machine.try_ssh("systemctl is-system-running")?.out.trim() == "running").then_some(()))
    })?;
    assert_configured(&mut machine, "ec2", "ip-172-16-0-15", "172.16.0.15 198.51.100.7")?;
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
fn the_drive_of_openstack_is_read_with_its_files() -> anyhow::Result<()> {
    let meta_data = json!({
        "uuid": "83679162-1378-4288-a2d4-70e13ec132aa", "hostname": "cd-node.novalocal",
        "public_keys": { "mine": "KEY" }, "files": [{ "path": "/etc/injected", "content_path": "/content/0000" }],
    });
    let files = [
        ("openstack/latest/meta_data.json", "not this one"),
        ("openstack/2018-08-27/meta_data.json", &meta_data.to_string()),
        ("openstack/2018-08-27/user_data", DOCUMENT),
        (
            "openstack/2018-08-27/vendor_data.json",
            "{\"cloud-init\": \"#cloud-config\\nbootcmd: [touch /run/vendor]\\n\"}",
        ),
        ("openstack/content/0000", "injected file\n"),
    ];
    let mut machine = Setup::new(Board::Qemu)?.config_drive(&files)?.boot()?;
    assert_configured(&mut machine, "configdrive /dev/vdb1", "cd-node", "")?;
    machine.ssh("test -e /run/vendor")?;
    assert_eq!(machine.sudo("stat -c %a /etc/injected; cat /etc/injected")?, "660\ninjected file\n");
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
