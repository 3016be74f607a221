//! Fuzzing of transcription requests: the pieces in which bytes arrive must not matter, and no
//! answer may blame the service.

use std::{cell::RefCell, convert::Infallible, env, fs::File, io::Read};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, Uri, header},
    response::IntoResponse,
};
use tokio::runtime::{Builder, Runtime};

use super::{options::Page, upload};
use crate::config::Http;

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// `data` is a query string, a line feed, a content type, a line feed, and the body.
pub fn multipart(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let (Some(query), Some(kind), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
        return;
    };
    let path = [b"/?", query].concat();
    let (Ok(uri), Ok(kind)) = (Uri::try_from(path), HeaderValue::from_bytes(kind)) else {
        return;
    };
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    for page in [
        Page::Transcriptions,
        Page::Translations,
        Page::Asr,
        Page::DetectLanguage,
    ] {
        let whole = receive(page, &uri, &headers, body, body.len().max(1));
        let pieces = receive(page, &uri, &headers, body, 1 + body.len() % 61);
        assert_eq!(whole, pieces);
    }
}

/// Everything understood of the body, or the error, as text.
fn receive(page: Page, uri: &Uri, headers: &HeaderMap, body: &[u8], piece: usize) -> String {
    let pieces: Vec<Bytes> = body.chunks(piece).map(Bytes::copy_from_slice).collect();
    let stream = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
    let (limits, folder) = (Http::default(), env::temp_dir());
    let receive = upload::receive(
        page,
        uri,
        headers,
        Body::from_stream(stream),
        &limits,
        &folder,
    );
    let received = RUNTIME.with_borrow_mut(|runtime| {
        let runtime = runtime.get_or_insert_with(|| {
            let builder = Builder::new_current_thread().enable_time().build();
            builder.expect("a runtime")
        });
        runtime.block_on(receive)
    });
    match received {
        Ok(mut upload) => {
            let null = File::open("/dev/null").expect("/dev/null").into();
            let mut recording = Vec::new();
            let mut file = File::from(std::mem::replace(&mut upload.recording, null));
            file.read_to_end(&mut recording).expect("a recording");
            assert!(!recording.is_empty() && recording.len() <= body.len());
            let described = upload.options;
            format!("{described:?} {recording:?}")
        }
        Err(error) => {
            let described = format!("{error:?}");
            let status = error.into_response().status();
            assert!(status.is_client_error(), "{described}");
            described
        }
    }
}
