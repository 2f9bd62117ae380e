//! Which files of a package enter the image. Pure.

use crate::tree::{Kind, Tree};
use ferrite_boards::{Glob, Package};

/// Never enters from a package whose board entry has no `include`: what no program of a server reads.
const LEFT_OUT: [&str; 38] = [
    "/**/*.a",
    "/**/*.la",
    "/boot/**",
    "/etc/alternatives/**",
    "/etc/apport/**",
    "/etc/apt/**",
    "/etc/bash_completion.d/**",
    "/etc/cron.*/**",
    "/etc/depmod.d/**",
    "/etc/init.d/**",
    "/etc/init/**",
    "/etc/kernel/**",
    "/etc/logrotate.d/**",
    "/etc/rc?.d/**",
    "/etc/runit/**",
    "/etc/skel/**",
    "/etc/sv/**",
    "/etc/ufw/**",
    "/usr/include/**",
    "/usr/lib/mime/**",
    "/usr/lib/systemd/user/**",
    "/usr/lib/x86_64-linux-gnu/pkgconfig/**",
    "/usr/share/applications/**",
    "/usr/share/bash-completion/**",
    "/usr/share/bug/**",
    "/usr/share/debianutils/**",
    "/usr/share/doc-base/**",
    "/usr/share/doc/**",
    "/usr/share/fish/**",
    "/usr/share/icons/**",
    "/usr/share/info/**",
    "/usr/share/initramfs-tools/**",
    "/usr/share/lintian/**",
    "/usr/share/locale/**",
    "/usr/share/man/**",
    "/usr/share/menu/**",
    "/usr/share/pixmaps/**",
    "/usr/share/zsh/**",
];

/// An `include` pattern that matched nothing, or the like.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("package {package} has no file that matches '{pattern}'")]
pub(super) struct NoMatch {
    package: String,
    pattern: String,
}

/// Takes out of a package's tree what does not enter. A pattern of the board that matches nothing is an error: the
/// package changed, and the image would silently lose a file.
pub(super) fn select(package: &Package, tree: &mut Tree) -> Result<(), NoMatch> {
    let unused = package.include.iter().find(|glob| !tree.iter().any(|(path, _)| glob.matches(path)));
    if let Some(pattern) = unused {
        return Err(NoMatch { package: package.name.clone(), pattern: pattern.to_string() });
    }
    let left_out: Vec<Glob> = LEFT_OUT.iter().filter_map(|text| Glob::parse(text)).collect();
    let any = |globs: &[Glob], path: &str| globs.iter().any(|glob| glob.matches(path));
    tree.retain(|path, node| {
        let wanted = match (package.include.is_empty(), &node.kind) {
            (true, _) => !any(&left_out, path),
            (false, Kind::Dir) => any(&package.include, path),
            (false, Kind::File(_) | Kind::Symlink(_)) => any(&package.include, path),
        };
        wanted && !any(&package.exclude, path)
    });
    Ok(())
}

/// Removes folders of /usr that hold nothing.
pub(super) fn prune_empty_folders(tree: &mut Tree) {
    let folders: Vec<String> = tree
        .iter()
        .filter(|(path, node)| path.starts_with("/usr/") && node.kind == Kind::Dir)
        .map(|(path, _)| path.to_owned())
        .collect();
    for path in folders.iter().rev() {
        if tree.below(path).next().is_none() {
            tree.remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Node, Origin};

    fn tree() -> Tree {
        let origin: Origin = "p".into();
        let mut tree = Tree::new();
        for path in ["/usr/bin/p", "/usr/bin/q", "/usr/share/doc/p/copyright", "/usr/share/man/man1/p.1", "/etc/p.conf"]
        {
            tree.insert(path, Node::file(0o644, "", &origin)).unwrap();
        }
        tree
    }

    fn package(include: &[&str], exclude: &[&str]) -> Package {
        let globs = |texts: &[&str]| texts.iter().map(|text| Glob::parse(text).unwrap()).collect();
        Package { name: "p".into(), include: globs(include), exclude: globs(exclude) }
    }

    fn selected(include: &[&str], exclude: &[&str]) -> Vec<String> {
        let mut tree = tree();
        select(&package(include, exclude), &mut tree).unwrap();
        prune_empty_folders(&mut tree);
        tree.iter().filter(|(_, node)| node.kind != Kind::Dir).map(|(path, _)| path.to_owned()).collect()
    }

    #[test]
    fn documentation_stays_out_unless_asked_for() {
        assert_eq!(selected(&[], &[]), ["/etc/p.conf", "/usr/bin/p", "/usr/bin/q"]);
        assert_eq!(selected(&[], &["/etc/**", "/usr/bin/q"]), ["/usr/bin/p"]);
        assert_eq!(selected(&["/usr/share/doc/**"], &[]), ["/usr/share/doc/p/copyright"]);
    }

    #[test]
    fn a_pattern_without_a_file_is_an_error() {
        let error = select(&package(&["/usr/bin/p", "/usr/sbin/p"], &[]), &mut tree()).unwrap_err();
        assert_eq!(error.to_string(), "package p has no file that matches '/usr/sbin/p'");
    }

    #[test]
    fn folders_left_empty_are_removed() {
        let mut tree = tree();
        select(&package(&["/usr/bin/p"], &[]), &mut tree).unwrap();
        tree.insert("/usr/share/doc/x", Node::dir(0o755, &"p".into())).unwrap();
        prune_empty_folders(&mut tree);
        let left: Vec<&str> = tree.iter().map(|(path, _)| path).collect();
        assert_eq!(left, ["/usr", "/usr/bin/p"]);
    }
}
