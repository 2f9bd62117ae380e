//! `systemd-sysusers`: makes the users and groups that files declare.
//!
//! Without anything to make, nothing is locked and nothing written: at most boots that is so.

use ferrite_files::Root;
use ferrite_hostconf::sysusers::{Lines, Plan, plan, render};
use ferrite_hostconf::{Fault, Weight};

use crate::account_files::{AccountFiles, Lock};
use crate::configuration::{self, Source};
use crate::facts::Here;
use crate::options::{Given, Known, flag, value};
use crate::{Command, Environment, Outcome};

const KIND: &str = "sysusers.d";
const DAY_SECONDS: u64 = 24 * 60 * 60;

const OPTIONS: [Known; 10] = [
    Known { long: "help", short: Some('h'), takes_value: false },
    flag("version"),
    flag("cat-config"),
    flag("tldr"),
    value("root"),
    value("image"),
    value("replace"),
    flag("dry-run"),
    flag("inline"),
    flag("no-pager"),
];

const HELP: &str = "\
systemd-sysusers [OPTION...] [FILE...]

Makes the system users and groups that sysusers.d declares.

Commands:
     --cat-config           Show the files
     --tldr                 Show the files without comments
  -h --help                 Show this help
     --version              Show the version

Options:
     --root=PATH            Work below another root
     --replace=PATH         Read the named files in the place of this one
     --inline               The arguments are lines, not files
     --dry-run              Say what would be done, do nothing
     --no-pager             Nothing: there is no pager
";

/// The command.
pub(crate) const COMMAND: Command = Command { name: "systemd-sysusers", options: &OPTIONS, help: HELP, run };

fn run(given: &Given, environment: &Environment) -> Result<Outcome, String> {
    check(given)?;
    let root = configuration::root(given)?;
    let Some(sources) = configuration::wanted(&root, KIND, given)? else { return Ok(Outcome::Done) };
    apply(&root, &sources, given, environment)
}

fn check(given: &Given) -> Result<(), String> {
    if given.has("image") {
        return Err("Option --image= is not supported: mount the image and give --root=.".into());
    }
    configuration::check_replace(given)
}

fn apply(root: &Root, sources: &[Source], given: &Given, environment: &Environment) -> Result<Outcome, String> {
    let here = Here::new(root, environment.credentials.as_deref());
    let mut lines = Lines::default();
    let mut outcome = Outcome::Done;
    for source in sources {
        let before = lines.faults.len();
        lines.read(&source.path, &source.text, &here);
        let new = lines.faults.iter().skip(before);
        if source.is_argument && new.clone().any(|fault| fault.weight != Weight::Notice) {
            outcome = Outcome::Failed;
        }
    }
    if let Some(extra) = here.credential("sysusers.extra") {
        lines.read("sysusers.extra", &String::from_utf8_lossy(&extra), &here);
    }
    lines.faults.iter().for_each(|fault: &Fault| eprintln!("{fault}"));
    if outcome != Outcome::Done {
        return Ok(outcome);
    }
    lines.add_implied();
    let first = plan(&lines, here.accounts(), &here);
    if is_settled(&first, root)? {
        first.said.iter().for_each(|line| eprintln!("{line}"));
        return Ok(outcome);
    }
    // Somebody else may have changed the files before the lock was ours: look again.
    let _lock = if given.has("dry-run") { None } else { Some(Lock::take(root)?) };
    let here = Here::new(root, environment.credentials.as_deref());
    let files = AccountFiles::read(root)?;
    let plan = plan(&lines, here.accounts(), &here);
    plan.said.iter().for_each(|line| eprintln!("{line}"));
    let rendered = render(&plan, &files.texts, today(environment));
    files.write(root, &rendered, given.has("dry-run"))?;
    Ok(outcome)
}

/// Whether there is nothing to write. Members are compared with the groups' lines.
fn is_settled(plan: &Plan, root: &Root) -> Result<bool, String> {
    if !plan.groups.is_empty() || !plan.users.is_empty() {
        return Ok(false);
    }
    if plan.members.is_empty() {
        return Ok(true);
    }
    let rendered = render(plan, &AccountFiles::read(root)?.texts, 0);
    Ok(rendered.group.is_none() && rendered.gshadow.is_none())
}

/// Days since 1970; `$SOURCE_DATE_EPOCH` makes images reproducible.
fn today(environment: &Environment) -> u64 {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let fixed = environment.source_date_epoch.as_deref().and_then(|text| text.parse().ok());
    fixed.unwrap_or_else(now) / DAY_SECONDS
}
