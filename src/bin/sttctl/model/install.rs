//! `sttctl model install`: puts a file into the models directory after the daemon's own program has
//! tested it.

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use sha2::{Digest, Sha256};
use stt_isolated::catalogue::Catalogue;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    catalogue,
    error::Error,
    place::{self, EXTENSION},
    trial,
};
use crate::cli::{self, Install};

/// Bytes copied at once.
const BLOCK: usize = 1 << 20;

/// Copies the file into the directory under a hidden name, tests the copy, and renames it. So the
/// installed file is the tested one, even if the source changes meanwhile.
///
/// # Errors
///
/// The reason why nothing was installed.
pub async fn install(arguments: &Install) -> Result<String, Error> {
    let Install { file, force, .. } = arguments;
    let directory = &arguments.place.directory;
    let source = File::open(file).map_err(Error::Read)?;
    if !source.metadata().map_err(Error::Read)?.is_file() {
        return Err(Error::NotAFile);
    }
    // A long copy need not be made in vain if the name is taken.
    if let Some(name) = &arguments.name {
        place::refuse_taken(directory, name, false, *force)?;
    }
    let unwritable = Error::in_directory(directory);
    let copy = tempfile::Builder::new()
        .prefix(".install-")
        .suffix(&format!(".{EXTENSION}"))
        .tempfile_in(directory)
        .map_err(&unwritable)?;
    let sum = fill(&copy, source, unwritable).await?;
    if let Some(expected) = &arguments.sha256
        && *expected != sum
    {
        return Err(Error::Sum {
            found: sum,
            expected: expected.clone(),
        });
    }
    let catalogue = catalogue();
    let (name, known) = name(arguments, &catalogue, &sum)?;
    place::refuse_taken(directory, &name, false, *force)?;
    trial::try_out(copy.path(), &file.to_string_lossy()).await?;
    let target = place::give_name(directory, copy.path(), &name, false, *force)?;
    Ok(format!(
        "Model `{name}` is {} (SHA-256 {sum}{known}).",
        target.display()
    ))
}

/// The name of the model, and what the catalogue knows of it.
fn name(arguments: &Install, catalogue: &Catalogue, sum: &str) -> Result<(String, String), Error> {
    let entry = catalogue.of_file(sum);
    let known = entry.map_or_else(String::new, |entry| {
        format!(
            ": `{}` of the catalogue, licence {}",
            entry.name, entry.licence
        )
    });
    let name = match (&arguments.name, entry) {
        (Some(name), _) => name.clone(),
        (None, Some(entry)) => entry.name.clone(),
        (None, None) => stem(&arguments.file)?,
    };
    Ok((name, known))
}

fn stem(file: &Path) -> Result<String, Error> {
    cli::name(&file.file_stem().unwrap_or_default().to_string_lossy()).map_err(Error::Name)
}

/// Copies `source` into `copy`, readable for everybody; returns its SHA-256.
async fn fill(
    copy: &NamedTempFile,
    source: File,
    unwritable: impl Fn(io::Error) -> Error,
) -> Result<String, Error> {
    let mut source = tokio::fs::File::from_std(source);
    let target = copy.as_file().try_clone().map_err(&unwritable)?;
    let mut target = tokio::fs::File::from_std(target);
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        let length = source.read(&mut block).await.map_err(Error::Read)?;
        let Some(read @ [_, ..]) = block.get(..length) else {
            break;
        };
        hash.update(read);
        target.write_all(read).await.map_err(&unwritable)?;
    }
    let readable = Permissions::from_mode(0o644);
    target
        .set_permissions(readable)
        .await
        .map_err(&unwritable)?;
    target.flush().await.map_err(&unwritable)?;
    target.sync_all().await.map_err(&unwritable)?;
    let sum = hash.finalize();
    Ok(sum.iter().map(|byte| format!("{byte:02x}")).collect())
}
