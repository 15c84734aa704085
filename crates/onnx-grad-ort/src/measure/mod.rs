//! Measuring: things timed side by side, and a process's peak memory.

mod clock;
mod memory;
mod rounds;
mod spread;

pub use clock::Clock;
pub use memory::peak_resident;
pub use rounds::{Plan, Side, order, rounds};
pub use spread::Spread;
