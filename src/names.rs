//! Rules for the names of models.

/// Longest model name, in bytes; it becomes part of a cgroup's name and of log lines.
const MAX_NAME: usize = 64;

/// Check that a model may have this name. It becomes part of URLs, headers, the journal and file
/// names of the cgroup tree, so no character may need escaping there.
///
/// # Errors
/// A sentence that says which names are possible.
pub fn valid_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if name.is_empty()
        || name.len() > MAX_NAME
        || !name.bytes().all(allowed)
        || name.starts_with('.')
    {
        return Err(format!(
            "`{name}` is no model name: use 1 to {MAX_NAME} letters, digits, `_`, `-` and `.`, not starting with `.`"
        ));
    }
    Ok(())
}
