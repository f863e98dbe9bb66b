//! Slots, hashing and files: the part of swarm that runs on its own threads, without the GIL.
//!
//! Only `py` knows Python. Everything else is plain Rust that `cargo test` can reach.

mod copying;
mod create;
mod direct;
mod files;
mod frames;
mod gather;
mod hash;
mod holes;
mod jobs;
mod layout;
mod notify;
mod open_files;
mod places;
mod platform;
mod py;
mod recent;
mod ring;
mod slot;
mod storage;
mod workers;
