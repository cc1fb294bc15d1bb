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
/// defines `add(isa: Isa, to: &mut [f32], a: &[f32])`. VNNI and BF16 are only used by functions declared with
/// `full fn`; the others share the code of plain AVX-512.
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis full fn $($rest:tt)*) => {
        $crate::dispatch::dispatch!(@ full; $(#[$meta])* $vis fn $($rest)*);
    };
    ($(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => {
        $crate::dispatch::dispatch!(@ shared; $(#[$meta])* $vis fn $($rest)*);
    };
    (@ $kind:ident;
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
            $crate::dispatch::dispatch!(@ fn $kind; ($($argument: $type),*) ($(-> $output)?) $generic);

            match isa.level() {
                Level::Portable => $generic(simd::portable::PORTABLE, $($argument),*),
                #[cfg(target_arch = "aarch64")]
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                Level::Neon => $generic(unsafe { simd::neon::Neon::new() }, $($argument),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                Level::Avx2 => unsafe { avx2(simd::avx2::Avx2::new(), $($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                Level::Avx512 => unsafe { avx512(simd::avx512::Avx512::new(), $($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                Level::Avx512Full | Level::Avx512Amx => unsafe { avx512_full($($argument),*) },
                #[cfg(test)]
                Level::Model => $generic(simd::portable::WIDE, $($argument),*),
            }
        }
    };
    (@ fn full; ($($argument:ident: $type:ty),*) ($(-> $output:ty)?) $generic:path) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(
            enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma,f16c"
        )]
        #[allow(clippy::too_many_arguments, reason = "the generic function decides")]
        fn avx512_full($($argument: $type),*) $(-> $output)? {
            // SAFETY: this function has the instructions.
            $generic(unsafe { simd::avx512::Avx512Full::new() }, $($argument),*)
        }
    };
    (@ fn shared; ($($argument:ident: $type:ty),*) ($(-> $output:ty)?) $generic:path) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        #[allow(clippy::too_many_arguments, reason = "the generic function decides")]
        fn avx512_full($($argument: $type),*) $(-> $output)? {
            // SAFETY: this function has the instructions.
            avx512(unsafe { simd::avx512::Avx512::new() }, $($argument),*)
        }
    };
}

pub(crate) use dispatch;

/// Evaluates an expression with `$s` bound to the token of an [`Isa`](super::Isa): for drivers that are generic
/// over `S: Simd` but only reach its instructions through [`Simd::call`](super::simd::Simd::call).
///
/// With `full`, AVX-512 with VNNI and BF16 is a set of its own; otherwise it shares the code of plain AVX-512. With `bf16`
/// too, but not on CPUs with AMX, whose vectors multiply bf16 at half the speed of f32.
macro_rules! with_simd {
    (full $isa:expr, $s:ident => $body:expr) => {
        $crate::dispatch::with_simd!(@ [Avx512] Avx512Full [Avx512Full | Avx512Amx]; $isa, $s => $body)
    };
    (bf16 $isa:expr, $s:ident => $body:expr) => {
        $crate::dispatch::with_simd!(@ [Avx512 | Avx512Amx] Avx512Full [Avx512Full]; $isa, $s => $body)
    };
    ($isa:expr, $s:ident => $body:expr) => {
        $crate::dispatch::with_simd!(@ [Avx512] Avx512 [Avx512Full | Avx512Amx]; $isa, $s => $body)
    };
    (@ [$($plain:ident)|+] $best:ident [$($full:ident)|+]; $isa:expr, $s:ident => $body:expr) => {{
        #[allow(unused_imports, reason = "which are used depends on the target")]
        use $crate::{isa::Level, simd};

        match $isa.level() {
            Level::Portable => {
                let $s = simd::portable::PORTABLE;
                $body
            }
            #[cfg(target_arch = "aarch64")]
            Level::Neon => {
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                let $s = unsafe { simd::neon::Neon::new() };
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                let $s = unsafe { simd::avx2::Avx2::new() };
                $body
            }
            #[cfg(target_arch = "x86_64")]
            $(Level::$plain)|+ => {
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                let $s = unsafe { simd::avx512::Avx512::new() };
                $body
            }
            #[cfg(target_arch = "x86_64")]
            $(Level::$full)|+ => {
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                let $s = unsafe { simd::avx512::$best::new() };
                $body
            }
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
/// [`Isa`](super::Isa); `None` if it has no tiles.
#[cfg(any(test, target_arch = "x86_64"))]
macro_rules! with_tiles {
    ($isa:expr, $s:ident, $tiles:ident => $body:expr) => {
        match $isa.level() {
            #[cfg(target_arch = "x86_64")]
            $crate::isa::Level::Avx512Amx => {
                type $tiles = $crate::amx::hardware::Hardware;
                // SAFETY: an `Isa` exists only where the CPU has its instructions.
                let $s = unsafe { $crate::simd::avx512::Avx512Full::new() };
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
