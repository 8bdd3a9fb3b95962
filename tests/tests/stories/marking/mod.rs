//! Packet marking with the real daemons: what a router between two sites sees, and what admins ask.

mod capture;
mod check;
