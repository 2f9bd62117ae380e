//! sysusers.d: users and groups that packages want. Lines are read, compared with the accounts there are, and become
//! new lines of /etc/passwd, group, shadow and gshadow. Pure.
//!
//! Accounts that exist are never changed; numbers that nobody asked for are given out downwards from 999.

pub mod accounts;
pub mod line;
pub mod plan;
pub mod render;

pub use accounts::Accounts;
pub use line::{Declared, Lines};
pub use plan::{Machine, Plan, plan};
pub use render::{Rendered, Texts, render};
