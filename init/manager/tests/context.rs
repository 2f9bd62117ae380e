//! What a process finds around it: variables, streams, open files, credentials, its group, its namespaces.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use ferrite_control::{JobOutcome, JobVerb};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, lines};

/// A service that runs a script once; what it says stands in /run/NAME.
fn script(settings: &str, name: &str, script: &str) -> String {
    // What begins with a dollar is for the shell.
    let script = script.replace('$', "$$");
    format!(
        "[Service]\nType=oneshot\n{settings}\nStandardOutput=file:/run/{name}\nStandardError=file:/run/{name}.err\n\
         ExecStart=/bin/sh -c '{script}'\n"
    )
}

/// Starts all units of a machine and tells what each said.
fn said(machine: &Machine, names: &[&str]) -> Vec<String> {
    let one = |name: &&str| {
        let outcome = machine.job(JobVerb::Start, &format!("{name}.service"));
        let errors = lines(&machine.output(&format!("run/{name}.err"))).join("|");
        assert_eq!((outcome, errors.as_str()), (JobOutcome::Done, ""), "{name}\n{}", machine.log());
        lines(&machine.output(&format!("run/{name}"))).join("|")
    };
    names.iter().map(one).collect()
}

#[test]
fn variables_are_those_of_the_manager_and_of_the_unit() {
    let root = script("", "root", "echo $USER ${HOME-none} ${LOGNAME-none} ${SHELL-none} ${MANAGERPID-none}");
    let login = script("SetLoginEnvironment=yes", "login", "echo $USER $HOME $LOGNAME $SHELL");
    let user = script("User=nobody", "user", "echo $USER $LOGNAME");
    let anonymous = script("User=nobody\nSetLoginEnvironment=no", "anonymous", "echo $USER ${LOGNAME-none}");
    let passed = script(
        "PassEnvironment=FERRITE_A FERRITE_B FERRITE_C\nEnvironment=FERRITE_B=own\nUnsetEnvironment=FERRITE_C=3",
        "passed",
        "echo $FERRITE_A $FERRITE_B ${FERRITE_C-none} ${FERRITE_D-none}",
    );
    let search = script("ExecSearchPath=/run/bin:/bin", "search", "echo $PATH; found");
    let store = script("FileDescriptorStoreMax=7", "store", "echo $FDSTORE ${#INVOCATION_ID}");
    let own = script("", "own", "test $SYSTEMD_EXEC_PID = $$ && echo own");
    let calm = script("MemoryPressureWatch=off", "calm", "echo $MEMORY_PRESSURE_WATCH ${MEMORY_PRESSURE_WRITE-none}");
    let machine = Machine::boot_with(
        &[
            ("root.service", &root),
            ("login.service", &login),
            ("user.service", &user),
            ("anonymous.service", &anonymous),
            ("passed.service", &passed),
            ("search.service", &search),
            ("store.service", &store),
            ("own.service", &own),
            ("calm.service", &calm),
            ("run/bin/found", "#!/bin/sh\necho found\n"),
        ],
        &[("FERRITE_A", "1"), ("FERRITE_B", "2"), ("FERRITE_C", "3"), ("FERRITE_D", "4")],
        "chmod +x /run/bin/found",
    );
    let all = ["root", "login", "user", "anonymous", "passed", "search", "store", "own", "calm"];
    let want = [
        "root none none none none",
        "root /root root /bin/sh",
        "nobody nobody",
        "nobody none",
        "1 own none none",
        "/run/bin:/bin|found",
        "7 32",
        "own",
        "/dev/null none",
    ];
    let login_shell = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let shell = login_shell.lines().find_map(|line| line.strip_prefix("root:")?.rsplit(':').next().map(str::to_owned));
    let want: Vec<String> = want
        .iter()
        .map(|text| text.replace("root /bin/sh", &format!("root {}", shell.as_deref().unwrap_or(""))))
        .collect();
    assert_eq!(said(&machine, &all), want);
}

#[test]
fn the_pressure_on_memory_is_watched_in_the_own_group() {
    let text = "[Service]\nUser=nobody\nExecStart=/bin/sh -c 'echo $MEMORY_PRESSURE_WATCH $MEMORY_PRESSURE_WRITE > \
                /run/told/x; stat -c %%U $MEMORY_PRESSURE_WATCH >> /run/told/x; exec sleep 1000'\n";
    let machine = Machine::boot_with(&[("x.service", text)], &[], "mkdir -m 777 /run/told");
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done);
    machine.wait_for("what it was told", |machine| lines(&machine.output("run/told/x")).len() == 2);
    let told = lines(&machine.output("run/told/x"));
    assert!(told[0].contains("/x.service/memory.pressure c29tZSAyMDAwMDAgMjAwMDAwMAA="), "{told:?}");
    assert_eq!(told[1], "nobody");
}

