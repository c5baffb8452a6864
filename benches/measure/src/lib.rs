//! Measures launches: each way to start a program takes its turn, in an order
//! that is shuffled anew for every round, so that whatever else the machine
//! does is borne by all of them.

pub mod apart;
pub mod others;
pub mod ours;
pub mod picture;
pub mod sampling;
pub mod stage;
pub mod trace;
pub mod way;
