//! Names of modules and of devices, in which `-` and `_` are the same character. Pure.

use std::borrow::Borrow;
use std::fmt;

/// A module's name with every `-` written as `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleName(String);

impl ModuleName {
    /// Any spelling of a name.
    pub fn new(text: &str) -> ModuleName {
        ModuleName(text.replace('-', "_"))
    }

    /// The name of a module file: `kernel/fs/erofs/erofs.ko.xz` is `erofs`.
    pub fn of_path(path: &str) -> ModuleName {
        let file = path.rsplit('/').next().unwrap_or(path);
        ModuleName::new(file.split(".ko").next().unwrap_or(file))
    }

    /// The name as the kernel writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ModuleName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An alias or a pattern with every `-` outside brackets written as `_`.
pub(crate) fn normalise_alias(text: &str, output: &mut String) {
    let mut in_brackets = false;
    output.extend(text.chars().map(|character| match character {
        '-' if !in_brackets => '_',
        '[' => {
            in_brackets = true;
            '['
        }
        ']' => {
            in_brackets = false;
            ']'
        }
        other => other,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_from_the_file_and_knows_no_dashes() {
        for (path, name) in [
            ("kernel/fs/erofs/erofs.ko", "erofs"),
            ("kernel/drivers/block/xen-blkfront.ko.xz", "xen_blkfront"),
            ("dm-verity.ko.zst", "dm_verity"),
            ("plain", "plain"),
        ] {
            assert_eq!(ModuleName::of_path(path).as_str(), name);
        }
    }

    #[test]
    fn dashes_inside_brackets_are_ranges_and_stay() {
        let mut text = String::new();
        normalise_alias("usb-a:v[0-9]x-*", &mut text);
        assert_eq!(text, "usb_a:v[0-9]x_*");
    }
}
