//! Requests for one of several tracks, and words at the times of the file's clock.

use crate::common::{
    clips::{Encoding, GOFORWARD},
    daemon::Daemon,
    http::Form,
};

/// A film whose second track is the speech; the first one is a tone, and the default.
const FILM: Encoding = Encoding {
    extension: "mkv",
    arguments: "-f lavfi -i sine=f=440:r=16000:d=3 -map 1:a -map 0:a -c:a libopus \
                -metadata:s:a:0 language=fre -metadata:s:a:1 language=eng \
                -disposition:a:0 default -disposition:a:1 0",
};

#[test]
fn a_request_selects_the_track() {
    let daemon = Daemon::start("");
    let film = GOFORWARD.encoded(FILM);
    let ask = |fields: &[(&str, &str)]| {
        let form = Form::of("film.mkv", &film);
        let form = fields
            .iter()
            .fold(form, |form, (name, value)| form.field(name, value));
        daemon.post(&form)
    };
    let spoken = ask(&[("track", "2")]);
    assert_eq!(spoken.text(), GOFORWARD.text);
    assert!(spoken.headers.get("x-stt-warnings").is_none());
    let default = ask(&[]);
    assert_ne!(default.text(), GOFORWARD.text);
    let warning = default.header("x-stt-warnings").to_owned();
    assert!(
        warning.starts_with("the file has 2 audio tracks"),
        "{warning}"
    );
    assert_eq!(ask(&[("language", "en")]).text(), GOFORWARD.text);
    let message = ask(&[("track", "3")]).assert_refusal(400, "invalid_audio", None);
    assert!(message.contains("counted from 1"), "{message}");
    for bad in ["0", "-1", "x", "70000"] {
        ask(&[("track", bad)]).assert_refusal(400, "invalid_parameter", Some("track"));
    }
}

#[test]
fn words_have_the_times_of_the_file_s_clock() {
    let daemon = Daemon::start("");
    let late = "-f lavfi -i color=s=16x16:r=5:d=8 -map 1:v -map 0:a -af asetpts=PTS+4.9/TB";
    for (extension, arguments) in [
        ("mkv", "-c:v mpeg4 -c:a libopus"),
        ("mp4", "-c:v mpeg4 -c:a aac"),
        (
            "mp4",
            "-c:v mpeg4 -c:a aac -movflags +frag_keyframe+empty_moov",
        ),
        ("webm", "-c:v libvpx -c:a libvorbis"),
        ("ogv", "-c:v libtheora -c:a libvorbis"),
    ] {
        let arguments: &'static str = format!("{late} {arguments}").leak();
        let film = GOFORWARD.encoded(Encoding {
            extension,
            arguments,
        });
        let form = Form::of("film", &film).field("response_format", "verbose_json");
        let form = form.field("timestamp_granularities[]", "word");
        let answer = daemon.post(&form).json();
        assert_eq!(answer["text"], GOFORWARD.text, "{extension}");
        let start = answer["words"][0]["start"].as_f64().unwrap();
        assert!((5.3..5.5).contains(&start), "{extension}: {start}");
    }
}
