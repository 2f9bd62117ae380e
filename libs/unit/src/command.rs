//! Command lines of `Exec*=`: prefixes, `;` lists, quoting, specifiers; variables are put in at start. Pure.

use crate::directive::Value;
use crate::environment::{Environment, expand_words};
use crate::specifier::Specifiers;
use crate::value::{Parsed, ValueError};
use crate::words::{Escapes, next_word};

/// Commands of one setting at most.
pub const COMMANDS_MAX: usize = 256;

/// With which rights a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Privilege {
    /// As `User=` and the sandbox say.
    #[default]
    Unit,
    /// `+`: as root, without the sandbox.
    Full,
    /// `!`: as root, with the sandbox.
    NoSetUid,
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// The program: a path, or a name to look up.
    pub path: String,
    /// The words from argv\[0\] on, before variables are put in.
    pub words: Vec<String>,
    /// `-`: a failure counts as success.
    pub ignore_failure: bool,
    /// `:`: do not put variables in.
    pub no_expansion: bool,
    /// `+`, `!`.
    pub privilege: Privilege,
    /// `!!`: as the unit says, wherever the kernel has ambient capabilities.
    pub ambient: bool,
}

impl Command {
    /// The argv of the process.
    pub fn argv(&self, environment: &Environment) -> Vec<String> {
        if self.no_expansion {
            return self.words.clone();
        }
        expand_words(&self.words, environment)
    }
}

/// Reads the value of one `Exec*=` line: one command, or several with `;` between them.
///
/// Adds the commands of an assignment; the empty one empties the list.
pub(crate) fn assign(list: &mut Vec<Command>, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    list.extend(parse(value.raw, value.specifiers)?);
    Ok(())
}

/// A fault in a command whose failure is ignored ends the line, without being one.
pub fn parse(text: &str, specifiers: &Specifiers<'_>) -> Parsed<Vec<Command>> {
    let mut rest = text.trim();
    let mut commands = Vec::new();
    while !rest.is_empty() {
        if commands.len() >= COMMANDS_MAX {
            return Err(ValueError(format!("more than {COMMANDS_MAX} commands")));
        }
        let first = word(&mut rest)?.unwrap_or_default();
        let (mut command, own_name, program) = prefixes(&first);
        match complete(&mut command, own_name, program, &mut rest, specifiers) {
            Ok(()) => commands.push(command),
            Err(_) if command.ignore_failure => break,
            Err(fault) => return Err(fault),
        }
    }
    Ok(commands)
}

fn word(rest: &mut &str) -> Parsed<Option<String>> {
    next_word(rest, Escapes::Lenient).map_err(|e| ValueError(e.to_string()))
}

/// Is the next word exactly this one, unquoted?
fn takes(rest: &mut &str, want: &str) -> bool {
    match rest.strip_prefix(want) {
        Some(tail) if tail.is_empty() || tail.starts_with(|c: char| c.is_ascii_whitespace()) => {
            *rest = tail.trim_start();
            true
        }
        _ => false,
    }
}

/// Takes the prefixes off the first word: what they say, whether the process has its own name, and the program.
fn prefixes(first: &str) -> (Command, bool, &str) {
    let mut command = Command::default();
    let mut program = first;
    let mut own_name = false;
    while let Some(prefix) = program.chars().next() {
        // Neither may follow `!!`.
        let open = command.privilege == Privilege::Unit && !command.ambient;
        match prefix {
            '-' if !command.ignore_failure => command.ignore_failure = true,
            '@' if !own_name => own_name = true,
            ':' if !command.no_expansion => command.no_expansion = true,
            '+' if open => command.privilege = Privilege::Full,
            '!' if open => command.privilege = Privilege::NoSetUid,
            '!' if command.privilege == Privilege::NoSetUid => {
                command.privilege = Privilege::Unit;
                command.ambient = true;
            }
            _ => break,
        }
        program = program.get(1..).unwrap_or("");
    }
    (command, own_name, program)
}

