//! A3: the same inputs give the same bytes, elsewhere, later, for another user.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use ferrite_tests::board::{ferrite, newest_image, program, tree};
use sha2::{Digest, Sha256};

const NOBODY: &str = "65534";

#[test]
fn another_user_in_another_folder_builds_the_same_image() -> anyhow::Result<()> {
    let work = tempfile::Builder::new().prefix("ferrite-build-").tempdir().context("making a folder")?;
    let (mine, theirs) = (work.path().join("mine"), work.path().join("theirs"));
    fs::create_dir(&theirs).context("making a folder")?;
    let ours = run(Command::new(ferrite()?).args(["build", "--board", "qemu", "--out"]).arg(&mine).current_dir(tree()));
    ours.context("the first build")?;

    // A copy of the tree and of the programs, so that nothing of the first build's place can shine through.
    for part in ["boards", "image"] {
        copy(&tree().join(part), &theirs.join(part))?;
    }
    let programs = program("ferrite-init")?.parent().context("programs lie in a folder")?.to_path_buf();
    fs::create_dir(theirs.join("programs")).context("making a folder")?;
    for entry in fs::read_dir(&programs).context("reading the folder of the programs")?.flatten() {
        let file = entry.metadata().context("reading a program")?;
        if file.is_file() && file.permissions().mode() & 0o111 != 0 {
            fs::copy(entry.path(), theirs.join("programs").join(entry.file_name())).context("copying a program")?;
        }
    }
    copy(&cache()?, &theirs.join("cache"))?;
    let mut build = as_other_user(&theirs)?;
    build.arg(theirs.join("programs/ferrite")).args([
        "build",
        "--board",
        "qemu",
        "--tree",
        ".",
        "--programs",
        "programs",
    ]);
    build.args(["--out", "out"]).current_dir(&theirs);
    run(&mut build).context("the second build")?;

    let (first, second) = (newest_image(&mine, "qemu"), newest_image(&theirs.join("out"), "qemu"));
    let (first, second) = (first.context("no first image")?, second.context("no second image")?);
    assert_eq!(first.file_name(), second.file_name());
    assert_eq!(sha256(&first)?, sha256(&second)?, "the images differ: cmp {} {}", first.display(), second.display());
    Ok(())
}

/// A command line in another time zone, language and umask, and for another user where we may become one.
fn as_other_user(home: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new("env");
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| is_for_the_network(name)));
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TZ", "Asia/Tokyo").env("LANG", "C.UTF-8");
    command.env("HOME", home).env("XDG_CACHE_HOME", home.join("cache-home"));
    fs::create_dir(home.join("cache-home")).context("making a folder")?;
    fs::rename(home.join("cache"), home.join("cache-home/ferrite")).context("placing the cache")?;
    if fs::metadata("/proc/self").context("asking who we are")?.uid() == 0 {
        let owned = run(Command::new("chown").args(["-R", &format!("{NOBODY}:{NOBODY}")]).arg(home));
        owned.context("giving the folder away")?;
        let parent = home.parent().context("the folder lies in a folder")?;
        fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).context("opening the folder")?;
        command.args(["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    }
    command.args(["sh", "-c", "umask 027; exec \"$@\"", "sh"]);
    Ok(command)
}

fn is_for_the_network(name: &OsStr) -> bool {
    name.to_string_lossy().to_lowercase().ends_with("_proxy")
}

fn cache() -> anyhow::Result<std::path::PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let base = base.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
    Ok(base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("ferrite"))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    run(Command::new("cp").args(["-r", "--reflink=auto"]).args([from, to])).context("copying a folder")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("starting {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ended with {}: {said}", command.get_program().display(), output.status);
    Ok(())
}

fn sha256(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut file = fs::File::open(path).with_context(|| format!("opening '{}'", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).with_context(|| format!("reading '{}'", path.display()))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    Ok(hash.finalize().to_vec())
}
