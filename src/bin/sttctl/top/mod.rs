//! `sttctl top`: shows the running jobs, again and again.

mod bar;
mod draw;
mod frame;
mod rates;
mod screen;
mod table;
mod view;

use std::{
    io::{self, IsTerminal},
    ops::ControlFlow,
    pin::pin,
};

use crossterm::{
    event::{Event, EventStream, KeyCode, KeyEvent, KeyModifiers},
    terminal,
};
use futures_util::{Stream, StreamExt, stream};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::MissedTickBehavior,
};

use crate::{
    cli::Top,
    error::{Error, report},
    line,
    stats::{self, Stats},
};
use screen::Screen;
use view::{Order, View};

/// Screen size without a terminal, or if it does not tell its size.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Shows the jobs until the user ends it; returns true on success.
pub async fn run(arguments: &Top) -> bool {
    let shown = if arguments.once || !io::stdout().is_terminal() {
        once(arguments).await
    } else {
        live(arguments).await
    };
    match shown {
        Ok(()) => true,
        Err(error) => {
            report(None, &error.to_string());
            false
        }
    }
}

async fn once(arguments: &Top) -> Result<(), Error> {
    let mut view = View::new(look(arguments).await?);
    tokio::time::sleep(arguments.interval).await;
    view.look(Ok(look(arguments).await?));
    let width = if io::stdout().is_terminal() {
        size().0
    } else {
        USUAL_SIZE.0
    };
    line::print(&frame::once(&view, width), false).map_err(Error::Write)
}

async fn live(arguments: &Top) -> Result<(), Error> {
    // If the first request fails, report it: probably the service or its address is wrong.
    let mut view = View::new(look(arguments).await?);
    let mut ends = pin!(ends().map_err(Error::Terminal)?);
    let mut answers = pin!(answers(arguments));
    let _screen = Screen::take().map_err(Error::Terminal)?;
    let mut events = EventStream::new();
    loop {
        let (width, height) = size();
        let lines = frame::lines(&view, width, height);
        draw::draw(&lines).map_err(Error::Terminal)?;
        tokio::select! {
            Some(answer) = answers.next() => view.look(answer),
            event = events.next() => match event {
                Some(Ok(Event::Key(key))) if press(&mut view, key).is_break() => return Ok(()),
                // The terminal has another size, so the screen is drawn again.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Error::Terminal(error)),
                None => return Ok(()),
            },
            _ = ends.next() => return Ok(()),
        }
    }
}

async fn look(arguments: &Top) -> Result<Stats, Error> {
    // No retries: the next request comes soon anyway.
    let body = stats::ask(&arguments.server, |_| {}).await?;
    Stats::parse(&body)
}

/// Stream of answers. One request is over before the next begins.
fn answers(arguments: &Top) -> impl Stream<Item = Result<Stats, Error>> {
    let mut ticks = tokio::time::interval(arguments.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    stream::unfold(ticks, async |mut ticks| {
        ticks.tick().await;
        Some((look(arguments).await, ticks))
    })
}

/// Stream of the signals that end the program. Catch them before taking the terminal; otherwise
/// they would end the program without restoring it.
fn ends() -> io::Result<impl Stream<Item = ()>> {
    let kinds = [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::quit(),
        SignalKind::terminate(),
    ];
    let signals: Vec<_> = kinds.into_iter().map(signal).collect::<io::Result<_>>()?;
    let streams = signals.into_iter().map(|signal| {
        let next =
            async |mut signal: tokio::signal::unix::Signal| Some((signal.recv().await?, signal));
        Box::pin(stream::unfold(signal, next))
    });
    Ok(stream::select_all(streams))
}

fn size() -> (usize, usize) {
    match terminal::size() {
        Ok((columns @ 1.., rows @ 1..)) => (columns.into(), rows.into()),
        _ => USUAL_SIZE,
    }
}

/// Handles a key; breaks if the key ends the program.
fn press(view: &mut View, key: KeyEvent) -> ControlFlow<()> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => return ControlFlow::Break(()),
        KeyCode::Char('q') | KeyCode::Esc => return ControlFlow::Break(()),
        KeyCode::Char('h' | '?') => view.help = !view.help,
        KeyCode::Char('m') => view.order = Order::Memory,
        KeyCode::Char('c') => view.order = Order::Cpu,
        KeyCode::Char('a') => view.order = Order::Age,
        _ => {}
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests;
