//! The engine `azure` as the configuration knows it: its library, the service that it asks, and
//! where the key is kept. The key itself is never here.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hyper::Uri;
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    engine::{Capabilities, Circumstances, EngineConfig, EngineError, LoadedModel},
    isolation::{Needs, Preload, Profile, Reach},
    language::{nearest, primary_language},
    problems::Problems,
    units::time,
};

/// Port of `http:`, which `ws:` has, too.
const HTTP: u16 = 80;
/// Port of `https:`, which `wss:` has, too.
const HTTPS: u16 = 443;
/// Port of name servers. Names that are too long for a datagram are asked for over TCP.
const DNS: u16 = 53;

/// The table `[models.NAME.azure]` with its defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AzureTable {
    /// The core library of Microsoft's Speech SDK.
    pub library: PathBuf,
    /// Region of the subscription (`westeurope`). Exactly one of this, `host` and `endpoint` is
    /// set.
    pub region: String,
    /// Host of a service of the administrator's own (`wss://speech.example:443`).
    pub host: String,
    /// Whole address of such a service.
    pub endpoint: String,
    /// Name of the systemd credential that holds the key. At most one of this and the next two is
    /// set.
    pub credential: String,
    /// Path of the file that holds the key.
    pub key_file: PathBuf,
    /// Name of the environment variable that holds the key.
    pub key_environment: String,
    /// Refused: the error tells the administrator where the key belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<InClear>,
    /// Languages that the service is asked for. The first one is for requests that name none.
    pub languages: Vec<String>,
    /// How long the service may stay silent once it has all of the audio.
    #[serde(with = "time")]
    pub response_timeout: Duration,
    /// Audio that is sent at once. After it, the SDK slows down to twice the speed of speech.
    #[serde(with = "time")]
    pub upload_burst: Duration,
    /// Certificate in PEM of the authority that vouches for the administrator's own service; empty:
    /// one of the system's.
    pub ca_file: PathBuf,
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
        }
    }
}

/// A key written into the configuration, which is refused. No value of this type exists.
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

/// Everything that a zygote and its jobs must know. No secret is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AzureSettings {
    /// The core library of Microsoft's Speech SDK.
    pub library: PathBuf,
    /// Address of the service.
    pub service: AzureService,
    /// Place of the key.
    pub key: AzureKey,
    /// Languages that the service is asked for, as in `en-US`; at least one.
    pub languages: Vec<String>,
    /// How long the service may stay silent once it has all of the audio.
    pub response_timeout: Duration,
    /// Audio that is sent at once.
    pub upload_burst: Duration,
    /// Certificate of the authority that vouches for the service; `None`: one of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Address of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AzureService {
    /// Microsoft's service in this region.
    Region(String),
    /// The service at this host; the library knows the path.
    Host(String),
    /// The service at exactly this address.
    Endpoint(String),
}

/// Place of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AzureKey {
    /// The service needs no key.
    None,
    /// The key is in this file.
    File(PathBuf),
    /// The key is in the environment variable with this name, until the daemon takes it out.
    Environment(String),
    /// The key is in a systemd credential with this name, but systemd gives the daemon no
    /// credentials.
    NoCredentials(String),
}

impl AzureSettings {
    /// The files that its processes read: the library, the key, the certificate.
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

    /// The TCP ports that its jobs may connect to: the port of the service, and the port of name
    /// servers. Under TLS also the port of certificate revocation lists, which the SDK fetches.
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

