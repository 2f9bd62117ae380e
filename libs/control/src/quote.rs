//! Words as a shell would need them, for showing command lines. Pure.

/// Joins the words of a command with blanks; a word with special characters is in double quotes, as systemd shows it.
pub fn quote_words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        push_word(word, &mut text);
    }
    text
}

fn push_word(word: &str, text: &mut String) {
    let plain = |c: char| c.is_alphanumeric() || "-_=+./:@%,^{}".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        text.push_str(word);
        return;
    }
    text.push('"');
    for character in word.chars() {
        match character {
            '"' | '\\' | '$' | '`' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            control if control.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(control))),
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_that_need_quotes_get_them() {
        let cases: [(&[&str], &str); 5] = [
            (&["/usr/sbin/sshd", "-D"], "/usr/sbin/sshd -D"),
            (&["sshd: /usr/sbin/sshd -D [listener]"], "\"sshd: /usr/sbin/sshd -D [listener]\""),
            (&["sh", "-c", "echo \"$HOME\""], "sh -c \"echo \\\"\\$HOME\\\"\""),
            (&["a", ""], "a \"\""),
            (&["\u{1b}[2J\n"], "\"\\x1b[2J\\n\""),
        ];
        for (words, text) in cases {
            assert_eq!(quote_words(words.iter().copied()), text);
        }
    }
}
