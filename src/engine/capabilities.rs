//! The abilities of a model that requests can ask for.

/// Abilities that only some engines have. If a model lacks one that a request asks for, the request
/// is refused as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It tells the times of each word.
    pub words: bool,
    /// It tells how sure it is of each word.
    pub logprobs: bool,
    /// It can be given a text that precedes the recording.
    pub prompt: bool,
    /// It can be told which words to expect.
    pub keywords: bool,
    /// It can find out which of several languages is spoken.
    pub choice: bool,
    /// It can choose among likely words by chance.
    pub temperature: bool,
    /// It can write in English what was said in another language.
    pub translation: bool,
    /// It tells speakers apart by their voices.
    pub speakers: bool,
}
