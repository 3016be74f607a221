//! `sttctl models`: what can be asked for.

use std::io::{self, Write};

use serde::Deserialize;

use crate::cli::Models;
use crate::client;
use crate::error::{Error, report};

#[derive(Deserialize)]
struct List {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// Prints the models; tells whether that succeeded.
pub async fn run(arguments: &Models) -> bool {
    let text = match list(arguments).await {
        Ok(text) => text,
        Err(error) => {
            report(None, &error.to_string());
            return false;
        }
    };
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(&text).and_then(|()| out.flush()) {
        report(None, &format!("cannot write the result: {error}"));
        return false;
    }
    true
}

async fn list(arguments: &Models) -> Result<Vec<u8>, Error> {
    let notice = |line: &str| report(None, line);
    let answer = client::get(&arguments.server, "/v1/models", notice).await?;
    let body = answer.into_body()?;
    if arguments.json {
        let mut text = body.to_vec();
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        return Ok(text);
    }
    let list: List =
        serde_json::from_slice(&body).map_err(|error| Error::Nonsense(error.to_string()))?;
    let lines = list.data.into_iter().map(|model| model.id + "\n");
    Ok(lines.collect::<String>().into_bytes())
}