    /// The configured language for a request that names `asked`: a language (`de`), or the language
    /// of a region (`de-AT`).
    pub fn language(&self, asked: Option<&str>) -> Option<&str> {
        let Some(asked) = asked else {
            return self.languages.first().map(String::as_str);
        };
        let known: Vec<&str> = self.languages.iter().map(String::as_str).collect();
        nearest(asked, &known)
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

impl EngineConfig for AzureSettings {
    type Table = AzureTable;

    fn resolve(table: AzureTable, around: &Circumstances<'_>, problems: &mut Problems) -> Self {
        let settings = Self {
            library: library(&table.library, problems),
            service: service(&table, problems),
            key: key(&table, around.credentials, problems),
            languages: languages(&table.languages, problems),
            response_timeout: table.response_timeout,
            upload_burst: table.upload_burst,
            ca_file: Some(table.ca_file).filter(|file| !file.as_os_str().is_empty()),
        };
        problems.time("response_timeout", settings.response_timeout);
        if settings.response_timeout >= around.stall {
            let what = format!(
                "must be less than limits.stall, {:?}, after which the job is taken for hung",
                around.stall
            );
            problems.add("response_timeout", what);
        }
        problems.time_or_zero("upload_burst", settings.upload_burst);
        if let Some(file) = &settings.ca_file
            && !(file.is_absolute() && file.is_file())
        {
            let what = format!(
                "there is no file {}; its path must be absolute",
                file.display()
            );
            problems.add("ca_file", what);
        }
        settings
    }

    fn load(&self, _: Option<&Path>) -> Result<LoadedModel, EngineError> {
        Ok(LoadedModel::Samples(Box::new(super::load(self)?)))
    }

    fn needs(&self) -> Needs {
        Needs {
            // The library starts threads as soon as it is used.
            preload: Preload::AfterFork,
            profile: Profile::Network,
            reach: Reach {
                files: self.files(),
                ports: self.ports(),
            },
            ..Needs::default()
        }
    }

    fn secret_variable(&self) -> Option<&str> {
        match &self.key {
            AzureKey::Environment(name) => Some(name),
            _ => None,
        }
    }

    fn origin(&self) -> (&'static str, &'static str) {
        (
            "Microsoft",
            "https://azure.microsoft.com/products/ai-services/ai-speech",
        )
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            words: true,
            logprobs: true,
            prompt: true,
            keywords: true,
            ..Capabilities::default()
        }
    }

    fn languages(&self) -> Vec<&str> {
        self.primary_languages()
    }

    fn understands(&self, tag: &str) -> Option<String> {
        self.language(Some(tag)).map(str::to_owned)
    }

    fn no_thread(&self) -> Option<&'static str> {
        Some(
            "the engine \"azure\" is not run in mode \"thread\": the key would lie in the service's \
             own memory, and a library that hangs for minutes can only be ended with its process",
        )
    }

    fn takes_faults(&self) -> bool {
        // In a test build a request can ask that its handles are kept: see `super::KEEP_HANDLES`.
        cfg!(feature = "fault-engine")
    }
}

/// The port of a WebSocket's address, and whether its traffic is unencrypted; `None` if `url` is
/// something else.
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

fn library(path: &Path, problems: &mut Problems) -> PathBuf {
    let name = "libMicrosoft.CognitiveServices.Speech.core.so";
    if path.as_os_str().is_empty() {
        let what = format!(
            "the core library of Microsoft's Speech SDK must be named (\"/opt/azure-speech/{name}\"; docs/ENGINES.md \
             says where to get it)"
        );
        problems.add("library", what);
    } else if !path.is_absolute() {
        problems.add("library", format!("{} is no absolute path", path.display()));
    } else if !path.is_file() {
        problems.add("library", format!("there is no file {}", path.display()));
    }
    path.into()
}

fn service(table: &AzureTable, problems: &mut Problems) -> AzureService {
    let url = |key: &str, url: &str, problems: &mut Problems| {
        if port(url).is_none() {
            // The message does not repeat the value, which may have a password in it.
            let what = "must be an address of the form wss://HOST[:PORT], or ws://… where nothing is encrypted";
            problems.add(key, what);
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
                problems.add(
                    "region",
                    "must be the name of a region, as in \"westeurope\"",
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
                problems.add("host", what);
            }
            AzureService::Host(url("host", host, problems))
        }
        ("", "", endpoint) if !endpoint.is_empty() => {
            AzureService::Endpoint(url("endpoint", endpoint, problems))
        }
        _ => {
            problems.add(
                "region",
                "exactly one of `region`, `host` and `endpoint` must be set",
            );
            AzureService::Region(String::new())
        }
    }
}

fn key(table: &AzureTable, credentials: Option<&Path>, problems: &mut Problems) -> AzureKey {
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
                problems.add(
                    "credential",
                    "must be the name of a credential, as in LoadCredential=",
                );
            }
            match credentials {
                Some(folder) => AzureKey::File(folder.join(name)),
                None => AzureKey::NoCredentials(name.into()),
            }
        }
        ("", false, "") => {
            if !file.is_absolute() {
                problems.add(
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
                problems.add("key_environment", what);
            }
            AzureKey::Environment(variable.into())
        }
        _ => {
            let what = "exactly one of `credential`, `key_file` and `key_environment` must be set";
            problems.add("credential", what);
            AzureKey::None
        }
    }
}

fn languages(languages: &[String], problems: &mut Problems) -> Vec<String> {
    let is_tag = |tag: &String| {
        let parts: Vec<&str> = tag.split('-').collect();
        (2..=3).contains(&primary_language(tag).len())
            && parts.len() > 1
            && parts
                .iter()
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    if languages.is_empty() {
        problems.add("languages", "at least one language must be named");
    }
    if let Some(tag) = languages.iter().find(|tag| !is_tag(tag)) {
        let what = format!("`{tag}` is no language of a region, as in \"en-US\"");
        problems.add("languages", what);
    }
    languages.to_vec()
}
