//! The late commands that are this program's own: the final message and the call home.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use crate::command::STATUS;

const CONSOLE: &str = "/dev/console";
const MAX_TRIES: u32 = 100;

/// Writes lines where somebody may stand before the machine. A machine without a console has nobody there.
pub(crate) fn to_console(text: &str) {
    use std::io::Write;
    let opened = std::fs::OpenOptions::new().write(true).open(CONSOLE);
    if let Err(error) = opened.and_then(|mut console| console.write_all(format!("\n{text}\n").as_bytes())) {
        eprintln!("warning: writing to '{CONSOLE}': {error}, the journal has the rest");
    }
}

/// What the status file of this boot says about a key.
fn of_status(status: &str, key: &str) -> String {
    let found = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_default().to_string()
}

/// The text of the final message with its variables, in any of the forms that cloud-init knows.
fn filled(message: &str, status: &str, uptime: &str, seconds: u64) -> String {
    let values = [
        ("version", env!("CARGO_PKG_VERSION").to_string()),
        ("timestamp", seconds.to_string()),
        ("datasource", of_status(status, "datasource")),
        ("uptime", uptime.split_whitespace().next().unwrap_or_default().to_string()),
    ];
    let mut text = message.to_string();
    for (name, value) in values {
        for form in [name.to_string(), name.to_ascii_uppercase()] {
            for written in
                [format!("{{{{ {form} }}}}"), format!("{{{{{form}}}}}"), format!("${{{form}}}"), format!("${form}")]
            {
                text = text.replace(&written, &value);
            }
        }
    }
    text.strip_prefix("## template: jinja\n").map_or(text.clone(), str::to_string)
}

/// The status of this boot; empty when it is not known.
fn status() -> anyhow::Result<String> {
    let path = Path::new(STATUS);
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("reading '{}'", path.display())),
    }
}

/// Shows the final message on the console and in the journal.
pub fn show_final_message(message: &str) -> anyhow::Result<u8> {
    let status = &status()?;
    let uptime = std::fs::read_to_string("/proc/uptime").context("reading '/proc/uptime'")?;
    // A clock before 1970 tells 0.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let text = filled(message, status, &uptime, seconds);
    println!("{text}");
    to_console(&text);
    Ok(0)
}

/// Tells a server that the machine is there. `names`: what is told.
pub fn phone_home(url: &str, tries: u32, names: &[String]) -> anyhow::Result<u8> {
    tell(url, tries, names, &status()?)?;
    Ok(0)
}

fn tell(url: &str, tries: u32, names: &[String], status: &str) -> anyhow::Result<()> {
    let hostname = of_status(status, "hostname");
    let key = |kind: &str| std::fs::read_to_string(format!("/etc/ssh/ssh_host_{kind}_key.pub")).unwrap_or_default();
    let fields: Vec<(&str, String)> = names
        .iter()
        .map(|name| {
            let value = match name.as_str() {
                "instance_id" => of_status(status, "instance-id"),
                "hostname" => hostname.split('.').next().unwrap_or_default().to_string(),
                "fqdn" => hostname.clone(),
                name => key(name.strip_prefix("pub_key_").unwrap_or_default()),
            };
            (name.as_str(), value)
        })
        .collect();
    let agent = crate::fetch::client(url, Path::new(ferrite_trust::AUTHORITIES)).map_err(anyhow::Error::msg)?;
    let mut last = String::new();
    for _ in 0..tries.clamp(1, MAX_TRIES) {
        match agent.post(url).send_form(fields.iter().map(|(name, value)| (*name, value.as_str()))) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    bail!("telling '{url}' that the machine is there: {last}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn the_final_message_knows_its_variables() {
        let status = "state=ok\ndatasource=nocloud /dev/vdb\n";
        let text = filled("up $UPTIME s, {{datasource}} at ${timestamp}", status, "12.5 3.0\n", 77);
        assert_eq!(text, "up 12.5 s, nocloud /dev/vdb at 77");
    }

    #[test]
    fn a_server_is_told_the_name_and_the_instance_and_a_second_try_helps() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/home", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut said = Vec::new();
            for answer in ["500 No", "200 OK"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut text = String::new();
                let mut buffer = [0u8; 4096];
                while !text.contains("fqdn=") {
                    let count = stream.read(&mut buffer).unwrap();
                    text.push_str(&String::from_utf8_lossy(&buffer[..count]));
                }
                write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
                said.push(text);
            }
            said
        });
        let names = ["instance_id", "hostname", "fqdn"].map(str::to_string);
        tell(&url, 3, &names, "instance-id=i-7\nhostname=web1.lan\n").unwrap();
        let said = server.join().unwrap();
        assert!(said[1].starts_with("POST /home "), "{said:?}");
        assert!(said[1].contains("instance_id=i-7&hostname=web1&fqdn=web1.lan"), "{said:?}");
    }
}
