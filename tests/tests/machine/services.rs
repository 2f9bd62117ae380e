//! B2: services of Debian's packages run with their own unit files: each is started, asked for what it is there for,
//! reloaded, killed, and stopped, and leaves no process behind.
//!
//! The board is tests/boards/services.yaml; what maintainer scripts would have done is in its services-*.service units.

use std::time::Duration;

use anyhow::{Context, ensure};
use ferrite_tests::amount::sample_or_all;
use ferrite_tests::{Board, Machine, Setup};

const PATIENCE: Duration = Duration::from_secs(240);
/// Databases are made once, which takes an emulated machine minutes.
const DATABASE_PATIENCE: Duration = Duration::from_secs(900);

/// A packaged service and a real request to it.
struct Service {
    unit: &'static str,
    /// A command that root runs.
    request: &'static str,
    /// What is in its answer.
    answer: &'static str,
}

/// Asks the name server of the machine for localhost, without a resolver in between.
const ASK_FOR_LOCALHOST: &str = "exec 3<>/dev/udp/127.0.0.1/53; \
    printf \"\\x12\\x34\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\
    \\x09localhost\\x00\\x00\\x01\\x00\\x01\" >&3; \
    timeout 5 dd bs=512 count=1 <&3 2>/dev/null | od -An -v -tx1 | tr -d \"\\n\"";

/// The light ones first: they are the sample.
const SERVICES: [Service; 15] = [
    Service { unit: "nginx.service", request: "curl -s http://127.0.0.1/", answer: "Welcome to nginx" },
    Service {
        unit: "redis-server.service",
        request: "redis-cli set key value; redis-cli get key; redis-cli ping",
        answer: "OK\nvalue\nPONG",
    },
    Service {
        unit: "memcached.service",
        request: "exec 3<>/dev/tcp/127.0.0.1/11211; printf \"set k 0 0 5\\r\\nhello\\r\\nget k\\r\\n\
                  quit\\r\\n\" >&3; cat <&3",
        answer: "STORED\r\nVALUE k 0 5\r\nhello\r\nEND",
    },
    Service { unit: "haproxy.service", request: "curl -s http://127.0.0.1:8080/", answer: "through haproxy" },
    Service { unit: "dnsmasq.service", request: ASK_FOR_LOCALHOST, answer: "7f 00 00 01" },
    Service { unit: "unbound.service", request: ASK_FOR_LOCALHOST, answer: "7f 00 00 01" },
    Service { unit: "chrony.service", request: "chronyc -n tracking", answer: "Stratum" },
    Service {
        unit: "rsyslog.service",
        request: "id=$(cat /proc/sys/kernel/random/uuid); logger -t of-a-test $id; \
                  grep -m1 of-a-test.*$id <(exec timeout 20 tail -n +1 -F /var/log/syslog 2>/dev/null)",
        answer: "of-a-test",
    },
    Service {
        unit: "prometheus-node-exporter.service",
        request: "curl -s http://127.0.0.1:9100/metrics",
        answer: "\nnode_load1 ",
    },
    Service {
        unit: "etcd.service",
        request: "etcdctl put key value; etcdctl get --print-value-only key",
        answer: "OK\nvalue",
    },
    Service { unit: "containerd.service", request: "ctr version", answer: "Server:" },
    Service {
        unit: "docker.service",
        request: "mkdir -p /run/image/bin; cp /usr/bin/busybox /run/image/bin/; \
                  tar -C /run/image -c . | docker import - of-a-test >/dev/null; \
                  docker run --rm of-a-test /bin/busybox echo in a container",
        answer: "in a container",
    },
    Service {
        unit: "postgresql@17-main.service",
        request: "psql -h /run/postgresql -U postgres -Atc \"select 6 * 7\"",
        answer: "42",
    },
    Service { unit: "mariadb.service", request: "mariadb -NBe \"select 6 * 7\"", answer: "42" },
    // Each answer is that of another minute.
    Service {
        unit: "cron.service",
        request: "cat /run/cron-was-here && rm /run/cron-was-here",
        answer: "cron was here",
    },
];

/// Services of the list that need databases begin here.
const LIGHT: usize = 5;

#[test]
fn packaged_services_run_with_their_own_units() -> anyhow::Result<()> {
    let count = sample_or_all(LIGHT, SERVICES.len());
    let mut machine = Setup::new(Board::Services)?.memory_mib(2048).boot()?;
    machine.sudo("systemctl start services-folders")?;
    if count > LIGHT {
        machine.sudo("systemctl start --no-block services-databases")?;
        machine.wait_for("the first databases", DATABASE_PATIENCE, |machine| {
            let state = property(machine, "services-databases.service", "ActiveState")?;
            ensure!(state != "failed", "making the first databases failed:\n{}", log(machine, "services-databases")?);
            Ok((state == "active").then_some(()))
        })?;
        // The generator of its package had not seen the database when the machine came up.
        machine.sudo("systemctl daemon-reload")?;
    }
    let mut faults = String::new();
    for service in SERVICES.iter().take(count) {
        if let Err(error) = life(&mut machine, service) {
            faults.push_str(&format!("{}: {error:#}\n{}\n", service.unit, log(&mut machine, service.unit)?));
        }
    }
    ensure!(faults.is_empty(), "{faults}");
    let lists = machine.ssh("systemctl list-units --state=failed --no-legend")?;
    ensure!(lists.trim().is_empty(), "units failed:\n{lists}");
    machine.power_off()
}

