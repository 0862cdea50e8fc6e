//! How people and programs sign in.

use std::num::NonZeroU32;
use std::time::Duration;

use bytesize::ByteSize;
use foundation::settings::{ApplicationSettings, Environment, Mode, Secret};
use migrator::admin::HASH_MEMORY;

use crate::passwords::{MAX_LANES, MAX_MEMORY, MAX_PASSES, MIN_MEMORY_OF_LANE};

foundation::settings! {
    /// How people and programs sign in.
    pub struct AuthSettings("AUTH_") {
        /// Keys the cursors of pages and the HMAC of idempotent bodies, at least 32 characters. The same for
        /// all replicas. Required in production; made for the process in development.
        secret: Option<Secret> = "",
        /// Another secret that is accepted while `AUTH_SECRET` is being changed: first the one to come, so that all
        /// replicas know it before any signs with it, then the one before.
        previous_secret: Option<Secret> = "",
        /// How long a session lasts, whatever its use.
        session_lifetime: Duration = "30d",
        /// How long a session lasts without being used.
        session_idle_lifetime: Duration = "7d",
        /// The longest lifetime that a token for programs may be given.
        token_max_lifetime: Duration = "366d",
        /// Memory of one argon2id hash. Hashes made with other parameters are renewed at the next login.
        argon2_memory: ByteSize = "19MiB",
        /// Passes of argon2id, 100 at most.
        argon2_passes: NonZeroU32 = "2",
        /// Lanes of argon2id, each of which needs 8 KiB of the memory.
        argon2_lanes: NonZeroU32 = "1",
        /// Memory that all hashes made at the same time may take together: it bounds their number. A stored
        /// hash that asks for more than this matches nothing; that of an administrator whom the migrator
        /// makes asks for 19 MiB.
        hashing_memory_limit: ByteSize = "64MiB",
        /// Hashes that wait for their turn, 10000 at most; further logins get 503.
        hashing_queue: NonZeroU32 = "16",
        /// Failed logins of one account that cost no delay; of one address ten times as many, because
        /// people share them. The default of the setting `auth.login_attempts`.
        login_attempts: NonZeroU32 = "5",
        /// The delay after the first failure above these, doubled by each further one. The default of the
        /// setting `auth.login_delay`.
        login_delay: Duration = "1s",
        /// The longest delay, a day at most and no longer than `AUTH_FAILURE_RETENTION`. As much time without a
        /// failure forgives one of them. The default of the setting `auth.login_max_delay`.
        login_max_delay: Duration = "15m",
        /// How long failures are remembered. So long after the last failure at an account from an address,
        /// one attempt from there is let through while the account is locked.
        failure_retention: Duration = "1d",
        /// How long audit events are kept.
        audit_retention: Duration = "365d",
        /// How long the answers of idempotent requests are kept.
        idempotency_retention: Duration = "24h",
    }
}

/// The fewest characters of `AUTH_SECRET`.
const MIN_SECRET_LENGTH: usize = 32;

impl AuthSettings {
    /// Says what is wrong with the secrets: what a cursor is signed with must not be guessed, and has to be
    /// the same for all replicas and after a restart.
    pub(super) fn check_secrets(&self, environment: &mut Environment, application: &ApplicationSettings) {
        let name = "AUTH_SECRET";
        if self.secret.is_none() && application.env == Mode::Production && !environment.is_wrong(name) {
            environment.problem(
                name,
                "production needs it; set it, or AUTH_SECRET_FILE, to 32 characters or more, the same for all \
                 replicas (`openssl rand -hex 32` makes one)",
            );
        }
        for (name, secret) in [(name, &self.secret), ("AUTH_PREVIOUS_SECRET", &self.previous_secret)] {
            let length = secret.as_ref().map(|it| it.expose().chars().count());
            if length.is_some_and(|length| length < MIN_SECRET_LENGTH) {
                let detail = format!("it is too short; expected {MIN_SECRET_LENGTH} characters or more");
                environment.problem(name, detail);
            }
        }
    }
}

/// The longest time that people or programs are let in for, or that something is kept for. Dates that far
/// from today are ones that both databases have.
const CENTURY: Duration = Duration::from_hours(36_525 * 24);

/// The most hashes that may wait. There is room for all of them from the start, and none of the last would be made
/// before its request is over.
const MAX_HASHING_QUEUE: u32 = 10_000;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

