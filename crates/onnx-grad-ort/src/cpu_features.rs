//! Which cpu_features the processor has, and loops that are compiled for each of them.
//!
//! A program is built for the processors that everybody has. Where a loop does the same to many numbers, [`multiversion!`] compiles it
//! for later ones too, and the one that runs is chosen as it is called.

/// Which cpu_features the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuFeatures(Width);

/// How many bytes an instruction may take at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)]
pub enum Width {
    /// Those that every processor of its kind has.
    Usual,
    /// AVX2.
    Wide,
    /// AVX-512.
    Widest,
}

/// Asks the processor.
pub fn detect() -> CpuFeatures {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let wide = has!("avx2") && has!("fma");
        if wide && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
            return CpuFeatures(Width::Widest);
        }
        if wide {
            return CpuFeatures(Width::Wide);
        }
    }
    CpuFeatures(Width::Usual)
}

impl CpuFeatures {
    /// What it is; nothing wider than what the processor has.
    pub fn width(self) -> Width {
        self.0
    }

    /// All that this processor could be taken for.
    pub fn each() -> Vec<Self> {
        let widths = [Width::Usual, Width::Wide, Width::Widest];
        widths.into_iter().take(detect().0 as usize + 1).map(Self).collect()
    }
}

/// Defines a function that runs another, which must be `#[inline(always)]`, in the widest cpu_features: its first argument is the
/// [`CpuFeatures`] that says which. `= plainly[FUSED]` runs `plainly::<true>` where a product and a sum are one instruction, else
/// `plainly::<false>`.
#[macro_export]
macro_rules! multiversion {
    (
        $(#[$attribute:meta])*
        $visible:vis fn $name:ident$(<$(const $n:ident: usize),+>)?($($argument:ident: $type:ty),+ $(,)?) $(-> $result:ty)? = $plainly:ident$([$fused:ident])?
    ) => {
        $(#[$attribute])*
        $visible fn $name$(<$(const $n: usize),+>)?(has: $crate::cpu_features::CpuFeatures, $($argument: $type),+) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::cpu_features::Width;

                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn widest$(<$(const $n: usize),+>)?($($argument: $type),+) $(-> $result)? {
                    $(const $fused: bool = true;)?
                    $plainly$(::<$($n),+>)?$(::<$fused>)?($($argument),+)
                }
                #[target_feature(enable = "avx2,fma")]
                fn wide$(<$(const $n: usize),+>)?($($argument: $type),+) $(-> $result)? {
                    $(const $fused: bool = true;)?
                    $plainly$(::<$($n),+>)?$(::<$fused>)?($($argument),+)
                }
                match has.width() {
                    // SAFETY: `CpuFeatures` is made by `detect`, which has asked the processor, and never says more.
                    Width::Widest => return unsafe { widest$(::<$($n),+>)?($($argument),+) },
                    // SAFETY: as above.
                    Width::Wide => return unsafe { wide$(::<$($n),+>)?($($argument),+) },
                    Width::Usual => {}
                }
            }
            let _ = has;
            $(const $fused: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));)?
            $plainly$(::<$($n),+>)?$(::<$fused>)?($($argument),+)
        }
    };
}
pub use crate::multiversion;
