//! Omaha 3, as Nebraska speaks it: what is asked and told, and what an answer says. Pure but for `post`.
//!
//! Nothing of an answer is believed. It says where a payload may lie; whether that is one, for this machine and newer
//! than what runs, is told by the payload's own signatures.

use std::fmt::Write as _;
use std::io::Read;

use ferrite_payload::channel::check_path;
use roxmltree::{Document, Node, ParsingOptions};

use crate::http::{Access, client, send};
use crate::machine::name_for;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Elements and texts of an answer.
const NODES_MAX: u32 = 2000;
/// Characters of a status that are shown.
const STATUS_MAX: usize = 80;

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asker {
    /// The application, as the server knows it.
    pub app: String,
    /// The channel.
    pub group: String,
    /// The version that runs.
    pub version: String,
    /// The kind of machine.
    pub board: String,
    /// `/etc/machine-id`; the server gets a name that is made from it.
    pub machine_id: String,
    /// The kernel's name for this start.
    pub boot_id: String,
    /// `ID` of /etc/oem-release.
    pub oem: String,
}

/// What happened on the machine, in the numbers of Omaha.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A download begins.
    DownloadStarted,
    /// It is here, and checked.
    DownloadFinished,
    /// It waits for the restart.
    Installed,
    /// The install failed, or the release did not start well and was left again.
    Failed,
    /// The release runs and proved itself.
    Running,
}

impl Told {
    fn numbers(self) -> (u32, u32) {
        match self {
            Told::DownloadStarted => (13, 1),
            Told::DownloadFinished => (14, 1),
            Told::Installed => (3, 1),
            Told::Failed => (3, 0),
            Told::Running => (3, 2),
        }
    }
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is there.
    Nothing,
    /// Something may be there, not now or not for this machine: the server's word.
    Held(String),
    /// A payload lies there.
    Payload {
        /// The folder.
        codebase: String,
        /// The file in it.
        name: String,
    },
}

