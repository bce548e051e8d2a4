//! The system's clocks, the one place that reads them.

use aegis_types::{Clock, Moment, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// The clocks of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let wall = clock_gettime(ClockId::Realtime);
        Moment {
            wall: Timestamp::from_nanos(
                wall.tv_sec.saturating_mul(1_000_000_000).saturating_add(wall.tv_nsec),
            ),
            mono_us: monotonic_us(),
        }
    }
}

/// Reads the monotonic clock, in microseconds since the machine's start.
#[must_use]
pub fn monotonic_us() -> u64 {
    let mono = clock_gettime(ClockId::Monotonic);
    u64::try_from(mono.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(mono.tv_nsec).unwrap_or(0) / 1_000
}
