//! Stop sequences, wherever the pieces of a text are cut.

use super::partial_end;

/// Lets a text through up to the first stop sequence in it.
#[derive(Debug)]
pub(super) struct StopFilter {
    stops: Vec<String>,
    held: String,
    is_stopped: bool,
}

impl StopFilter {
    pub(super) fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, held: String::new(), is_stopped: false }
    }

    /// Whether a stop sequence has come.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// What is certain after one more piece.
    pub(super) fn push(&mut self, text: &str) -> String {
        if self.is_stopped {
            return String::new();
        }
        self.held.push_str(text);
        // The one that is complete first ends the text, wherever it began.
        let found = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at + stop.len(), at)));
        if let Some((_, at)) = found.min() {
            self.is_stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let stops: Vec<&str> = self.stops.iter().map(String::as_str).collect();
        let rest = self.held.split_off(self.held.len() - partial_end(&self.held, &stops));
        std::mem::replace(&mut self.held, rest)
    }

    /// What is left where no more text follows directly.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_ends_before_the_first_stop_sequence_wherever_it_is_cut() {
        let stops = ["\n\n", "STOP", "ñandú", "TOP secret"].map(str::to_owned);
        let texts = [
            ("one\ntwo\n\nthree", "one\ntwo", true),
            ("a STO P", "a STO P", false),
            ("the STOP secret", "the ", true),
            ("un ñand ñandú", "un ñand ", true),
            ("end ñ", "end ñ", false),
        ];
        for (text, expected, is_stopped) in texts {
            for size in 1..=4 {
                let mut filter = StopFilter::new(&stops);
                let characters: Vec<char> = text.chars().collect();
                let mut found: String = characters
                    .chunks(size)
                    .map(|piece| filter.push(&piece.iter().collect::<String>()))
                    .collect();
                found.push_str(&filter.finish());
                assert_eq!((found.as_str(), filter.is_stopped()), (expected, is_stopped), "by {size}");
            }
        }
    }
}
