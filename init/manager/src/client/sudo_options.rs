//! The command line of sudo, and the request it makes. Pure.
//!
//! What sudo has and we do not is refused by name.

use anyhow::{Result, bail};
use ferrite_control::RunRequest;

use super::accounts::Account;

/// What is printed without a command.
pub const USAGE: &str = "\
usage: sudo [-u USER] [-D DIR] [-E] [-n] [VAR=VALUE...] [--] COMMAND...
       sudo [-u USER] [-E] -i|-s [COMMAND...]
       sudo -v
Runs a command as another user, root if none is named. For members of group sudo;
no password is asked for.";

/// PATH of every command: nothing of the caller's is searched with another user's rights.
const SECURE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const KEPT: [&str; 6] = ["TERM", "COLORTERM", "LANG", "LANGUAGE", "TZ", "LS_COLORS"];

/// What the command line asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Action {
    /// Run a command or a shell.
    #[default]
    Run,
    /// See whether it would be allowed.
    Validate,
    /// `-k`: forget passwords; there are none.
    Forget,
    /// Print the usage because it was asked for.
    Help,
    /// Print the usage because there is no command.
    Usage,
}

/// Which shell is in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shell {
    /// None: the command itself.
    #[default]
    None,
    /// `-s`: the caller's.
    Plain,
    /// `-i`: the other user's, as at login.
    Login,
}

/// A parsed command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub action: Action,
    pub user: String,
    pub shell: Shell,
    pub keep_environment: bool,
    pub kept_names: Vec<String>,
    pub directory: Option<String>,
    pub assignments: Vec<(String, String)>,
    pub command: Vec<String>,
}

/// Parses the words after the program's name.
pub fn parse(words: &[String]) -> Result<Options> {
    let mut options = Options { user: "root".into(), ..Options::default() };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = |inline: &str| match inline {
            "" => rest.next().cloned().ok_or_else(|| anyhow::anyhow!("option '{word}' requires an argument")),
            text => Ok(text.to_owned()),
        };
        match word.as_str() {
            "--" => {
                options.command.extend(rest.cloned());
                break;
            }
            "-h" | "--help" => options.action = Action::Help,
            "--login" => options.shell = Shell::Login,
            "--shell" => options.shell = Shell::Plain,
            "--validate" => options.action = Action::Validate,
            "--preserve-env" => options.keep_environment = true,
            "--non-interactive" | "--set-home" | "--stdin" => {}
            "--user" => options.user = value("")?,
            "--chdir" => options.directory = Some(value("")?),
            long if long.starts_with("--user=") => options.user = value(long.get(7..).unwrap_or_default())?,
            long if long.starts_with("--chdir=") => options.directory = Some(value(long.get(8..).unwrap_or_default())?),
            long if long.starts_with("--preserve-env=") => {
                options.kept_names.extend(long.get(15..).unwrap_or_default().split(',').map(str::to_owned));
            }
            long if long.starts_with("--") => bail!("option '{long}' is not supported by this version"),
            short if short.len() > 1 && short.starts_with('-') => short_options(&mut options, short, &mut value)?,
            text => match text.split_once('=').filter(|(name, _)| is_variable(name)) {
                Some((name, value)) => options.assignments.push((name.to_owned(), value.to_owned())),
                None => {
                    options.command.push(text.to_owned());
                    options.command.extend(rest.cloned());
                    break;
                }
            },
        }
    }
    if options.action == Action::Run && options.command.is_empty() && options.shell == Shell::None {
        options.action = Action::Usage;
    }
    Ok(options)
}

