//! From where a file comes: its own address, or a mirror that a variable names.

use std::env;

use reqwest::Url;
use stt_isolated::catalogue::is_loopback;

use super::error::Error;

/// Variable with the address of a mirror of all hosts: `MIRROR/HOST/PATH`, as by `wget -x`.
const MIRROR: &str = "STT_ISOLATED_MIRROR";

/// Variable with the address that replaces Hugging Face's, as its own tools read it.
const HUGGING_FACE: &str = "HF_ENDPOINT";

/// Most redirects of one request.
const MAX_REDIRECTS: usize = 10;

/// The address from which to get the file at `url`.
///
/// # Errors
///
/// A variable has no address.
pub fn of(url: &str) -> Result<Url, Error> {
    let set = |variable| env::var(variable).ok().filter(|value| !value.is_empty());
    resolve(url, set(MIRROR), set(HUGGING_FACE))
}

fn resolve(url: &str, mirror: Option<String>, endpoint: Option<String>) -> Result<Url, Error> {
    let path = url.strip_prefix("https://huggingface.co/");
    let (variable, base, rest) = match (mirror, endpoint, path) {
        (Some(mirror), _, _) => {
            let (_, rest) = url.split_once("://").unwrap_or_default();
            (MIRROR, mirror, rest)
        }
        (None, Some(endpoint), Some(path)) => (HUGGING_FACE, endpoint, path),
        (None, _, _) => ("url", url.to_owned(), ""),
    };
    let whole = match rest {
        "" => base.clone(),
        rest => format!("{}/{rest}", base.trim_end_matches('/')),
    };
    let parsed = |url: &str| {
        let fits = |url: &Url| url.has_host() && matches!(url.scheme(), "https" | "http");
        Url::parse(url).ok().filter(fits)
    };
    // A base without a host would make a host of the first part of the path.
    match parsed(&base).and_then(|_| parsed(&whole)) {
        Some(url) => Ok(url),
        None => Err(Error::Address {
            variable,
            value: base,
        }),
    }
}

/// True if a request to `from` may be sent on to `to`. HTTPS leads only to HTTPS. Without it, as to
/// this machine or to a mirror in the same house, the same host and this machine are possible, too.
fn may_lead(from: &Url, to: &Url) -> bool {
    let host = |url: &Url| url.host_str().map(str::to_owned);
    match to.scheme() {
        "https" => true,
        "http" if from.scheme() == "http" => {
            host(to) == host(from) || host(to).is_some_and(|host| is_loopback(&host))
        }
        _ => false,
    }
}

/// Rules for redirects of requests that begin at `from`.
pub fn policy(from: &Url) -> reqwest::redirect::Policy {
    let from = from.clone();
    reqwest::redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error(format!(
                "it was sent on more than {MAX_REDIRECTS} times, in a circle?"
            ))
        } else if may_lead(&from, attempt.url()) {
            attempt.follow()
        } else {
            let to = attempt.url().to_string();
            attempt.error(format!("it was sent on to {to}, but only https:// is safe"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mirror: Option<&str>, endpoint: Option<&str>, url: &str) -> String {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        match resolve(url, owned(mirror), owned(endpoint)) {
            Ok(url) => url.into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn variables_name_mirrors() {
        let hugging_face = "https://huggingface.co/a/b.bin";
        let other = "https://models.example/a/b.bin";
        assert_eq!(at(None, None, other), other);
        let endpoint = Some("https://hf.example/");
        assert_eq!(
            at(None, endpoint, hugging_face),
            "https://hf.example/a/b.bin"
        );
        assert_eq!(at(None, endpoint, other), other);
        for mirror in ["http://mirror.lan/models", "http://mirror.lan/models/"] {
            let whole = "http://mirror.lan/models/huggingface.co/a/b.bin";
            assert_eq!(at(Some(mirror), endpoint, hugging_face), whole);
        }
        for wrong in ["mirror.lan", "ftp://mirror.lan", "https://"] {
            let message = at(Some(wrong), None, other);
            assert!(message.starts_with("STT_ISOLATED_MIRROR="), "{message}");
        }
    }

    #[test]
    fn https_leads_only_to_https() {
        for (from, to, may) in [
            ("https://a", "https://b", true),
            ("https://a", "http://a", false),
            ("https://a", "http://127.0.0.1", false),
            ("http://127.0.0.1:1", "http://127.0.0.1:2", true),
            ("http://127.0.0.1:1", "https://a", true),
            ("http://127.0.0.1:1", "http://a", false),
            ("http://mirror", "http://mirror/x", true),
            ("http://mirror", "ftp://mirror/x", false),
        ] {
            let [from, to] = [from, to].map(|url| Url::parse(url).unwrap());
            assert_eq!(may_lead(&from, &to), may, "{from} {to}");
        }
    }
}
