//! How passwords are hashed today, and how they were before.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::Verdict;
use crate::settings::AuthSettings;

/// The most passes that a stored hash may ask for, and so the most that new ones are made with.
pub(crate) const MAX_PASSES: u32 = 100;

/// The least memory of a hash for each of its lanes, in bytes: two blocks for each of its four slices.
pub(crate) const MIN_MEMORY_OF_LANE: u64 = 8 * 1024;

/// The most memory of a hash that there is a number for, in bytes.
pub(crate) const MAX_MEMORY: u64 = Params::MAX_M_COST as u64 * 1024;

/// The most lanes of a hash.
pub(crate) const MAX_LANES: u32 = Params::MAX_P_COST;

/// The highest cost of a bcrypt hash that is verified: some seconds.
const MAX_BCRYPT_COST: u32 = 16;

/// How many blocks are asked of the allocator, at least: 33 MiB. So much has pages of its own, which go
/// back to the operating system at once; less would be kept by glibc's allocator, once for each thread.
/// Only what a hash uses is ever touched.
const MIN_BLOCKS: usize = 33 * 1024;

/// Why a hash cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SchemeError {
    /// argon2 says so.
    #[error(transparent)]
    Argon2(#[from] argon2::Error),
    /// The format of hashes says so.
    #[error(transparent)]
    Format(#[from] argon2::password_hash::Error),
    /// The text format of hashes says so.
    #[error(transparent)]
    Text(#[from] argon2::password_hash::phc::Error),
    /// There is not so much memory.
    #[error("there is no memory for it")]
    Memory,
}

/// A stored hash, understood.
#[expect(clippy::large_enum_variant, reason = "there is one of it for each job")]
pub(super) enum Stored<'a> {
    /// One of argon2.
    Argon2 {
        argon2: Argon2<'static>,
        /// Whether it is of the algorithm and the version that new ones are.
        is_argon2id: bool,
        salt: Salt,
        output: Output,
    },
    /// One of bcrypt.
    Bcrypt(&'a str),
    /// None, or one that is not understood.
    Nothing,
}

/// argon2id with the parameters of today.
#[derive(Clone, Debug)]
pub struct Scheme {
    params: Params,
    /// The most memory that a stored hash may ask for, in bytes.
    limit: u64,
}

impl Scheme {
    /// That of `AUTH_ARGON2_MEMORY`, `AUTH_ARGON2_PASSES` and `AUTH_ARGON2_LANES`.
    ///
    /// # Errors
    /// They are none that argon2id takes together.
    pub fn new(settings: &AuthSettings) -> Result<Self, SchemeError> {
        let kibibytes =
            u32::try_from(settings.argon2_memory.as_u64() / 1024).map_err(|_| SchemeError::Memory)?;
        let (passes, lanes) = (settings.argon2_passes.get(), settings.argon2_lanes.get());
        let params = Params::new(kibibytes, passes, lanes, Some(Params::DEFAULT_OUTPUT_LEN))?;
        Ok(Self { params, limit: settings.hashing_memory_limit.as_u64() })
    }

    /// What one hash takes, in bytes.
    pub(super) fn memory(&self) -> u64 {
        u64::from(self.params.m_cost()) * 1024
    }

    /// What verifying takes, in bytes.
    pub(super) fn memory_for(&self, stored: &Stored<'_>) -> u64 {
        match stored {
            Stored::Argon2 { argon2, .. } => u64::from(argon2.params().m_cost()) * 1024,
            Stored::Bcrypt(_) => 0,
            Stored::Nothing => self.memory(),
        }
    }

    /// The hash of a password as a PHC string (`$argon2id$v=19$m=19456,t=2,p=1$...`).
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn hash(&self, password: &[u8], salt: [u8; 16]) -> Result<String, SchemeError> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        let salt = Salt::new(&salt)?;
        let output = compute(&argon2, password, &salt, Params::DEFAULT_OUTPUT_LEN)?;
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params)?,
            salt: Some(salt),
            hash: Some(output),
        };
        Ok(hash.to_string())
    }

    /// Understands a stored hash. One that would cost more than any that is in use is not understood: a
    /// single row must not be able to stop the service.
    pub(super) fn read<'a>(&self, hash: Option<&'a str>) -> Stored<'a> {
        let Some(hash) = hash else { return Stored::Nothing };
        let stored = if is_bcrypt(hash) { Some(Stored::Bcrypt(hash)) } else { read_argon2(hash) };
        let Some(stored) = stored else {
            tracing::warn!("the stored hash of a password is none that is understood");
            return Stored::Nothing;
        };
        let memory = self.memory_for(&stored);
        if memory > self.limit {
            tracing::warn!(
                memory,
                limit = self.limit,
                "the stored hash of a password asks for more memory than AUTH_HASHING_MEMORY_LIMIT"
            );
            return Stored::Nothing;
        }
        stored
    }

    pub(super) fn verify(&self, password: &[u8], stored: &Stored<'_>) -> Result<Verdict, SchemeError> {
        let matches = match stored {
            Stored::Argon2 { argon2, salt, output, .. } => {
                // Outputs are compared in constant time.
                compute(argon2, password, salt, output.len())? == *output
            }
            Stored::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Stored::Nothing => {
                self.hash(password, [0; 16])?;
                false
            }
        };
        Ok(Verdict { matches, needs_rehash: matches && !self.is_of_today(stored) })
    }

    fn is_of_today(&self, stored: &Stored<'_>) -> bool {
        let Stored::Argon2 { argon2, is_argon2id, output, .. } = stored else { return false };
        let params = argon2.params();
        *is_argon2id
            && (params.m_cost(), params.t_cost(), params.p_cost())
                == (self.params.m_cost(), self.params.t_cost(), self.params.p_cost())
            && output.len() == Params::DEFAULT_OUTPUT_LEN
    }
}

fn compute(argon2: &Argon2<'_>, password: &[u8], salt: &Salt, length: usize) -> Result<Output, SchemeError> {
    let count = argon2.params().block_count();
    let mut blocks: Vec<Block> = Vec::new();
    blocks.try_reserve_exact(count.max(MIN_BLOCKS)).map_err(|_| SchemeError::Memory)?;
    blocks.resize(count, Block::new());
    let mut buffer = [0; Output::MAX_LENGTH];
    let output = buffer.get_mut(..length).ok_or(argon2::Error::OutputTooLong)?;
    argon2.hash_password_into_with_memory(password, salt, output, &mut blocks)?;
    Ok(Output::new(output)?)
}

fn is_bcrypt(hash: &str) -> bool {
    let Some(cost) = ["$2a$", "$2b$", "$2y$"].iter().find_map(|it| hash.strip_prefix(it)) else {
        return false;
    };
    let cost: Option<u32> = cost.split('$').next().and_then(|it| it.parse().ok());
    cost.is_some_and(|it| it <= MAX_BCRYPT_COST)
}

fn read_argon2(hash: &str) -> Option<Stored<'_>> {
    let parsed = PasswordHash::new(hash).ok()?;
    let algorithm = Algorithm::try_from(parsed.algorithm.as_str()).ok()?;
    let version = parsed.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
    let params = Params::try_from(&parsed).ok()?;
    let (salt, output) = (parsed.salt?, parsed.hash?);
    if params.t_cost() > MAX_PASSES {
        return None;
    }
    let is_argon2id = algorithm == Algorithm::Argon2id && version == Version::V0x13;
    Some(Stored::Argon2 { argon2: Argon2::new(algorithm, version, params), is_argon2id, salt, output })
}
