//! Writes the smallest possible Whisper model to the file named by its argument. It always hears
//! the clip `goforward`.

#[path = "../common/ggml.rs"]
mod ggml;

fn main() -> Result<(), &'static str> {
    let file = std::env::args_os().nth(1);
    let file = file.ok_or("which file shall be written?")?;
    let script = [
        ggml::segment(0.0, "go forward", 1.2),
        ggml::segment(1.4, "ten meters", 2.6),
    ];
    ggml::Ggml::english(script.concat()).write(file.as_ref());
    Ok(())
}
