//! What packages ask of the host in files: tmpfiles.d, sysusers.d, sysctl.d, modules-load.d and
//! timesyncd.conf. Pure: opens no file.
//!
//! Each kind is read into a plan that says every change in order; `init/host` carries plans out. Facts of the machine
//! come through traits, so that `--root` and tests answer them in their own way.

pub mod fault;
pub mod folders;
pub mod modules_load;
pub mod specifier;
pub mod sysusers;
pub mod time_sources;
pub mod tmpfiles;
pub mod variables;

mod field;

pub use fault::{Fault, Place, Weight};
