//! Fields that tmpfiles.d and sysusers.d share: `-` for nothing, numbers of users, paths in their plain form. Pure.

/// A field; `-` and an empty one say nothing.
pub(crate) fn given(field: Option<&String>) -> Option<&str> {
    field.map(String::as_str).filter(|field| !field.is_empty() && *field != "-")
}

/// The number of a user or group. 65535 and the highest one mean nobody and are refused.
pub(crate) fn id(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|id| is_plain && is_id(*id))
}

/// Whether a number may be that of a user or group.
pub(crate) fn is_id(id: u32) -> bool {
    id != u32::MAX && id != 0xffff
}

/// The path without doubled slashes, parts that are `.`, and a slash at the end.
pub(crate) fn simplified(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    let mut out = String::with_capacity(path.len());
    for part in parts {
        if path.starts_with('/') || !out.is_empty() {
            out.push('/');
        }
        out.push_str(part);
    }
    if out.is_empty() && path.starts_with('/') {
        out.push('/');
    }
    out
}

/// Whether `path` is `prefix` or lies below it.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    ferrite_unit::escape::is_below(path, &simplified(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_plain() {
        for (path, plain) in
            [("/a//b/./c/", "/a/b/c"), ("/", "/"), ("//", "/"), ("a/./b", "a/b"), ("/a/../b", "/a/../b")]
        {
            assert_eq!(simplified(path), plain, "{path}");
        }
        for (path, prefix, want) in [("/a/b", "/a", true), ("/ab", "/a", false), ("/a", "/a/", true), ("/a", "/", true)]
        {
            assert_eq!(is_below(path, prefix), want, "{path} {prefix}");
        }
    }

    #[test]
    fn numbers_that_mean_nobody_are_refused() {
        let ids = ["0", "7", "65534", "65535", "4294967295", "4294967296", "-1", "+1", "007", "x", ""].map(id);
        assert_eq!(ids, [Some(0), Some(7), Some(65534), None, None, None, None, None, None, None, None]);
    }
}
