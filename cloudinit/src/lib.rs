//! cloudinit: reads the machine's user-data, plans what follows from it, applies the plan.
//!
//! `document`, `config`, `meta` and `plan` are pure. `datasource` finds the documents, `apply` changes files,
//! `status` says afterwards what happened. A broken document applies nothing, but the keys and the name in the
//! meta-data always do.

mod apply;
mod command;
mod config;
mod datasource;
mod document;
mod facts;
mod fault;
mod hostname;
mod keys;
mod meta;
mod plan;
mod status;

pub use command::{ApplyInputs, apply, plan_file, show_status, validate};
