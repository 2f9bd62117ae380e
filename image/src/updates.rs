//! What an image knows of its own updates: serial, keys, where releases are published. Pure but for the tree it
//! changes.

use std::fmt::Write as _;

use anyhow::Context;

use crate::build::Updates;
use crate::plan::ImagePlan;
use crate::tree::{Node, OURS, Origin, Tree};

const OS_RELEASE: &str = "/usr/lib/os-release";
const UPDATE_CONF: &str = "/usr/share/coreos/update.conf";

/// Puts it into the tree.
pub fn install(tree: &mut Tree, plan: &ImagePlan, updates: &Updates) -> anyhow::Result<()> {
    let origin: Origin = OURS.into();
    let node = tree.get(OS_RELEASE).and_then(Node::content);
    let release = node.context("the tree has no os-release")?.read().context("reading os-release")?;
    let mut release = String::from_utf8(release).context("reading os-release")?;
    // Writing to a String cannot fail.
    let _ = writeln!(release, "FERRITE_SERIAL={}\nFERRITE_BUILT={}", updates.serial, plan.epoch);
    tree.remove(OS_RELEASE);
    tree.insert(OS_RELEASE, Node::file(0o644, release.as_str(), &origin))?;
    if let Some((name, text)) = &updates.keys {
        let path = format!("/usr/share/ferrite/update-keys/{name}");
        tree.insert(&path, Node::file(0o644, text.clone(), &origin))?;
    }
    // A board's own file is the last word, unless the command line has one.
    if tree.get(UPDATE_CONF).is_none() || updates.group.is_some() || updates.server.is_some() {
        tree.insert(UPDATE_CONF, Node::file(0o644, conf(updates).as_str(), &origin))?;
    }
    Ok(())
}

/// The configuration of the image; /etc/coreos/update.conf wins line by line.
fn conf(updates: &Updates) -> String {
    let mut text = format!("GROUP={}\n", updates.group.as_deref().unwrap_or("stable"));
    if let Some(server) = &updates.server {
        text.push_str(&format!("SERVER={server}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_the_channel_and_the_server_if_there_is_one() {
        assert_eq!(conf(&Updates::default()), "GROUP=stable\n");
        let server = Some("https://updates.example.com/".to_string());
        let updates = Updates { server, group: Some("beta".into()), ..Updates::default() };
        assert_eq!(conf(&updates), "GROUP=beta\nSERVER=https://updates.example.com/\n");
    }
}
