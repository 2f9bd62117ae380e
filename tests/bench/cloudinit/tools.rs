//! The programs that are measured, and how each is run once: ours below a root of its own, cloud-init in a copy of its
//! root with a kernel's name spaces around it, so that nothing of the host is seen or changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::documents::Document;

/// cloud-init, and what its images have that it calls.
const PACKAGES: &str = "cloud-init,iproute2,sudo,ca-certificates";
/// What a root of ours needs of the peer's.
const ACCOUNTS: [&str; 5] = ["etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/hosts"];
/// Run before the measured program. `@WORD@` is replaced.
const STAGE: &str = "set -e
mount -t tmpfs none '@STAGE@'
mkdir '@STAGE@/up' '@STAGE@/work' '@STAGE@/root'
mount -t overlay none -o 'lowerdir=@ROOT@,upperdir=@STAGE@/up,workdir=@STAGE@/work' '@STAGE@/root'
cd '@STAGE@/root'
mount -t proc none proc
mount -t sysfs none sys
mount --bind /dev dev
mount -t tmpfs none run
mkdir -p var/lib/cloud/seed/nocloud
cp '@DOCUMENT@'/* var/lib/cloud/seed/nocloud/
cp '@OWN@' bench
echo 'datasource_list: [NoCloud]' > etc/cloud/cloud.cfg.d/90_dpkg.cfg
@BEFORE@
exec chroot . /bench cost @COMMAND@
";
const ALL_STAGES: &str = "--stages -- cloud-init --all-stages";
/// Another boot of the same instance.
const FIRST_BOOT: &str = "chroot . /bench cost --stages -- cloud-init --all-stages > dev/null
umount run
mount -t tmpfs none run";
const SEED: &str = "/var/lib/cloud/seed/nocloud/user-data";
const READ_YAML: &str = "import sys, yaml; yaml.safe_load(open(sys.argv[1]))";

/// What is asked of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Validate,
    Plan,
    Apply,
    ApplyAgain,
}

/// A program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Ferrite,
    CloudInit,
    GoYaml,
    PyYaml,
}

impl Tool {
    pub(crate) const ALL: [Self; 4] = [Self::Ferrite, Self::CloudInit, Self::GoYaml, Self::PyYaml];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ferrite => "ferrite",
            Self::CloudInit => "cloud-init",
            Self::GoYaml => "go-yaml",
            Self::PyYaml => "PyYAML",
        }
    }
}

/// What one run took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) cpu_ms: f64,
    pub(crate) rss_mib: f64,
}

/// Where everything is.
pub(crate) struct Place {
    pub(crate) program: PathBuf,
    pub(crate) documents: PathBuf,
    own: PathBuf,
    out: PathBuf,
    peer: PathBuf,
    decoder: PathBuf,
    runs: u32,
}

impl Place {
    /// Installs the peers; a root that is there is used again.
    pub(crate) fn prepare(program: PathBuf, out: &Path, runs: u32) -> anyhow::Result<Self> {
        let peer = crate::peer::packaged_root(out, PACKAGES)?;
        let decoder = out.join("decode");
        fs::write(out.join("decode.go"), include_str!("decode.go")).context("writing decode.go")?;
        crate::peer::run(
            Command::new("go")
                .args(["build", "-o"])
                .args([&decoder, &out.join("decode.go")])
                .env("GO111MODULE", "off")
                .env("GOPATH", "/usr/share/gocode")
                .env("GOCACHE", out.join("go")),
        )?;
        for name in ["stage", "roots"] {
            crate::folder(&out.join(name))?;
        }
        let own = std::env::current_exe().context("finding this program")?;
        Ok(Self { program, documents: out.join("documents"), own, out: out.into(), peer, decoder, runs: runs.max(1) })
    }

    /// One sample; `None`: the tool does no such thing.
    pub(crate) fn measure(&self, tool: Tool, verb: Verb, document: Document) -> anyhow::Result<Option<Cost>> {
        let folder = self.documents.join(document.name);
        let user_data = folder.join("user-data");
        match (tool, verb) {
            (Tool::Ferrite, _) => self.ferrite(verb, document).map(Some),
            (Tool::CloudInit, Verb::Apply) => self.staged(&folder, "", ALL_STAGES).map(Some),
            (Tool::CloudInit, Verb::ApplyAgain) => self.staged(&folder, FIRST_BOOT, ALL_STAGES).map(Some),
            (_, _) if !document.is_plain || verb != Verb::Validate => Ok(None),
            (Tool::CloudInit, _) => {
                self.staged(&folder, "", &format!("-- cloud-init schema --config-file {SEED}")).map(Some)
            }
            (Tool::PyYaml, _) => {
                let command = format!("--times {} -- python3 -c '{READ_YAML}' {SEED}", self.runs);
                self.staged(&folder, "", &command).map(Some)
            }
            (Tool::GoYaml, _) => self.cost(&[&self.decoder, &user_data]).map(|(cost, _)| Some(cost)),
        }
    }

    fn ferrite(&self, verb: Verb, document: Document) -> anyhow::Result<Cost> {
        let folder = self.documents.join(document.name);
        let (user_data, meta_data) = (folder.join("user-data"), folder.join("meta-data"));
        let root = self.out.join("roots/@RUN@");
        let words = |verb: &'static str| {
            [&self.program, Path::new("--root"), &root, Path::new(verb), Path::new("--user-data"), &user_data]
                .map(Path::to_path_buf)
                .into_iter()
                .chain(["--meta-data".into(), meta_data.clone()])
                .collect::<Vec<PathBuf>>()
        };
        if verb != Verb::Validate {
            self.make_roots()?;
        }
        let (cost, code) = match verb {
            Verb::Validate => self.cost(&[&self.program, Path::new("validate"), &user_data])?,
            Verb::Plan => self.cost(&words("plan"))?,
            Verb::Apply => self.cost(&words("apply"))?,
            Verb::ApplyAgain => {
                self.cost(&words("apply"))?;
                self.cost(&words("apply"))?
            }
        };
        let right = match document.name {
            "simple" | "message" => code == 0,
            "broken" => code == 1,
            _ => (0..=2).contains(&code),
        };
        ensure!(right, "{verb:?} of the document '{}' ends with code {code}", document.name);
        Ok(cost)
    }

    /// Empty roots with users, one for each run.
    fn make_roots(&self) -> anyhow::Result<()> {
        for run in 0..self.runs {
            let root = self.out.join("roots").join(run.to_string());
            let _ = fs::remove_dir_all(&root); // It may not be there.
            fs::create_dir_all(root.join("etc")).context("making a root")?;
            for name in ACCOUNTS {
                // Not every root has a gshadow.
                if self.peer.join(name).exists() {
                    fs::copy(self.peer.join(name), root.join(name)).with_context(|| format!("copying '{name}'"))?;
                }
            }
        }
        Ok(())
    }

    fn cost(&self, words: &[impl AsRef<Path>]) -> anyhow::Result<(Cost, i32)> {
        let mut command = Command::new(&self.own);
        command.args(["cost", "--times", &self.runs.to_string(), "--"]).args(words.iter().map(AsRef::as_ref));
        answer(&mut command)
    }

    /// A command in the root of cloud-init.
    fn staged(&self, document: &Path, before: &str, command: &str) -> anyhow::Result<Cost> {
        let stage = STAGE
            .replace("@STAGE@", &self.out.join("stage").to_string_lossy())
            .replace("@ROOT@", &self.peer.to_string_lossy())
            .replace("@DOCUMENT@", &document.to_string_lossy())
            .replace("@OWN@", &self.own.to_string_lossy())
            .replace("@BEFORE@", before)
            .replace("@COMMAND@", command);
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "sh", "-c", &stage]);
        unshare.env_clear().env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin").env("LC_ALL", "C.UTF-8");
        answer(&mut unshare).map(|(cost, _)| cost)
    }
}

/// Reads what `cost` prints.
fn answer(command: &mut Command) -> anyhow::Result<(Cost, i32)> {
    let output = command.output().context("starting a measurement")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "measuring: {}: {said}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [microseconds, kib, code] = numbers[..] else { anyhow::bail!("the measurement says '{text}': {said}") };
    Ok((Cost { cpu_ms: microseconds / 1e3, rss_mib: kib / 1024.0 }, code as i32))
}
