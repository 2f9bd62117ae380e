//! Completion of `ferrite` in bash: the real shell and the real command.

use std::path::Path;
use std::process::Command;

/// What the tabulator key offers behind a line, by name.
fn offers(line: &str) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_ferrite"));
    let path = format!("{}:/usr/bin:/bin", program.parent().expect("a folder").display());
    // The shell takes the sign of equality for a word.
    let script = "source \"$1\"; line=${2//=/ = }; read -ra COMP_WORDS <<<\"$line\"
        [[ $line == *' ' ]] && COMP_WORDS+=(\"\"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _ferrite_host; ((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\"";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("completion/ferrite");
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).arg(file).arg(line).env("PATH", path);
    let output = bash.output().expect("bash is installed");
    assert!(output.stderr.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let mut offers: Vec<String> = text.lines().map(str::to_owned).collect();
    offers.sort();
    offers
}

#[test]
fn commands_options_and_boards_are_offered() {
    assert_eq!(offers("ferrite bo"), ["boards"]);
    assert_eq!(offers("ferrite bu"), ["build"]);
    assert!(offers("ferrite ").contains(&"ssh".to_owned()));
    assert_eq!(offers("ferrite build --comp"), ["--compress"]);
    assert!(offers("ferrite --ver").contains(&"--version".to_owned()));
    assert!(offers("ferrite build --board ").contains(&"qemu".to_owned()));
    assert_eq!(offers("ferrite build --board=qemu"), ["qemu", "qemu-minimal"]);
    assert!(offers("ferrite run --board=").contains(&"qemu".to_owned()));
}
