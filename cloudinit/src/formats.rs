//! Takes user-data apart: what form it has, and which cloud-configs and scripts are in it. Pure but for the fetching of
//! includes, which the caller lends; without it an include is only checked.
//!
//! One part that cannot be used does not stop the others. Depth, number and size have limits, so that no document
//! costs more than it weighs.

use crate::decode;
use crate::document::{self, Node, Value};
use crate::fault::{Faults, Severity};
use crate::language::Kind;
use crate::{check, keys_cloud, mime, patch, rules, template};

/// Includes in includes, parts in parts.
pub(crate) const MAX_LEVELS: usize = 8;
/// Fetches of one user-data.
pub(crate) const MAX_FETCHES: usize = 64;
/// Parts of one user-data.
pub(crate) const MAX_PARTS: usize = 1000;
/// What clouds are known to take; more is a warning.
const USUAL_BYTES: usize = 16 * 1024;
/// All that is made of one user-data: decoded, decompressed, rendered, included.
pub(crate) const MAX_ALL_BYTES: usize = 16 << 20;

/// When a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// At every boot, before everything else.
    Boothook,
    /// At every boot.
    Boot,
    /// Once for an instance.
    Instance,
    /// Once for the life of the machine.
    Once,
}

/// What a part holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// A cloud-config.
    Config {
        /// Its tree.
        root: Node,
        /// How it is joined to those before it, when a header says so.
        merge: Option<String>,
    },
    /// Changes of what the parts before it made.
    Patch(Vec<patch::Operation>),
    /// A script.
    Script {
        /// Its text.
        text: Vec<u8>,
        /// When it runs.
        when: When,
    },
}

/// A part of user-data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    /// Its file name, or a made one.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// Fetches what an include names.
pub(crate) type Fetch<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// What the reader needs besides the bytes.
pub(crate) struct Reader<'a> {
    /// The variables of templates.
    pub variables: &'a template::Variables,
    /// Replaces `$private_ipv4` and its like in a cloud-config.
    pub substitute: &'a dyn Fn(&str) -> String,
    /// `None`: includes are only checked.
    pub fetch: Option<Fetch<'a>>,
    /// The faults of all parts.
    pub faults: Faults,
    /// The parts.
    pub parts: Vec<Part>,
    fetches: usize,
    /// Bytes that were made so far.
    made: usize,
}

/// Where the bytes of a part stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    /// In the file, so many lines down.
    Lines(u64),
    /// In something that was decoded or fetched.
    Inside(&'a str),
    /// In a text of the file that begins on this line.
    Text(&'a str, u64),
}

/// A piece that is still to be taken apart.
struct Piece<'a> {
    bytes: &'a [u8],
    name: &'a str,
    place: Place<'a>,
    level: usize,
    merge: Option<String>,
    /// Other parts stand beside it.
    several: bool,
}

impl<'a> Reader<'a> {
    /// A reader of one user-data.
    pub(crate) fn new(
        variables: &'a template::Variables,
        substitute: &'a dyn Fn(&str) -> String,
        fetch: Option<Fetch<'a>>,
    ) -> Self {
        Self { variables, substitute, fetch, faults: Faults::default(), parts: Vec::new(), fetches: 0, made: 0 }
    }