fn short_options(options: &mut Options, word: &str, value: &mut impl FnMut(&str) -> Result<String>) -> Result<()> {
    let mut letters = word.get(1..).unwrap_or_default().chars();
    while let Some(letter) = letters.next() {
        match letter {
            'u' => {
                options.user = value(letters.as_str())?;
                return Ok(());
            }
            'D' => {
                options.directory = Some(value(letters.as_str())?);
                return Ok(());
            }
            'i' => options.shell = Shell::Login,
            's' => options.shell = Shell::Plain,
            'E' => options.keep_environment = true,
            'v' => options.action = Action::Validate,
            'k' | 'K' if options.command.is_empty() => options.action = Action::Forget,
            // No password is ever asked for, and HOME is always the other user's.
            'n' | 'S' | 'H' => {}
            other => bail!("option '-{other}' is not supported by this version"),
        }
    }
    Ok(())
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The request to PID 1.
pub fn request(
    options: &Options,
    caller: &Account,
    target: &Account,
    environment: &[(String, String)],
    cwd: Option<String>,
) -> RunRequest {
    let argv = match (options.action, options.shell) {
        (Action::Validate, _) => vec!["true".to_owned()],
        (_, Shell::None) => options.command.clone(),
        (_, Shell::Plain) => {
            let shell = environment.iter().find(|(name, _)| name == "SHELL").map(|(_, value)| value.clone());
            with_shell(vec![shell.unwrap_or_else(|| caller.shell.clone())], &options.command)
        }
        (_, Shell::Login) => with_shell(vec![target.shell.clone(), "-l".into()], &options.command),
    };
    let cwd = match (&options.directory, options.shell) {
        (Some(directory), _) => Some(directory.clone()),
        (None, Shell::Login) => Some(target.home.clone()),
        (None, Shell::None | Shell::Plain) => cwd,
    };
    let env = environment_of(options, caller, target, environment, &argv);
    RunRequest { argv, cwd, env, user: Some(target.name.clone()), tty: false }
}

/// `bash -c 'command'`: the words are quoted so that the shell gives them on as they are.
fn with_shell(mut shell: Vec<String>, command: &[String]) -> Vec<String> {
    if !command.is_empty() {
        let words: Vec<String> = command.iter().map(|word| shell_word(word)).collect();
        shell.extend(["-c".into(), words.join(" ")]);
    }
    shell
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_$".contains(c);
    word.chars()
        .map(|c| {
            if plain(c) {
                c.to_string()
            } else if c == '\n' {
                "'\n'".into()
            } else {
                format!("\\{c}")
            }
        })
        .collect()
}

fn environment_of(
    options: &Options,
    caller: &Account,
    target: &Account,
    environment: &[(String, String)],
    argv: &[String],
) -> Vec<String> {
    let is_kept = |name: &str| {
        options.keep_environment
            || KEPT.contains(&name)
            || name.starts_with("LC_")
            || options.kept_names.iter().any(|kept| kept == name)
    };
    let mut variables: Vec<(String, String)> = environment.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
    variables.extend(options.assignments.iter().cloned());
    let own = [
        ("PATH", SECURE_PATH.to_owned()),
        ("HOME", target.home.clone()),
        ("USER", target.name.clone()),
        ("LOGNAME", target.name.clone()),
        ("SHELL", target.shell.clone()),
        ("SUDO_USER", caller.name.clone()),
        ("SUDO_UID", caller.uid.to_string()),
        ("SUDO_GID", caller.gid.to_string()),
        ("SUDO_COMMAND", argv.join(" ")),
    ];
    let named = |name: &str| options.assignments.iter().any(|(assigned, _)| assigned == name);
    variables.retain(|(name, _)| named(name) || !own.iter().any(|(own, _)| own == name));
    variables.extend(own.into_iter().filter(|(name, _)| !named(name)).map(|(name, value)| (name.to_owned(), value)));
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Options> {
        parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    fn made(words: &[&str]) -> RunRequest {
        let user = |name: &str, uid, home: &str| Account {
            name: name.into(),
            uid,
            gid: uid,
            home: home.into(),
            shell: "/bin/bash".into(),
        };
        let environment = [("TERM", "xterm"), ("PATH", "/tmp/evil"), ("LD_PRELOAD", "x"), ("SHELL", "/bin/zsh")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let caller = user("core", 1000, "/home/core");
        request(&parsed(words).expect("valid"), &caller, &user("root", 0, "/root"), &environment, Some("/tmp".into()))
    }

    #[test]
    fn options_end_at_the_command() {
        let options = parsed(&["-nE", "-u", "www", "A=1", "ls", "-l", "B=2"]).expect("valid");
        assert_eq!((options.user.as_str(), options.keep_environment), ("www", true));
        assert_eq!(options.assignments, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(options.command, ["ls", "-l", "B=2"]);
        assert_eq!(parsed(&["-uwww", "--", "-x"]).expect("valid").command, ["-x"]);
        assert_eq!(parsed(&["--user=www", "-D/tmp", "id"]).expect("valid").directory.as_deref(), Some("/tmp"));
    }

    #[test]
    fn without_a_command_the_usage_is_shown_and_the_unknown_is_refused() {
        assert_eq!(parsed(&[]).expect("valid").action, Action::Usage);
        assert_eq!(parsed(&["-u", "www"]).expect("valid").action, Action::Usage);
        assert_eq!(parsed(&["-v"]).expect("valid").action, Action::Validate);
        assert_eq!(parsed(&["-i"]).expect("valid").action, Action::Run);
        for (words, message) in [
            (&["-l"][..], "option '-l' is not supported by this version"),
            (&["--askpass", "id"], "option '--askpass' is not supported by this version"),
            (&["-u"], "option '-u' requires an argument"),
        ] {
            assert_eq!(parsed(words).expect_err("refused").to_string(), message);
        }
    }

    #[test]
    fn the_environment_is_the_other_users_and_path_is_never_the_callers() {
        let run = made(&["A=1", "id"]);
        for line in ["TERM=xterm", "HOME=/root", "USER=root", "A=1", "SUDO_USER=core", "SUDO_COMMAND=id"] {
            assert!(run.env.contains(&line.to_owned()), "{line} in {:?}", run.env);
        }
        assert!(!run.env.iter().any(|line| line.starts_with("LD_PRELOAD") || line.contains("evil")));
        let kept = made(&["-E", "id"]);
        assert!(kept.env.contains(&"LD_PRELOAD=x".to_owned()) && !kept.env.iter().any(|line| line.contains("evil")));
        assert_eq!(run.env.iter().filter(|line| line.starts_with("PATH=")).count(), 1);
    }

    #[test]
    fn shells_get_the_words_as_they_are() {
        assert_eq!(made(&["-i"]).argv, ["/bin/bash", "-l"]);
        assert_eq!(made(&["-i"]).cwd.as_deref(), Some("/root"));
        assert_eq!(made(&["-s", "echo", "a b"]).argv, ["/bin/zsh", "-c", "echo a\\ b"]);
        assert_eq!(made(&["-s"]).cwd.as_deref(), Some("/tmp"));
        assert_eq!(made(&["-v"]).argv, ["true"]);
    }
}
