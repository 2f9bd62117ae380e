//! Time servers of files and of DHCP, for chrony: a file of sources, and the word that it changed. Rendering is pure.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::lease::is_domain_name;

const MAX_SERVERS: usize = 16;
/// chrony listens here while it runs; it reads its sources when it starts.
const CHRONY: &str = "/run/chrony/chronyd.sock";

/// The text of the file; each server once, and nothing that is neither an address nor a name.
pub(crate) fn render<'a>(servers: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::from("# Written by ferrite-networkd; changes are lost.\n");
    let mut known: Vec<&str> = Vec::new();
    for server in servers {
        let is_server = server.parse::<IpAddr>().is_ok() || is_domain_name(server);
        if is_server && known.len() < MAX_SERVERS && !known.contains(&server) {
            text.push_str(&format!("server {server} iburst\n"));
            known.push(server);
        }
    }
    text
}

/// Tells chrony to read its sources again; nobody waits for it.
pub(crate) fn tell_chrony() {
    if !Path::new(CHRONY).exists() {
        return;
    }
    let mut command = Command::new("chronyc");
    command.args(["reload", "sources"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match tokio::process::Command::from(command).kill_on_drop(false).spawn() {
        Ok(mut child) => {
            tokio::spawn(async move {
                if let Ok(status) = child.wait().await
                    && !status.success()
                {
                    eprintln!("warning: 'chronyc reload sources' failed ({status}), chrony keeps its old sources");
                }
            });
        }
        Err(error) => eprintln!("warning: running chronyc: {error}, chrony keeps its old sources"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_is_named_once_and_nothing_else_gets_in() {
        let text = render(["10.0.0.4", "time.example", "10.0.0.4", "2001:db8::123", "a b", "x;y", "-x"]);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines, ["server 10.0.0.4 iburst", "server time.example iburst", "server 2001:db8::123 iburst"]);
    }
}
