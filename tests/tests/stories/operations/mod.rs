//! What an admin does all day: look, ask, count, and find out what happened last night.

mod commands;
mod door_check;
mod monitoring;
mod page;
mod records;
mod settings;