#[test]
fn a_process_can_tell_that_it_writes_to_the_journal() {
    let unit = "[Service]\nType=oneshot\nSyslogFacility=local3\nSyslogLevel=warning\nSyslogIdentifier=who\n\
                ExecStart=/bin/sh -c 'echo $JOURNAL_STREAM; stat -L -c %%d:%%i /proc/self/fd/2; echo end'\n";
    let plain = script("", "plain", "echo ${JOURNAL_STREAM-none}");
    let machine = Machine::boot(&[("x.service", unit), ("plain.service", &plain)]);
    let folder = machine.output("run/systemd/journal");
    fs::create_dir_all(&folder).unwrap();
    let listener = UnixListener::bind(folder.join("stdout")).unwrap();
    let waiting = machine.send(&machine::start("x.service"));
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(machine::PATIENCE)).unwrap();
    let mut text: Vec<String> = Vec::new();
    for line in BufReader::new(stream).lines() {
        text.push(line.unwrap());
    }
    assert_eq!(machine::outcome(machine.answer(waiting)), JobOutcome::Done);
    // Facility local3 is 19; a warning is 4.
    assert_eq!(text[..7], ["who", "x.service", "156", "1", "0", "0", "0"]);
    assert_eq!((text[7].as_str(), text[9].as_str()), (text[8].as_str(), "end"));
    assert!(text[7].contains(':'), "{text:?}");
    // Standard error leads to the file, like standard output: there is nothing to tell.
    assert_eq!(said(&machine, &["plain"]), ["none"]);
}

#[test]
fn streams_are_what_was_handed_over_under_a_name() {
    let unit = "[Service]\nStandardInput=fd:door\nStandardOutput=file:/run/out\nStandardError=file:/run/err\n\
                ExecStart=/bin/sh -c 'test -S /proc/self/fd/0 && echo socket $LISTEN_FDNAMES'\n";
    let missing = "[Service]\nType=oneshot\nStandardInput=fd:nothing\nExecStart=/bin/true\n";
    let machine = Machine::boot(&[
        ("x.socket", "[Socket]\nListenStream=/run/x.sock\nFileDescriptorName=door\n"),
        ("x.service", unit),
        ("missing.service", missing),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "x.socket"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done);
    machine.wait_for("its word", |machine| lines(&machine.output("run/out")) == ["socket door"]);
    assert_eq!(machine.job(JobVerb::Start, "missing.service"), JobOutcome::Failed);
    assert_eq!(machine.show("missing.service").properties["ExecMainStatus"], "208");
    assert!(machine.log().contains("under the name 'nothing'"), "{}", machine.log());
}

#[test]
fn streams_that_lead_to_one_file_share_it() {
    let unit = |settings: &str, script: &str| {
        format!("[Service]\nType=oneshot\n{settings}\nExecStart=/bin/sh -c '{script}'\n")
    };
    let to = |kind: &str| format!("StandardOutput={kind}:/run/{kind}\nStandardError={kind}:/run/{kind}\nUMask=0027");
    let both = "echo out; echo err >&2; echo more";
    let machine = Machine::boot(&[
        ("run/append", "old\n"),
        ("run/truncate", "old and long\n"),
        ("run/both", "line\n"),
        ("file.service", &unit(&to("file"), both)),
        ("append.service", &unit(&to("append"), both)),
        ("truncate.service", &unit(&to("truncate"), both)),
        ("both.service", &unit("StandardInput=file:/run/both\nStandardOutput=file:/run/both", "read x; echo $x$x")),
    ]);
    for name in ["file", "append", "truncate", "both"] {
        let outcome = machine.job(JobVerb::Start, &format!("{name}.service"));
        assert_eq!(outcome, JobOutcome::Done, "{name}\n{}", machine.log());
    }
    let told = |name: &str| lines(&machine.output(&format!("run/{name}"))).join("|");
    assert_eq!(told("file"), "out|err|more");
    assert_eq!(told("append"), "old|out|err|more");
    assert_eq!(told("truncate"), "out|err|more");
    assert_eq!(told("both"), "line|lineline");
    assert_eq!(fs::metadata(machine.output("run/file")).unwrap().mode() & 0o777, 0o640);
    let socket = machine.output("run/sock");
    let listener = UnixListener::bind(&socket).unwrap();
    machine.write_unit("sock.service", &unit("StandardOutput=file:/run/sock", "echo hello"));
    let waiting = machine.send(&machine::start("sock.service"));
    let (stream, _) = listener.accept().unwrap();
    assert_eq!(BufReader::new(stream).lines().next().unwrap().unwrap(), "hello");
    assert_eq!(machine::outcome(machine.answer(waiting)), JobOutcome::Done);
}

#[test]
fn a_terminal_gets_the_size_that_the_unit_says() {
    let pair = nix::pty::openpty(None, None).unwrap();
    let name = nix::unistd::ttyname(&pair.slave).unwrap().to_str().unwrap().to_owned();
    let unit = format!(
        "[Service]\nType=oneshot\nTTYPath={name}\nTTYRows=33\nTTYColumns=77\nTTYReset=yes\nStandardInput=tty-force\n\
         StandardOutput=file:/run/size\nExecStart=/usr/bin/stty size\n"
    );
    let machine = Machine::boot(&[("x.service", &unit)]);
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done, "{}", machine.log());
    assert_eq!(lines(&machine.output("run/size")), ["33 77"]);
}

