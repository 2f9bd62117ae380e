//! Braces: `{a,b}c` stands for `ac` and `bc`.

/// Texts that one may stand for.
const EXPANSIONS_MAX: usize = 1024;

/// All that a text with braces stands for, `{a,b}c` being `ac` and `bc`; too many are cut off.
pub fn expand(text: &str) -> Vec<String> {
    let mut waiting = vec![text.to_string()];
    let mut done = Vec::new();
    while let Some(text) = waiting.pop() {
        match first_braces(&text) {
            Some((head, choices, tail)) if waiting.len() + done.len() + choices.len() <= EXPANSIONS_MAX => {
                waiting.extend(choices.iter().rev().map(|choice| format!("{head}{choice}{tail}")));
            }
            Some(_) => {}
            None => done.push(text),
        }
    }
    done
}

/// The first braces that are closed, with what stands between their commas. `{}` stands for itself.
fn first_braces(text: &str) -> Option<(&str, Vec<&str>, &str)> {
    let mut from = 0;
    loop {
        let open = from + text.get(from..)?.find('{')?;
        let body = text.get(open + 1..)?;
        if body.starts_with('}') {
            from = open + 2;
            continue;
        }
        let (mut depth, mut start, mut choices) = (0_usize, 0, Vec::new());
        for (at, c) in body.char_indices() {
            match (c, depth) {
                ('{', _) => depth += 1,
                ('}', 0) => {
                    choices.push(body.get(start..at)?);
                    return Some((text.get(..open)?, choices, body.get(at + 1..)?));
                }
                ('}', _) => depth -= 1,
                (',', 0) => {
                    choices.push(body.get(start..at)?);
                    start = at + 1;
                }
                _ => {}
            }
        }
        from = open + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_each_of_their_choices() {
        assert_eq!(expand("/a/{b,c{d,e}}f"), ["/a/bf", "/a/cdf", "/a/cef"]);
        assert_eq!(expand("/{}/{x"), ["/{}/{x"]);
        assert!(expand(&"{a,b}".repeat(40)).len() <= EXPANSIONS_MAX);
    }
}
