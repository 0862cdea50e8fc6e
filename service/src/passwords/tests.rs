use foundation::settings::{Environment, Section as _};
use futures_util::FutureExt as _;

use super::*;

fn passwords(variables: &[(&str, &str)]) -> Passwords {
    let mut environment = Environment::from_pairs(variables.iter().copied());
    let settings = AuthSettings::read(&mut environment);
    Passwords::new(&settings, Entropy::system()).unwrap()
}

/// So fast that a test may do many.
const CHEAP: [(&str, &str); 2] = [("AUTH_ARGON2_MEMORY", "64KiB"), ("AUTH_ARGON2_PASSES", "1")];

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

async fn verify(passwords: &Passwords, password: &str, hash: &str) -> (bool, bool) {
    let verdict = passwords.verify(secret(password), Some(hash.to_owned())).await.unwrap();
    (verdict.matches, verdict.needs_rehash)
}

#[tokio::test]
async fn a_password_is_known_again() {
    let passwords = passwords(&[]);
    let hash = passwords.hash(secret("correct horse")).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert_ne!(hash, passwords.hash(secret("correct horse")).await.unwrap());
    assert_eq!(verify(&passwords, "correct horse", &hash).await, (true, false));
    assert_eq!(verify(&passwords, "wrong horse", &hash).await, (false, false));
    let nothing = passwords.verify(secret("correct horse"), None).await.unwrap();
    assert!(!nothing.matches);
}

#[tokio::test]
async fn hashes_of_other_parameters_are_verified_and_want_to_be_renewed() {
    let (old, new) = (passwords(&CHEAP), passwords(&[("AUTH_ARGON2_MEMORY", "128KiB")]));
    let hash = old.hash(secret("correct horse")).await.unwrap();
    assert_eq!(verify(&new, "correct horse", &hash).await, (true, true));
    assert_eq!(verify(&new, "wrong horse", &hash).await, (false, false));
    // The same under the name of another algorithm is another hash.
    let other = old.hash(secret("correct horse")).await.unwrap().replace("argon2id", "argon2i");
    assert_eq!(verify(&new, "correct horse", &other).await, (false, false));
}

#[tokio::test]
async fn hashes_of_bcrypt_are_verified_and_want_to_be_renewed() {
    let passwords = passwords(&CHEAP);
    let hash = bcrypt::hash_with_salt("correct horse", 4, *b"sixteen bytes ok").unwrap();
    for version in [bcrypt::Version::TwoA, bcrypt::Version::TwoB, bcrypt::Version::TwoY] {
        let hash = hash.format_for_version(version);
        assert_eq!(verify(&passwords, "correct horse", &hash).await, (true, true));
        assert_eq!(verify(&passwords, "wrong horse", &hash).await, (false, false));
    }
    // What Python's passlib wrote.
    let written = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";
    assert_eq!(verify(&passwords, "secret", written).await, (true, true));
}

#[tokio::test]
async fn what_is_no_hash_matches_nothing() {
    let passwords = passwords(&CHEAP);
    for hash in [
        "",
        "plain",
        "$1$abc$def",
        "$2b$31$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
        "$2b$04$short",
        "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ",
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHM$aGFzaGhhc2hoYXNoaGFzaA",
    ] {
        assert_eq!(verify(&passwords, hash, hash).await, (false, false), "{hash}");
    }
    let long = "x".repeat(MAX_PASSWORD_BYTES + 1);
    let hash = passwords.hash(secret(&long[1..])).await.unwrap();
    assert_eq!(verify(&passwords, &long[1..], &hash).await, (true, false));
    assert_eq!(verify(&passwords, &long, &hash).await, (false, false));
}

#[tokio::test]
async fn no_stored_hash_takes_more_memory_than_all_may() {
    let hash = passwords(&[("AUTH_ARGON2_PASSES", "1")]).hash(secret("correct horse")).await.unwrap();
    let limit = |limit| passwords(&[CHEAP[0], CHEAP[1], ("AUTH_HASHING_MEMORY_LIMIT", limit)]);
    assert_eq!(verify(&limit("19MiB"), "correct horse", &hash).await, (true, true));
    assert_eq!(verify(&limit("18MiB"), "correct horse", &hash).await, (false, false));
}

#[tokio::test]
async fn past_the_queue_it_is_busy() {
    let passwords = passwords(&[
        ("AUTH_HASHING_QUEUE", "1"),
        ("AUTH_HASHING_MEMORY_LIMIT", "19MiB"),
        ("AUTH_ARGON2_PASSES", "8"),
    ]);
    let all = futures_util::future::join_all((0..20).map(|_| passwords.hash(secret("correct horse")))).await;
    let busy = all.iter().filter(|it| matches!(it, Err(ActionError::Busy { .. }))).count();
    assert!((1..20).contains(&busy), "{busy} of 20 were refused");
    assert!(passwords.hash(secret("correct horse")).await.is_ok());
}

#[test]
fn parameters_that_argon2_refuses_are_told() {
    let mut environment = Environment::from_pairs([("AUTH_ARGON2_MEMORY", "1KiB")]);
    let settings = AuthSettings::read(&mut environment);
    let error = Passwords::new(&settings, Entropy::system()).err().unwrap();
    assert!(error.to_string().contains("AUTH_ARGON2_MEMORY"), "{error}");
}

/// All places there are.
async fn attempts(passwords: &Passwords) -> Vec<Attempt> {
    let count = passwords.0.attempts.available_permits();
    let all = futures_util::future::join_all((0..count).map(|_| passwords.attempt())).await;
    all.into_iter().map(Result::unwrap).collect()
}

/// Those before may be attempts that are refused at once.
#[tokio::test]
async fn an_attempt_waits_for_its_place() {
    let passwords = passwords(&CHEAP);
    let mut taken = attempts(&passwords).await;
    let mut next = Box::pin(passwords.attempt());
    assert!((&mut next).now_or_never().is_none(), "there is no place yet");
    drop(taken.pop());
    taken.push(next.await.unwrap());
    // One whose client hangs up leaves no place behind that nobody has.
    assert!(timeout(RETRY_AFTER / 2, passwords.attempt()).await.is_err());
    drop(taken.pop());
    taken.push(passwords.attempt().await.unwrap());
    // There is an end to it where the database has no answer.
    let before = tokio::time::Instant::now();
    assert!(matches!(passwords.attempt().await, Err(ActionError::Busy { retry_after: RETRY_AFTER })));
    assert!(before.elapsed() >= ATTEMPT_PATIENCE);
    drop(taken);
    assert_eq!(attempts(&passwords).await.len(), 16 + ATTEMPTS);
}
