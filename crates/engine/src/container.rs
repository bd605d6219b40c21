//! Containers as clients know them, over those of the container crate.
//!
//! - [`Roster`]: which there are, by id, name and beginning of id;
//! - [`Record`]: one of them: what was asked, what became of it (`Lifeline`);
//! - the handlers: create, lifecycle, attach and logs, lists and inspection, exec, files.
//!
//! Locks are held for lookups only, never across a call below; transitions of one container are serialised by its own.

mod archive;
mod attach;
mod create;
mod exec;
mod health;
mod inspect;
mod life;
mod lifecycle;
mod list;
mod logs;
mod process_list;
mod publish;
mod record;
mod removal;
mod roster;

pub(crate) use exec::Execs;
pub(crate) use life::Phase;
pub(crate) use record::Record;
pub(crate) use roster::Roster;
