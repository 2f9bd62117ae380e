//! Compares a text with its file under `tests/golden/`; `UPDATE_GOLDEN=1` rewrites the file. Only in tests.

use std::fs;
use std::path::Path;

pub(crate) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder can be made");
        fs::write(&path, text).expect("the golden file can be written");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == wanted, "{} differs; review with UPDATE_GOLDEN=1 and git diff. Now:\n{text}", path.display());
}
