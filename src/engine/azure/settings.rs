//! Settings of the engine `azure`: its library, the service that it asks, and where the key is kept. Never the key.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::Uri;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    config::{
        limits::Limits,
        mode::Mode,
        rules::{self, MAX_TIME},
    },
    language::primary_language,
    units::time,
};

/// Ports of `http:` and `https:`, which `ws:` and `wss:` have, too.
const HTTP: u16 = 80;
/// See [`HTTP`].
const HTTPS: u16 = 443;
/// Names that are too long for a datagram are asked for over TCP.
const DNS: u16 = 53;

/// `[models.NAME.azure]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AzureTable {
    /// The core library of Microsoft's Speech SDK.
    pub library: PathBuf,
    /// Region of the subscription (`westeurope`), or
    pub region: String,
    /// the host of a service of one's own (`wss://speech.example:443`), or
    pub host: String,
    /// the whole address of one.
    pub endpoint: String,
    /// Name of the systemd credential that holds the key, or
    pub credential: String,
    /// the file that does, or
    pub key_file: PathBuf,
    /// the environment variable.
    pub key_environment: String,
    /// Whoever writes the key itself is told where it belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<InClear>,
    /// Languages that the service is asked for; the first is that of requests that name none.
    pub languages: Vec<String>,
    /// How long the service may say nothing, once it has all of the audio.
    #[serde(with = "time")]
    pub response_timeout: Duration,
    /// Audio that is sent at once, before the SDK slows down to twice the speed of speech.
    #[serde(with = "time")]
    pub upload_burst: Duration,
    /// Certificate of the authority that vouches for a service of one's own, in PEM; empty: the system's.
    pub ca_file: PathBuf,
    /// Never give anything back to the library: what a leaking program would do.
    #[cfg(feature = "fault-engine")]
    pub keep_handles: bool,
}

impl Default for AzureTable {
    fn default() -> Self {
        Self {
            library: PathBuf::new(),
            region: String::new(),
            host: String::new(),
            endpoint: String::new(),
            credential: String::new(),
            key_file: PathBuf::new(),
            key_environment: String::new(),
            key: None,
            languages: vec!["en-US".into()],
            response_timeout: Duration::from_secs(20),
            upload_burst: Duration::from_secs(5),
            ca_file: PathBuf::new(),
            #[cfg(feature = "fault-engine")]
            keep_handles: false,
        }
    }
}

/// A key that somebody wrote into the configuration. There is none of these.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum InClear {}

impl<'de> Deserialize<'de> for InClear {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer)?;
        Err(de::Error::custom(
            "a key has no place in the configuration, which many can read: name a systemd credential (`credential`), \
             a file (`key_file`) or an environment variable (`key_environment`) that holds it, and consider this one known",
        ))
    }
}

/// What a zygote and its jobs must know; no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AzureSettings {
    /// The core library of Microsoft's Speech SDK.
    pub library: PathBuf,
    /// Who is asked.
    pub service: AzureService,
    /// Where the key is.
    pub key: AzureKey,
    /// Languages that the service is asked for, as in `en-US`; at least one.
    pub languages: Vec<String>,
    /// How long the service may say nothing, once it has all of the audio.
    pub response_timeout: Duration,
    /// Audio that is sent at once.
    pub upload_burst: Duration,
    /// Certificate of the authority that vouches for the service; `None`: one of the system's.
    pub ca_file: Option<PathBuf>,
    /// Never give anything back to the library.
    #[cfg(feature = "fault-engine")]
    pub keep_handles: bool,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AzureService {
    /// Microsoft's service in this region.
    Region(String),
    /// The service at this host; the library knows the path.
    Host(String),
    /// The service at exactly this address.
    Endpoint(String),
}

/// Where the key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AzureKey {
    /// The service wants none.
    None,
    /// In this file.
    File(PathBuf),
    /// In the environment variable of this name, until the service took it out of there.
    Environment(String),
    /// In a systemd credential of this name, but systemd gives the service none.
    NoCredentials(String),
}

