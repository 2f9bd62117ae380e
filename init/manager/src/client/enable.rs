//! `systemctl enable`, `disable`, `mask`, `preset` and their like: plans the links, makes them, tells of both.
//!
//! PID 1 is not needed: these verbs work on a root that does not run (`--root`). If it runs, it reads the files anew.

use anyhow::{Context, Result, bail};
use ferrite_control::{Enablement, JobMode, JobVerb, Request, UnitFile};
use ferrite_unit::escape::{Globs, mangle};
use ferrite_unit::{LoadPath, UnitKind, UnitName};

use super::arguments::Arguments;
use super::print;
use super::verbs::{NO_SUCH_UNIT, connect, named_units, run_jobs};
use crate::unit_files::{Lasting, Manner, Mode, Outcome, Tree, Verb, state};

const WITHOUT_INSTALL: &str = "\
The unit files have no installation config (WantedBy=, RequiredBy=, UpheldBy=,
Also=, or Alias= settings in the [Install] section, and DefaultInstance= for
template units). This means they are not meant to be enabled or disabled using systemctl.
 
Possible reasons for having these kinds of units are:
• A unit may be statically enabled by being symlinked from another unit's
  .wants/, .requires/, or .upholds/ directory.
• A unit's purpose may be to act as a helper for some other unit which has
  a requirement dependency on it.
• A unit may be started when needed via activation (socket, path, timer,
  D-Bus, udev, scripted systemctl call, ...).
• In case of template units, the unit is meant to be enabled with some
  instance name specified.";

/// The unit files of the machine, or of `--root`.
pub fn tree(arguments: &Arguments) -> Tree {
    let host = crate::host::read();
    match arguments.root.as_deref() {
        None | Some("" | "/") => {
            let path = arguments.unit_path.as_deref().map_or_else(LoadPath::default, LoadPath::parse);
            Tree::running(&path, host)
        }
        Some(root) => Tree::of_root(root, host),
    }
}

fn manner(arguments: &Arguments) -> Manner {
    Manner { lasting: lasting(arguments), force: arguments.force > 0 }
}

fn lasting(arguments: &Arguments) -> Lasting {
    if arguments.runtime { Lasting::Runtime } else { Lasting::Persistent }
}

fn mode(arguments: &Arguments) -> Result<Mode> {
    match arguments.preset_mode.as_deref() {
        None => Ok(Mode::default()),
        Some(text) => Mode::parse(text).with_context(|| format!("Failed to parse preset mode: {text}.")),
    }
}

/// Full names; what has a slash is a path.
fn names(arguments: &Arguments) -> Result<Vec<String>> {
    let one = |word: &String| match word.contains('/') {
        true => Ok(word.clone()),
        false => match mangle(word.as_bytes(), Globs::Escaped, UnitKind::Service) {
            Some(mangled) => Ok(mangled.name),
            None => bail!("Failed to mangle unit name: Invalid argument"),
        },
    };
    arguments.operands.iter().map(one).collect()
}

