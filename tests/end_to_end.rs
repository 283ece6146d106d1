//! The real programs, from the outside: the server as a process, its clients over sockets, its log through
//! the tools. What each file covers stands at its top; here they are only put together.

mod chance;
mod kit;
#[path = "kit/live.rs"]
mod live;
#[path = "kit/relay.rs"]
mod relay;

#[path = "end_to_end/attacks.rs"]
mod attacks;
#[path = "end_to_end/backup.rs"]
mod backup;
#[path = "end_to_end/bench.rs"]
mod bench;
#[path = "end_to_end/beside.rs"]
mod beside;
#[path = "end_to_end/black_box.rs"]
mod black_box;
#[path = "end_to_end/calls.rs"]
mod calls;
#[path = "end_to_end/commands.rs"]
mod commands;
#[path = "end_to_end/compact.rs"]
mod compact;
#[path = "end_to_end/conversation.rs"]
mod conversation;
#[path = "end_to_end/durability.rs"]
mod durability;
#[path = "end_to_end/endings.rs"]
mod endings;
#[path = "end_to_end/extensions.rs"]
mod extensions;
#[path = "end_to_end/files.rs"]
mod files;
#[path = "end_to_end/full.rs"]
mod full;
#[path = "end_to_end/limits.rs"]
mod limits;
#[path = "end_to_end/pack.rs"]
mod pack;
#[path = "end_to_end/pressure.rs"]
mod pressure;
#[path = "end_to_end/repair.rs"]
mod repair;
#[path = "end_to_end/repair_base.rs"]
mod repair_base;
#[path = "end_to_end/salvage.rs"]
mod salvage;
#[path = "end_to_end/script.rs"]
mod script;
#[path = "end_to_end/script_extensions.rs"]
mod script_extensions;
#[path = "end_to_end/secrets.rs"]
mod secrets;
#[path = "end_to_end/self_check.rs"]
mod self_check;
#[path = "end_to_end/slices.rs"]
mod slices;
#[path = "end_to_end/soak.rs"]
mod soak;
#[path = "end_to_end/store.rs"]
mod store;
#[path = "end_to_end/streams.rs"]
mod streams;
#[path = "end_to_end/tools.rs"]
mod tools;
