//! `systemd-tmpfiles`: makes, changes, cleans and removes what files say.

mod apply;
mod attributes;
mod clean;
mod copy;
mod make;
mod matching;
mod parents;
mod permissions;
mod remove;
mod walk;

use ferrite_hostconf::Weight;
use ferrite_hostconf::specifier::{Answer, Facts};
use ferrite_hostconf::tmpfiles::{Machine, Operations, Options, Rules};
use rustix::fs::Mode;

use crate::configuration;
use crate::facts::Here;
use crate::options::{Given, Known, flag, value};
use crate::{Command, Environment, Outcome};
use apply::Session;
use walk::Tree;

const KIND: &str = "tmpfiles.d";
/// What lies on file systems in memory.
const VOLATILE: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

const OPTIONS: [Known; 20] = [
    Known { long: "help", short: Some('h'), takes_value: false },
    flag("version"),
    flag("create"),
    flag("clean"),
    flag("remove"),
    flag("purge"),
    flag("boot"),
    flag("graceful"),
    flag("user"),
    flag("cat-config"),
    flag("tldr"),
    flag("dry-run"),
    flag("no-pager"),
    value("prefix"),
    value("exclude-prefix"),
    value("root"),
    value("image"),
    value("image-policy"),
    value("replace"),
    Known { long: "exclude-volatile", short: Some('E'), takes_value: false },
];

const HELP: &str = "\
systemd-tmpfiles COMMAND... [OPTION...] [FILE...]

Makes, changes, cleans and removes files and folders as tmpfiles.d says.

Commands:
     --create               Make and change
     --clean                Remove what is older than its age
     --remove               Remove what is marked for it
     --purge                Remove what lines with $ of the named files have made
     --cat-config           Show the files
     --tldr                 Show the files without comments
  -h --help                 Show this help
     --version              Show the version

Options:
     --boot                 Follow lines with ! too, which are safe at boot only
     --graceful             Pass over users and groups that do not exist
     --prefix=PATH          Only paths below this one
     --exclude-prefix=PATH  No paths below this one
  -E                        No paths below /dev, /proc, /run and /sys
     --root=PATH            Work below another root
     --replace=PATH         Read the named files in the place of this one
     --dry-run              Say what would be done, do nothing
     --no-pager             Nothing: there is no pager
";

/// The command.
pub(crate) const COMMAND: Command = Command { name: "systemd-tmpfiles", options: &OPTIONS, help: HELP, run };

fn run(given: &Given, environment: &Environment) -> Result<Outcome, String> {
    let operations = Operations {
        create: given.has("create"),
        clean: given.has("clean"),
        remove: given.has("remove"),
        purge: given.has("purge"),
    };
    check(given, operations)?;
    let root = configuration::root(given)?;
    let Some(sources) = configuration::wanted(&root, KIND, given)? else { return Ok(Outcome::Done) };
    let tree = Tree::open(&root).map_err(|error| format!("Failed to open root: {}", walk::words(error)))?;
    let machine = Local { here: Here::new(&root, environment.credentials.as_deref()), tree: &tree };
    let mut rules = Rules::default();
    let options = options_of(given);
    let mut outcome = Outcome::Done;
    for source in &sources {
        let before = rules.faults.len();
        rules.read(&source.path, &source.text, &options, &machine);
        let worst = rules.faults.iter().skip(before).map(|fault| fault.weight).max();
        match worst {
            Some(Weight::Invalid) => outcome = Outcome::BadConfiguration,
            // What lies outside a file ends the command only when the file was named.
            Some(Weight::Failure) if source.is_argument => {
                rules.faults.iter().for_each(|fault| eprintln!("{fault}"));
                return Ok(Outcome::Failed);
            }
            _ => {}
        }
    }
    if let Some(extra) = machine.here.credential("tmpfiles.extra") {
        rules.read("tmpfiles.extra", &String::from_utf8_lossy(&extra), &options, &machine);
    }
    rules.faults.iter().for_each(|fault| eprintln!("{fault}"));
    let is_good = carry_out(&tree, rules, operations, given.has("dry-run"));
    Ok(if outcome == Outcome::Done && !is_good { Outcome::CannotCreate } else { outcome })
}

fn carry_out(tree: &Tree, mut rules: Rules, operations: Operations, is_dry_run: bool) -> bool {
    if rules.is_empty() {
        return true;
    }
    // Modes are those of the lines, whoever started this.
    rustix::process::umask(Mode::empty());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(0));
    let session = Session::new(tree, is_dry_run, now);
    rules.link();
    apply::apply(&session, &rules, &rules.steps(operations))
}

fn options_of(given: &Given) -> Options {
    let mut excluded: Vec<String> = given.values("exclude-prefix").map(str::to_string).collect();
    if given.has("exclude-volatile") {
        excluded.extend(VOLATILE.map(str::to_string));
    }
    Options {
        is_boot: given.has("boot"),
        is_graceful: given.has("graceful"),
        prefixes: given.values("prefix").map(str::to_string).collect(),
        excluded,
    }
}

fn check(given: &Given, operations: Operations) -> Result<(), String> {
    if operations == Operations::default() && configuration::shown_of(given).is_none() {
        return Err("You need to specify at least one of --clean, --create, --remove, or --purge.".into());
    }
    if given.has("user") {
        return Err("Option --user is not supported: there are no user managers.".into());
    }
    if given.has("image") {
        return Err("Option --image= is not supported: mount the image and give --root=.".into());
    }
    if operations.purge && given.words.is_empty() {
        return Err("Refusing --purge without specification of a configuration file.".into());
    }
    configuration::check_replace(given)
}

/// The machine, or the other root.
struct Local<'a> {
    here: Here<'a>,
    tree: &'a Tree,
}

impl Facts for Local<'_> {
    fn specifier(&self, letter: char) -> Answer {
        self.here.folder_specifier(letter)
    }
}

impl Machine for Local<'_> {
    fn user(&self, name: &str) -> Option<u32> {
        if name == "root" { Some(0) } else { self.here.accounts().users.id(name) }
    }

    fn group(&self, name: &str) -> Option<u32> {
        if name == "root" { Some(0) } else { self.here.accounts().groups.id(name) }
    }

    fn credential(&self, name: &str) -> Option<Vec<u8>> {
        self.here.credential(name)
    }

    fn exists(&self, path: &str) -> bool {
        self.tree.exists(path)
    }
}
