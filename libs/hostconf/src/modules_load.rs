//! modules-load.d, and the modules that the kernel command line names: what is loaded at every boot. Pure.

/// Words of the kernel command line with names; `rd.` ones are for early boot.
const WORDS: [&str; 2] = ["modules-load", "modules_load"];

/// The names in a file, one a line.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// The names on the kernel command line, separated by commas.
pub fn of_command_line(line: &str) -> Vec<String> {
    let words = line.split_whitespace().filter_map(|word| word.split_once('='));
    let lists = words.filter(|(key, _)| WORDS.contains(key)).flat_map(|(_, list)| list.split(','));
    lists.map(|name| name.trim_matches('"').trim()).filter(|name| !name.is_empty()).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!(names("# c\n\n  drbd \n;x\ni2c_dev").collect::<Vec<_>>(), ["drbd", "i2c_dev"]);
        let line = "quiet modules_load=a,b rd.modules_load=c modules-load=d, modules_load root=x";
        assert_eq!(of_command_line(line), ["a", "b", "d"]);
    }
}
