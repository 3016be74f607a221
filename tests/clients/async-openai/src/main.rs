//! async-openai as its users call it; prints what it came to.

use std::error::Error;

use async_openai::{
    Client,
    types::{
        InputSource,
        audio::{
            AudioInput, AudioResponseFormat, CreateTranscriptionRequest,
            CreateTranscriptionRequestArgs, TimestampGranularity,
        },
    },
};
use futures::TryStreamExt;
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name a recording")?;
    let client = Client::new();
    let ask = |format| -> Result<CreateTranscriptionRequest, Box<dyn Error>> {
        let source = InputSource::Path {
            path: path.clone().into(),
        };
        let mut request = CreateTranscriptionRequestArgs::default();
        request
            .file(AudioInput { source })
            .model("whisper-1")
            .response_format(format);
        if format == AudioResponseFormat::VerboseJson {
            request.timestamp_granularities(vec![TimestampGranularity::Word]);
        }
        Ok(request.build()?)
    };
    let audio = client.audio();
    let transcription = || audio.transcription();
    let mut streamed = ask(AudioResponseFormat::Json)?;
    streamed.stream = Some(true);
    let stream: Vec<_> = transcription()
        .create_stream(streamed)
        .await?
        .try_collect()
        .await?;
    let mut answers = json!({
        "json": transcription().create(ask(AudioResponseFormat::Json)?).await?.text,
        "verbose_json": transcription().create_verbose_json(ask(AudioResponseFormat::VerboseJson)?).await?,
        "stream": stream,
    });
    for (name, format) in [
        ("text", AudioResponseFormat::Text),
        ("srt", AudioResponseFormat::Srt),
        ("vtt", AudioResponseFormat::Vtt),
    ] {
        let bytes = transcription().create_raw(ask(format)?).await?;
        answers[name] = String::from_utf8(bytes.to_vec())?.into();
    }
    println!("{answers}");
    Ok(())
}
