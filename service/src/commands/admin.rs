//! `service admin`: what an operator with a shell does to accounts.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use clap::Subcommand;
use foundation::clock::Clock;
use foundation::database::Database;
use foundation::entropy::Entropy;
use foundation::exit::Exit;
use foundation::settings::{Environment, FoundationSettings, Secret, Section as _};
use tokio::runtime::Builder;

use super::{refuse, require_file, say, tell, threads};
use crate::actions::operators::{OperatorError, Operators};
use crate::passwords::Scheme;
use crate::settings::AuthSettings;

/// As much of standard input as is read for a password, in bytes: 128 characters and more.
const MAX_INPUT: u64 = 1024;

/// What an operator does.
#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// Makes an active administrator with a password.
    CreateAdmin {
        /// How the administrator signs in: 1 to 255 characters, no backslash.
        #[arg(long, value_name = "NAME")]
        username: String,
        /// The mail address.
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
    },
    /// Gives a user another password, ends their sessions and forgets their failed logins.
    ResetPassword {
        /// How the user signs in.
        #[arg(long, value_name = "NAME")]
        username: String,
        /// Revokes their API tokens too: whoever knew the password may have made one.
        #[arg(long)]
        revoke_tokens: bool,
    },
    /// Ends every session of a user. Their API tokens stay.
    EndSessions {
        /// How the user signs in.
        #[arg(long, value_name = "NAME")]
        username: String,
    },
    /// Revokes every API token of a user. Their sessions stay.
    RevokeTokens {
        /// How the user signs in.
        #[arg(long, value_name = "NAME")]
        username: String,
    },
}

pub(super) fn run(mut environment: Environment, command: AdminCommand) -> Exit {
    let settings = FoundationSettings::read(&mut environment);
    let auth = AuthSettings::read(&mut environment);
    auth.check_bounds(&mut environment);
    if let Err(error) = environment.finish() {
        return refuse(&error);
    }
    if let Err(exit) = require_file(&settings.database_url) {
        return exit;
    }
    let password = match &command {
        AdminCommand::EndSessions { .. } | AdminCommand::RevokeTokens { .. } => None,
        _ => match read_password() {
            Ok(password) => Some(password),
            Err(error) => {
                tell(format_args!("no password: {error}"));
                return Exit::Usage;
            }
        },
    };
    let runtime = match threads(Builder::new_current_thread()) {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let done = runtime.block_on(async {
        let (url, pool) = (&settings.database_url, &settings.database);
        let database = Database::open(url, pool, "bedplate-service-admin")?;
        let scheme = Scheme::new(&auth).map_err(OperatorError::Hash)?;
        let operators = Operators { clock: Clock::system(), entropy: Entropy::system(), scheme };
        let done = perform(&operators, &database, command, password.as_ref()).await;
        database.close();
        done
    });
    match done {
        Ok(sentence) => {
            say(sentence);
            Exit::Success
        }
        Err(error) => {
            tell(&error);
            error.exit()
        }
    }
}

async fn perform(
    operators: &Operators,
    database: &Database,
    command: AdminCommand,
    password: Option<&Secret>,
) -> Result<String, OperatorError> {
    let none = Secret::from(String::new());
    let password = password.unwrap_or(&none);
    match command {
        AdminCommand::CreateAdmin { username, email } => {
            let sentence = format!("made the administrator {username}");
            let id = operators.create_admin(database, username, email, password).await?;
            Ok(format!("{sentence} ({id})"))
        }
        AdminCommand::ResetPassword { username, revoke_tokens } => {
            let ended = operators.reset_password(database, &username, password, revoke_tokens).await?;
            let tokens = ended.tokens.map(|it| format!("; API tokens revoked: {it}")).unwrap_or_default();
            Ok(format!("{username} has another password; sessions ended: {}{tokens}", ended.sessions))
        }
        AdminCommand::EndSessions { username } => {
            let ended = operators.end_sessions(database, &username).await?;
            Ok(format!("{username} is signed out; sessions ended: {ended}"))
        }
        AdminCommand::RevokeTokens { username } => {
            let revoked = operators.revoke_tokens(database, &username).await?;
            Ok(format!("{username} has no API token any more; API tokens revoked: {revoked}"))
        }
    }
}

/// Asks twice on a terminal, without showing what is typed; otherwise the first line of standard input.
fn read_password() -> io::Result<Secret> {
    if io::stdin().is_terminal() {
        let password = rpassword::prompt_password("New password: ")?;
        if rpassword::prompt_password("Once more: ")? != password {
            return Err(io::Error::other("the two are not the same"));
        }
        return Ok(Secret::from(password));
    }
    let mut line = String::new();
    io::stdin().lock().take(MAX_INPUT).read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(io::Error::other("standard input is no terminal and has none on its first line"));
    }
    Ok(Secret::from(password.to_owned()))
}
