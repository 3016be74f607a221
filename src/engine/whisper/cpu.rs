//! Checks that this CPU can run whisper.cpp as it was built (`.cargo/config.toml`).

use super::EngineError;

/// # Errors
/// [`EngineError::Unavailable`] names the missing instructions. Without this check, the first job
/// would die of SIGILL.
pub(super) fn check() -> Result<(), EngineError> {
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("SSE4.2", is_x86_feature_detected!("sse4.2")),
        ("AVX", is_x86_feature_detected!("avx")),
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("FMA", is_x86_feature_detected!("fma")),
        ("F16C", is_x86_feature_detected!("f16c")),
        ("BMI2", is_x86_feature_detected!("bmi2")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let features = [];
    all_there(&features)
}

fn all_there(features: &[(&str, bool)]) -> Result<(), EngineError> {
    let missing = features.iter().filter(|(_, is_there)| !is_there);
    let missing: Vec<&str> = missing.map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(EngineError::Unavailable(format!(
        "whisper is not available: this CPU lacks {}; build without GGML_AVX2=ON and its like (.cargo/config.toml)",
        missing.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::{all_there, check};

    #[test]
    fn the_library_was_built_for_what_is_looked_for_and_without_openmp() {
        check().unwrap();
        let built = whisper_rs::print_system_info();
        assert!(!built.contains("OPENMP"), "{built}");
        #[cfg(target_arch = "x86_64")]
        for (feature, is_used) in [("AVX2", true), ("FMA", true), ("AVX512", false)] {
            assert_eq!(
                built.contains(&format!("{feature} = 1")),
                is_used,
                "{built}"
            );
        }
    }

    #[test]
    fn what_the_cpu_lacks_is_named() {
        assert!(all_there(&[("AVX", true), ("AVX2", true)]).is_ok());
        let error = all_there(&[("AVX", true), ("AVX2", false), ("FMA", false)]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("this CPU lacks AVX2, FMA;"), "{error}");
    }
}
