//! Rules for the names of models and of keys.

/// Longest name, in bytes; it becomes part of a cgroup's name and of log lines.
pub const MAX_NAME: usize = 64;

/// Whether a model or a key may have this name. It becomes part of URLs, headers, the journal and
/// file names of the cgroup tree, so no character may need escaping there.
pub fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.')
}

/// Check that a model may have this name.
///
/// # Errors
/// A sentence that says which names are possible.
pub fn valid_name(name: &str) -> Result<(), String> {
    if !is_name(name) {
        return Err(format!(
            "`{name}` is no model name: use 1 to {MAX_NAME} letters, digits, `_`, `-` and `.`, not starting with `.`"
        ));
    }
    Ok(())
}
