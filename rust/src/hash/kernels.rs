//! Which code adds blocks to the states of several messages: chosen for each batch, by how many
//! messages there are and by what this machine has.

use std::sync::OnceLock;

/// Names a kernel that is to be used for everything; for tests and benchmarks.
pub(crate) const OVERRIDE: &str = "SWARM_HASH_KERNEL";

/// The code for one algorithm, in its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Sixteen lanes at the price of one.
    Avx512,
    /// x86's SHA instructions, three lanes at a time.
    ShaNi,
    /// The crates `sha1` and `sha2`, lane by lane; they use what instructions there are (ARMv8).
    Crate,
}

impl Kernel {
    const ALL: [Self; 3] = [Self::Avx512, Self::ShaNi, Self::Crate];

    /// All that this machine can run.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available())
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
            }
            Self::ShaNi => {
                is_x86_feature_detected!("sha")
                    && is_x86_feature_detected!("ssse3")
                    && is_x86_feature_detected!("sse4.1")
            }
            Self::Crate => true,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        self == Self::Crate
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::ShaNi => "sha-ni",
            Self::Crate => "crate",
        }
    }

    /// The kernel of that name, if this machine can run it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::available().find(|kernel| kernel.name() == name)
    }

    /// The best for `lanes` messages of equal length, if sixteen at once are better than three at a
    /// time from `worthwhile` on.
    pub(super) fn best(lanes: usize, worthwhile: usize) -> Self {
        /// Where there are no SHA instructions: one lane of sixteen is half as fast as the crates.
        const WORTHWHILE_ALONE: usize = 3;
        if let Ok(Some(kernel)) = forced() {
            return kernel;
        }
        let sha_ni = Self::ShaNi.is_available();
        let worthwhile = if sha_ni { worthwhile } else { WORTHWHILE_ALONE };
        match lanes >= worthwhile && Self::Avx512.is_available() {
            true => Self::Avx512,
            false if sha_ni => Self::ShaNi,
            false => Self::Crate,
        }
    }
}

/// The kernel that the environment asks for; an error if this machine has none of that name.
pub(crate) fn forced() -> Result<Option<Kernel>, String> {
    static FORCED: OnceLock<Result<Option<Kernel>, String>> = OnceLock::new();
    let look = || match std::env::var(OVERRIDE) {
        Ok(name) if !name.is_empty() => Kernel::named(&name).map(Some).ok_or(name),
        _ => Ok(None),
    };
    FORCED.get_or_init(look).clone()
}