impl AzureSettings {
    /// What the table says; `credentials` is systemd's folder of them. `wrong` is told of every mistake, with its key.
    pub(crate) fn new(
        table: &AzureTable,
        credentials: Option<&Path>,
        wrong: &mut impl FnMut(&str, String),
    ) -> Self {
        Self {
            library: library(&table.library, wrong),
            service: service(table, wrong),
            key: key(table, credentials, wrong),
            languages: languages(&table.languages, wrong),
            response_timeout: table.response_timeout,
            upload_burst: table.upload_burst,
            ca_file: Some(table.ca_file.clone()).filter(|file| !file.as_os_str().is_empty()),
            #[cfg(feature = "fault-engine")]
            keep_handles: table.keep_handles,
        }
    }

    /// The files that its processes read: library, key, certificate.
    pub fn files(&self) -> Vec<PathBuf> {
        let folder = self.library.parent().map(Path::to_path_buf);
        let key = match &self.key {
            AzureKey::File(file) => Some(file.clone()),
            _ => None,
        };
        [folder, key, self.ca_file.clone()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The TCP ports that its jobs may connect to: the service's; under TLS that of the lists of certificates that were
    /// withdrawn, which the SDK fetches; and that of name servers.
    pub fn ports(&self) -> Vec<u16> {
        let own = match &self.service {
            AzureService::Region(_) => None,
            AzureService::Host(url) | AzureService::Endpoint(url) => port(url),
        };
        let (own, is_plain) = own.unwrap_or((HTTPS, false));
        let withdrawn = (!is_plain).then_some(HTTP);
        [Some(own), withdrawn, Some(DNS)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The language in which a request is transcribed that names `asked`: a language (`de`), or one of a region (`de-AT`).
    pub fn language(&self, asked: Option<&str>) -> Option<&str> {
        let Some(asked) = asked else {
            return self.languages.first().map(String::as_str);
        };
        let mut known = self.languages.iter();
        let exact = known.clone().find(|have| same(have, asked));
        let alike = || known.find(|have| same(primary_language(have), primary_language(asked)));
        exact.or_else(alike).map(String::as_str)
    }

    /// The languages without their regions, each once.
    pub fn primary_languages(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self
            .languages
            .iter()
            .map(|language| primary_language(language))
            .collect();
        let mut seen = Vec::new();
        all.retain(|language| {
            !seen.contains(language) && {
                seen.push(*language);
                true
            }
        });
        all
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(&b.replace('_', "-"))
}

/// The port of the address, and whether nothing is encrypted there; `None` if it is no address of a WebSocket.
fn port(url: &str) -> Option<(u16, bool)> {
    let uri: Uri = url.parse().ok()?;
    let is_plain = match uri.scheme_str()? {
        "ws" => true,
        "wss" => false,
        _ => return None,
    };
    let authority = uri.authority()?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    let default = if is_plain { HTTP } else { HTTPS };
    Some((uri.port_u16().unwrap_or(default), is_plain))
}

fn library(path: &Path, wrong: &mut impl FnMut(&str, String)) -> PathBuf {
    let name = "libMicrosoft.CognitiveServices.Speech.core.so";
    if path.as_os_str().is_empty() {
        let what = format!(
            "the core library of Microsoft's Speech SDK must be named (\"/opt/azure-speech/{name}\"; docs/ENGINES.md \
             says where to get it)"
        );
        wrong("library", what);
    } else if !path.is_absolute() {
        wrong("library", format!("{} is no absolute path", path.display()));
    } else if !path.is_file() {
        wrong("library", format!("there is no file {}", path.display()));
    }
    path.into()
}

fn service(table: &AzureTable, wrong: &mut impl FnMut(&str, String)) -> AzureService {
    let url = |key: &str, url: &str, wrong: &mut dyn FnMut(&str, String)| {
        if port(url).is_none() {
            // Not what was written: it may have a password in it.
            let what = "must be an address of the form wss://HOST[:PORT], or ws://… where nothing is encrypted";
            wrong(key, what.into());
        }
        url.to_owned()
    };
    match (
        table.region.as_str(),
        table.host.as_str(),
        table.endpoint.as_str(),
    ) {
        (region, "", "") if !region.is_empty() => {
            if !region
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            {
                wrong(
                    "region",
                    "must be the name of a region, as in \"westeurope\"".into(),
                );
            }
            AzureService::Region(region.into())
        }
        ("", host, "") if !host.is_empty() => {
            let is_bare = host
                .parse::<Uri>()
                .is_ok_and(|uri| uri.path() == "/" && uri.query().is_none());
            if !is_bare {
                let what = "has a path: a host has none, and a whole address is an `endpoint`";
                wrong("host", what.into());
            }
            AzureService::Host(url("host", host, wrong))
        }
        ("", "", endpoint) if !endpoint.is_empty() => {
            AzureService::Endpoint(url("endpoint", endpoint, wrong))
        }
        _ => {
            wrong(
                "region",
                "exactly one of `region`, `host` and `endpoint` must be set".into(),
            );
            AzureService::Region(String::new())
        }
    }
}

fn key(
    table: &AzureTable,
    credentials: Option<&Path>,
    wrong: &mut impl FnMut(&str, String),
) -> AzureKey {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let (name, file, variable) = (
        table.credential.as_str(),
        table.key_file.as_path(),
        table.key_environment.as_str(),
    );
    match (name, file.as_os_str().is_empty(), variable) {
        ("", true, "") if table.region.is_empty() => AzureKey::None,
        (name, true, "") if !name.is_empty() => {
            if name.starts_with('.') || !name.bytes().all(|b| plain(b) || b"-.".contains(&b)) {
                wrong(
                    "credential",
                    "must be the name of a credential, as in LoadCredential=".into(),
                );
            }
            match credentials {
                Some(folder) => AzureKey::File(folder.join(name)),
                None => AzureKey::NoCredentials(name.into()),
            }
        }
        ("", false, "") => {
            if !file.is_absolute() {
                wrong(
                    "key_file",
                    format!("{} is no absolute path", file.display()),
                );
            }
            AzureKey::File(file.into())
        }
        ("", true, variable) if !variable.is_empty() => {
            if !variable.bytes().all(plain) || variable.starts_with("STT_") {
                let what =
                    "must be the name of an environment variable that does not begin with STT_";
                wrong("key_environment", what.into());
            }
            AzureKey::Environment(variable.into())
        }
        _ => {
            let what = "exactly one of `credential`, `key_file` and `key_environment` must be set";
            wrong("credential", what.into());
            AzureKey::None
        }
    }
}

fn languages(languages: &[String], wrong: &mut impl FnMut(&str, String)) -> Vec<String> {
    let is_tag = |tag: &String| {
        let parts: Vec<&str> = tag.split('-').collect();
        (2..=3).contains(&primary_language(tag).len())
            && parts.len() > 1
            && parts
                .iter()
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    if languages.is_empty() {
        wrong("languages", "at least one language must be named".into());
    }
    if let Some(tag) = languages.iter().find(|tag| !is_tag(tag)) {
        let what = format!("`{tag}` is no language of a region, as in \"en-US\"");
        wrong("languages", what);
    }
    languages.to_vec()
}

/// Check every rule that types cannot say.
pub(crate) fn validate(
    settings: &AzureSettings,
    limits: &Limits,
    mode: Mode,
    wrong: &mut impl FnMut(&[&str], String),
) {
    if mode == Mode::Thread {
        let what = "the engine \"azure\" is not run in mode \"thread\": the key would lie in the service's own memory, \
                    and a library that hangs for minutes can only be ended with its process";
        wrong(&["mode"], what.into());
    }
    rules::bounded(
        settings.response_timeout,
        &["azure", "response_timeout"],
        wrong,
    );
    if settings.response_timeout >= limits.stall {
        let what = format!(
            "must be less than limits.stall, {:?}, after which the job is taken for hung",
            limits.stall
        );
        wrong(&["azure", "response_timeout"], what);
    }
    if settings.upload_burst > MAX_TIME {
        wrong(
            &["azure", "upload_burst"],
            "at most 30 days make sense".into(),
        );
    }
    if let Some(file) = &settings.ca_file
        && !(file.is_absolute() && file.is_file())
    {
        let what = format!(
            "there is no file {}; its path must be absolute",
            file.display()
        );
        wrong(&["azure", "ca_file"], what);
    }
}