#[test]
fn files_are_opened_before_the_user_is_changed() {
    let opened = script(
        "User=nobody\nOpenFile=/run/secret:one:read-only\nOpenFile=/run/log::append\nOpenFile=/run/none:two:graceful",
        "opened",
        "echo $LISTEN_FDS $LISTEN_FDNAMES; cat <&3; echo more >&4",
    );
    let machine = Machine::boot_with(
        &[
            ("run/secret", "hidden\n"),
            ("run/log", "first\n"),
            ("opened.service", &opened),
            ("none.service", "[Service]\nType=oneshot\nOpenFile=/run/none\nExecStart=/bin/true\n"),
        ],
        &[],
        "chmod 600 /run/secret /run/log",
    );
    assert_eq!(said(&machine, &["opened"]), ["2 one:log|hidden"]);
    assert_eq!(lines(&machine.output("run/log")), ["first", "more"]);
    assert_eq!(machine.job(JobVerb::Start, "none.service"), JobOutcome::Failed);
    assert_eq!(machine.show("none.service").properties["ExecMainStatus"], "202");
}

#[test]
fn credentials_are_read_by_the_user_only_and_go_with_the_unit() {
    let settings = "User=nobody\nLoadCredential=file:/run/source\nLoadCredential=tree:/run/tree\n\
                    LoadCredential=stored\nLoadCredential=default:/run/none\nLoadCredential=absent\n\
                    SetCredential=default:given\nSetCredential=file:unused\nImportCredential=group.*:g.\n\
                    Environment=FOLDER=%d";
    let show = "echo $CREDENTIALS_DIRECTORY $FOLDER; cd $CREDENTIALS_DIRECTORY; \
                for f in *; do echo $f $(cat $f); done; \
                stat -c \"%%a %%U\" . file; touch new 2>/dev/null || echo closed";
    let unit = format!("{}RemainAfterExit=yes\n", script(settings, "x", show).replace("StandardError", "#"));
    let machine = Machine::boot(&[
        ("run/source", "from a file"),
        ("run/tree/a", "1"),
        ("run/tree/b/c", "2"),
        ("run/credstore/stored", "from the store"),
        ("run/credstore/group.x", "3"),
        ("run/credstore/group.y:z", "5"),
        ("run/credstore/other", "4"),
        ("x.service", &unit),
        ("wrong.service", "[Service]\nLoadCredential=a:/run/none\nType=oneshot\nExecStart=/bin/true\n"),
        ("coded.service", "[Service]\nSetCredentialEncrypted=a:YWJj\nType=oneshot\nExecStart=/bin/true\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done, "{}", machine.log());
    let folder = "/run/credentials/x.service";
    let want = [
        &format!("{folder} {folder}"),
        "default given",
        "file from a file",
        "g.x 3",
        "stored from the store",
        "tree_a 1",
        "tree_b_c 2",
        "500 nobody",
        "400 nobody",
        "closed",
    ];
    assert_eq!(lines(&machine.output("run/x")), want, "{}", machine.log());
    assert!(machine.output("run/credentials/x.service").exists());
    assert_eq!(machine.job(JobVerb::Stop, "x.service"), JobOutcome::Done);
    assert!(!machine.output("run/credentials/x.service").exists());
    for (unit, word) in [("wrong.service", "from /run/none"), ("coded.service", "is encrypted")] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Failed);
        assert_eq!(machine.show(unit).properties["ExecMainStatus"], "243");
        assert!(machine.log().contains(word), "{}", machine.log());
    }
}

#[test]
fn a_group_that_is_handed_over_belongs_to_the_user() {
    let unit = "[Service]\nUser=nobody\nDelegate=yes\nDelegateSubgroup=inner\n\
                ExecStart=/bin/sh -c 'cat /proc/self/cgroup > /run/told/main; exec sleep 1000'\n\
                ExecReload=/bin/sh -c 'cat /proc/self/cgroup > /run/told/reload'\n";
    let machine = Machine::boot_with(&[("x.service", unit)], &[], "mkdir -m 777 /run/told");
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Reload, "x.service"), JobOutcome::Done, "{}", machine.log());
    machine.wait_for("its word", |machine| !lines(&machine.output("run/told/main")).is_empty());
    let group = |name: &str| {
        let text = fs::read_to_string(machine.output(&format!("run/told/{name}"))).unwrap();
        text.lines().find_map(|line| line.strip_prefix("0::").map(str::to_owned)).unwrap()
    };
    let (main, reload) = (group("main"), group("reload"));
    assert!(main.ends_with("/x.service/inner") && reload.ends_with("/x.service/.control"), "{main} {reload}");
    let mount = if fs::exists("/sys/fs/cgroup/unified").unwrap() { "/sys/fs/cgroup/unified" } else { "/sys/fs/cgroup" };
    let owner = |path: &str| fs::metadata(format!("{mount}{path}")).unwrap().uid();
    let unit_group = main.strip_suffix("/inner").unwrap();
    let nobody = 65_534;
    assert_eq!([owner(unit_group), owner(&format!("{unit_group}/cgroup.procs")), owner(&main)], [nobody; 3]);
    assert_eq!(machine.show("x.service").main_pid.map(|pid| pid > 1), Some(true));
    assert_eq!(machine.job(JobVerb::Stop, "x.service"), JobOutcome::Done);
    assert!(!fs::exists(format!("{mount}{unit_group}")).unwrap());
}

