//! B2: the limits of control groups on the real image: units that want more than they may have do not get it, and the
//! machine lives on.

use std::time::Duration;

use anyhow::{Context, ensure};
use ferrite_tests::probe;
use ferrite_tests::{Board, Machine, Probe, Setup};

const PATIENCE: Duration = Duration::from_secs(180);

/// Limits that a script sees by itself, against the same script without a limit.
const PROBES: [Probe<'static>; 5] = [
    Probe {
        settings: "MemoryHigh=24M",
        // What was written is in memory until it has to go; the sizes are far apart.
        script: "head -c 100M /dev/zero > /var/lib/probe/big; cd $(group); rm /var/lib/probe/big; \
                 [ $(cat memory.peak) -lt 50000000 ] && echo held; grep -q '^high [1-9]' memory.events && echo hit",
        with: "held|hit",
        without: "",
    },
    Probe {
        settings: "CPUQuota=20%",
        script: "cd $(group); timeout 4 bash -c 'while :; do :; done'; used=$(sed -n 's/^usage_usec //p' cpu.stat); \
                 [ $used -lt 1600000 ] && echo less; grep -q '^nr_throttled [1-9]' cpu.stat && echo throttled",
        with: "less|throttled",
        without: "",
    },
    Probe {
        settings: "TasksMax=2",
        script: "cd $(group); call fork; sed -n 's/^max //p' pids.events",
        with: "EAGAIN|1",
        without: "*",
    },
    Probe {
        settings: "IOWriteBandwidthMax=/dev/vda 1M",
        script: "begin=$(date +%s%N); dd if=/dev/zero of=/var/lib/probe/big bs=64k count=64 oflag=direct 2>/dev/null; \
                 spent=$(( ($(date +%s%N) - begin) / 1000000 )); rm /var/lib/probe/big; \
                 [ $spent -gt 3000 ] && echo slow || echo fast",
        with: "slow",
        without: "fast",
    },
    Probe {
        settings: "IOWeight=42\nCPUWeight=77\nMemoryLow=1M\nMemoryMin=1M\nMemorySwapMax=3M\nAllowedCPUs=0",
        script: "cd $(group); cat io.weight cpu.weight memory.low memory.min memory.swap.max; \
                 grep Cpus_allowed_list /proc/self/status | cut -f2",
        with: "default 42|77|1048576|1048576|3145728|0",
        without: "*",
    },
];

#[test]
fn limits_of_memory_processors_processes_and_disks_hold() -> anyhow::Result<()> {
    // The kernel says on the console whom it killed.
    let mut machine = Setup::new(Board::Qemu)?.expecting(&["Memory cgroup out of memory", "Out of memory"]).boot()?;
    probe::run(&mut machine, &PROBES, 1)?;
    a_hog_is_killed_and_the_rest_lives(&mut machine)?;
    a_weight_of_ten_gets_ten_times_the_processor(&mut machine)?;
    machine.power_off()
}

fn a_hog_is_killed_and_the_rest_lives(machine: &mut Machine) -> anyhow::Result<()> {
    let ssh = machine.ssh("systemctl show -p MainPID --value ssh.service")?;
    let hog = "[Service]\nMemoryMax=24M\nMemorySwapMax=0\nExecStart=/usr/bin/tail /dev/zero\n";
    machine.send("/etc/systemd/system/hog.service", hog.as_bytes())?;
    // The child of this one is killed; it says so and goes on.
    let parent = "[Service]\nMemoryMax=24M\nMemorySwapMax=0\nOOMPolicy=continue\n\
                  ExecStart=/bin/sh -c 'tail /dev/zero; echo $? > /run/hog; exec sleep infinity'\n";
    machine.send("/etc/systemd/system/parent.service", parent.as_bytes())?;
    machine.sudo("systemctl daemon-reload; systemctl start hog parent")?;
    machine.wait_for("the end of the hog", PATIENCE, |machine| {
        Ok((machine.try_ssh("systemctl is-failed hog")?.out.trim() == "failed").then_some(()))
    })?;
    let show = machine.ssh("systemctl show -p Result,ExecMainStatus,MainPID hog")?;
    ensure!(show.contains("Result=oom-kill") && show.contains("ExecMainStatus=9"), "{show}");
    machine.wait_for("the end of the child", PATIENCE, |machine| {
        Ok((machine.try_ssh("cat /run/hog")?.out.trim() == "137").then_some(()))
    })?;
    assert_eq!(machine.ssh("systemctl is-active parent")?.trim(), "active");
    machine.sudo("systemctl stop parent; systemctl reset-failed hog")?;
    assert_eq!(machine.ssh("systemctl show -p MainPID --value ssh.service")?, ssh);
    Ok(())
}

fn a_weight_of_ten_gets_ten_times_the_processor(machine: &mut Machine) -> anyhow::Result<()> {
    for (name, weight) in [("heavy", 1000), ("light", 100)] {
        let unit = format!(
            "[Service]\nCPUWeight={weight}\nCPUAffinity=0\nCPUAccounting=yes\n\
             ExecStart=/bin/sh -c 'while :; do :; done'\n"
        );
        machine.send(&format!("/etc/systemd/system/{name}.service"), unit.as_bytes())?;
    }
    machine.sudo("systemctl daemon-reload; systemctl start heavy light")?;
    let used = |machine: &mut Machine| -> anyhow::Result<Vec<u64>> {
        let said = machine.ssh("systemctl show -p CPUUsageNSec --value heavy light")?;
        said.split_whitespace().map(|text| text.parse().with_context(|| format!("reading '{text}'"))).collect()
    };
    let begin = used(machine)?;
    let end = machine.wait_for("seconds of processor time", PATIENCE, |machine| {
        let now = used(machine)?;
        let spent: u64 = now.iter().sum::<u64>() - begin.iter().sum::<u64>();
        Ok((spent > 6_000_000_000).then_some(now))
    })?;
    machine.sudo("systemctl stop heavy light")?;
    let [heavy, light] = [0, 1].map(|number| end[number].saturating_sub(begin[number]));
    ensure!(heavy > 5 * light, "a weight of 1000 got {heavy} ns, one of 100 got {light} ns");
    Ok(())
}
