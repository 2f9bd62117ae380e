//! Parameters of modules that stand on the kernel command line (`module.name=value`). Pure.
//!
//! The kernel takes those of built-in code itself; for a module whoever loads it passes them on.

use crate::name::ModuleName;

/// The parameters for one module, ready for finit_module; `words` is the split command line.
pub fn for_module<'a>(words: impl IntoIterator<Item = &'a str>, module: &ModuleName) -> String {
    let matching = words.into_iter().filter_map(|word| {
        let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
        let (prefix, name) = key.split_once('.')?;
        if ModuleName::new(prefix) != *module || name.is_empty() {
            return None;
        }
        Some(value.map_or_else(|| name.to_owned(), |value| format!("{name}={}", quoted(value))))
    });
    matching.collect::<Vec<_>>().join(" ")
}

fn quoted(value: &str) -> String {
    if value.contains(char::is_whitespace) { format!("\"{value}\"") } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_modules_own_words_are_passed_on() {
        let words =
            ["quiet", "softdog.soft_margin=10", "ferrite.root=aa", "i2c-core.x", "i2c_core.name=a b", "softdog."];
        assert_eq!(for_module(words, &ModuleName::new("softdog")), "soft_margin=10");
        assert_eq!(for_module(words, &ModuleName::new("i2c-core")), "x name=\"a b\"");
        assert_eq!(for_module(words, &ModuleName::new("erofs")), "");
    }
}
