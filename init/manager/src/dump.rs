//! `ferrite-init dump`: loads all units of a root and prints everything that is known of them.
//!
//! Needs no running system and changes nothing. All units are loaded even if only some are printed: what a unit is to
//! others is only known from the others.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use ferrite_files::Root;
use ferrite_unit::file::FILE_MAX;
use ferrite_unit::graph::{Graph, Node};
use ferrite_unit::load::DeviceUnits;
use ferrite_unit::names::NameMap;
use ferrite_unit::resources::Totals;
use ferrite_unit::specifier::Host;
use ferrite_unit::{Files, LoadPath, LoadState, Loader, UnitName, show};

/// The machine id in a root that has none, as an image before its first boot.
const NO_MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";

/// What shares such as `MemoryMax=10%` are shares of in a root that is not this machine's: one answer everywhere. The
/// numbers are those of a machine of 24 GiB, on which systemd was asked the same.
const NOMINAL: Totals = Totals { memory: 25_276_497_920, tasks: 192_728, page: 4096 };

#[derive(Debug, Default)]
struct Options {
    root: Option<String>,
    json: bool,
    units: Vec<UnitName>,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => options.json = true,
            "--root" => options.root = Some(arguments.next().context("--root needs a folder")?),
            other => match other.strip_prefix("--root=") {
                Some(root) => options.root = Some(root.to_owned()),
                None if other.starts_with("--") => bail!("unknown option '{other}' of dump, see --help"),
                None => options.units.push(UnitName::parse(other)?),
            },
        }
    }
    Ok(options)
}

