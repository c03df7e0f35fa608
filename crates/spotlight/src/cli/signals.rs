//! Ctrl-C and SIGTERM as a request to stop at the next good moment.
//!
//! A command that can stop well asks [`Stop::on_signals`] once and looks at the flag in its
//! loop. All others keep the system's habit: the signal ends them at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// A request to stop, raised by the first Ctrl-C or SIGTERM. The second ends the program at once.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    requested: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Listens to SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    ///
    /// When the system refuses the handlers.
    pub fn on_signals() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the first signal finds the flag down and raises it, a second
            // one finds it up and ends the program.
            let status = i32::from(Interrupted::of_signal(signal).status());
            flag::register_conditional_shutdown(signal, status, Arc::clone(&stop.requested))
                .and_then(|_| {
                    let number = usize::try_from(signal).unwrap_or(0);
                    flag::register_usize(signal, Arc::clone(&stop.signal), number)
                })
                .and_then(|_| flag::register(signal, Arc::clone(&stop.requested)))
                .context("while preparing for Ctrl-C")?;
        }
        Ok(stop)
    }

    /// The flag that a loop looks at: true from the first signal on.
    #[must_use]
    pub fn flag(&self) -> &AtomicBool {
        &self.requested
    }

    /// The signal that asked to stop, if one did.
    #[must_use]
    pub fn interrupted(&self) -> Option<Interrupted> {
        let signal = i32::try_from(self.signal.load(Ordering::SeqCst)).unwrap_or(SIGINT);
        self.requested.load(Ordering::SeqCst).then(|| Interrupted::of_signal(signal))
    }
}

/// The program was asked to stop by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted {
    signal: i32,
}

impl Interrupted {
    /// The interruption by a signal's number: 2 for SIGINT, 15 for SIGTERM.
    #[must_use]
    pub fn of_signal(signal: i32) -> Self {
        Self { signal }
    }

    /// The exit status by the shells' custom: 130 for SIGINT, 143 for SIGTERM.
    #[must_use]
    pub fn status(self) -> u8 {
        if self.signal == SIGTERM { 143 } else { 130 }
    }
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.signal == SIGTERM { "terminated" } else { "interrupted" })
    }
}

impl std::error::Error for Interrupted {}
