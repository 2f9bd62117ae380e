//! The daemon's socket: one line asks, the answer is `ok` or `error: REASON`. Only root may connect (mode 0600).

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

const LINE_MAX: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(10);
/// A reload looks at every link; the daemon answers when it is done.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Read the files again.
    Reload,
    /// Begin anew with these links.
    Reconfigure(Vec<String>),
    /// Ask for more time.
    Renew(Vec<String>),
    /// Switch on.
    Up(Vec<String>),
    /// Switch off.
    Down(Vec<String>),
    /// Remove links that were made.
    Delete(Vec<String>),
}

impl Order {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().map(str::to_owned);
        let verb = words.next()?;
        let links: Vec<String> = words.collect();
        match (verb.as_str(), links.is_empty()) {
            ("reload", true) => Some(Self::Reload),
            ("reconfigure", false) => Some(Self::Reconfigure(links)),
            ("renew", false) => Some(Self::Renew(links)),
            ("up", false) => Some(Self::Up(links)),
            ("down", false) => Some(Self::Down(links)),
            ("delete", false) => Some(Self::Delete(links)),
            _ => None,
        }
    }
}

/// An order and where its answer goes.
pub(crate) type Asked = (Order, oneshot::Sender<Result<(), String>>);

/// Opens the socket; orders go to `orders`.
pub(crate) fn serve(path: &Path, orders: mpsc::Sender<Asked>) -> anyhow::Result<()> {
    // The one of an earlier daemon; whether it was there is all the same.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).with_context(|| format!("opening '{}'", path.display()))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, mode).with_context(|| format!("closing '{}' to others", path.display()))?;
    tokio::spawn(async move {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, orders.clone()));
            } else {
                // No descriptors are left: others must end first.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    Ok(())
}

async fn answer(mut stream: UnixStream, orders: mpsc::Sender<Asked>) {
    let mut line = String::new();
    let mut limited = (&mut stream).take(LINE_MAX);
    if !matches!(tokio::time::timeout(PATIENCE, limited.read_to_string(&mut line)).await, Ok(Ok(_))) {
        return;
    }
    let outcome = match Order::parse(line.trim()) {
        None => Err(format!("'{}' is no order", line.trim().chars().take(40).collect::<String>())),
        Some(order) => {
            let (send, receive) = oneshot::channel();
            let sent = orders.send((order, send)).await.is_ok();
            let gone = || Err("the daemon is ending".to_owned());
            if sent { receive.await.unwrap_or_else(|_| gone()) } else { gone() }
        }
    };
    let text = match outcome {
        Ok(()) => "ok\n".to_owned(),
        Err(reason) => format!("error: {reason}\n"),
    };
    // Who asked may be gone.
    let _ = stream.write_all(text.as_bytes()).await;
}

/// Asks the daemon and waits for its answer.
pub fn ask(path: &Path, line: &str) -> anyhow::Result<()> {
    let mut stream = std::os::unix::net::UnixStream::connect(path)
        .with_context(|| format!("asking networkd at '{}' (is ferrite-networkd.service running?)", path.display()))?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE)).context("setting a time-out")?;
    stream.write_all(line.as_bytes()).context("asking networkd")?;
    stream.shutdown(std::net::Shutdown::Write).context("asking networkd")?;
    let mut text = String::new();
    stream.take(LINE_MAX).read_to_string(&mut text).context("waiting for networkd's answer")?;
    match text.trim().strip_prefix("error: ") {
        None if text.trim() == "ok" => Ok(()),
        None => bail!("networkd gave no answer"),
        Some(reason) => bail!("{reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_orders_are_orders() {
        assert_eq!(Order::parse("reload"), Some(Order::Reload));
        assert_eq!(Order::parse("up a b"), Some(Order::Up(vec!["a".into(), "b".into()])));
        for line in ["", "reload eth0", "up", "delete", "rename eth0"] {
            assert_eq!(Order::parse(line), None, "{line}");
        }
    }
}
