//! Reads what a kernel module says about itself: the `.modinfo` section of its file. Pure.
//!
//! Debian's packages bring no modules.dep: the package's script runs depmod on the machine. libs/modules renders the
//! same tables from what is read here.

use ferrite_modules::index::Module;
use object::{Object, ObjectSection};
use thiserror::Error;

/// The file is no kernel module.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// Not an ELF file.
    #[error("reading kernel module {path}")]
    Elf {
        /// Which module.
        path: String,
        /// Why not.
        source: object::Error,
    },
    /// An ELF file of another kind.
    #[error("kernel module {path} has no .modinfo section")]
    NoModinfo {
        /// Which file.
        path: String,
    },
}

/// Aliases and dependencies of a module; `path` is the one below /usr/lib/modules/VERSION.
pub fn read(path: &str, plain: &[u8]) -> Result<Module, ModuleError> {
    let elf_error = |source| ModuleError::Elf { path: path.to_string(), source };
    let file = object::File::parse(plain).map_err(elf_error)?;
    let section = file.section_by_name(".modinfo").ok_or_else(|| ModuleError::NoModinfo { path: path.to_string() })?;
    Ok(Module::parse(path, section.data().map_err(elf_error)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_module_is_named() {
        assert_eq!(read("k/x.ko", b"text").unwrap_err().to_string(), "reading kernel module k/x.ko");
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(read("k/x.ko", &own).unwrap_err().to_string(), "kernel module k/x.ko has no .modinfo section");
    }
}
