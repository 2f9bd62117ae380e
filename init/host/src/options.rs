//! Options of the commands, by the rules of getopt: long names may be shortened, values follow `=` or are the next
//! word, `--` ends them. Pure.

/// One option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// The long name, without dashes.
    pub long: &'static str,
    /// The letter, if it has one.
    pub short: Option<char>,
    /// Whether it takes a value.
    pub takes_value: bool,
}

/// An option without a value.
pub(crate) const fn flag(long: &'static str) -> Known {
    Known { long, short: None, takes_value: false }
}

/// An option with a value.
pub(crate) const fn value(long: &'static str) -> Known {
    Known { long, short: None, takes_value: true }
}

/// What was given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// Options by long name with their values, in order.
    pub options: Vec<(&'static str, String)>,
    /// The other words.
    pub words: Vec<String>,
}

impl Given {
    /// Whether the option was given.
    pub(crate) fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == long)
    }

    /// The last value of the option.
    pub(crate) fn value(&self, long: &str) -> Option<&str> {
        self.options.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// All values of the option.
    pub(crate) fn values<'a>(&'a self, long: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(name, _)| *name == long).map(|(_, value)| value.as_str())
    }
}

/// Reads the words of a command line.
pub(crate) fn parse(program: &str, known: &'static [Known], words: &[String]) -> Result<Given, String> {
    let mut given = Given::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            given.words.extend(words.by_ref().cloned());
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            let option = find(program, known, name)?;
            let value = match (option.takes_value, value) {
                (false, Some(_)) => {
                    return Err(format!("{program}: option '--{}' doesn't allow an argument", option.long));
                }
                (false, None) => String::new(),
                (true, Some(value)) => value.to_string(),
                (true, None) => {
                    let missing = || format!("{program}: option '--{}' requires an argument", option.long);
                    words.next().ok_or_else(missing)?.clone()
                }
            };
            given.options.push((option.long, value));
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            for letter in letters.chars() {
                let option = known.iter().find(|option| option.short == Some(letter));
                let option = option.ok_or_else(|| format!("{program}: invalid option -- '{letter}'"))?;
                given.options.push((option.long, String::new()));
            }
        } else {
            given.words.push(word.clone());
        }
    }
    Ok(given)
}

fn find(program: &str, known: &'static [Known], name: &str) -> Result<&'static Known, String> {
    if let Some(option) = known.iter().find(|option| option.long == name) {
        return Ok(option);
    }
    let mut possible = known.iter().filter(|option| option.long.starts_with(name));
    match (possible.next(), possible.next()) {
        (Some(option), None) => Ok(option),
        (Some(_), Some(_)) => Err(format!("{program}: option '--{name}' is ambiguous")),
        (None, _) => Err(format!("{program}: unrecognized option '--{name}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Known; 4] =
        [flag("create"), flag("clean"), value("root"), Known { long: "help", short: Some('h'), takes_value: false }];

    #[test]
    fn options_are_read_as_getopt_does() {
        let read =
            |words: &[&str]| parse("x", &KNOWN, &words.iter().map(|word| (*word).to_string()).collect::<Vec<_>>());
        let given = read(&["--cr", "a", "--root=/b", "--root", "/c", "-h", "-", "--", "--clean"]).unwrap();
        assert_eq!(given.words, ["a", "-", "--clean"]);
        assert_eq!((given.has("create"), given.has("clean"), given.has("help")), (true, false, true));
        assert_eq!(given.value("root"), Some("/c"));
        for (words, error) in [
            (["--c"], "x: option '--c' is ambiguous"),
            (["--nope"], "x: unrecognized option '--nope'"),
            (["--root"], "x: option '--root' requires an argument"),
            (["--clean=1"], "x: option '--clean' doesn't allow an argument"),
            (["-q"], "x: invalid option -- 'q'"),
        ] {
            assert_eq!(read(&words).unwrap_err(), error);
        }
    }
}
