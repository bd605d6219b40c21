//! Text from outside, made fit for a terminal.
//!
//! What a pipeline's file, a registry or a program says may move the cursor, set the title, fill the clipboard or change
//! what keys send. Of such text only characters, line ends and, where they are asked for, colours are shown.

/// A command to the terminal that is longer is none: it is shown as text.
const LONGEST_COMMAND: usize = 4096;
/// More than any colour needs.
const LONGEST_COLOUR: usize = 64;

/// Whether colours pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    Kept,
    Dropped,
}

/// Makes a stream harmless, in whatever pieces it comes.
#[derive(Debug)]
pub(crate) struct Cleaner {
    colours: Colours,
    state: State,
    /// The beginning of a character whose rest has not come.
    begun: Vec<u8>,
}

/// Where in a sequence the stream is.
#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// Behind ESC.
    Escape,
    /// Behind CSI, with what has come of its parameters.
    Control(String),
    /// Behind OSC, DCS, APC, PM or SOS.
    Command { text: String, escaped: bool },
}

impl Cleaner {
    pub(crate) fn new(colours: Colours) -> Self {
        Self {
            colours,
            state: State::Text,
            begun: Vec::new(),
        }
    }

    /// What may be shown of the next bytes. A carriage return stays: it leads no further than the own line.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> String {
        let mut given = std::mem::take(&mut self.begun);
        given.extend_from_slice(bytes);
        let mut shown = String::with_capacity(given.len());
        let mut chunks = given.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(|next| self.step(next, &mut shown));
            let broken = chunk.invalid();
            let may_go_on = std::str::from_utf8(broken).is_err_and(|error| error.error_len().is_none());
            if chunks.peek().is_none() && may_go_on {
                self.begun = broken.to_vec();
            } else if !broken.is_empty() {
                self.step(char::REPLACEMENT_CHARACTER, &mut shown);
            }
        }
        shown
    }

    /// What may be shown when nothing more comes.
    fn finish(mut self) -> String {
        let mut shown = String::new();
        if !self.begun.is_empty() {
            self.step(char::REPLACEMENT_CHARACTER, &mut shown);
        }
        self.give_up_command(&mut shown);
        shown
    }

    fn step(&mut self, next: char, shown: &mut String) {
        match &mut self.state {
            State::Text => match next {
                '\u{1b}' => self.state = State::Escape,
                '\u{9b}' => self.state = State::Control(String::new()),
                '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => self.begin_command(),
                '\n' | '\r' | '\t' => shown.push(next),
                next if next.is_control() => {}
                // They would have the rest of the line read backwards.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
                next => shown.push(next),
            },
            State::Escape => match next {
                '[' => self.state = State::Control(String::new()),
                ']' | 'P' | 'X' | '^' | '_' => self.begin_command(),
                '\u{1b}' | ' '..='/' => {}
                '0'..='~' => self.state = State::Text,
                other => self.again(other, shown),
            },
            State::Control(parameters) => match next {
                ' '..='?' if parameters.len() < LONGEST_COLOUR => parameters.push(next),
                ' '..='?' => {}
                '@'..='~' => {
                    let plain = |letter| matches!(letter, '0'..='9' | ';' | ':');
                    if next == 'm' && self.colours == Colours::Kept && parameters.chars().all(plain) {
                        shown.push_str("\u{1b}[");
                        shown.push_str(parameters);
                        shown.push('m');
                    }
                    self.state = State::Text;
                }
                other => self.again(other, shown),
            },
            State::Command { text, escaped } => match next {
                '\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}' => self.state = State::Text,
                '\\' if *escaped => self.state = State::Text,
                other if *escaped => {
                    self.state = State::Escape;
                    self.step(other, shown);
                }
                '\u{1b}' => *escaped = true,
                '\n' | '\r' => {
                    self.give_up_command(shown);
                    self.again(next, shown);
                }
                other => {
                    if !other.is_control() {
                        text.push(other);
                    }
                    if text.len() > LONGEST_COMMAND {
                        self.give_up_command(shown);
                    }
                }
            },
        }
    }

    fn begin_command(&mut self) {
        self.state = State::Command {
            text: String::new(),
            escaped: false,
        };
    }

    /// One that does not end on its line was text after all.
    fn give_up_command(&mut self, shown: &mut String) {
        if let State::Command { text, .. } = std::mem::take(&mut self.state) {
            shown.push_str(&text);
        }
    }

    /// A character that ends a sequence which it is no part of.
    fn again(&mut self, next: char, shown: &mut String) {
        self.state = State::Text;
        self.step(next, shown);
    }
}

/// What may be shown of a whole text.
pub(crate) fn clean(text: &str, colours: Colours) -> String {
    let mut cleaner = Cleaner::new(colours);
    let mut shown = cleaner.write(text.as_bytes());
    shown.push_str(&cleaner.finish());
    shown.retain(|letter| letter != '\r');
    shown
}

/// Text from outside as a part of a line of ours: it begins no line of its own.
pub(crate) fn phrase(text: &str) -> String {
    clean(text, Colours::Dropped).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests;
