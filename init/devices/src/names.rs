//! How what hardware and labels say becomes part of a path. Pure.
//!
//! Two ways, as udev has them: labels keep every byte as `\xNN`, so that a program can find a label again; names of
//! hardware are for people, so that blanks and odd characters become `_`.

/// Bytes of a name at most.
const MAX_BYTES: usize = 255;

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "#+-.:=@_".contains(letter) || (!letter.is_ascii() && !letter.is_control())
}

/// A label: what is not plain becomes `\xNN`, so that no name leaves its folder.
pub(crate) fn encoded(label: &str) -> Option<String> {
    let mut text = String::new();
    for letter in label.chars() {
        if is_plain(letter) {
            text.push(letter);
        } else {
            let mut bytes = [0; 4];
            text.extend(letter.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\x{byte:02x}")));
        }
    }
    checked(text)
}

/// A name of hardware: no blanks at its ends, one `_` for a run of blanks and for every other odd character.
pub(crate) fn replaced(name: &str) -> String {
    let words: Vec<&str> = name.split(|letter: char| letter.is_ascii_whitespace() || letter == '\0').collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join("_").chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect()
}

/// The name, if it is one that a folder can have.
pub(crate) fn checked(name: String) -> Option<String> {
    (!matches!(name.as_str(), "" | "." | "..") && name.len() <= MAX_BYTES).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_keep_every_byte_and_names_become_readable() {
        assert_eq!(encoded("my state/..").as_deref(), Some("my\\x20state\\x2f.."));
        assert_eq!(encoded("größe\u{1}").as_deref(), Some("größe\\x01"));
        assert_eq!(encoded("a\\x2fb").as_deref(), Some("a\\x5cx2fb"));
        assert_eq!((encoded(".."), encoded(""), encoded(&"x".repeat(256))), (None, None, None));
        assert_eq!(replaced("  QEMU  NVMe Ctrl   "), "QEMU_NVMe_Ctrl");
        assert_eq!(replaced("a/../b\u{7}$(x)"), "a_.._b___x_");
        assert_eq!(replaced("é#+-.:=@_"), "é#+-.:=@_");
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_folder(text in "\\PC{0,80}", hostile in "[./\\\\\\x00-\\x20]{0,20}") {
            for name in [&text, &hostile] {
                let encoded = encoded(name).unwrap_or_default();
                prop_assert!(!encoded.contains('/') && !matches!(encoded.as_str(), "." | ".."));
                let replaced = replaced(name);
                prop_assert!(!replaced.contains(['/', ' ', '\0', '\n']));
            }
        }
    }
}