/// Runs a verb that changes links.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let verb = arguments.verb.as_str();
    let mut units = names(arguments)?;
    if units.is_empty() && verb != "preset-all" {
        bail!("Too few arguments.");
    }
    match verb {
        "disable" => without_paths(&mut units),
        "link" => absolute_paths(&mut units, arguments)?,
        "mask" | "unmask" if arguments.root.is_none() => tell_of_missing(&units, arguments),
        _ => {}
    }
    let mut tree = tree(arguments);
    let manner = manner(arguments);
    let outcome = match verb {
        "enable" => tree.plan_enable(&units, manner),
        "disable" => tree.plan_disable(&units, manner.lasting),
        "reenable" => tree.plan_reenable(&units, manner),
        "link" => tree.plan_files(&units, manner),
        "preset" => tree.plan_preset(&units, manner, mode(arguments)?),
        "preset-all" => tree.plan_preset_all(manner, mode(arguments)?),
        "mask" => tree.plan_mask(&units, manner),
        "unmask" => tree.plan_unmask(&units, manner.lasting),
        _ => tree.plan_revert(&units),
    };
    let word = if verb == "preset-all" { "preset" } else { verb };
    let code = carry_out(&tree, &outcome, Verb(word_of(word)), arguments)?;
    // Of another root, what is missing is not enabled, as was wished.
    let is_fine = match verb {
        "disable" => arguments.root.is_some() && outcome.only_lacks_units(),
        // One unit that cannot be as the presets say does not fail all others.
        "preset-all" => arguments.root.is_some(),
        _ => false,
    };
    if code != 0 && !is_fine {
        return Ok(code);
    }
    if outcome.carries_install == Some(false) && !arguments.quiet && !arguments.no_warn {
        eprintln!("{WITHOUT_INSTALL}");
    }
    let now = match verb {
        "enable" | "reenable" => JobVerb::Start,
        "disable" | "mask" => JobVerb::Stop,
        _ => return reload(arguments),
    };
    reload(arguments)?;
    if !arguments.now {
        return Ok(0);
    }
    let names: Vec<String> = units.iter().map(|unit| instances(unit.rsplit('/').next().unwrap_or_default())).collect();
    let mut client = connect(arguments)?;
    let names = named_units(&mut client, &names)?;
    run_jobs(&mut client, arguments, now, names, JobMode::default())
}

/// A template stands for its instances.
fn instances(unit: &str) -> String {
    match UnitName::parse(unit) {
        Ok(name) if name.is_template() => format!("{}@*.{}", name.prefix(), name.kind().suffix()),
        Ok(_) | Err(_) => unit.to_owned(),
    }
}

fn word_of(verb: &str) -> &'static str {
    const VERBS: [&str; 8] = ["enable", "disable", "reenable", "link", "preset", "mask", "unmask", "revert"];
    VERBS.into_iter().find(|known| *known == verb).unwrap_or("change")
}

/// `disable` takes names: a path stands for the name at its end.
fn without_paths(units: &mut [String]) {
    let mut was_path = false;
    for unit in units.iter_mut().filter(|unit| unit.contains('/')) {
        *unit = unit.rsplit('/').next().unwrap_or_default().to_owned();
        was_path = true;
    }
    if was_path {
        eprintln!("Warning: Can't execute disable on the unit file path. Proceeding with the unit name.");
    }
}

fn absolute_paths(units: &mut [String], arguments: &Arguments) -> Result<()> {
    for (unit, word) in units.iter_mut().zip(&arguments.operands).filter(|(_, word)| !word.starts_with('/')) {
        if arguments.root.is_some() {
            bail!("Non-absolute paths are not allowed when --root= is used: {unit}");
        }
        if !word.contains('/') {
            bail!(
                "Link argument must contain at least one directory separator.\n\
                 If you intended to link a file in the current directory, try ./{word} instead."
            );
        }
        let directory = std::env::current_dir().context("finding the current directory")?;
        let path = format!("{}/{word}", directory.display());
        let plain =
            ferrite_unit::escape::simplify_path(&path).with_context(|| format!("path '{word}' leads upward"))?;
        *unit = format!("/{plain}");
    }
    Ok(())
}

fn tell_of_missing(units: &[String], arguments: &Arguments) {
    let tree = tree(arguments);
    for unit in units.iter().filter_map(|unit| UnitName::parse(unit).ok()) {
        if state(&tree, &unit).is_err() {
            eprintln!("Unit {unit} does not exist, proceeding anyway.");
        }
    }
}

/// Makes the changes of a plan that has no fault, and tells of them.
fn carry_out(tree: &Tree, outcome: &Outcome, verb: Verb, arguments: &Arguments) -> Result<u8> {
    if let Err(error) = tree.apply(outcome) {
        eprintln!("Failed to {} unit: {error}", verb.0);
        return Ok(1);
    }
    for line in outcome.lines(tree, verb, arguments.quiet) {
        eprintln!("{line}");
    }
    Ok(u8::from(outcome.failed))
}

/// PID 1 reads the files again, if it runs and they are its own.
fn reload(arguments: &Arguments) -> Result<u8> {
    if arguments.root.is_none()
        && !arguments.no_reload
        && let Ok(mut client) = connect(arguments)
    {
        client.ask(&Request::DaemonReload)?;
    }
    Ok(0)
}

