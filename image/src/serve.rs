//! A plain web server for a published directory, for trying things out: files, ranges, nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tower_http::services::ServeDir;

/// Serves the directory until the process ends; `ready` is told the address.
pub fn serve(folder: &Path, address: SocketAddr, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    if !folder.is_dir() {
        bail!("'{}' is no directory", folder.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting to serve")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        ready(listener.local_addr().context("listening")?);
        let files = ServeDir::new(folder).append_index_html_on_directories(false);
        let service = axum::Router::new().fallback_service(files);
        axum::serve(listener, service).await.context("serving")
    })
}

/// Where it listens if nothing else is said.
pub fn default_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))
}
