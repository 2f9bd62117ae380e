//! Environment: `Environment=` words, the text of an `EnvironmentFile=`, and variables in command words. Pure.

use crate::words::{Escapes, split};

/// Variables in the order they were set; a later one of the same name wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// An empty environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a variable, in the place of an earlier one of this name.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.variables.iter_mut().find(|(have, _)| have == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.variables.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Removes a variable.
    pub fn unset(&mut self, name: &str) {
        self.variables.retain(|(have, _)| have != name);
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// How many variables there are.
    pub fn count(&self) -> usize {
        self.variables.len()
    }

    /// All variables in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Is this a name that a variable may have?
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Splits `NAME=value`.
pub fn assignment(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(name, _)| is_name(name))
}

/// Reads the text of an environment file: `NAME=value` lines with shell-like quoting. Faulty lines are skipped.
pub fn parse_file(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            ' ' | '\t' | '\n' | '\r' => {
                chars.next();
            }
            '#' | ';' => skip_comment(&mut chars),
            _ => {
                let mut key = String::new();
                let mut found = false;
                while let Some(c) = chars.next_if(|c| *c != '\n' && *c != '\r') {
                    if c == '=' {
                        found = true;
                        break;
                    }
                    key.push(c);
                }
                if found {
                    let value = file_value(&mut chars);
                    let key = key.trim();
                    if is_name(key) {
                        out.push((key.to_owned(), value));
                    }
                }
            }
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_comment(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '\n' => break,
            _ => {}
        }
    }
}

/// A value up to the end of its line; quotes may stand anywhere, an escaped newline continues.
fn file_value(chars: &mut Chars<'_>) -> String {
    let mut value = String::new();
    // Unquoted blanks at the end do not belong to the value; this is how long it is without them.
    let mut kept = 0;
    while chars.next_if(|c| *c == ' ' || *c == '\t').is_some() {}
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\r' => break,
            '\'' => {
                value.extend(std::iter::from_fn(|| chars.next().filter(|c| *c != '\'')));
                kept = value.len();
            }
            '"' => {
                double_quoted(chars, &mut value);
                kept = value.len();
            }
            '\\' => {
                if let Some(next) = chars.next()
                    && next != '\n'
                {
                    value.push(next);
                    kept = value.len();
                }
            }
            blank @ (' ' | '\t') => value.push(blank),
            other => {
                value.push(other);
                kept = value.len();
            }
        }
    }
    value.truncate(kept);
    value
}

fn double_quoted(chars: &mut Chars<'_>, value: &mut String) {
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some(next @ ('"' | '\\' | '`' | '$')) => value.push(next),
                Some('\n') | None => {}
                Some(other) => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
}

/// Puts variables into the words of a command: `$NAME` alone splits, `${NAME}` inside a word does not, `$$` is `$`.
pub fn expand_words(words: &[String], environment: &Environment) -> Vec<String> {
    let mut out = Vec::with_capacity(words.len());
    for word in words {
        match word.strip_prefix('$').filter(|name| !name.starts_with(['{', '$'])) {
            Some(name) => {
                let value = environment.get(name).unwrap_or("");
                // Relaxed never fails: a faulty quote or escape is taken as it stands.
                out.extend(split(value, Escapes::Relaxed).unwrap_or_default());
            }
            None => out.push(expand(word, environment)),
        }
    }
    out
}

/// Puts `${NAME}` and `$$` into one word.
pub fn expand(word: &str, environment: &Environment) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('{').and_then(|t| t.split_once('}')) {
            out.push_str(environment.get(name).unwrap_or(""));
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        let mut environment = Environment::new();
        environment.set("OPTS", "-a 'b c'");
        environment.set("X", "1 2");
        environment
    }

    #[test]
    fn a_variable_alone_splits_and_one_in_braces_does_not() {
        let words = ["$OPTS", "${X}", "a${X}b", "$NONE", "$$", "x$X", "${NONE}"].map(str::to_owned);
        assert_eq!(expand_words(&words, &environment()), ["-a", "b c", "1 2", "a1 2b", "$", "x$X", ""]);
    }

    #[test]
    fn an_environment_file_is_read_like_a_shell_fragment() {
        let text =
            "# comment\nA=1\n B = two words  \nC='x y' z\nD=\"a\\\"b$\\n\"\nE=a\\\nb\nbad line\n9=x\nF=\n;G=1\nH=x";
        let want =
            [("A", "1"), ("B", "two words"), ("C", "x y z"), ("D", "a\"b$\\n"), ("E", "ab"), ("F", ""), ("H", "x")];
        let have = parse_file(text);
        assert_eq!(have.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), want);
    }
}