    /// Takes user-data apart.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        if bytes.len() > document::MAX_BYTES {
            let message = format!("the document is larger than {} bytes", document::MAX_BYTES);
            self.faults.push(Severity::Broken, (1, 1), message);
            return;
        }
        if bytes.len() > USUAL_BYTES {
            let message = format!("{} bytes; EC2 takes at most {USUAL_BYTES}, compress it with gzip", bytes.len());
            self.faults.push(Severity::Warning, (1, 1), message);
        }
        let piece = Piece { bytes, name: "user-data", place: Place::Lines(0), level: 0, merge: None, several: false };
        self.piece(&piece);
        self.faults.sort();
    }

    /// Takes apart what was made of another piece, as long as all of it together is within the limit.
    fn made_piece(&mut self, piece: &Piece<'_>) {
        if self.may_take(piece) {
            self.piece(piece);
        }
    }

    fn may_take(&mut self, piece: &Piece<'_>) -> bool {
        self.made = self.made.saturating_add(piece.bytes.len());
        if self.made > MAX_ALL_BYTES {
            let message = format!("all parts together have more than {MAX_ALL_BYTES} bytes, this one is left out");
            self.fault(piece, Severity::Broken, 1, message);
            return false;
        }
        true
    }

    fn piece(&mut self, piece: &Piece<'_>) {
        if piece.level > MAX_LEVELS {
            self.fault(piece, Severity::Broken, 1, format!("includes and parts are nested deeper than {MAX_LEVELS}"));
            return;
        }
        if self.parts.len() >= MAX_PARTS {
            self.fault(piece, Severity::Broken, 1, format!("user-data has more than {MAX_PARTS} parts"));
            return;
        }
        if decode::is_gzip(piece.bytes) {
            return match decode::gunzip(piece.bytes) {
                Ok(bytes) => self.inside(piece, &bytes, "the decompressed document"),
                Err(message) => self.fault(piece, Severity::Broken, 1, message),
            };
        }
        let text = match std::str::from_utf8(piece.bytes) {
            Ok(text) => match text.strip_prefix('\u{feff}') {
                Some(rest) => {
                    let message = "an invisible byte order mark stands first, which other tools do not take; save the \
                                   file as UTF-8 without it";
                    self.fault(piece, Severity::Desk, 1, message.into());
                    rest
                }
                None => text,
            },
            Err(_) if piece.bytes.starts_with(b"#!") => return self.script(piece, When::Instance),
            Err(error) => {
                let before = piece.bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
                let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
                let byte = piece.bytes.get(error.valid_up_to()).copied().unwrap_or_default();
                let message = format!("byte {column} of the line is {byte:#04x}, not UTF-8; save the file as UTF-8");
                let mut faults = Faults::default();
                faults.push(Severity::Broken, (line, column as u64), message);
                return self.take(piece, faults, &String::from_utf8_lossy(piece.bytes));
            }
        };
        if text.trim().is_empty() {
            return;
        }
        self.text(piece, text);
    }

    fn text(&mut self, piece: &Piece<'_>, text: &str) {
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim_end();
        let lower = first.trim_start().to_ascii_lowercase();
        let word = lower.split_ascii_whitespace().next().unwrap_or_default();
        match word {
            "#cloud-config" => self.config(piece, text),
            "#cloud-config-archive" => self.archive(piece, text),
            "#cloud-boothook" => self.script(piece, When::Boothook),
            "#include" | "#include-once" => self.include(piece, text),
            "#part-handler" => {
                let message =
                    "part handlers are Python and do not run here; use 'runcmd' or a script that begins with '#!'";
                self.fault(piece, Severity::Broken, 1, message.into());
            }
            "#cloud-config-jsonp" => self.patch(piece, text),
            _ if lower.starts_with("## template:") => self.template(piece, text, &lower),
            _ if first.starts_with("#!") => self.script(piece, When::Instance),
            _ if mime::is_message(text) => self.message(piece, text),
            _ if first.starts_with('{') && text.contains("\"ignition\"") => {
                let message = "an Ignition config; it was not applied, give a cloud-config instead";
                self.fault(piece, Severity::Warning, 1, message.into());
            }
            _ => self.other(piece, text, first),
        }
    }

    /// base64 of a document, or nothing that is known.
    fn other(&mut self, piece: &Piece<'_>, text: &str, first: &str) {
        if let Ok(bytes) = decode::base64(text.as_bytes())
            && is_known(&bytes)
        {
            return self.inside(piece, &bytes, "the document in base64");
        }
        let below = text.lines().any(|line| line.trim_end().eq_ignore_ascii_case("#cloud-config"));
        let message = if below {
            "'#cloud-config' must be the first line, with nothing above it".to_string()
        } else if first.starts_with("network:") || text.lines().any(|line| line == "ethernets:") {
            "this looks like a network configuration; check it with --network-config FILE".to_string()
        } else if first.starts_with('#') && plain(first) == "cloudconfig" {
            format!("'{}' must be written '#cloud-config', without a blank", check::short(first))
        } else if first.starts_with("#cloud") {
            format!("'{}' is not a form of user-data; did you mean '#cloud-config'?", check::short(first))
        } else {
            "user-data must begin with the line '#cloud-config', or with '#!' when it is a script".to_string()
        };
        // A note among the parts of a message says nothing to a machine.
        let severity = if piece.several { Severity::Warning } else { Severity::Broken };
        let end = if piece.several { ", ignored" } else { "" };
        self.fault(piece, severity, 1, format!("{message}{end}"));
    }

    fn inside(&mut self, piece: &Piece<'_>, bytes: &[u8], what: &str) {
        let what = match piece.place {
            Place::Lines(0) => what.to_string(),
            Place::Lines(_) => format!("part '{}'", piece.name),
            Place::Inside(label) | Place::Text(label, _) => label.to_string(),
        };
        let inner = Piece {
            bytes,
            name: piece.name,
            place: Place::Inside(&what),
            level: piece.level + 1,
            merge: piece.merge.clone(),
            several: piece.several,
        };
        self.made_piece(&inner);
    }

    fn config(&mut self, piece: &Piece<'_>, text: &str) {
        let text = (self.substitute)(text);
        let mut faults = Faults::default();
        let Some(root) = document::parse(&text, &mut faults) else {
            return self.take(piece, faults, &text);
        };
        match root.value {
            Value::Map(_) => {
                let kind = Kind::Map(keys_cloud::CONFIG, None);
                let mut checked = check::check("the document", &root, &kind, &mut faults).unwrap_or_else(Node::empty);
                // A key without a value is absent, but 'allow_delete' takes it for the end of an earlier one.
                if let Value::Map(pairs) = &mut checked.value {
                    let nothing = |(_, value): &&(Node, Node)| value.value == Value::Null;
                    pairs.extend(root.pairs().iter().filter(nothing).cloned());
                }
                let content = Content::Config { root: placed(checked, piece.place), merge: piece.merge.clone() };
                self.parts.push(Part { name: piece.name.into(), content });
            }
            Value::Null => faults.push(Severity::Warning, (1, 1), "the document is empty"),
            ref other => {
                let mut message =
                    format!("the document is {}, not a map of keys; write 'key: value' lines", other.kind());
                if let Some(hidden) = root.text().and_then(check::invisible) {
                    let code = u32::from(hidden);
                    message = format!("{message}, with plain blanks instead of the invisible character U+{code:04X}");
                }
                faults.push(Severity::Broken, root.place, message);
            }
        }
        self.take(piece, faults, &text);
    }

    fn patch(&mut self, piece: &Piece<'_>, text: &str) {
        let mut faults = Faults::default();
        if let Some(root) = document::parse(text, &mut faults) {
            let operations = patch::read(&root, &mut faults);
            self.parts.push(Part { name: piece.name.into(), content: Content::Patch(operations) });
        }
        self.take(piece, faults, text);
    }

    fn script(&mut self, piece: &Piece<'_>, when: When) {
        let content = Content::Script { text: piece.bytes.to_vec(), when };
        self.parts.push(Part { name: piece.name.into(), content });
    }

    fn template(&mut self, piece: &Piece<'_>, text: &str, header: &str) {
        if !header.contains("jinja") {
            return self.fault(piece, Severity::Broken, 1, "only '## template: jinja' is known".into());
        }
        let start = text.find("##").unwrap_or_default();
        let body = text.get(start..).and_then(|rest| rest.split_once('\n')).map_or("", |(_, body)| body);
        match template::render(body, self.variables) {
            Ok((rendered, missing)) => {
                self.missing(piece, text, &missing);
                // The header's line keeps its place, so that lines agree as long as no loop adds any.
                self.inside(piece, format!("\n{rendered}").as_bytes(), "the rendered template");
            }
            Err((line, message)) => self.fault(piece, Severity::Broken, line + 1, message),
        }
    }

    /// Variables without a value at the desk. What the meta-data will hold is not known there; the other names are.
    fn missing(&mut self, piece: &Piece<'_>, text: &str, names: &[String]) {
        let of_cloud = |name: &str| name == "ds" || name.starts_with("ds.");
        let is_known = !names.iter().any(|name| of_cloud(name));
        for name in names {
            let last = name.rsplit('.').next().unwrap_or(name);
            let line = (1..).zip(text.lines()).find(|(_, line)| line.contains(last)).map_or(1, |(line, _)| line);
            let (severity, end) = match (is_known, self.variables.nearest(name)) {
                (true, Some(meant)) => (Severity::Broken, format!("; did you mean '{meant}'?")),
                (true, None) => (Severity::Broken, ", use '| default(...)' or a name of v1 or ds.meta_data".into()),
                (false, _) => (Severity::Warning, ", and a machine whose meta-data has none refuses it".into()),
            };
            self.fault(piece, severity, line, format!("template: '{name}' has no value here{end}"));
        }
    }

    fn include(&mut self, piece: &Piece<'_>, text: &str) {
        for (line, content) in (1..).zip(text.lines()) {
            let url = content.trim();
            let url = url.strip_prefix("#include-once").or_else(|| url.strip_prefix("#include")).unwrap_or(url).trim();
            if url.is_empty() || url.starts_with('#') {
                continue;
            }
            self.fetches += 1;
            if self.fetches > MAX_FETCHES {
                return self.fault(piece, Severity::Broken, line, format!("more than {MAX_FETCHES} includes"));
            }
            if let Err(message) = rules::url(url) {
                self.fault(piece, Severity::Broken, line, message);
                continue;
            }
            match self.fetch.map(|fetch| fetch(url)) {
                None => {}
                Some(Ok(bytes)) => {
                    let inner = Piece {
                        bytes: &bytes,
                        name: url,
                        place: Place::Inside(url),
                        level: piece.level + 1,
                        merge: None,
                        several: piece.several,
                    };
                    self.made_piece(&inner);
                }
                Some(Err(message)) => {
                    self.fault(piece, Severity::Broken, line, format!("including '{url}': {message}"));
                }
            }
        }
    }

    fn archive(&mut self, piece: &Piece<'_>, text: &str) {
        let mut faults = Faults::default();
        let root = document::parse(text, &mut faults);
        let Some(items) = root.as_ref().map(|root| (root, root.items())) else {
            return self.take(piece, faults, text);
        };
        if !matches!(items.0.value, Value::List(_)) {
            let message = format!("an archive is a list of parts, not {}; begin each with '- '", items.0.value.kind());
            faults.push(Severity::Broken, items.0.place, message);
            return self.take(piece, faults, text);
        }
        self.take(piece, faults, text);
        for (number, item) in (1..).zip(items.1) {
            let content = item.get("content").or(Some(item)).and_then(Node::text);
            let kind = item.get("type").and_then(Node::text).unwrap_or("text/plain");
            let Some(content) = content else {
                self.fault(piece, Severity::Error, item.place.0, "a part without 'content'; give its text".into());
                continue;
            };
            let made = format!("part-{number:03}");
            let name = item.get("filename").and_then(Node::text).unwrap_or(&made).to_string();
            let label = format!("part '{name}'");
            let inner = Piece {
                bytes: content.as_bytes(),
                name: &name,
                place: match piece.place {
                    Place::Lines(before) => Place::Text(&label, before + item.place.0),
                    Place::Inside(_) | Place::Text(..) => Place::Inside(&label),
                },
                level: piece.level + 1,
                merge: None,
                several: true,
            };
            self.typed(&inner, kind);
        }
    }

    fn message(&mut self, piece: &Piece<'_>, text: &str) {
        let (entities, problems) = mime::split(text);
        for (line, message) in problems {
            self.fault(piece, Severity::Error, line, message);
        }
        let several = entities.len() > 1;
        for (number, entity) in (1..).zip(entities) {
            let name = entity.name.unwrap_or_else(|| format!("part-{number:03}"));
            let label = format!("part '{name}'");
            let place = match (entity.line, piece.place) {
                (Some(line), Place::Lines(before)) => Place::Lines(before + line),
                (None, _) | (Some(_), Place::Inside(_) | Place::Text(..)) => Place::Inside(&label),
            };
            let inner = Piece {
                bytes: &entity.body,
                name: &name,
                place,
                level: piece.level + 1,
                merge: entity.merge,
                several: several || piece.several,
            };
            self.typed(&inner, &entity.kind);
        }
    }

    /// A part whose type was named.
    fn typed(&mut self, piece: &Piece<'_>, kind: &str) {
        if self.parts.len() >= MAX_PARTS {
            return self.fault(piece, Severity::Broken, 1, format!("user-data has more than {MAX_PARTS} parts"));
        }
        if !self.may_take(piece) {
            return;
        }
        let as_text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match kind {
            "text/cloud-config" if !decode::is_gzip(piece.bytes) => match std::str::from_utf8(piece.bytes) {
                Ok(text) if text.trim_start().to_ascii_lowercase().starts_with("## template:") => self.piece(piece),
                Ok(text) => self.config(piece, text),
                Err(_) => self.piece(piece),
            },
            "text/x-shellscript-per-boot" => self.script(piece, When::Boot),
            "text/x-shellscript-per-instance" => self.script(piece, When::Instance),
            "text/x-shellscript-per-once" => self.script(piece, When::Once),
            "text/cloud-boothook" => self.script(piece, When::Boothook),
            "text/x-include-url" | "text/x-include-once-url" => self.include(piece, &as_text(piece.bytes)),
            "text/cloud-config-archive" => self.archive(piece, &as_text(piece.bytes)),
            "text/jinja2" => {
                let text = as_text(piece.bytes);
                let has_header = text.trim_start().to_ascii_lowercase().starts_with("## template:");
                let text = if has_header { text } else { format!("## template: jinja\n{text}") };
                self.template(piece, &text, "## template: jinja");
            }
            "text/cloud-config-jsonp" => self.patch(piece, &as_text(piece.bytes)),
            "text/part-handler" => {
                self.fault(piece, Severity::Error, 1, format!("parts of the type '{kind}' are not supported, ignored"));
            }
            "text/x-not-multipart" => {}
            _ if kind.starts_with("text/") || decode::is_gzip(piece.bytes) || is_known(piece.bytes) => {
                self.piece(piece)
            }
            "application/octet-stream" => self.piece(piece),
            _ => {
                let message = format!("parts of the type '{}' are not known, ignored", check::short(kind));
                self.fault(piece, Severity::Warning, 1, message);
            }
        }
    }

    fn fault(&mut self, piece: &Piece<'_>, severity: Severity, line: u64, message: String) {
        if self.faults.is_full() {
            let is_left = piece.several && severity == Severity::Broken;
            return self.faults.leave_out(if is_left { Severity::Error } else { severity });
        }
        let mut faults = Faults::default();
        faults.push(severity, (line, 1), message);
        self.take(piece, faults, &String::from_utf8_lossy(piece.bytes));
    }

    /// Takes over the faults of a part. One of several parts that is broken leaves the others.
    fn take(&mut self, piece: &Piece<'_>, mut faults: Faults, source: &str) {
        for fault in faults.0.iter_mut().filter(|fault| piece.several && fault.severity == Severity::Broken) {
            fault.severity = Severity::Error;
        }
        match piece.place {
            Place::Lines(before) => faults.shift(before),
            Place::Inside(label) => faults.label(label, source),
            Place::Text(label, line) => {
                faults.label(label, source);
                faults.0.iter_mut().for_each(|fault| fault.line = line);
            }
        }
        if piece.several && faults.1 == Some(Severity::Broken) {
            faults.1 = Some(Severity::Error);
        }
        self.faults.append(faults);
    }
}

/// Moves the places of a tree to where its part stands in the file.
fn placed(mut node: Node, place: Place<'_>) -> Node {
    fn shift(node: &mut Node, lines: u64) {
        node.place.0 += lines;
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(|item| shift(item, lines)),
            Value::Map(pairs) => pairs.iter_mut().for_each(|(key, value)| {
                shift(key, lines);
                shift(value, lines);
            }),
            Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) => {}
        }
    }
    if let Place::Lines(lines) = place
        && lines > 0
    {
        shift(&mut node, lines);
    }
    node
}

/// The letters of a line.
fn plain(line: &str) -> String {
    line.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Whether these bytes begin like user-data.
fn is_known(bytes: &[u8]) -> bool {
    let start = String::from_utf8_lossy(bytes.get(..64.min(bytes.len())).unwrap_or_default()).to_ascii_lowercase();
    let start = start.trim_start();
    decode::is_gzip(bytes)
        || ["#cloud-", "#!", "#include", "## template:", "mime-version:", "content-type:"]
            .iter()
            .any(|known| start.starts_with(known))
}
