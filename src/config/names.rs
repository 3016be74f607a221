//! Names of models: what one may be.

/// Longest model name; it becomes part of a cgroup's name and of log lines.
const MAX_NAME: usize = 64;

/// A name goes into URLs, headers, file names of the cgroup tree and the journal: no character may need escaping there.
pub(super) fn valid_name(name: &str) -> Result<(), String> {
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
