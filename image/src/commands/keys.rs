//! `ferrite keys`: makes, changes and shows the keys of a product.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use ferrite_cli::Table;
use ferrite_image::key_folder::{self, KeyFolder, Quorum};
use ferrite_payload::{KeySet, PublicKey, Role, SecretKey};

/// Make, change and show the keys that sign updates
///
/// Root keys sign key sets, release keys sign payloads, channel keys sign the
/// list of releases. Only channel keys need to be where you publish.
#[derive(Debug, Args)]
pub struct Keys {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make keys and the first key set in a new folder
    New {
        /// The folder
        folder: PathBuf,
        /// What the keys are for
        #[arg(long, default_value = "ferrite")]
        product: String,
        /// How many root keys must sign, of how many
        #[arg(long, value_name = "M/N", default_value = "2/3")]
        root: Quorum,
        /// How many release keys must sign, of how many
        #[arg(long, value_name = "M/N", default_value = "2/3")]
        release: Quorum,
        /// How many channel keys must sign, of how many
        #[arg(long, value_name = "M/N", default_value = "1/1")]
        channel: Quorum,
    },
    Rotate(Rotate),
    /// Show roles and keys
    Show {
        /// The folder
        folder: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Make the key set that follows
///
/// It is signed by the root keys of the present set and by its own: machines
/// walk from one set to the next.
#[derive(Debug, Args)]
struct Rotate {
    /// The folder
    folder: PathBuf,
    /// Replace this key by a new one (first characters of its name)
    #[arg(long, value_name = "KEY")]
    replace: Vec<String>,
    /// Take this key out
    #[arg(long, value_name = "KEY")]
    remove: Vec<String>,
    /// Add a new key to root, release or channel
    #[arg(long, value_name = "ROLE")]
    add: Vec<String>,
    /// Change how many keys must sign, as in release=2
    #[arg(long, value_name = "ROLE=N")]
    threshold: Vec<String>,
}

impl Keys {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::New { folder, product, root, release, channel } => {
                let keys = key_folder::create(&folder, &product, [root, release, channel])?;
                print!("{}", table(&keys));
                println!("keep root and release keys away from where you publish; the .key files are secret");
            }
            Verb::Rotate(rotate) => rotate.run()?,
            Verb::Show { folder, json } => {
                let keys = KeyFolder::open(&folder)?;
                if json { println!("{:#}", as_json(&keys)) } else { print!("{}", table(&keys)) }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Rotate {
    fn run(self) -> anyhow::Result<()> {
        let mut keys = KeyFolder::open(&self.folder)?;
        let current = keys.current.clone();
        keys.quorum(current.root())?;
        let (mut roles, mut secrets) = (Vec::new(), Vec::new());
        for role in current.roles() {
            let (next, new) = self.next_role(role, &keys)?;
            roles.push(next);
            secrets.extend(new.into_iter().map(|key| (role.name(), key)));
        }
        if roles.iter().zip(current.roles()).all(|(next, role)| next == role) {
            bail!("nothing would change: say --replace, --remove, --add or --threshold");
        }
        let roles: [Role; 3] = roles.try_into().map_err(|_| anyhow::anyhow!("a key set has three roles"))?;
        for (role, key) in secrets {
            keys.add_secret(role, key)?;
        }
        let number = current.number().checked_add(1).context("there is no higher number")?;
        let path = keys.add_set(KeySet::new(current.product(), number, roles)?)?;
        print!("{}", table(&keys));
        println!("'{}' is signed; publish it with `ferrite publish`", path.display());
        Ok(())
    }

    /// The role as it will be, and its new keys.
    fn next_role(&self, role: &Role, keys: &KeyFolder) -> anyhow::Result<(Role, Vec<SecretKey>)> {
        let roles = &keys.current;
        for name in self.replace.iter().chain(&self.remove) {
            let found = roles.roles().iter().flat_map(|role| role.keys()).filter(|key| named(key, name)).count();
            if found != 1 {
                bail!("'{name}' is the beginning of {found} keys' names: see `ferrite keys show`");
            }
        }
        let known = |name: &str| roles.roles().iter().any(|role| role.name() == name);
        if let Some(wrong) = self.add.iter().find(|name| !known(name)) {
            bail!("there is no role '{wrong}': root, release and channel are there");
        }
        let mut threshold = role.threshold();
        for text in &self.threshold {
            let parts = text.split_once('=').and_then(|(name, number)| Some((name, number.parse::<usize>().ok()?)));
            let (name, number) =
                parts.filter(|(name, _)| known(name)).with_context(|| format!("'{text}' is not like release=2"))?;
            threshold = if name == role.name() { number } else { threshold };
        }
        let goes = |key: &&PublicKey| self.replace.iter().chain(&self.remove).any(|name| named(key, name));
        let replaced = role.keys().iter().filter(|key| self.replace.iter().any(|name| named(key, name))).count();
        let added = replaced + self.add.iter().filter(|name| *name == role.name()).count();
        let mut public: Vec<PublicKey> = role.keys().iter().filter(|key| !goes(key)).cloned().collect();
        let secrets = (0..added).map(|_| key_folder::generate()).collect::<anyhow::Result<Vec<_>>>()?;
        public.extend(secrets.iter().map(|key| key.public()));
        Ok((Role::new(role.name(), threshold, public)?, secrets))
    }
}

fn named(key: &PublicKey, name: &str) -> bool {
    !name.is_empty() && key.id().to_string().starts_with(name)
}

fn table(keys: &KeyFolder) -> String {
    let mut table = Table::with_heading(["ROLE", "NEEDED", "KEY", "SECRET HALF"]);
    for role in keys.current.roles() {
        for key in role.keys() {
            let needed = format!("{} of {}", role.threshold(), role.keys().len());
            let secret = if keys.has_secret(key) { "here" } else { "elsewhere" };
            table.row([role.name(), needed.as_str(), &key_folder::short(key), secret]);
        }
    }
    format!("key set {} of {}\n{}", keys.current.number(), keys.current.product(), table.render())
}

fn as_json(keys: &KeyFolder) -> serde_json::Value {
    let role = |role: &Role| {
        let keys = role.keys().iter().map(
            |key| serde_json::json!({ "id": key.id(), "public": key.to_string(), "secret_here": keys.has_secret(key) }),
        );
        serde_json::json!({ "threshold": role.threshold(), "keys": keys.collect::<Vec<_>>() })
    };
    let [root, release, channel] = keys.current.roles();
    serde_json::json!({
        "product": keys.current.product(),
        "number": keys.current.number(),
        "root": role(root),
        "release": role(release),
        "channel": role(channel),
    })
}
