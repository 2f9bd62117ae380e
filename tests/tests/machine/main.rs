//! The machine tests: each boots the real image in QEMU with the real boot loader. One family a file.
//!
//! One program, so that families run side by side; a gate keeps the number of guests within the host's memory.

mod adversity;
mod boot_choice;
mod cloud_config;
mod console;
mod datasource;
mod fallback;
mod growth;
mod hardware;
mod hotplug;
mod instance;
mod journal;
mod kills;
mod limits;
mod login;
mod network;
mod persistence;
mod power_cut;
mod process_1;
mod reproducible;
mod run_command;
mod sandbox;
mod services;
mod update;
mod verity;
