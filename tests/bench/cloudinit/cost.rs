//! `ferrite-bench cost`: runs a command and prints what it and its children took: microseconds of processor time a run,
//! the most memory one of them had, in KiB, and the last exit code.
//!
//! A process of its own, because the kernel counts memory from before a program is replaced: what is measured counts
//! no less than this program has, some 2 MiB. It also speaks to cloud-init's one process for all stages.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::resource::{UsageWho, getrusage};

/// Where cloud-init listens for the start of its stages.
const SOCKETS: &str = "/run/cloud-init/share";
const STAGES: [&str; 4] = ["local", "network", "config", "final"];
const PATIENCE: Duration = Duration::from_secs(300);
const STEP: Duration = Duration::from_millis(5);

/// What is run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often; `@RUN@` in a word is the number of the run
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// Tell cloud-init to begin each of its stages, as its units do
    #[arg(long)]
    stages: bool,
    /// The command
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command and prints its cost.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let times = arguments.times.max(1);
    let before = used()?;
    let mut code = 0;
    for run in 0..times {
        let words: Vec<String> = arguments.command.iter().map(|word| word.replace("@RUN@", &run.to_string())).collect();
        let (program, rest) = words.split_first().context("no command")?;
        let mut child = Command::new(program)
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting '{program}'"))?;
        let told = if arguments.stages { begin_stages(Path::new(SOCKETS)) } else { Ok(()) };
        if told.is_err() {
            child.kill().context("ending what does not answer")?;
        }
        code = child.wait().context("waiting for the command")?.code().unwrap_or(-1);
        told?;
    }
    let each = (used()? - before) / times;
    println!("{} {} {code}", each.as_micros(), getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss());
    Ok(())
}

/// Says that each stage may begin, and waits for its end.
fn begin_stages(folder: &Path) -> anyhow::Result<()> {
    for stage in STAGES {
        let (socket, answer) = (folder.join(format!("{stage}.sock")), folder.join(format!("{stage}-return.sock")));
        let deadline = Instant::now() + PATIENCE;
        while !socket.exists() {
            ensure!(Instant::now() < deadline, "cloud-init does not wait for its stage '{stage}'");
            std::thread::park_timeout(STEP);
        }
        match std::fs::remove_file(&answer) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let ours = UnixDatagram::bind(&answer).context("making a socket for the answer")?;
        ours.set_read_timeout(Some(PATIENCE))?;
        ours.send_to(b"start", &socket).with_context(|| format!("beginning the stage '{stage}'"))?;
        ours.recv(&mut [0; 1024]).with_context(|| format!("waiting for the end of the stage '{stage}'"))?;
    }
    Ok(())
}

fn used() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let of = |time: nix::sys::time::TimeVal| {
        Ok::<_, anyhow::Error>(
            Duration::from_secs(u64::try_from(time.tv_sec())?) + Duration::from_micros(u64::try_from(time.tv_usec())?),
        )
    };
    Ok(of(usage.user_time())? + of(usage.system_time())?)
}
