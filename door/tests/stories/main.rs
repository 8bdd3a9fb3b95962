//! Stories of the door, by what they are about, each with a door in this process and a pool that only pretends to have a
//! disk.

mod access;
mod bodies;
mod checksums;
mod copies;
mod copy_refusals;
mod damage;
mod downloads;
mod locks;
mod marking;
mod mutual_tls;
mod names;
mod program;
mod restarts;
mod site;
mod uploads;
mod webdav;
