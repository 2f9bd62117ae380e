//! Updates from a payload to the boot loader's next decision, on a disk that can be cut off, fail and lie; and the real
//! engine with its clients on a machine of files, against web servers that may misbehave.

mod cuts;
mod machine;
mod model;
#[path = "../../../payload/tests/support/noise.rs"]
mod noise;
mod posts;
mod release;
mod run;
mod web;

mod access;
mod crash;
mod faults;
mod files;
mod fleet;
mod kills;
mod large;
mod life;
mod links;
mod people;
mod refusals;
mod resume;
mod rules;
mod steering;
mod story;
mod threats;
