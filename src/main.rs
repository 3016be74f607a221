//! The daemon's entry point: parses arguments, reads the configuration, then runs the command.

mod arguments;

use std::process::ExitCode;

use clap::Parser;
use stt_isolated::{
    config::{Config, ConfigError},
    detector,
    isolation::environment,
    job,
    service::{self, ServeError},
};

use crate::arguments::{Arguments, CheckModel, Command, Common};

/// Exit status of sysexits.h for a mistake in the configuration.
const EX_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(serve) => match load(&serve.common) {
            Ok(config) => {
                let result = environment::take(&config.secret_variables())
                    .map_err(ServeError::from)
                    .and_then(|()| {
                        service::serve(config, &|| load(&serve.common), serve.allow_root)
                    });
                match result {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => fail(&error, error.exit_status()),
                }
            }
            Err(error) => fail(&error, EX_CONFIG),
        },
        Command::CheckConfig(common) => match load(&common) {
            Ok(config) => {
                config
                    .remarks
                    .iter()
                    .for_each(|remark| eprintln!("stt-isolated: {remark}"));
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, EX_CONFIG),
        },
        Command::CheckModel(check) => check_model(&check),
        Command::Zygote => match job::zygote_main() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
        Command::Detector => match detector::main() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
    }
}

fn check_model(check: &CheckModel) -> ExitCode {
    let model = match std::path::absolute(&check.model) {
        Ok(model) => model,
        Err(error) => return fail(&error, 1),
    };
    match Config::load_one(check.common.config.as_deref(), environment(), &model) {
        Ok(config) => match service::check_model(config, &model) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
        Err(error @ ConfigError::NoModel { .. }) => fail(&error, 1),
        Err(error) => fail(&error, EX_CONFIG),
    }
}

fn load(common: &Common) -> Result<Config, ConfigError> {
    Config::load(common.config.as_deref(), environment())
}

/// Environment variables that are valid text; ours always are.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn fail(error: &dyn std::error::Error, status: u8) -> ExitCode {
    eprintln!("stt-isolated: {error}");
    ExitCode::from(status)
}
