//! Command lines of `Exec*=`: prefixes, `;` lists, quoting, specifiers; variables are put in at start. Pure.

use crate::environment::{Environment, expand, expand_words};
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
    /// `!` and `!!`: as root, with the sandbox.
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
}

impl Command {
    /// The argv of the process.
    pub fn argv(&self, environment: &Environment) -> Vec<String> {
        if self.no_expansion {
            return self.words.clone();
        }
        let Some((first, rest)) = self.words.split_first() else { return Vec::new() };
        let mut argv = vec![expand(first, environment)];
        argv.extend(expand_words(rest, environment));
        argv
    }
}

/// Reads the value of one `Exec*=` line: one command, or several with `;` between them.
pub fn parse(text: &str, specifiers: &Specifiers<'_>) -> Parsed<Vec<Command>> {
    let mut rest = text.trim();
    let mut commands = Vec::new();
    while !rest.is_empty() {
        if commands.len() >= COMMANDS_MAX {
            return Err(ValueError(format!("more than {COMMANDS_MAX} commands")));
        }
        commands.push(one(&mut rest, specifiers)?);
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

fn one(rest: &mut &str, specifiers: &Specifiers<'_>) -> Parsed<Command> {
    let mut command = Command::default();
    let first = word(rest)?.unwrap_or_default();
    let mut program = first.as_str();
    let mut own_name = false;
    while let Some(prefix) = program.chars().next() {
        match prefix {
            '-' if !command.ignore_failure => command.ignore_failure = true,
            '@' if !own_name => own_name = true,
            ':' if !command.no_expansion => command.no_expansion = true,
            '+' if command.privilege == Privilege::Unit => command.privilege = Privilege::Full,
            '!' if command.privilege != Privilege::Full => command.privilege = Privilege::NoSetUid,
            _ => break,
        }
        program = program.get(1..).unwrap_or("");
    }
    let path = specifiers.expand(program)?;
    if path.is_empty() {
        return Err(ValueError("no program is named".into()));
    }
    if path.ends_with('/') {
        return Err(ValueError(format!("program '{path}' is a directory")));
    }
    if !path.starts_with('/') && path.contains('/') {
        return Err(ValueError(format!("program '{path}' is neither an absolute path nor a plain name")));
    }
    if !own_name {
        command.words.push(path.clone());
    }
    command.path = path;
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
    if command.words.is_empty() {
        return Err(ValueError("'@' asks for a name of the process, but none follows".into()));
    }
    Ok(command)
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
    fn faulty_commands_are_refused() {
        for bad in ["a/b", "-", "@/bin/a", "/bin/a \"x", "/bin/", "/bin/a %Z"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
