//! Files of a machine that has nobody but root and core.

/// Paths below the root, and texts.
pub const MACHINE_FILES: [(&str, &str); 6] = [
    ("etc/passwd", "root:x:0:0::/root:/bin/sh\ncore:x:500:500:Core:/home/core:/bin/bash\n"),
    ("etc/group", "root:x:0:\ncore:x:500:\nsudo:x:27:\n"),
    ("etc/shadow", "root:*:::::::\ncore:*:::::::\n"),
    ("etc/gshadow", "root:*::\n"),
    ("etc/hosts", "127.0.0.1 localhost\n"),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
];
