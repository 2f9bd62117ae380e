//! The life of an instance: its service is away and comes back with another document, its disk is copied to another
//! machine, and that one halts because its document asks for it.

use std::time::Duration;

use ferrite_qemu::metadata::{Behaviour, Cloud, CloudKind, Ec2};
use ferrite_tests::{Board, Machine, Setup, amount};
use serde_json::json;

const FIRST: &str = "\
Content-Type: multipart/mixed; boundary=B
MIME-Version: 1.0

--B
Content-Type: text/cloud-config

#cloud-config
bootcmd: ['echo boot >> /var/lib/booted']
runcmd: ['echo ran >> /var/lib/ran']
users: [default, {name: ada}]
write_files:
  - {path: /etc/first, content: first}
  - {path: /etc/both, content: first}
coreos:
  units:
    - name: forever.service
      command: start
      content: |
        [Service]
        Type=oneshot
        TimeoutStartSec=infinity
        ExecStart=/bin/sleep infinity
--B
Content-Type: text/x-shellscript-per-boot

#!/bin/sh
echo per-boot >> /var/lib/per-boot
--B
Content-Type: text/x-shellscript-per-once

#!/bin/sh
echo per-once >> /var/lib/per-once
--B--
";

const SECOND: &str = "\
#cloud-config
bootcmd: ['echo boot >> /var/lib/booted']
runcmd: ['echo ran again >> /var/lib/ran']
write_files: [{path: /etc/both, content: second}]
";

const LAST: &str = "#cloud-config\nfailure: halt\nwrite_files: [\n";

fn instance(id: &str, document: &str) -> Cloud {
    let mut instance = Ec2::new(Some(document.into()));
    instance.meta_data["instance-id"] = json!(id);
    instance.identity["instanceId"] = json!(id);
    instance.meta_data["hostname"] = json!(format!("name-of-{id}"));
    Cloud::Ec2(instance)
}

fn wait_for_text(machine: &mut Machine, path: &str, text: &str) -> anyhow::Result<()> {
    machine.wait_for(&format!("'{path}' to hold {text:?}"), Duration::from_secs(200), |machine| {
        Ok((machine.try_ssh(&format!("cat {path}"))?.out == text).then_some(()))
    })
}

#[test]
fn an_instance_loses_its_service_is_copied_and_halts_when_asked() -> anyhow::Result<()> {
    let mut machine = Setup::new(Board::Qemu)?.cloud(CloudKind::Ec2, instance("i-1", FIRST))?.power_on()?;
    machine.wait_for_ssh()?;
    // The unit that never ends its start holds nobody but itself.
    wait_for_text(&mut machine, "/var/lib/ran", "ran\n")?;
    wait_for_text(&mut machine, "/var/lib/per-once", "per-once\n")?;
    assert!(machine.ssh("systemctl list-jobs")?.contains("forever.service"));
    let (keys, id) = (machine.host_keys()?, machine.machine_id()?);

    machine.setup().service()?.behave(Behaviour::Mute);
    machine.reboot_and("the service is away")?;
    machine.wait_for_ssh()?;
    machine.wait_for_console("DEGRADED: the datasource gives no user-data, so all stays", Duration::from_secs(300))?;
    degraded(&mut machine)?;

    machine.setup().change_cloud(instance("i-1", SECOND))?;
    machine.setup().service()?.behave(Behaviour::Well);
    machine.wait_for_console("the datasource has answered, its user-data is applied", Duration::from_secs(400))?;
    assert_eq!(machine.ssh("cat /etc/both /etc/first")?, "secondfirst", "what a document no longer names stays");
    assert_eq!(machine.ssh("cat /var/lib/ran")?, "ran\n", "a command runs once an instance");
    assert_eq!(machine.ssh("cat /var/lib/booted")?, "boot\nboot\n", "a boot command runs at every boot");
    machine.wait_for("a login that tells of no trouble", Duration::from_secs(60), |machine| {
        Ok((!machine.ssh("cat /run/motd")?.contains("DEGRADED")).then_some(()))
    })?;
    assert_eq!(machine.ssh("ferrite-cloudinit status | head -1")?, "state=ok\n");
    assert_eq!((machine.host_keys()?, machine.machine_id()?), (keys.clone(), id.clone()));
    if amount::everything() {
        every_behaviour(&mut machine)?;
    }
    machine.power_off()?;

    let copy = Setup::with_image(machine.setup().disk_path())?.cloud(CloudKind::Ec2, instance("i-2", SECOND))?;
    drop(machine);
    let mut machine = copy.boot()?;
    wait_for_text(&mut machine, "/var/lib/ran", "ran\nran again\n")?;
    let new_keys = machine.host_keys()?;
    assert!(new_keys.lines().all(|key| !keys.contains(key)), "{keys}\n{new_keys}");
    assert_ne!(machine.machine_id()?, id);
    assert_eq!(machine.ssh("hostname")?.trim(), "name-of-i-2");
    assert_eq!(machine.ssh("cat /var/lib/per-once")?, "per-once\n", "once is once, in a copy too");
    assert!(!machine.ssh("journalctl -b -o cat -u ssh")?.is_empty(), "the journal goes on under the new id");
    assert!(machine.ssh("journalctl --merge -o cat -u ferrite-cloudinit-network")?.contains("i-1"), "nothing is lost");

    machine.setup().change_cloud(instance("i-2", LAST))?;
    machine.reboot_and("the document asks for a halt")?;
    machine.wait_for_console(
        "the machine halts now, because the user-data says 'failure: halt'",
        Duration::from_secs(300),
    )?;
    machine.wait_for_console("Halted.", Duration::from_secs(300))?;
    let starts = machine.console_of_this_boot().iter().filter(|line| line.text.contains("starting slot")).count();
    assert_eq!(starts, 1, "it halts at once and stays halted");
    machine.power_cut()
}