/// `add-wants` and `add-requires`: the first name is the unit that wants the others.
pub fn add_dependency(arguments: &Arguments) -> Result<u8> {
    let suffix = arguments.verb.strip_prefix("add-").unwrap_or("wants");
    let all = names(arguments)?;
    let (Some(word), [_, units @ ..]) = (arguments.operands.first(), all.as_slice()) else {
        bail!("Too few arguments.");
    };
    let target = mangle(word.as_bytes(), Globs::Escaped, UnitKind::Target).context("Failed to mangle unit name")?.name;
    let mut tree = tree(arguments);
    let outcome = tree.plan_dependency(units, &target, suffix, manner(arguments));
    match carry_out(&tree, &outcome, Verb("add dependency on"), arguments)? {
        0 => reload(arguments),
        code => Ok(code),
    }
}

/// `get-default`.
pub fn get_default(arguments: &Arguments) -> Result<u8> {
    match tree(arguments).default_target() {
        Ok(target) => print(&format!("{target}\n")),
        Err(fault) => bail!("Failed to get default target: {fault}"),
    }
}

/// `set-default`.
pub fn set_default(arguments: &Arguments) -> Result<u8> {
    let [word] = arguments.operands.as_slice() else { bail!("Too few arguments.") };
    let name = mangle(word.as_bytes(), Globs::Escaped, UnitKind::Target).context("Failed to mangle unit name")?.name;
    let mut tree = tree(arguments);
    let outcome = tree.plan_default(&name);
    let code = carry_out(&tree, &outcome, Verb("set default"), arguments)?;
    if code != 0 {
        return Ok(code);
    }
    match tree.default_target() {
        Ok(target) if target != name && !arguments.quiet => {
            eprintln!("Note: \"{target}\" is the default unit (possibly a runtime override).");
        }
        Ok(_) | Err(_) => {}
    }
    reload(arguments)
}

/// `is-enabled`: the exit code is 0 if any of the units is.
pub fn is_enabled(arguments: &Arguments) -> Result<u8> {
    let tree = tree(arguments);
    let (mut not_found, mut enabled) = (true, false);
    let units = names(arguments)?;
    if units.is_empty() {
        bail!("Too few arguments.");
    }
    for unit in units {
        let name = UnitName::parse(&unit).with_context(|| format!("Failed to get unit file state for {unit}"))?;
        let word = match state(&tree, &name) {
            Ok(word) => word,
            Err(fault) if fault.is_missing() => Enablement::NotFound,
            Err(fault) => bail!("Failed to get unit file state for {unit}: {fault}"),
        };
        not_found &= word == Enablement::NotFound;
        enabled |= is_good(word);
        if !arguments.quiet {
            print(&format!("{}\n", word.as_str()))?;
            if arguments.full && arguments.root.is_none() && word != Enablement::NotFound {
                show_targets(arguments, &unit)?;
            }
        }
    }
    Ok(match (enabled, not_found) {
        (true, _) => 0,
        (false, true) => NO_SUCH_UNIT,
        (false, false) => 1,
    })
}

/// The links that make a unit start.
fn show_targets(arguments: &Arguments, unit: &str) -> Result<()> {
    let mut tree = tree(arguments);
    let outcome = tree.plan_disable(&[unit.to_owned()], lasting(arguments));
    for path in outcome.unlinked() {
        print(&format!("  {path}\n"))?;
    }
    Ok(())
}

fn is_good(word: Enablement) -> bool {
    match word {
        Enablement::Enabled
        | Enablement::EnabledRuntime
        | Enablement::Static
        | Enablement::Alias
        | Enablement::Indirect
        | Enablement::Generated => true,
        Enablement::Linked
        | Enablement::LinkedRuntime
        | Enablement::Masked
        | Enablement::MaskedRuntime
        | Enablement::Disabled
        | Enablement::Transient
        | Enablement::Bad
        | Enablement::NotFound => false,
    }
}

/// All unit files with their state and what the presets say.
pub fn unit_files(arguments: &Arguments) -> Vec<UnitFile> {
    crate::unit_files::list(&tree(arguments))
}
