//! cloudinit: reads the machine's user-data, plans what follows from it, applies the plan.
//!
//! Pure: `document` is the tree, `language` and the `keys_*` tables say what it may hold, `check` compares the two,
//! `formats`, `mime`, `template`, `merge` take documents apart and join them, the `plan*` files decide. `datasource`
//! finds the documents, `boot` says when, `fetch` gets their includes, `facts` looks at the machine, `apply` changes
//! it, `status` says afterwards what happened. A broken document applies nothing, but the keys and the name
//! in the meta-data always do.

mod accounts;
mod apply;
mod boot;
mod check;
mod command;
mod config;
mod datasource;
mod decode;
mod disks;
#[cfg(test)]
mod docs;
mod document;
mod examples;
mod explain;
mod facts;
mod failure;
mod fault;
mod fetch;
mod formats;
#[cfg(test)]
mod fuzz;
mod hostname;
mod keys;
mod keys_cloud;
mod keys_coreos;
mod keys_files;
mod keys_users;
mod language;
mod last;
mod memory;
mod merge;
mod meta;
mod mime;
mod network;
mod patch;
mod plan;
mod plan_commands;
mod plan_coreos;
mod plan_disks;
mod plan_etcd;
mod plan_files;
mod plan_instance;
mod plan_late;
mod plan_network;
mod plan_system;
mod plan_users;
mod render;
mod report;
mod rules;
mod schema;
mod show;
mod status;
mod template;

pub use boot::run;
pub use command::{
    ApplyInputs, Output, Strictness, apply, run_commands, show_key, show_merged, show_network, show_plan, show_schema,
    validate,
};
pub use datasource::Stage;
pub use last::{phone_home, show_final_message};
pub use show::{show_datasource, show_status};
