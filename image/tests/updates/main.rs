//! One's own release channel from keys to an updated machine: the real `ferrite` command, a real web server, and the
//! engine's own code for what a machine does.

mod channel;
mod link;
#[path = "../../../update-engine/payload/tests/support/noise.rs"]
mod noise;
mod workshop;

mod keys;
mod over_http;
