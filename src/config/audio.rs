//! How recordings are decoded: `[audio]`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{engine::cannot_run, problems::Problems};

/// The table `[audio]`: decoding of recordings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audio {
    /// The program ffmpeg, by its absolute path, for recordings of a kind that the service itself
    /// cannot decode. Empty: they are refused.
    pub converter: PathBuf,
}

impl Audio {
    /// Check every rule that the types cannot express.
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Some(converter) = self.converter()
            && let Some(reason) = cannot_run(converter)
        {
            let what = format!(
                "{reason}; install ffmpeg (apt install ffmpeg) and write where it is \
                 (\"/usr/bin/ffmpeg\"), or remove this key"
            );
            problems.add("converter", what);
        }
    }

    /// The converter, if there is one.
    pub(super) fn converter(&self) -> Option<&Path> {
        let path = self.converter.as_path();
        (!path.as_os_str().is_empty()).then_some(path)
    }
}

/// The converter as a model's processes need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converter {
    /// The program, by its absolute path.
    pub program: PathBuf,
    /// The folder of large recordings.
    pub recordings: PathBuf,
}
