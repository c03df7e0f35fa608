//! Ctrl-C and SIGTERM, with the exit status that scripts expect of them.
//!
//! At first a signal ends the program at once. A command that can stop well asks for time with
//! [`Stop::at_next_moment`] and looks at [`Stop::flag`] in its loop: then the first signal
//! raises the flag, and only the second ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// A request to stop, raised by Ctrl-C or SIGTERM.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    requested: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
    /// Whether the next signal ends the program at once.
    at_once: Arc<AtomicBool>,
}

impl Stop {
    /// Listens to SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    ///
    /// When the system refuses the handlers.
    pub fn on_signals() -> Result<Self> {
        let stop = Self { at_once: Arc::new(AtomicBool::new(true)), ..Self::default() };
        for signal in [SIGINT, SIGTERM] {
            let status = i32::from(Interrupted::of_signal(signal).status());
            let number = usize::try_from(signal).unwrap_or(0);
            // They run in this order: one that comes too late for `at_once` ends nothing.
            flag::register_conditional_shutdown(signal, status, Arc::clone(&stop.at_once))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&stop.signal), number))
                .and_then(|_| flag::register(signal, Arc::clone(&stop.requested)))
                .and_then(|_| flag::register(signal, Arc::clone(&stop.at_once)))
                .context("while preparing for Ctrl-C")?;
        }
        Ok(stop)
    }

    /// From now on the first signal only raises the flag.
    pub fn at_next_moment(&self) {
        self.at_once.store(false, Ordering::SeqCst);
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
