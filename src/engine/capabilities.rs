//! What requests can ask of a model.

/// What not every engine can do. A request for what its model cannot do is refused, never half obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It gives each word its times.
    pub words: bool,
    /// It says how sure it is of each word.
    pub logprobs: bool,
    /// A text can lead up to the recording.
    pub prompt: bool,
    /// It can be told which words to expect.
    pub keywords: bool,
    /// It can choose among likely words by chance.
    pub temperature: bool,
    /// It can write in English what was said in another language.
    pub translation: bool,
}
