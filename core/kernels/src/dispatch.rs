//! Run-time dispatch from an [`Isa`](super::Isa) to the code that is compiled for it.

/// Defines a function that runs a generic one with the instructions of an [`Isa`](super::Isa).
///
/// ```text
/// #[inline(always)]
/// fn add_with<S: Simd>(s: S, to: &mut [f32], a: &[f32]) { … }
///
/// dispatch! {
///     /// Adds `a` to `to`.
///     pub(crate) fn add(to: &mut [f32], a: &[f32]) = add_with;
/// }
/// ```
/// defines `add(isa: Isa, to: &mut [f32], a: &[f32])`. VNNI, BF16 and ARM's dot products are not used: sets that have them
/// share the code of those without.
macro_rules! dispatch {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? = $generic:path;
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "the generic function decides")]
        $vis fn $name(isa: $crate::Isa, $($argument: $type),*) $(-> $output)? {
            #[allow(unused_imports, reason = "which are used depends on the target")]
            use $crate::{isa::Level, simd};

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments, reason = "the generic function decides")]
            fn avx2(s: simd::avx2::Avx2, $($argument: $type),*) $(-> $output)? {
                $generic(s, $($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments, reason = "the generic function decides")]
            fn avx512(s: simd::avx512::Avx512, $($argument: $type),*) $(-> $output)? {
                $generic(s, $($argument),*)
            }

            match isa.level() {
                Level::Portable => $generic(simd::portable::PORTABLE, $($argument),*),
                #[cfg(target_arch = "aarch64")]
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                Level::Neon | Level::NeonDot | Level::NeonBf16 => $generic(unsafe { simd::neon::Neon::new() }, $($argument),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                Level::Avx2 | Level::Avx2Vnni => unsafe { avx2(simd::avx2::Avx2::new(), $($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                Level::Avx512 | Level::Avx512Vnni | Level::Avx512Full | Level::Avx512Amx => unsafe {
                    avx512(simd::avx512::Avx512::new(), $($argument),*)
                },
                #[cfg(test)]
                Level::Model => $generic(simd::portable::WIDE, $($argument),*),
            }
        }
    };
}

pub(crate) use dispatch;

/// Evaluates an expression with `$s` bound to the token of an [`Isa`](super::Isa): for drivers that are generic
/// over `S: Simd` but only reach its instructions through [`Simd::call`](super::simd::Simd::call).
///
/// Sets share code where their difference does not matter to it. By default none has VNNI, BF16 or ARM's dot products. With
/// `bytes`, for products of bytes, sets with an instruction for them have code of their own; with `bf16`, those with one for
/// bf16, but not on CPUs with AMX, whose vectors multiply bf16 at half the speed of f32; with `every`, all have.
macro_rules! with_simd {
    (bytes $isa:expr, $s:ident => $body:expr) => {
        $crate::dispatch::with_simd!(@ $isa, $s => $body;
            "aarch64" neon::Neon: Neon;
            "aarch64" neon::NeonDot: NeonDot | NeonBf16;
            "x86_64" avx2::Avx2: Avx2;
            "x86_64" avx2::Avx2Vnni: Avx2Vnni;
            "x86_64" avx512::Avx512: Avx512;
            "x86_64" avx512::Avx512Vnni: Avx512Vnni | Avx512Full | Avx512Amx)
    };
    (bf16 $isa:expr, $s:ident => $body:expr) => {
        $crate::dispatch::with_simd!(@ $isa, $s => $body;
            "aarch64" neon::Neon: Neon | NeonDot;
            "aarch64" neon::NeonBf16: NeonBf16;
            "x86_64" avx2::Avx2: Avx2 | Avx2Vnni;
            "x86_64" avx512::Avx512: Avx512 | Avx512Vnni | Avx512Amx;
            "x86_64" avx512::Avx512Full: Avx512Full)
    };
    (every $isa:expr, $s:ident => $body:expr) => {
        $crate::dispatch::with_simd!(@ $isa, $s => $body;
            "aarch64" neon::Neon: Neon;
            "aarch64" neon::NeonDot: NeonDot;
            "aarch64" neon::NeonBf16: NeonBf16;
            "x86_64" avx2::Avx2: Avx2;
            "x86_64" avx2::Avx2Vnni: Avx2Vnni;
            "x86_64" avx512::Avx512: Avx512;
            "x86_64" avx512::Avx512Vnni: Avx512Vnni;
            "x86_64" avx512::Avx512Full: Avx512Full | Avx512Amx)
    };
    ($isa:expr, $s:ident => $body:expr) => {
        $crate::dispatch::with_simd!(@ $isa, $s => $body;
            "aarch64" neon::Neon: Neon | NeonDot | NeonBf16;
            "x86_64" avx2::Avx2: Avx2 | Avx2Vnni;
            "x86_64" avx512::Avx512: Avx512 | Avx512Vnni | Avx512Full | Avx512Amx)
    };
    (@ $isa:expr, $s:ident => $body:expr; $($arch:tt $file:ident::$set:ident: $($level:ident)|+);+) => {{
        #[allow(unused_imports, reason = "which are used depends on the target")]
        use $crate::{isa::Level, simd};

        match $isa.level() {
            Level::Portable => {
                let $s = simd::portable::PORTABLE;
                $body
            }
            $(
                #[cfg(target_arch = $arch)]
                $(Level::$level)|+ => {
                    // SAFETY: an `Isa` exists only where the CPU has its instructions.
                    let $s = unsafe { simd::$file::$set::new() };
                    $body
                }
            )+
            #[cfg(test)]
            Level::Model => {
                let $s = simd::portable::WIDE;
                $body
            }
        }
    }};
}

pub(crate) use with_simd;

/// Evaluates an expression with `$s` bound to the token of the vectors and `$tiles` to the type of the tiles of an
/// [`Isa`](super::Isa); `None` if it has no tiles. With `bytes`, the vectors are those without BF16, as in [`with_simd!`].
#[cfg(any(test, target_arch = "x86_64"))]
macro_rules! with_tiles {
    (bytes $isa:expr, $s:ident, $tiles:ident => $body:expr) => {
        $crate::dispatch::with_tiles!(@ Avx512Vnni, $isa, $s, $tiles => $body)
    };
    ($isa:expr, $s:ident, $tiles:ident => $body:expr) => {
        $crate::dispatch::with_tiles!(@ Avx512Full, $isa, $s, $tiles => $body)
    };
    (@ $set:ident, $isa:expr, $s:ident, $tiles:ident => $body:expr) => {
        match $isa.level() {
            #[cfg(target_arch = "x86_64")]
            $crate::isa::Level::Avx512Amx => {
                type $tiles = $crate::amx::hardware::Hardware;
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                let $s = unsafe { $crate::simd::avx512::$set::new() };
                Some($body)
            }
            #[cfg(test)]
            $crate::isa::Level::Model => {
                type $tiles = $crate::amx::model::Model;
                let $s = $crate::simd::portable::WIDE;
                Some($body)
            }
            _ => None,
        }
    };
}

#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) use with_tiles;
