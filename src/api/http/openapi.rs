//! `GET /openapi.json`: a machine-readable description of this API.

use axum::{http::header, response::IntoResponse};

/// The description. `tests` below and `tests/api/openapi.rs` compare it with the code.
const DESCRIPTION: &str = include_str!("openapi.json");

/// Return the description unchanged.
pub(super) async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::{
        super::{options::Page, pages},
        DESCRIPTION,
    };

    fn description() -> Value {
        serde_json::from_str(DESCRIPTION).unwrap()
    }

    fn keys(value: &Value) -> BTreeSet<&str> {
        value
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    #[test]
    fn every_page_is_described_and_no_other() {
        let described = description();
        let pages = pages();
        let pages = pages.iter().map(|(path, _)| *path).collect();
        assert_eq!(keys(&described["paths"]), pages);
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(described["info"]["version"], version);
    }

    #[test]
    fn every_parameter_is_described_and_no_other() {
        for (path, page) in [
            ("/v1/audio/transcriptions", Page::Transcriptions),
            ("/v1/audio/translations", Page::Translations),
            ("/asr", Page::Asr),
            ("/detect-language", Page::DetectLanguage),
        ] {
            let post = &description()["paths"][path]["post"];
            let mut taken: BTreeSet<&str> = page.names().into_iter().map(|name| name.0).collect();
            let parameters = post["parameters"].as_array().unwrap().iter();
            let in_query = parameters.map(|parameter| {
                assert_eq!(parameter["in"], "query");
                parameter["name"].as_str().unwrap()
            });
            assert_eq!(in_query.collect::<BTreeSet<_>>(), taken, "{path}");
            let form = &post["requestBody"]["content"]["multipart/form-data"]["schema"];
            taken.insert(page.recording());
            assert_eq!(keys(&form["properties"]), taken, "{path}");
        }
    }
}