/// The server cannot be asked, or its answer is none.
#[derive(Debug, thiserror::Error)]
pub enum OmahaError {
    /// It cannot be reached.
    #[error("asking '{url}': {why}")]
    Ask {
        /// The server.
        url: String,
        /// Why.
        why: String,
    },
    /// It says no.
    #[error("server answers {status} for '{url}'")]
    Status {
        /// The server.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// Something else speaks there.
    #[error("the answer is no Omaha response: {0}")]
    Answer(String),
}

/// The text of a request for an update.
pub fn check(asker: &Asker) -> String {
    request(asker, r#"<ping active="1"></ping><updatecheck></updatecheck>"#)
}

/// The text that tells what happened.
pub fn event(asker: &Asker, told: Told, previous_version: &str) -> String {
    let (kind, result) = told.numbers();
    let previous = escaped(previous_version);
    request(
        asker,
        &format!(r#"<event eventtype="{kind}" eventresult="{result}" previousversion="{previous}"></event>"#),
    )
}

fn request(asker: &Asker, content: &str) -> String {
    let machine = machine_name(&asker.machine_id);
    let boot = format!("{{{}}}", asker.boot_id);
    let mut attributes = String::new();
    for (name, value) in [
        ("appid", &asker.app),
        ("version", &asker.version),
        ("track", &asker.group),
        ("board", &asker.board),
        ("machineid", &machine),
        ("bootid", &boot),
        ("oem", &asker.oem),
    ] {
        // Text grows.
        let _ = write!(attributes, r#" {name}="{}""#, escaped(value));
    }
    let program = concat!("ferrite-update-", env!("CARGO_PKG_VERSION"));
    let arch = if cfg!(target_arch = "x86_64") { "x64" } else { std::env::consts::ARCH };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <request protocol=\"3.0\" version=\"{program}\" updaterversion=\"{program}\" ismachine=\"1\">\n\
         <os platform=\"Ferrite\" version=\"{}\" arch=\"{arch}\"></os>\n<app{attributes}>{content}</app>\n</request>\n",
        escaped(&asker.version)
    )
}

/// The name of the machine for the server.
pub fn machine_name(machine_id: &str) -> String {
    name_for("omaha", machine_id)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Reads an answer.
pub fn parse(text: &str, app: &str) -> Result<Answer, OmahaError> {
    let fault = |text: &str| OmahaError::Answer(text.to_string());
    let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| fault(&error.to_string()))?;
    let root = document.root_element();
    if root.tag_name().name() != "response" {
        return Err(fault("its root is no <response>"));
    }
    let bare = |id: &str| id.trim_matches(['{', '}']).to_lowercase();
    let ours = |node: &Node| node.attribute("appid").is_some_and(|id| bare(id) == bare(app));
    let app = children(root, "app").find(ours).ok_or_else(|| fault("it has nothing for this application"))?;
    let update = children(app, "updatecheck").next();
    let status = |node: Node| node.attribute("status").unwrap_or("no status").to_string();
    let word = |text: String| text.chars().filter(char::is_ascii_graphic).take(STATUS_MAX).collect();
    if status(app) != "ok" {
        return Ok(Answer::Held(word(status(app))));
    }
    let update = update.ok_or_else(|| fault("it has no <updatecheck>"))?;
    match status(update).as_str() {
        "noupdate" => return Ok(Answer::Nothing),
        "ok" => {}
        other => return Ok(Answer::Held(word(other.to_string()))),
    }
    let inner = |node: Node<'_, '_>, outer: &str, name: &str, attribute: &str| {
        let found = children(node, outer).find_map(|node| children(node, name).next()?.attribute(attribute));
        found.map(str::to_string).ok_or_else(|| fault(&format!("it has no <{name}> with {attribute}")))
    };
    let codebase = inner(update, "urls", "url", "codebase")?;
    let manifest = children(update, "manifest").next().ok_or_else(|| fault("it has no <manifest>"))?;
    let name = inner(manifest, "packages", "package", "name")?;
    let web = ["http://", "https://"].iter().any(|scheme| codebase.starts_with(scheme));
    if !web || !codebase.bytes().all(|byte| byte.is_ascii_graphic()) || !check_path(&name) {
        return Err(fault(&format!("'{codebase}' and '{name}' are no address of a payload")));
    }
    Ok(Answer::Payload { codebase, name })
}

fn children<'a, 'input: 'a>(node: Node<'a, 'input>, name: &str) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

/// Sends a request; the text of the answer.
pub fn post(url: &str, request: &str, access: &Access) -> Result<String, OmahaError> {
    let ask = |why: String| OmahaError::Ask { url: url.to_string(), why };
    let client = client(url, access).map_err(|error| ask(error.to_string()))?;
    let answer = send(client.post(url).content_type("text/xml"), request).map_err(|error| ask(error.to_string()))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(OmahaError::Status { url: url.to_string(), status: status.as_u16() });
    }
    let mut text = String::new();
    let read = answer.into_body().into_reader().take(ANSWER_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| ask(error.to_string()))?;
    if text.len() as u64 > ANSWER_BYTES_MAX {
        return Err(OmahaError::Answer(format!("it has more than {ANSWER_BYTES_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "org.example.ferrite";

    fn answer(app: &str, content: &str) -> Result<Answer, String> {
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><response protocol=\"3.0\" server=\"x\"><daystart/>";
        let text = format!("{head}<app appid=\"{app}\" status=\"ok\"><ping status=\"ok\"/>{content}</app></response>");
        parse(&text, APP).map_err(|error| error.to_string())
    }

    fn offer(codebase: &str, name: &str) -> String {
        let packages = format!("<packages><package name=\"{name}\" size=\"9\" required=\"true\"/></packages>");
        let action = "<actions><action event=\"postinstall\" sha256=\"x\"/></actions>";
        let manifest = format!("<manifest version=\"1.2\">{packages}{action}</manifest>");
        format!("<updatecheck status=\"ok\"><urls><url codebase=\"{codebase}\"/></urls>{manifest}</updatecheck>")
    }

    #[test]
    fn an_answer_says_where_a_payload_lies_or_why_not() {
        let payload = Answer::Payload { codebase: "http://x/p/".into(), name: "2.fup".into() };
        assert_eq!(answer(APP, &offer("http://x/p/", "2.fup")), Ok(payload.clone()));
        assert_eq!(answer("{ORG.example.ferrite}", &offer("http://x/p/", "2.fup")), Ok(payload));
        assert_eq!(answer(APP, "<updatecheck status=\"noupdate\"/>"), Ok(Answer::Nothing));
        let held = "error-internal";
        assert_eq!(answer(APP, &format!("<updatecheck status=\"{held}\"/>")), Ok(Answer::Held(held.into())));
        let refused = format!("<response><app appid=\"{APP}\" status=\"error-x&#10;y\"/></response>");
        assert_eq!(parse(&refused, APP).ok(), Some(Answer::Held("error-xy".into())));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><response>&b;</response>";
        let many = format!("<response>{}</response>", "<a/>".repeat(5000));
        for text in ["", "<html></html>", "{}", "<response>", "<response/>", bomb, &many] {
            assert!(parse(text, APP).is_err(), "{text}");
        }
        assert!(answer("other", &offer("http://x/", "2.fup")).is_err());
        for (codebase, name) in
            [("file:///etc/", "shadow"), ("http://x/ y", "2.fup"), ("http://x/", "../2.fup"), ("http://x/", "")]
        {
            let error = answer(APP, &offer(codebase, name)).expect_err("no address");
            assert!(error.contains("no address of a payload"), "{error}");
        }
    }

    #[test]
    fn requests_say_who_asks_and_nothing_escapes_its_attribute() {
        let asker = Asker {
            app: APP.into(),
            group: "stable\"/><x a=\"".into(),
            version: "1.1".into(),
            board: "qemu".into(),
            machine_id: "0123".into(),
            boot_id: "b-o-o-t".into(),
            oem: "a&b\u{7}".into(),
        };
        for text in [check(&asker), event(&asker, Told::Running, "1.0")] {
            let document = Document::parse(&text).expect("it is XML");
            let app = children(document.root_element(), "app").next().expect("one");
            let value = |name: &str| app.attribute(name).unwrap_or_default();
            assert_eq!((value("track"), value("oem"), value("bootid")), ("stable\"/><x a=\"", "a&b", "{b-o-o-t}"));
            assert!(value("machineid").len() == 32 && !text.contains("0123\""), "{text}");
        }
        assert!(event(&asker, Told::Failed, "").contains("eventtype=\"3\" eventresult=\"0\""));
    }
}