fn complete(
    command: &mut Command,
    own_name: bool,
    program: &str,
    rest: &mut &str,
    specifiers: &Specifiers<'_>,
) -> Parsed<()> {
    let path = specifiers.expand(program)?;
    if path.is_empty() {
        return Err(ValueError("no program is named".into()));
    }
    if path.ends_with(['/']) || path.ends_with("/.") || path.ends_with("/..") || matches!(path.as_str(), "." | "..") {
        return Err(ValueError(format!("program '{path}' is a directory")));
    }
    if !path.starts_with('/') && path.contains('/') {
        return Err(ValueError(format!("program '{path}' is neither an absolute path nor a plain name")));
    }
    if path.contains(|c: char| c.is_ascii_control() || matches!(c, '"' | '\\' | '\'')) {
        return Err(ValueError(format!("name of the program '{}' holds special characters", path.escape_default())));
    }
    if !own_name {
        command.words.push(path.clone());
    }
    command.path = simple(&path);
    while !rest.is_empty() {
        if takes(rest, ";") {
            break;
        }
        if takes(rest, "\\;") {
            command.words.push(";".into());
            continue;
        }
        let Some(word) = word(rest)? else { break };
        command.words.push(specifiers.expand(&word)?);
    }
    if command.words.first().is_none_or(String::is_empty) {
        return Err(ValueError("the name of the process is empty".into()));
    }
    Ok(())
}

/// The path without doubled slashes and dots; a plain name stays as it is.
fn simple(path: &str) -> String {
    if !path.starts_with('/') {
        return path.to_owned();
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::UnitName;
    use crate::specifier::Host;

    fn read(text: &str) -> Parsed<Vec<Command>> {
        let unit = UnitName::parse("x@y.service").unwrap();
        parse(text, &Specifiers { unit: &unit, host: &Host::default(), fragment: None })
    }

    #[test]
    fn prefixes_are_taken_off_in_any_order() {
        let command = read("-+:/bin/a $X").unwrap().remove(0);
        assert!(command.ignore_failure && command.no_expansion);
        assert_eq!((command.privilege, command.path.as_str()), (Privilege::Full, "/bin/a"));
        assert_eq!(command.argv(&Environment::new()), ["/bin/a", "$X"]);
        let named = read("@/bin/a name -x").unwrap().remove(0);
        assert_eq!(named.argv(&Environment::new()), ["name", "-x"]);
    }

    #[test]
    fn semicolons_separate_commands_unless_escaped() {
        let commands = read("/bin/a b ; /bin/c \\; d;e").unwrap();
        assert_eq!(commands.len(), 2);
        assert_eq!(commands[1].words, ["/bin/c", ";", "d;e"]);
    }

    #[test]
    fn words_take_specifiers_and_then_variables() {
        let mut environment = Environment::new();
        environment.set("A", "1 2");
        let command = read("/bin/a %i \"$A\" ${A} $A %%").unwrap().remove(0);
        assert_eq!(command.argv(&environment), ["/bin/a", "y", "1", "2", "1 2", "1", "2", "%"]);
    }

    #[test]
    fn faulty_commands_are_refused_unless_their_failure_is_ignored() {
        for bad in ["a/b", "@/bin/a", "@/bin/a \"\"", "/bin/a \"x", "/bin/", "/bin/..", "/bin/a %Z", "/bin/a %1", "+"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(read("-").unwrap(), []);
        assert_eq!(read("/bin/a ; -/bin/ x").unwrap().len(), 1);
    }

    #[test]
    fn two_exclamation_marks_mean_nothing_where_capabilities_are_ambient() {
        let privilege = |text: &str| read(text).unwrap().remove(0).privilege;
        assert_eq!(privilege("!/bin/a"), Privilege::NoSetUid);
        assert_eq!(privilege("!!/bin/a"), Privilege::Unit);
        assert_eq!(privilege("-@!!/bin/a b"), Privilege::Unit);
        assert_eq!(read("!!+/bin/a").unwrap_err().0, "program '+/bin/a' is neither an absolute path nor a plain name");
    }

    #[test]
    fn the_path_is_made_simple_but_not_the_name_of_the_process() {
        let command = read("//bin/./a").unwrap().remove(0);
        assert_eq!((command.path.as_str(), command.words.as_slice()), ("/bin/a", &["//bin/./a".to_owned()][..]));
    }
}
