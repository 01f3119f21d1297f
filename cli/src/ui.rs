//! What the user sees: a live line for each step on a terminal, plain lines otherwise, nothing with `--quiet`.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

/// How much and in which form to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Terminal,
    Plain,
    Quiet,
}

/// The program's voice on standard output.
#[derive(Debug)]
pub struct Ui {
    mode: Mode,
    colour: bool,
}

/// A step under way. Finish it with [`Step::done`] or [`Step::failed`].
#[derive(Debug)]
pub struct Step<'a> {
    ui: &'a Ui,
    label: String,
    started: Instant,
    shown: String,
}

impl Ui {
    /// Chooses the form from what standard output is.
    pub fn detect(quiet: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let mode = match (quiet, terminal) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Terminal,
            (false, false) => Mode::Plain,
        };
        Self { mode, colour: terminal && std::env::var_os("NO_COLOR").is_none() }
    }

    /// Prints a line.
    pub fn line(&self, text: impl AsRef<str>) {
        if self.mode != Mode::Quiet {
            emit(&format!("{}\n", text.as_ref()));
        }
    }

    /// Prints text that was asked for, even with `--quiet`.
    pub fn data(text: &str) {
        Self::bytes(text.as_bytes());
    }

    /// Prints bytes as they are: a guest may print what is no text.
    pub fn bytes(bytes: &[u8]) {
        write(bytes);
    }

    /// Starts a step with a live line.
    pub fn step(&self, label: impl Into<String>) -> Step<'_> {
        let step = Step { ui: self, label: label.into(), started: Instant::now(), shown: String::new() };
        if self.mode == Mode::Terminal {
            emit(&format!("  {} {}", self.dim("…"), step.label));
        }
        step
    }

    /// Dim text on a terminal with colours.
    pub fn dim(&self, text: &str) -> String {
        self.painted("2", text)
    }

    /// Bold text on a terminal with colours.
    pub fn bold(&self, text: &str) -> String {
        self.painted("1", text)
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

impl Step<'_> {
    /// Shows how far the step is: `2/3 ready`.
    pub fn progress(&mut self, text: &str) {
        if self.shown == text {
            return;
        }
        self.shown = text.into();
        if self.ui.mode == Mode::Terminal {
            emit(&format!("\r\x1b[2K  {} {} {}", self.ui.dim("…"), self.label, self.ui.dim(text)));
        }
    }

    /// Ends the step well.
    pub fn done(self, text: &str) {
        let mark = self.ui.painted("32", "✓");
        self.finish(&mark, text);
    }

    /// Ends the step badly.
    pub fn failed(self, text: &str) {
        let mark = self.ui.painted("31", "✗");
        self.finish(&mark, text);
    }

    fn finish(self, mark: &str, text: &str) {
        let took = self.ui.dim(&format!("({})", human(self.started.elapsed())));
        let line = format!("  {mark} {} {text} {took}\n", self.label);
        match self.ui.mode {
            Mode::Terminal => emit(&format!("\r\x1b[2K{line}")),
            Mode::Plain => emit(&line),
            Mode::Quiet => {}
        }
    }
}

/// `85 ms`, `1.2 s`.
pub fn human(time: std::time::Duration) -> String {
    if time.as_millis() < 1000 { format!("{} ms", time.as_millis()) } else { format!("{:.1} s", time.as_secs_f64()) }
}

/// A reader that went away (`skiff … | head`) is no failure of ours.
fn emit(text: &str) {
    write(text.as_bytes());
}

fn write(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes);
    let _ = out.flush();
}
