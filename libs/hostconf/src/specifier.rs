//! Specifiers such as `%m` and `%b` in lines of tmpfiles.d and sysusers.d. Pure.

/// Bytes of a value with its specifiers replaced: as long as a path may be.
const EXPANDED_MAX: usize = 4095;

/// What the machine says about a specifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The value.
    Value(String),
    /// Not known yet, such as the id of a machine that has none: the line is skipped.
    Unresolvable,
    /// No such specifier.
    Unknown,
}

/// What is known about the machine.
pub trait Facts {
    /// The value of `%letter`.
    fn specifier(&self, letter: char) -> Answer;
}

/// Why a text could not be expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The line is skipped without a word.
    Unresolvable,
    /// A specifier that is none.
    Unknown,
    /// The value is longer than a path may be.
    TooLong,
}

impl Failure {
    /// What systemd's tools call it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Unresolvable => "uninitialized /etc/ detected",
            Self::Unknown => "Invalid slot",
            Self::TooLong => "File name too long",
        }
    }
}

/// Replaces all specifiers.
pub fn expand(text: &str, facts: &dyn Facts) -> Result<String, Failure> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', None | Some('%')) => out.push('%'),
            ('%', Some(letter)) => match facts.specifier(letter) {
                Answer::Value(value) => out.push_str(&value),
                Answer::Unresolvable => return Err(Failure::Unresolvable),
                Answer::Unknown if letter.is_ascii_alphanumeric() => return Err(Failure::Unknown),
                Answer::Unknown => out.extend(['%', letter]),
            },
            (c, _) => out.push(c),
        }
        if out.len() > EXPANDED_MAX {
            return Err(Failure::TooLong);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine;

    impl Facts for Machine {
        fn specifier(&self, letter: char) -> Answer {
            match letter {
                'm' => Answer::Value("id".into()),
                'b' => Answer::Unresolvable,
                'v' => Answer::Value("v".repeat(1000)),
                _ => Answer::Unknown,
            }
        }
    }

    #[test]
    fn specifiers_are_replaced_and_faults_are_told_apart() {
        let cases = [
            ("a%m/%%-%,%", Ok("aid/%-%,%".to_string())),
            ("%b", Err(Failure::Unresolvable)),
            ("%Z", Err(Failure::Unknown)),
            ("%v%v%v%v%v", Err(Failure::TooLong)),
        ];
        for (text, want) in cases {
            assert_eq!(expand(text, &Machine), want, "{text}");
        }
    }
}