/// The late unit against each kind of bad service, and the background when the service is well again.
fn every_behaviour(machine: &mut Machine) -> anyhow::Result<()> {
    let second = Duration::from_secs(1);
    for behaviour in [
        Behaviour::Closes,
        Behaviour::Status(403),
        Behaviour::Status(404),
        Behaviour::Status(500),
        Behaviour::Garbage,
        Behaviour::GarbageBody,
        Behaviour::Endless,
        Behaviour::EndlessHeaders,
        Behaviour::Breaks,
        Behaviour::Redirects,
        Behaviour::ForgetsTokens,
        Behaviour::Slow(30 * second),
        Behaviour::Drips(second),
        Behaviour::DripsBody(second),
    ] {
        let context = format!("{behaviour:?}");
        machine.setup().service()?.behave(behaviour);
        let said = machine.try_ssh("sudo systemctl restart ferrite-cloudinit-network")?;
        assert_ne!(said.code, 0, "{context}");
        let status = machine.try_ssh("ferrite-cloudinit status; systemctl is-active ferrite-cloudinit-retry")?.out;
        assert!(status.starts_with("state=degraded\n") && status.ends_with("\nactive\n"), "{context}: {status}");
        eprintln!("{context}: {}", status.lines().find(|line| line.starts_with("fault=")).unwrap_or_default());
        let mark = machine.console().mark();
        machine.setup().service()?.behave(Behaviour::Well);
        machine.wait_for_console_after(mark, "the datasource has answered", Duration::from_secs(400))?;
        machine.wait_for(&format!("no failed unit after {context}"), Duration::from_secs(100), |machine| {
            Ok(machine.ssh("systemctl list-units --failed --no-legend")?.trim().is_empty().then_some(()))
        })?;
    }
    Ok(())
}

/// What somebody sees who logs in to a machine whose service is away.
fn degraded(machine: &mut Machine) -> anyhow::Result<()> {
    let said = machine.try_ssh("ferrite-cloudinit status; systemctl is-failed ferrite-cloudinit-network")?.out;
    assert!(said.starts_with("state=degraded\ndatasource=ec2\n") && said.ends_with("\nfailed\n"), "{said}");
    assert!(
        said.contains("\nfault=datasource ec2: asking 'http://169.254.169.254/latest/api/token': timeout"),
        "{said}"
    );
    machine.wait_for("a login that tells of it", Duration::from_secs(60), |machine| {
        let text = machine.ssh("cat /run/motd")?;
        Ok((text.contains("DEGRADED") && text.contains("ferrite-cloudinit-network.service")).then_some(()))
    })?;
    let unit = machine.try_ssh("systemctl status ferrite-cloudinit-network")?.out;
    assert!(unit.contains("datasource ec2: asking"), "{unit}");
    assert_eq!(machine.ssh("hostname; cat /etc/both")?, "name-of-i-1\nfirst");
    Ok(())
}
