//! Updates from a payload to the boot loader's next decision, on a disk that can be cut off, fail and lie.

mod cuts;
mod model;
#[path = "../../../payload/tests/support/noise.rs"]
mod noise;
mod release;
mod run;

mod crash;
mod files;
mod refusals;
mod resume;
