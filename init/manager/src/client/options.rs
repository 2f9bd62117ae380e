//! Options as `getopt_long` takes them: anywhere on the line, glued or split, long ones shortened. Pure.

use anyhow::{Result, bail};

/// Whether an option has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Value,
    /// Only after `=`, or glued to the letter.
    Maybe,
}

/// An option: its letter (or a blank), its name, its value.
pub type Flag = (char, &'static str, Takes);

/// Where options may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Anywhere,
    /// Only before the first operand: what follows belongs to another command.
    First,
}

/// A command line.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Line {
    /// Options in their order, with their values.
    pub options: Vec<(&'static str, Option<String>)>,
    pub operands: Vec<String>,
}

impl Line {
    /// Was this option given?
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(known, _)| *known == name)
    }

    /// The last value of an option.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(known, _)| *known == name).and_then(|(_, value)| value.as_deref())
    }

    /// All values of an option.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.options.iter().filter(move |(known, _)| *known == name).filter_map(|(_, value)| value.as_deref())
    }
}

/// Parses words, the program's name first.
pub fn parse(words: &[String], flags: &[Flag], order: Order) -> Result<Line> {
    let program = words.first().map(|word| word.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
    let mut line = Line::default();
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        if word == "--" {
            line.operands.extend(rest.by_ref().cloned());
        } else if let Some(text) = word.strip_prefix("--") {
            let (name, inline) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            let (_, name, takes) = find_long(program, name, flags)?;
            let value = match (takes, inline) {
                (Takes::Nothing, Some(_)) => bail!("{program}: option '--{name}' doesn't allow an argument"),
                (Takes::Value, None) => match rest.next() {
                    Some(value) => Some(value.clone()),
                    None => bail!("{program}: option '--{name}' requires an argument"),
                },
                (_, inline) => inline,
            };
            line.options.push((name, value));
        } else if word.len() > 1 && word.starts_with('-') {
            short_options(program, word, flags, &mut rest, &mut line)?;
        } else {
            line.operands.push(word.clone());
            if order == Order::First {
                line.operands.extend(rest.by_ref().cloned());
            }
        }
    }
    Ok(line)
}

fn find_long(program: &str, name: &str, flags: &[Flag]) -> Result<Flag> {
    if let Some(flag) = flags.iter().find(|(_, long, _)| *long == name) {
        return Ok(*flag);
    }
    let fitting: Vec<&Flag> = flags.iter().filter(|(_, long, _)| long.starts_with(name)).collect();
    match fitting.as_slice() {
        [flag] => Ok(**flag),
        [] => bail!("{program}: unrecognized option '--{name}'"),
        _ => {
            let names: Vec<String> = fitting.iter().map(|(_, long, _)| format!("'--{long}'")).collect();
            bail!("{program}: option '--{name}' is ambiguous; possibilities: {}", names.join(" "))
        }
    }
}

fn short_options<'a>(
    program: &str,
    word: &str,
    flags: &[Flag],
    rest: &mut impl Iterator<Item = &'a String>,
    line: &mut Line,
) -> Result<()> {
    let mut letters = word.chars().skip(1);
    while let Some(letter) = letters.next() {
        let Some((_, name, takes)) = flags.iter().find(|(short, _, _)| *short == letter && letter != ' ') else {
            bail!("{program}: invalid option -- '{letter}'");
        };
        if *takes == Takes::Nothing {
            line.options.push((name, None));
            continue;
        }
        let glued: String = letters.by_ref().collect();
        let value = match (glued.is_empty(), takes) {
            (false, _) => Some(glued),
            (true, Takes::Value) => match rest.next() {
                Some(value) => Some(value.clone()),
                None => bail!("{program}: option requires an argument -- '{letter}'"),
            },
            (true, Takes::Maybe | Takes::Nothing) => None,
        };
        line.options.push((name, value));
    }
    Ok(())
}

/// A boolean value of an option; without one it is true.
pub fn boolean(name: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None => Ok(true),
        Some(text) => match ferrite_unit::value::boolean(text) {
            Ok(flag) => Ok(flag),
            Err(_) => bail!("Failed to parse boolean argument to --{name}: {text}."),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 5] = [
        ('h', "help", Takes::Nothing),
        ('p', "path", Takes::Nothing),
        (' ', "iterations", Takes::Value),
        ('u', "unit", Takes::Value),
        (' ', "man", Takes::Maybe),
    ];

    fn line(text: &str, order: Order) -> Result<Line> {
        parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>(), &FLAGS, order)
    }

    #[test]
    fn options_stand_anywhere_or_first() {
        let expected = line("x --iterations=3 -pu a b c", Order::Anywhere).expect("valid");
        assert_eq!(expected.operands, ["b", "c"]);
        assert_eq!((expected.value("iterations"), expected.value("unit")), (Some("3"), Some("a")));
        for text in ["x b --iter 3 -pua c", "/bin/x --iterations 3 -p --unit=a -- b c"] {
            assert_eq!(line(text, Order::Anywhere).expect("valid"), expected, "{text}");
        }
        let first = line("x -p ls -h --man", Order::First).expect("valid");
        assert_eq!(first.operands, ["ls", "-h", "--man"]);
        assert!(first.has("path") && !first.has("help"));
    }

    #[test]
    fn faults_are_worded_as_by_getopt() {
        for (text, message) in [
            ("x --nope", "x: unrecognized option '--nope'"),
            ("x -z", "x: invalid option -- 'z'"),
            ("x --help=1", "x: option '--help' doesn't allow an argument"),
            ("x --unit", "x: option '--unit' requires an argument"),
            ("x -u", "x: option requires an argument -- 'u'"),
        ] {
            assert_eq!(line(text, Order::Anywhere).expect_err("refused").to_string(), message);
        }
    }

    #[test]
    fn a_value_that_may_be_missing_is_glued() {
        let found = line("x --man a --man=no", Order::Anywhere).expect("valid");
        assert_eq!(found.options, [("man", None), ("man", Some("no".to_owned()))]);
        assert_eq!(boolean("man", found.value("man")).ok(), Some(false));
    }
}
