//! Which input of a list an error is about.

use super::Error;

/// The name of the fact.
const INPUT: &str = "input";

impl Error {
    /// The position, in the caller's list, of the input that the error is about.
    pub fn input(&self) -> Option<usize> {
        let (_, index) = self.inner.context.iter().find(|(name, _)| *name == INPUT)?;
        index.parse().ok()
    }

    /// Says which input the error is about. Where the message begins with a word and this position ("vector 3 is empty"),
    /// [`map_input`](Self::map_input) keeps the two in step.
    pub(crate) fn about_input(mut self, index: usize) -> Self {
        self.inner.context.retain(|(name, _)| *name != INPUT);
        self.with_context(INPUT, index.to_string())
    }

    /// The error of a part of a list as one of the whole list: `position` says where an input of the part is there.
    pub(crate) fn map_input(mut self, position: impl FnOnce(usize) -> usize) -> Self {
        let Some(own) = self.input() else { return self };
        let index = position(own);
        let renamed = self.inner.message.split_once(' ').and_then(|(subject, rest)| {
            let rest = rest.strip_prefix(&own.to_string())?;
            rest.starts_with(' ').then(|| format!("{subject} {index}{rest}"))
        });
        self.inner.message = renamed.unwrap_or(self.inner.message);
        self.about_input(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_part_names_the_input_of_the_whole_list() {
        let error = Error::response_invalid("vector 3 is empty").about_input(3).map_input(|index| index + 64);
        assert_eq!((error.message(), error.input()), ("vector 67 is empty", Some(67)));
        assert_eq!(error.context(), [("input", "67".to_owned())]);
        let longer =
            Error::response_invalid("vector 30 is empty").about_input(3).map_input(|index| index + 1);
        assert_eq!((longer.message(), longer.input()), ("vector 30 is empty", Some(4)));
        let other = Error::config("vector 3 is empty").map_input(|index| index + 1);
        assert_eq!((other.message(), other.input()), ("vector 3 is empty", None));
    }
}
