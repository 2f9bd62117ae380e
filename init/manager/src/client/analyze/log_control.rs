//! `log-level` and `log-target` of systemd-analyze and systemctl: what PID 1 logs, and where to.

use anyhow::{Result, anyhow, bail};
use ferrite_control::{Client, ClientError, Reply, Request};

use super::Call;
use crate::client::print;

/// Prints the setting, or changes it.
pub(super) fn run(call: &Call<'_>) -> Result<u8> {
    ask(&mut call.connect()?, call.verb(), call.operands())
}

/// The same for any caller that is connected.
pub fn ask(client: &mut Client, verb: &str, operands: &[String]) -> Result<u8> {
    let (what, property) = if verb.ends_with("level") { ("level", "LogLevel") } else { ("target", "LogTarget") };
    let Some(value) = operands.first() else {
        return match client.ask(&Request::ShowManager)? {
            Reply::Properties(properties) => match properties.get(property) {
                Some(value) => print(&format!("{value}\n")),
                None => bail!("PID 1 does not tell its log {what}"),
            },
            _ => bail!(ClientError::Unexpected),
        };
    };
    let wish = Some(value.clone());
    let (level, target) = if what == "level" { (wish, None) } else { (None, wish) };
    let asked = client.ask(&Request::SetLog { level, target });
    asked.map(|_| 0).map_err(|fault| anyhow!("Failed to set log {what} of PID 1 to {value}: {fault}"))
}