impl AuthSettings {
    /// Says which times and which sizes cannot work. What is changed while the service runs has its rules in
    /// [`Live`].
    pub(crate) fn check_bounds(&self, environment: &mut Environment) {
        for (name, value, least, most) in [
            ("AUTH_SESSION_LIFETIME", self.session_lifetime, MINUTE, CENTURY),
            // The last use is written down once a minute.
            ("AUTH_SESSION_IDLE_LIFETIME", self.session_idle_lifetime, 2 * MINUTE, CENTURY),
            ("AUTH_TOKEN_MAX_LIFETIME", self.token_max_lifetime, SECOND, CENTURY),
            ("AUTH_FAILURE_RETENTION", self.failure_retention, MINUTE, CENTURY),
            ("AUTH_AUDIT_RETENTION", self.audit_retention, MINUTE, CENTURY),
            ("AUTH_IDEMPOTENCY_RETENTION", self.idempotency_retention, MINUTE, CENTURY),
        ] {
            if !(least..=most).contains(&value) {
                let unit = |it: Duration| format!("{}s", it.as_secs());
                let detail = format!("expected a duration from {} to {}", unit(least), unit(most));
                environment.problem(name, detail);
            }
        }
        if self.hashing_queue.get() > MAX_HASHING_QUEUE {
            environment.problem(
                "AUTH_HASHING_QUEUE",
                format!("expected a whole number from 1 to {MAX_HASHING_QUEUE}"),
            );
        }
        self.check_argon2(environment);
        self.check_hashing_memory(environment);
    }

    /// Says which hashes there is no room for.
    fn check_hashing_memory(&self, environment: &mut Environment) {
        let (name, least) = ("AUTH_HASHING_MEMORY_LIMIT", self.argon2_memory);
        if self.hashing_memory_limit < least {
            if !environment.is_wrong("AUTH_ARGON2_MEMORY") {
                environment.problem(name, format!("it has no room for one hash; expected {least} or more"));
            }
        } else if self.hashing_memory_limit < ByteSize(HASH_MEMORY) {
            // The migrator does not know these settings. Once that password was changed, nothing is amiss.
            let needed = ByteSize(HASH_MEMORY);
            environment.warning(
                name,
                format!("it has no room for the hash ({needed}) of an administrator whom the migrator makes, whose password matches nothing until it is reset"),
            );
        }
    }

