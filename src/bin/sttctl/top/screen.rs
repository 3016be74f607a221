//! Takes the terminal, and restores it however the program ends.

use std::{io, sync::Once};

use crossterm::{
    cursor::{Hide, Show},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};

/// The alternate screen. When dropped, it restores the terminal.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// Standard output is not a terminal, or it cannot be set up.
    pub fn take() -> io::Result<Screen> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            // A panic ends the program without dropping values, and its message belongs on the
            // usual screen.
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                usual(panic);
            }));
        });
        enable_raw_mode()?;
        let screen = Screen(());
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // An error here means that the terminal is gone.
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = disable_raw_mode();
}
