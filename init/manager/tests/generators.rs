//! Generators of PID 1 in its own namespaces: what they make is there before the first unit, and after each reload.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use ferrite_control::{JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

const VARIABLES: [(&str, &str); 2] = [("SYSTEMD_GENERATOR_PATH", "@/generators"), ("SYSTEMD_FSTAB", "@/fstab")];

/// Makes the generators executable before process 1 starts.
const PREPARE: &str = "chmod +x @/generators/*";

#[test]
fn units_of_generators_and_of_the_table_are_there_from_the_start() {
    let machine = Machine::boot_with(
        &[
            ("default.target", "[Unit]\nWants=local-fs.target made.service\n"),
            ("local-fs.target", "[Unit]\nDefaultDependencies=no\n"),
            ("late.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
            ("early.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
            (
                "generators/one",
                "#!/bin/sh\nprintf '[Service]\\nExecStart=/bin/sleep 1000\\n' > $1/made.service\n\
                 printf '[Unit]\\nDescription=Early\\n[Service]\\nExecStart=/bin/true\\n' > $2/early.service\n\
                 printf '[Unit]\\nDescription=Late\\n[Service]\\nExecStart=/bin/true\\n' > $3/late.service\n\
                 env > /run/environment\n",
            ),
            ("generators/two", "#!/bin/sh\nexit 3\n"),
            ("./fstab", "tmpfs /mnt tmpfs size=1m,nofail\nnonsense\n"),
        ],
        &VARIABLES,
        PREPARE,
    );
    assert_eq!(machine.state("made.service"), "active running");
    assert_eq!(machine.state("mnt.mount"), "active mounted");
    assert_eq!(machine.show("early.service").summary.description, "Early");
    assert_ne!(machine.show("late.service").summary.description, "Late");
    let environment = fs::read_to_string(machine.output("run/environment")).unwrap();
    assert!(environment.contains("SYSTEMD_SCOPE=system") && !environment.contains("SYSTEMD_FSTAB"), "{environment}");
    let log = machine.log();
    assert!(log.contains("/etc/fstab:2: ") && log.contains("generators/two: exit status: 3"), "{log}");
}

#[test]
fn a_reload_waits_for_generators_and_clients_do_not() {
    let machine = Machine::boot_with(&[("generators/none", "#!/bin/sh\n")], &VARIABLES, PREPARE);
    let slow = machine.output("generators/slow");
    let text = "#!/bin/sh\nwhile [ ! -e /run/gate ]; do sleep 0.05; done\n\
                printf '[Service]\\nExecStart=/bin/sleep 1000\\n' > $1/slow.service\n";
    fs::write(&slow, text).unwrap();
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    let reload = machine.send(&Request::DaemonReload);
    for _ in 0..100 {
        assert_eq!(machine.show("slow.service").summary.load, "not-found");
    }
    fs::write(machine.output("run/gate"), "").unwrap();
    assert_eq!(machine.answer(reload), Reply::Done);
    assert_eq!(machine.show("slow.service").summary.load, "loaded");
    assert_eq!(machine.job(JobVerb::Start, "slow.service"), JobOutcome::Done);
    // What a generator does not make any more is gone; what runs goes on.
    fs::remove_file(&slow).unwrap();
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    assert_eq!(machine.show("slow.service").summary.load, "not-found");
    assert_eq!(machine.state("slow.service"), "active running");
}