    /// Says which parameters no hash is made with, or which make hashes that are not understood afterwards.
    fn check_argon2(&self, environment: &mut Environment) {
        let lanes = self.argon2_lanes.get();
        for (name, value, most) in [
            ("AUTH_ARGON2_PASSES", self.argon2_passes.get(), MAX_PASSES),
            ("AUTH_ARGON2_LANES", lanes, MAX_LANES),
        ] {
            if value > most {
                environment.problem(name, format!("expected a whole number from 1 to {most}"));
            }
        }
        let (least, most) = (ByteSize(MIN_MEMORY_OF_LANE * u64::from(lanes)), ByteSize(MAX_MEMORY));
        if !(least..=most).contains(&self.argon2_memory) {
            let detail = format!("with so many lanes expected a size from {least} to {most}");
            environment.problem("AUTH_ARGON2_MEMORY", detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use foundation::entropy::Entropy;

    use foundation::settings::Section as _;

    use super::*;
    use crate::domain::config::Key;
    use crate::domain::live::Live;
    use crate::passwords::Passwords;
    use crate::settings::ServiceSettings;

    /// What the service is told of that is not wrong.
    fn warnings(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut environment = Environment::from_pairs(pairs.iter().copied());
        ServiceSettings::read(&mut environment);
        let (_, warnings) = environment.finish().unwrap();
        warnings.into_iter().map(|it| format!("{}: {}", it.name, it.detail)).collect()
    }

    /// The names of what is wrong.
    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut environment = Environment::from_pairs(pairs.iter().copied());
        ServiceSettings::read(&mut environment);
        let Err(error) = environment.finish() else { return Vec::new() };
        error.problems.into_iter().map(|it| it.name).collect()
    }

    #[test]
    fn times_that_no_clock_has_are_refused() {
        for name in [
            "AUTH_SESSION_LIFETIME",
            "AUTH_SESSION_IDLE_LIFETIME",
            "AUTH_TOKEN_MAX_LIFETIME",
            "AUTH_LOGIN_DELAY",
            "AUTH_LOGIN_MAX_DELAY",
            "AUTH_FAILURE_RETENTION",
            "AUTH_AUDIT_RETENTION",
            "AUTH_IDEMPOTENCY_RETENTION",
        ] {
            assert_eq!(problems(&[(name, "1000000y")]), [name]);
            assert_eq!(problems(&[(name, "15m")]), [""; 0]);
        }
        for name in ["AUTH_SESSION_IDLE_LIFETIME", "AUTH_AUDIT_RETENTION"] {
            assert_eq!(problems(&[(name, "0s")]), [name]);
        }
    }

    #[test]
    fn failures_are_remembered_as_long_as_they_delay() {
        let short = ("AUTH_FAILURE_RETENTION", "5m");
        assert_eq!(problems(&[short]), ["AUTH_LOGIN_MAX_DELAY"]);
        assert_eq!(problems(&[short, ("AUTH_LOGIN_MAX_DELAY", "5m")]), [""; 0]);
        assert_eq!(problems(&[("AUTH_FAILURE_RETENTION", "0s")]), ["AUTH_FAILURE_RETENTION"]);
    }

    /// What the environment allows is what may be put while the service runs.
    #[test]
    fn delays_are_bounded_alike_wherever_they_are_said() {
        let long = ("AUTH_FAILURE_RETENTION", "30d");
        for name in ["AUTH_LOGIN_DELAY", "AUTH_LOGIN_MAX_DELAY"] {
            let key = Key::ALL.iter().find(|it| name.ends_with(&it.name().replace('.', "_").to_uppercase()));
            let key = key.unwrap();
            for (value, is_good) in
                [("0s", false), ("999us", false), ("1d", true), ("86401s", false), ("7d", false)]
            {
                let longest = ("AUTH_LOGIN_MAX_DELAY", "1d");
                let all = if name == longest.0 {
                    vec![long, (name, value)]
                } else {
                    vec![long, longest, (name, value)]
                };
                let expected: &[&str] = if is_good { &[] } else { &[name] };
                assert_eq!(problems(&all), expected, "{name}={value}");
                let auth = AuthSettings::read(&mut Environment::from_pairs(all.iter().copied()));
                let mut live = Live::defaults(&auth, None);
                assert_eq!(live.set(*key, &value.into()).is_ok(), is_good, "{name}: {value}");
            }
        }
    }

    #[test]
    fn the_memory_of_all_hashes_has_room_for_one() {
        let limit = "AUTH_HASHING_MEMORY_LIMIT";
        assert_eq!(problems(&[(limit, "19MiB")]), [""; 0]);
        assert_eq!(problems(&[(limit, "19MiB"), ("AUTH_ARGON2_MEMORY", "20MiB")]), [limit]);
        assert_eq!(warnings(&[(limit, "19MiB")]), [""; 0]);
        // There may be nobody any more who has a hash of the migrator's.
        let warned = warnings(&[(limit, "16MiB"), ("AUTH_ARGON2_MEMORY", "8MiB")]);
        assert!(
            matches!(&warned[..], [it] if it.starts_with(limit) && it.contains("administrator")),
            "{warned:?}"
        );
    }

    #[test]
    fn the_queue_of_hashes_has_an_end() {
        let queue = "AUTH_HASHING_QUEUE";
        assert_eq!(problems(&[(queue, "10000")]), [""; 0]);
        assert_eq!(problems(&[(queue, "10001")]), [queue]);
        assert_eq!(problems(&[(queue, "4000000000")]), [queue]);
    }

    /// A hash of which the service understands nothing afterwards locks its owner out.
    #[test]
    fn no_parameters_are_taken_that_hashing_or_verifying_refuses() {
        let (memory, passes, lanes) = ("AUTH_ARGON2_MEMORY", "AUTH_ARGON2_PASSES", "AUTH_ARGON2_LANES");
        for (pairs, wrong) in [
            (&[(passes, "100")][..], &[][..]),
            (&[(passes, "101")], &[passes]),
            (&[(memory, "8KiB")], &[]),
            (&[(memory, "4KiB")], &[memory]),
            (&[(memory, "4TiB")], &[memory]),
            (&[(memory, "64KiB"), (lanes, "8")], &[]),
            (&[(memory, "64KiB"), (lanes, "64")], &[memory]),
            (&[(lanes, "16777216"), (memory, "128GiB"), ("AUTH_HASHING_MEMORY_LIMIT", "1TiB")], &[lanes]),
            (&[(memory, "4TiB"), ("AUTH_HASHING_MEMORY_LIMIT", "8TiB")], &[memory]),
        ] {
            assert_eq!(problems(pairs), wrong, "{pairs:?}");
            let auth = AuthSettings::read(&mut Environment::from_pairs(pairs.iter().copied()));
            let is_made = Passwords::new(&auth, Entropy::system()).is_ok();
            // More passes are only too many for a hash that is stored.
            assert!(is_made || !wrong.is_empty(), "{pairs:?}");
        }
    }
}