#[test]
fn a_service_may_be_the_first_process_of_its_own_namespace() {
    let show = "echo $$ $SYSTEMD_EXEC_PID; ls -d /proc/[0-9]* | wc -l; kill -0 2 2>/dev/null || echo alone";
    let own = script("PrivatePIDs=yes", "own", show);
    let shared = script("", "shared", "test $$ -gt 1 && echo shared");
    let lasting = "[Service]\nPrivatePIDs=yes\nExecStart=/bin/sh -c 'trap \"exit 0\" TERM; echo up > /run/up; \
                   while :; do sleep 1000 & wait $!; done'\n";
    let units = [("own.service", own.as_str()), ("shared.service", &shared), ("lasting.service", lasting)];
    let machine = Machine::boot(&units);
    let told = said(&machine, &["own", "shared"]);
    assert!(told[0].starts_with("1 1|") && told[0].ends_with("|alone"), "{told:?}");
    assert_eq!(told[1], "shared");
    assert_eq!(machine.job(JobVerb::Start, "lasting.service"), JobOutcome::Done);
    machine.wait_for("its word", |machine| lines(&machine.output("run/up")) == ["up"]);
    assert!(machine.show("lasting.service").main_pid.is_some_and(|pid| pid > 1));
    assert_eq!(machine.job(JobVerb::Stop, "lasting.service"), JobOutcome::Done);
    assert_eq!(machine.show("lasting.service").result, "success");
}

#[test]
fn images_are_refused_and_the_service_is_not_run_without_them() {
    let unit = |setting: &str| format!("[Service]\nType=oneshot\n{setting}\nExecStart=/bin/touch /run/ran\n");
    let settings = ["RootImage=/run/image", "MountImages=/run/image:/mnt", "ExtensionImages=/run/image"];
    let units: Vec<(String, String)> =
        settings.iter().enumerate().map(|(n, setting)| (format!("x{n}.service"), unit(setting))).collect();
    let borrowed: Vec<(&str, &str)> = units.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let machine = Machine::boot(&borrowed);
    for (number, setting) in settings.iter().enumerate() {
        let name = format!("x{number}.service");
        assert_eq!(machine.job(JobVerb::Start, &name), JobOutcome::Failed);
        let details = machine.show(&name);
        assert_eq!(details.properties["ExecMainStatus"], "226");
        assert_eq!(details.unsupported.len(), 1, "{details:?}");
        let word = format!("{}= is not supported here", setting.split_once('=').unwrap().0);
        assert!(machine.log().contains(&word), "{}", machine.log());
    }
    assert!(!machine.output("run/ran").exists());
}

#[test]
fn only_the_commands_that_start_the_service_have_another_root() {
    let unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nRootDirectory=/run/root\nRootDirectoryStartOnly=yes\n\
                BindReadOnlyPaths=/bin /usr /lib /lib64\nBindPaths=/run/out\n\
                ExecStartPre=/bin/sh -c 'test -e /etc/passwd && echo machine >> /run/out/x'\n\
                ExecStart=/bin/sh -c 'test -e /etc/passwd || echo own >> /run/out/x'\n";
    let machine = Machine::boot_with(&[("x.service", unit)], &[], "mkdir -p /run/root /run/out");
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done, "{}", machine.log());
    assert_eq!(lines(&machine.output("run/out/x")), ["machine", "own"]);
}