/// Prints the units of a root.
pub fn dump(arguments: impl Iterator<Item = String>, unit_path: Option<&str>) -> Result<()> {
    let options = options(arguments)?;
    let graph = load_root(options.root.as_deref(), unit_path, &options.units)?;
    for problem in graph.iter().flat_map(problems) {
        eprintln!("{problem}");
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut missing = None;
    if options.units.is_empty() {
        graph.iter().try_for_each(|node| print(&mut out, &graph, node, options.json))?;
    }
    for name in &options.units {
        match graph.find(name) {
            Some(node) => print(&mut out, &graph, node, options.json)?,
            None => missing = Some(name),
        }
    }
    out.flush().context("writing the units")?;
    missing.map_or(Ok(()), |name| bail!("unit {name} cannot be loaded"))
}

/// Loads the units of a root.
pub fn load_root(root: Option<&str>, unit_path: Option<&str>, wanted: &[UnitName]) -> Result<Graph> {
    let files = Below::open(Path::new(root.unwrap_or("/")))?;
    let path = unit_path.map_or_else(LoadPath::default, LoadPath::parse);
    let host = host(&files, root.is_some());
    let mut graph = Graph::default();
    let loader = Loader { path: &path, files: &files, host: &host, devices: DeviceUnits::Present };
    load(&mut graph, &loader, wanted);
    Ok(graph)
}

/// Loads units of a root by name, and what they name.
pub fn load_named(root: Option<&str>, path: &LoadPath, wanted: &[UnitName]) -> Result<Graph> {
    let files = Below::open(Path::new(root.unwrap_or("/")))?;
    let host = host(&files, root.is_some());
    let mut graph = Graph::default();
    let loader = Loader { path, files: &files, host: &host, devices: DeviceUnits::Present };
    let perpetual = ferrite_unit::graph::PERPETUAL.iter().filter_map(|name| UnitName::parse(name).ok());
    for name in perpetual.chain(wanted.iter().cloned()) {
        graph.request(&name);
    }
    graph.load(&loader);
    Ok(graph)
}

/// Loads what every machine has, then all unit files, those of the most important directory first, then the named ones.
fn load(graph: &mut Graph, loader: &Loader<'_>, wanted: &[UnitName]) {
    let mut request = |names: &mut dyn Iterator<Item = UnitName>| {
        for name in names {
            graph.request(&name);
        }
        graph.load(loader);
    };
    request(&mut ferrite_unit::graph::PERPETUAL.iter().filter_map(|name| UnitName::parse(name).ok()));
    for directory in &loader.path.0 {
        let files = loader.files.list(directory);
        let names = files.iter().filter_map(|file| UnitName::parse(file).ok());
        request(&mut names.filter(|name| !name.is_template()));
    }
    request(&mut wanted.iter().filter(|name| !name.is_template()).cloned());
}

/// What is wrong with the files of a unit.
fn problems(node: &Node) -> Vec<String> {
    let mut lines: Vec<String> = node.unit.problems.iter().map(ToString::to_string).collect();
    if let LoadState::BadSetting(fault) | LoadState::Error(fault) = &node.unit.load {
        lines.push(format!("{}: {fault}", node.unit.name));
    }
    lines
}

fn print(out: &mut impl Write, graph: &Graph, node: &Node, json: bool) -> Result<()> {
    let properties = show::properties(graph, node);
    let name = node.unit.name.as_str();
    let written = if json {
        let pairs: Vec<[&str; 2]> = properties.iter().map(|(name, value)| [name.as_str(), value.as_str()]).collect();
        writeln!(out, "{}", serde_json::json!({ "unit": name, "props": pairs }))
    } else {
        writeln!(out, "-> Unit {name}:")
            .and_then(|()| properties.iter().try_for_each(|(name, value)| writeln!(out, "\t{name}: {value}")))
    };
    written.context("writing the units")
}

/// What specifiers and shares say about the machine; a root that does not run has its own machine id and os-release.
fn host(root: &Below, other_root: bool) -> Host {
    let mut host = crate::host::read();
    if !other_root {
        return host;
    }
    let text = |path: &str| {
        let bytes = root.read(path).and_then(Result::ok).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    };
    host.totals = NOMINAL;
    host.machine_id = Some(text("/etc/machine-id")).filter(|id| id.len() == 32).unwrap_or(NO_MACHINE_ID.into());
    let release = Some(text("/etc/os-release")).filter(|text| !text.is_empty());
    host.os_release = ferrite_unit::environment::parse_file(&release.unwrap_or_else(|| text("/usr/lib/os-release")));
    host
}

/// The files below a root; what was seen of a directory is remembered.
pub struct Below {
    root: Root,
    directories: RefCell<BTreeMap<String, Vec<String>>>,
    links: RefCell<BTreeMap<String, Option<String>>>,
    names: RefCell<Option<Rc<NameMap>>>,
}

impl Below {
    /// The files below a folder.
    pub fn open(root: &Path) -> Result<Below> {
        Ok(Below {
            root: Root::open(root)?,
            directories: RefCell::default(),
            links: RefCell::default(),
            names: RefCell::default(),
        })
    }
}

impl Files for Below {
    fn read(&self, path: &str) -> Option<Result<Vec<u8>, String>> {
        self.root.read(path, FILE_MAX).map_err(|error| error.to_string()).transpose()
    }

    fn link(&self, path: &str) -> Option<String> {
        if let Some(known) = self.links.borrow().get(path) {
            return known.clone();
        }
        // What cannot be read is no link; reading the file tells why.
        let target = self.root.link(path).ok().flatten();
        self.links.borrow_mut().insert(path.to_owned(), target.clone());
        target
    }

    fn list(&self, directory: &str) -> Vec<String> {
        if let Some(known) = self.directories.borrow().get(directory) {
            return known.clone();
        }
        let names = self.root.list(directory).unwrap_or_default();
        self.directories.borrow_mut().insert(directory.to_owned(), names.clone());
        names
    }

    fn names(&self, path: &LoadPath) -> Rc<NameMap> {
        if let Some(known) = &*self.names.borrow() {
            return known.clone();
        }
        let names = Rc::new(NameMap::build(path, self));
        *self.names.borrow_mut() = Some(names.clone());
        names
    }
}