/// What every image adds to a unit of a package: chrony asks the servers of timesyncd.conf.
const OF_THE_IMAGE: &str = "/usr/lib/systemd/system/chrony.service.d/10-ferrite.conf";

/// Start, work, reload, crash, stop.
fn life(machine: &mut Machine, service: &Service) -> anyhow::Result<()> {
    let unit = service.unit;
    let file = property(machine, unit, "FragmentPath")?;
    let drop_ins = property(machine, unit, "DropInPaths")?;
    let own = file.starts_with("/usr/lib/systemd/system/") && (drop_ins.is_empty() || drop_ins == OF_THE_IMAGE);
    ensure!(own, "the unit is not that of the package alone: '{file}'");
    machine.sudo(&format!("systemctl enable {unit} && systemctl start {unit}")).context("starting")?;
    works(machine, service).context("after the start")?;
    let first = main_pid(machine, unit)?;
    // The exporter's unit sends a HUP, and the exporter of Debian 13 ends by it.
    let verb = if unit == "prometheus-node-exporter.service" { "restart" } else { "reload-or-restart" };
    machine.sudo(&format!("systemctl {verb} {unit}")).context("reloading")?;
    if verb != "restart" && property(machine, unit, "CanReload")? == "yes" {
        ensure!(main_pid(machine, unit)? == first, "the reload has replaced the main process");
    }
    works(machine, service).context("after the reload")?;
    crash(machine, unit)?;
    works(machine, service).context("after the crash")?;
    let group = property(machine, unit, "ControlGroup")?;
    ensure!(!group.is_empty(), "the unit has no control group");
    // A socket may start its service again: both are stopped.
    machine
        .sudo(&format!("systemctl stop $(systemctl show -p TriggeredBy --value {unit}) {unit}"))
        .context("stopping")?;
    let state = property(machine, unit, "ActiveState")?;
    ensure!(state == "inactive", "after the stop it is {state}");
    let left =
        machine.sudo(&format!("cat $(find /sys/fs/cgroup{group} -name cgroup.procs) </dev/null 2>/dev/null; true"))?;
    ensure!(left.trim().is_empty(), "processes are left in its group:\n{left}");
    machine.sudo(&format!("systemctl disable {unit}")).context("disabling")?;
    Ok(())
}

/// Kills the main process; what happens then is what `Restart=` says.
fn crash(machine: &mut Machine, unit: &str) -> anyhow::Result<()> {
    let pid = main_pid(machine, unit)?;
    machine.sudo(&format!("kill -KILL {pid}"))?;
    let restarts = property(machine, unit, "Restart")? != "no";
    let wanted = if restarts { "active" } else { "failed" };
    machine.wait_for("what follows the crash", PATIENCE, |machine| {
        let said = machine.ssh(&format!("systemctl show -p ActiveState,MainPID {unit}"))?;
        let has = |name: &str, value: &str| said.lines().any(|line| line.split_once('=') == Some((name, value)));
        Ok((has("ActiveState", wanted) && !has("MainPID", &pid)).then_some(()))
    })?;
    if restarts {
        ensure!(property(machine, unit, "NRestarts")? == "1", "the restart was not counted");
        return Ok(());
    }
    let result = property(machine, unit, "Result")?;
    // Where the end of the main process is ignored (`ExecStart=-`), its ExecStop= is run, and finds nothing to stop.
    let ignored = machine.ssh(&format!("systemctl cat {unit}"))?.contains("\nExecStart=-");
    let wanted = if ignored { "exit-code" } else { "signal" };
    ensure!(result == wanted, "after the crash the result is '{result}', not '{wanted}'");
    machine.sudo(&format!("systemctl start {unit}")).context("starting it after the crash")?;
    Ok(())
}

/// Asks until the answer is right: not every service tells when it is ready.
fn works(machine: &mut Machine, service: &Service) -> anyhow::Result<()> {
    let mut last = String::new();
    let answered = machine.wait_for("a right answer", PATIENCE, |machine| {
        let said = machine.try_ssh(&format!("sudo bash -c '{}'", service.request))?;
        last = format!("{}{}", said.out, said.err);
        Ok(said.out.contains(service.answer).then_some(()))
    });
    answered.with_context(|| format!("it said '{last}' instead of '{}'", service.answer))
}

fn main_pid(machine: &mut Machine, unit: &str) -> anyhow::Result<String> {
    let pid = property(machine, unit, "MainPID")?;
    ensure!(pid != "0" && !pid.is_empty(), "it has no main process");
    Ok(pid)
}

fn property(machine: &mut Machine, unit: &str, name: &str) -> anyhow::Result<String> {
    Ok(machine.ssh(&format!("systemctl show -p {name} --value {unit}"))?.trim().to_string())
}

fn log(machine: &mut Machine, unit: &str) -> anyhow::Result<String> {
    Ok(machine.try_ssh(&format!("systemctl status {unit}; sudo journalctl --no-pager -n 40 -u {unit}"))?.out)
}
