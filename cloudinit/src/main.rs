//! ferrite-cloudinit: makes a machine what its cloud-config says.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ferrite_cloudinit::{ApplyInputs, Output, Stage, Strictness};

/// Makes a machine what its cloud-config says
#[derive(Parser)]
#[command(name = "ferrite-cloudinit", version)]
struct Arguments {
    /// Work below this folder instead of /
    ///
    /// Nothing outside of it is read or changed, nothing is executed; the datasources of this machine are not asked.
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Default)]
struct Documents {
    /// Read the user-data from this file
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Read the meta-data from this file
    #[arg(long, value_name = "FILE")]
    meta_data: Option<PathBuf>,
    /// Read the vendor-data from this file
    #[arg(long, value_name = "FILE")]
    vendor_data: Option<PathBuf>,
    /// Read the network configuration from this file
    #[arg(long, value_name = "FILE")]
    network_config: Option<PathBuf>,
    /// Read that file as cloud-init, openstack, digitalocean or ec2
    #[arg(long, value_name = "FORMAT", requires = "network_config")]
    network_format: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum StageName {
    Early,
    Late,
    Background,
    ByHand,
}

impl From<StageName> for Stage {
    fn from(name: StageName) -> Self {
        match name {
            StageName::Early => Self::Early,
            StageName::Late => Self::Late,
            StageName::Background => Self::Background,
            StageName::ByHand => Self::ByHand,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Apply the documents of the datasource, or those named here
    ///
    /// Exit code 0: done, 2: something was left out, 1: the user-data cannot be used.
    Apply {
        #[command(flatten)]
        documents: Documents,
    },
    /// Find the datasource and apply what it says
    Run {
        /// At which point of the boot
        #[arg(long, value_enum, default_value_t = StageName::ByHand, hide = true)]
        stage: StageName,
    },
    /// Show what apply would do, and change nothing
    Plan {
        #[command(flatten)]
        documents: Documents,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The user-data
        #[arg(conflicts_with = "user_data")]
        file: Option<PathBuf>,
    },
    /// Show the document that all parts make together
    Render {
        #[command(flatten)]
        documents: Documents,
        /// Show the files of networkd instead
        #[arg(long)]
        network: bool,
    },
    /// Check a document and print all its faults
    Validate {
        /// The document
        file: PathBuf,
        /// Check this network configuration too
        #[arg(long, value_name = "FILE")]
        network_config: Option<PathBuf>,
        /// Take warnings for errors
        #[arg(long)]
        strict: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Tell what a key does, or list all keys
    Explain {
        /// The key, such as coreos.units.command
        key: Option<String>,
    },
    /// Print the JSON schema of the language
    Schema,
    /// Show which datasource this machine has, and why no other
    ///
    /// Nobody on the network is asked. Exit code 1: there is none.
    Datasource {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what was applied at this boot
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the commands that apply left for later
    #[command(hide = true)]
    RunCommands,
    /// Show a message when all is done
    #[command(hide = true)]
    FinalMessage { text: String },
    /// Tell a server that the machine is there
    #[command(hide = true)]
    PhoneHome {
        #[arg(long)]
        tries: u32,
        #[arg(long, value_delimiter = ',')]
        post: Vec<String>,
        url: String,
    },
}

fn inputs(root: PathBuf, documents: Documents) -> ApplyInputs {
    let Documents { user_data, meta_data, vendor_data, network_config, network_format } = documents;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("COREOS_"))
        .collect();
    ApplyInputs { root, user_data, meta_data, vendor_data, network_config, network_format, environment }
}

fn output(json: bool) -> Output {
    if json { Output::Json } else { Output::Text }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = arguments.root;
    let outcome = match arguments.command {
        Command::Apply { documents } => ferrite_cloudinit::apply(&inputs(root, documents)),
        Command::Run { stage } => ferrite_cloudinit::run(&inputs(root, Documents::default()), stage.into()),
        Command::Plan { mut documents, json, file } => {
            documents.user_data = documents.user_data.or(file);
            ferrite_cloudinit::show_plan(&inputs(root, documents), output(json))
        }
        Command::Render { documents, network: true } => ferrite_cloudinit::show_network(&inputs(root, documents)),
        Command::Render { documents, network: false } => ferrite_cloudinit::show_merged(&inputs(root, documents)),
        Command::Validate { file, network_config, strict, json } => {
            let strictness = if strict { Strictness::Strict } else { Strictness::Usual };
            ferrite_cloudinit::validate(&file, network_config.as_deref(), strictness, output(json))
        }
        Command::Explain { key } => Ok(ferrite_cloudinit::show_key(key.as_deref())),
        Command::Schema => Ok(ferrite_cloudinit::show_schema()),
        Command::Datasource { json } => Ok(ferrite_cloudinit::show_datasource(output(json))),
        Command::Status { json } => ferrite_cloudinit::show_status(&root, output(json)),
        Command::RunCommands => ferrite_cloudinit::run_commands(),
        Command::FinalMessage { text } => ferrite_cloudinit::show_final_message(&text),
        Command::PhoneHome { tries, post, url } => ferrite_cloudinit::phone_home(&url, tries, &post),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => ferrite_cli::exit_with(Err(error)),
    }
}
