//! A cloud-config is done on the machine: users, files, units and commands, each as often as it says.

use std::time::Duration;

use ferrite_tests::{Board, Setup};

const DOCUMENT: &str = "\
#cloud-config
hostname: web-1
timezone: America/St_Johns
ssh_authorized_keys:
  - KEY
users:
  - default
  - name: ada
    groups: [sudo]
    sudo: ALL=(ALL) NOPASSWD:ALL
    shell: /bin/bash
    ssh_authorized_keys:
      - KEY
write_files:
  - path: /opt/bin/hi
    permissions: '0755'
    content: |
      #!/bin/sh
      echo hi from $0
  - path: /etc/demo/secret
    permissions: '0640'
    owner: root:adm
    content: c2VjcmV0Cg==
    encoding: b64
bootcmd:
  - echo boot >> /var/lib/booted
runcmd:
  - [sh, -c, 'echo ran >> /var/lib/ran']
coreos:
  update:
    group: stable
    reboot-strategy: off
  units:
    - name: hi.service
      command: start
      enable: true
      content: |
        [Unit]
        Description=Hi
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/opt/bin/hi
        [Install]
        WantedBy=multi-user.target
    - name: ssh.service
      drop-ins:
        - name: 10-demo.conf
          content: |
            [Service]
            Environment=DEMO=1
";

#[test]
fn a_document_is_done_on_the_machine() -> anyhow::Result<()> {
    let mut machine = Setup::new(Board::Qemu)?.user_data(DOCUMENT)?.boot()?;
    assert_eq!(machine.ssh("hostname")?.trim(), "web-1");
    assert_eq!(machine.ssh("date -d 2026-01-15T12:00Z +%H:%M%Z")?.trim(), "08:30NST");
    let next = machine.ssh("systemd-analyze calendar --base-time=\"2026-01-15 00:00 UTC\" \"12:00 Asia/Kathmandu\"")?;
    assert!(next.contains("2026-01-15 06:15:00 UTC"), "{next}");
    assert_eq!(machine.ssh("id -nG ada")?.trim(), "ada sudo");
    assert_eq!(machine.ssh("stat -c '%a %U:%G' /etc/demo/secret /opt/bin/hi")?, "640 root:adm\n755 root:root\n");
    assert_eq!(machine.sudo("cat /etc/demo/secret")?.trim(), "secret");
    assert_eq!(machine.ssh("systemctl is-active hi; systemctl is-enabled hi")?, "active\nenabled\n");
    assert!(machine.ssh("journalctl -u hi -o cat")?.contains("hi from /opt/bin/hi"));
    assert!(machine.ssh("systemctl show ssh -p Environment")?.contains("DEMO=1"));
    assert_eq!(machine.ssh("cat /etc/coreos/update.conf")?, "GROUP=stable\nREBOOT_STRATEGY=off\n");
    assert_eq!(machine.ssh("cat /var/lib/ran")?, "ran\n");

    machine.reboot()?;
    machine.wait_until_running()?;
    assert_eq!(machine.ssh("cat /var/lib/ran")?, "ran\n", "a command runs once an instance");
    assert_eq!(machine.ssh("cat /var/lib/booted")?, "boot\nboot\n", "a boot command runs at every boot");
    assert_eq!(machine.ssh("systemctl is-active hi")?.trim(), "active");
    machine.power_off()
}

#[test]
fn a_faulty_document_leaves_the_machine_reachable_and_says_so() -> anyhow::Result<()> {
    let document = "#cloud-config\nhostname: half\nssh_authorized_keys:\n  - KEY\nwrite_files:\n  - pth: /etc/x\n";
    let mut machine = Setup::new(Board::Qemu)?.user_data(document)?.power_on()?;
    machine.wait_for_ssh()?;
    assert_eq!(machine.try_ssh("systemctl is-system-running --wait")?.out.trim(), "degraded");
    assert_eq!(machine.ssh("hostname; systemctl is-failed ferrite-cloudinit")?, "half\nfailed\n");
    let status = machine.try_ssh("ferrite-cloudinit status")?.out;
    assert!(status.contains("state=degraded") && status.contains("user-data:6:5"), "{status}");
    machine.wait_for_console("Failed to start ferrite-cloudinit.service", Duration::from_secs(60)).map(drop)
}

#[test]
fn of_a_document_that_cannot_be_read_nothing_applies() -> anyhow::Result<()> {
    let document = "#cloud-config\nhostname: half\nssh_authorized_keys:\n  - KEY\nwrite_files: [\n";
    let mut machine = Setup::new(Board::Qemu)?.user_data(document)?.power_on()?;
    machine.wait_for_ssh()?;
    assert_eq!(machine.try_ssh("true")?.code, 255);
    machine.wait_for_console("Failed to start ferrite-cloudinit.service", Duration::from_secs(60)).map(drop)
}
