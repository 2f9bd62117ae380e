//! What the processes of a unit may see and do: planned from its settings, applied in the child before it executes.

pub mod apply;
pub mod assembler;
pub mod devices;
pub mod filter;
pub mod filters;
pub mod guard;
pub mod limits;
pub mod network;
pub mod places;
pub mod plan;
pub mod rights;
pub mod shared;
pub mod stage;
pub mod view;
