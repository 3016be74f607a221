//! Fuzzing: whatever a client says, its session has settings that can be told, or an error.

use super::{
    client_event::{self, ClientEvent},
    settings::Settings,
};
use crate::config;

/// Parse `data` as an event, and if it changes a session, change one.
pub fn realtime(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (_, event) = client_event::parse(text);
    match event {
        Ok(ClientEvent::Update(dialect, value)) => {
            let config = config::fuzzing::usual();
            let settings = Settings::new(&config, None, false).expect("the default model");
            match settings.changed(dialect, &value, &config) {
                Ok(new) => assert!(new.json(&config).is_object()),
                Err(error) => assert!(!error.message().is_empty()),
            }
        }
        Ok(ClientEvent::Append(bytes)) => assert!(bytes.len() <= data.len()),
        Ok(ClientEvent::Commit | ClientEvent::Clear) => {}
        Err(error) => assert!(!error.message().is_empty()),
    }
}
