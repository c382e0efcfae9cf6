//! Clearing what a computation leaves behind in vector registers and on the stack.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use zeroize::zeroize_stack;

/// How much stack [`burned`] overwrites, in bytes. AES-256-GCM on a short message was seen to leave round keys some 7 KiB
/// deep, and 15 KiB in a debug build.
const BURN: usize = 32 * 1024;

/// Runs `work` in a frame of its own, then overwrites 32 KiB of stack from there down and clears the vector registers, also
/// if `work` panics.
///
/// For every use of a key or of its expanded schedule, or around many at once. A cipher leaves round keys in registers and
/// spills them to the stack (one AES-256-GCM encryption was seen to leave its first round key, half of the AES key), and a
/// core dump holds both. On x86-64, xmm0 to xmm15 are cleared, and as much of ymm0 to ymm15 and zmm0 to zmm31 as the
/// processor has; on aarch64, v0 to v31, and with them the low parts of the SVE registers. On other processors no register is
/// cleared.
///
/// Needs some 40 KiB of free stack; takes some 200 nanoseconds, and microseconds where the stack was never used so deep.
/// What `work` leaves deeper than 32 KiB stays, and so does what it captures by value. What it returns must not be secret.
///
/// `work` is given a [`Burning`], for functions that leave traces and do not clear them: they ask for one.
#[inline(never)]
pub fn burned<R>(work: impl FnOnce(&Burning) -> R) -> R {
    let _last = ClearRegisters;
    let _first = BurnStack;
    apart(|| work(&Burning(PhantomData)))
}

/// Proof that the stack and the registers of this thread will be cleared: only [`burned`] gives one, and it cannot leave it.
#[derive(Debug)]
pub struct Burning(PhantomData<*const ()>);

/// A frame of its own for the work, which the overwriting function's own frame then covers.
#[inline(never)]
fn apart<R>(work: impl FnOnce() -> R) -> R {
    work()
}

struct BurnStack;

impl Drop for BurnStack {
    #[inline]
    fn drop(&mut self) {
        zeroize_stack::<BURN>();
    }
}

struct ClearRegisters;

impl Drop for ClearRegisters {
    #[inline]
    fn drop(&mut self) {
        registers::clear();
    }
}

#[cfg(target_arch = "x86_64")]
mod registers {
    use std::arch::{asm, is_x86_feature_detected};

    #[inline]
    pub(super) fn clear() {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, and the system saves its registers.
            unsafe { avx512() }
        } else if is_x86_feature_detected!("avx") {
            // SAFETY: the processor has AVX, and the system saves its registers.
            unsafe { avx() }
        } else {
            sse();
        }
    }

    /// All of zmm0 to zmm31. `vzeroall` comes last: it also ends the state in which SSE code would run slowly.
    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512() {
        // SAFETY: changes vector registers only, which are all declared as clobbered.
        unsafe {
            asm!(
                "vpxord zmm16, zmm16, zmm16",
                "vpxord zmm17, zmm17, zmm17",
                "vpxord zmm18, zmm18, zmm18",
                "vpxord zmm19, zmm19, zmm19",
                "vpxord zmm20, zmm20, zmm20",
                "vpxord zmm21, zmm21, zmm21",
                "vpxord zmm22, zmm22, zmm22",
                "vpxord zmm23, zmm23, zmm23",
                "vpxord zmm24, zmm24, zmm24",
                "vpxord zmm25, zmm25, zmm25",
                "vpxord zmm26, zmm26, zmm26",
                "vpxord zmm27, zmm27, zmm27",
                "vpxord zmm28, zmm28, zmm28",
                "vpxord zmm29, zmm29, zmm29",
                "vpxord zmm30, zmm30, zmm30",
                "vpxord zmm31, zmm31, zmm31",
                "vzeroall",
                clobber_abi("sysv64"),
                options(nostack, preserves_flags),
            );
        }
    }

    /// All of ymm0 to ymm15.
    #[target_feature(enable = "avx")]
    pub(super) fn avx() {
        // SAFETY: changes vector registers only, which are all declared as clobbered.
        unsafe { asm!("vzeroall", clobber_abi("sysv64"), options(nostack, preserves_flags)) };
    }

    /// xmm0 to xmm15: all there is without AVX.
    pub(super) fn sse() {
        // SAFETY: changes vector registers only, which are all declared as clobbered.
        unsafe {
            asm!(
                "xorps xmm0, xmm0",
                "xorps xmm1, xmm1",
                "xorps xmm2, xmm2",
                "xorps xmm3, xmm3",
                "xorps xmm4, xmm4",
                "xorps xmm5, xmm5",
                "xorps xmm6, xmm6",
                "xorps xmm7, xmm7",
                "xorps xmm8, xmm8",
                "xorps xmm9, xmm9",
                "xorps xmm10, xmm10",
                "xorps xmm11, xmm11",
                "xorps xmm12, xmm12",
                "xorps xmm13, xmm13",
                "xorps xmm14, xmm14",
                "xorps xmm15, xmm15",
                clobber_abi("sysv64"),
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod registers {
    use std::arch::asm;

    /// All of v0 to v31. Inlined, so that the function which did the work saves the halves that belong to its caller
    /// (v8 to v15) before it starts, and restores them after this.
    #[inline(always)]
    pub(super) fn clear() {
        // SAFETY: changes vector registers only, which are all declared as clobbered.
        unsafe {
            asm!(
                "movi v0.2d, #0",
                "movi v1.2d, #0",
                "movi v2.2d, #0",
                "movi v3.2d, #0",
                "movi v4.2d, #0",
                "movi v5.2d, #0",
                "movi v6.2d, #0",
                "movi v7.2d, #0",
                "movi v8.2d, #0",
                "movi v9.2d, #0",
                "movi v10.2d, #0",
                "movi v11.2d, #0",
                "movi v12.2d, #0",
                "movi v13.2d, #0",
                "movi v14.2d, #0",
                "movi v15.2d, #0",
                "movi v16.2d, #0",
                "movi v17.2d, #0",
                "movi v18.2d, #0",
                "movi v19.2d, #0",
                "movi v20.2d, #0",
                "movi v21.2d, #0",
                "movi v22.2d, #0",
                "movi v23.2d, #0",
                "movi v24.2d, #0",
                "movi v25.2d, #0",
                "movi v26.2d, #0",
                "movi v27.2d, #0",
                "movi v28.2d, #0",
                "movi v29.2d, #0",
                "movi v30.2d, #0",
                "movi v31.2d, #0",
                clobber_abi("C"),
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod registers {
    /// There is no list of registers to clear for this processor.
    pub(super) fn clear() {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
    use std::arch::asm;
    use std::collections::BTreeSet;
    use std::hint::black_box;
    use std::mem::MaybeUninit;
    use std::panic::{catch_unwind, resume_unwind};
    use std::ptr;
    use zeroize::optimization_barrier;

    /// Not a constant, so that no register or stack slot holds it by the compiler's choice.
    fn marker() -> u64 {
        black_box(0x1234_5678_9abc_def0_u64).rotate_left(black_box(20))
    }

    /// Leaves `N` words of marker on the stack.
    #[inline(never)]
    fn litter<const N: usize>() {
        let words = [marker(); N];
        optimization_barrier(&words);
    }

    /// Counts the markers in the 48 KiB below the caller's frame.
    #[inline(never)]
    fn count_litter() -> usize {
        let mut stack = MaybeUninit::<[u64; 48 * 1024 / 8]>::uninit();
        // SAFETY: does nothing. As far as the compiler can know it writes the array, which is thereby initialized.
        let stack = unsafe {
            asm!("/* {} */", in(reg) stack.as_mut_ptr(), options(nostack, preserves_flags));
            stack.assume_init_ref()
        };
        let marker = marker();
        stack.iter().filter(|word| **word == marker).count()
    }

    /// As [`burned`], without the burning.
    #[inline(never)]
    fn not_burned(work: impl FnOnce()) {
        apart(work);
    }

    /// Counts the 16-byte pieces of `secret` in the 48 KiB below the caller's frame, at any multiple of 8 bytes.
    #[inline(never)]
    fn count_pieces(secret: &[[u8; 16]]) -> usize {
        let mut stack = MaybeUninit::<[u8; 48 * 1024]>::uninit();
        // SAFETY: does nothing. As far as the compiler can know it writes the array, which is thereby initialized.
        let stack = unsafe {
            asm!("/* {} */", in(reg) stack.as_mut_ptr(), options(nostack, preserves_flags));
            stack.assume_init_ref()
        };
        let at_word = (0..stack.len() - 16).step_by(8);
        at_word.filter(|at| secret.iter().any(|piece| stack[*at..*at + 16] == *piece)).count()
    }

    /// The pieces of an expanded schedule: round keys and powers of the GHASH key.
    fn pieces(cipher: &Aes256Gcm) -> Vec<[u8; 16]> {
        // SAFETY: the type holds round keys and field elements, without padding between them; a read of other bytes would
        // be of no consequence here.
        let bytes = unsafe { std::slice::from_raw_parts(ptr::from_ref(cipher).cast::<u8>(), size_of::<Aes256Gcm>()) };
        // What else the type holds, such as which instructions to use, is not secret and may lie anywhere.
        let is_key = |piece: &[u8]| piece.iter().collect::<BTreeSet<_>>().len() > 10;
        let keys = bytes.chunks_exact(16).filter(|piece| is_key(piece));
        keys.map(|piece| piece.try_into().unwrap()).collect()
    }

    #[inline(never)]
    fn encrypt(cipher: &Aes256Gcm, buffer: &mut [u8; 64]) {
        let nonce = black_box([3; 12]);
        let tag = cipher.encrypt_inout_detached(&nonce.into(), black_box(&[9; 64]), buffer.as_mut_slice().into());
        black_box(tag.unwrap());
    }

    #[inline(never)]
    fn decrypt(cipher: &Aes256Gcm, buffer: &mut [u8; 64]) {
        let nonce = black_box([3; 12]);
        let tag = black_box([0; 16]);
        let opened = cipher.decrypt_inout_detached(
            &nonce.into(),
            black_box(&[9; 64]),
            buffer.as_mut_slice().into(),
            &tag.into(),
        );
        assert!(black_box(opened).is_err());
    }

    #[test]
    fn burned_leaves_no_round_key_of_a_cipher_on_the_stack() {
        let mut byte = 11_u8;
        let key: [u8; 32] = std::array::from_fn(|_| {
            byte = black_box(byte).wrapping_mul(5).wrapping_add(37);
            byte
        });
        let cipher = Box::new(Aes256Gcm::new(&key.into()));
        let pieces = pieces(&cipher);
        assert!(pieces.len() > 15, "{} pieces", pieces.len());
        let mut buffer = [7; 64];
        type Operation = fn(&Aes256Gcm, &mut [u8; 64]);
        for operation in [encrypt as Operation, decrypt as Operation] {
            // What building the schedule, or the operation before, has left.
            burned(|_| ());
            burned(|_| operation(&cipher, &mut buffer));
            assert_eq!(count_pieces(&pieces), 0);
        }
        // The search finds what is there: the cipher itself, when it lies on the stack.
        burned(|_| ());
        not_burned(|| {
            let copy = Aes256Gcm::new(&key.into());
            black_box(&copy);
        });
        assert!(count_pieces(&pieces) > 0);
    }

    #[test]
    fn litter_is_found_where_nothing_clears_it() {
        not_burned(litter::<8>);
        assert!(count_litter() >= 8);
        not_burned(litter::<3500>);
        assert!(count_litter() >= 3400);
    }

    #[test]
    fn burned_overwrites_shallow_and_deep_stack() {
        burned(|_| litter::<8>());
        assert_eq!(count_litter(), 0);
        burned(|_| litter::<3500>());
        assert_eq!(count_litter(), 0);
    }

    #[test]
    fn burned_overwrites_the_stack_of_work_that_panics() {
        let work = |_: &Burning| {
            litter::<3500>();
            resume_unwind(Box::new(()));
        };
        assert!(catch_unwind(|| burned(work)).is_err());
        assert_eq!(count_litter(), 0);
    }

    #[test]
    fn results_pass_through() {
        assert_eq!(burned(|_| black_box(7.5_f64) * 2.0), 15.0);
        assert_eq!(burned(|_| [marker(); 40]), [marker(); 40]);
    }

    #[cfg(target_arch = "x86_64")]
    mod x86_64 {
        use super::*;
        use std::arch::is_x86_feature_detected;
        use std::io::{self, Write as _};

        /// Writes ones to all 32 zmm registers.
        #[target_feature(enable = "avx512f")]
        fn fill_zmm() {
            // SAFETY: changes vector registers only, which are all declared as clobbered.
            unsafe {
                asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    "vpternlogd zmm\\n, zmm\\n, zmm\\n, 255",
                    ".endr",
                    clobber_abi("sysv64"),
                    options(nostack, preserves_flags),
                );
            }
        }

        /// How many of the 32 zmm registers are not zero.
        #[target_feature(enable = "avx512f")]
        fn dirty_zmm() -> usize {
            let mut copy = MaybeUninit::<[[u64; 8]; 32]>::uninit();
            // Not filled beforehand: the C library's memset uses these registers.
            // SAFETY: writes all of `copy`, 32 times 64 bytes.
            let copy = unsafe {
                asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    "vmovdqu64 [{copy} + 64 * \\n], zmm\\n",
                    ".endr",
                    copy = in(reg) copy.as_mut_ptr(),
                    options(nostack, preserves_flags),
                );
                copy.assume_init()
            };
            copy.iter().filter(|register| **register != [0; 8]).count()
        }

        /// Writes ones to all 16 xmm registers.
        fn fill_xmm() {
            // SAFETY: changes vector registers only, which are all declared as clobbered.
            unsafe {
                asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    "pcmpeqd xmm\\n, xmm\\n",
                    ".endr",
                    clobber_abi("sysv64"),
                    options(nostack, preserves_flags),
                );
            }
        }

        /// How many of the 16 xmm registers are not zero.
        fn dirty_xmm() -> usize {
            let mut copy = MaybeUninit::<[[u64; 2]; 16]>::uninit();
            // SAFETY: writes all of `copy`, 16 times 16 bytes.
            let copy = unsafe {
                asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
                    "movups [{copy} + 16 * \\n], xmm\\n",
                    ".endr",
                    copy = in(reg) copy.as_mut_ptr(),
                    options(nostack, preserves_flags),
                );
                copy.assume_init()
            };
            copy.iter().filter(|register| **register != [0; 2]).count()
        }

        /// Counts the markers in the 48 KiB below this very stack pointer, with no frame of its own in between.
        #[inline(always)]
        fn count_litter_below(marker: &u64) -> usize {
            let mut count = 0;
            // SAFETY: reads the stack of this thread, where `litter` has been before.
            unsafe {
                asm!(
                    "2:",
                    "mov {word}, [rsp + {at}]",
                    "cmp {word}, [{marker}]",
                    "jne 3f",
                    "inc {count}",
                    "3:",
                    "add {at}, 8",
                    "jnz 2b",
                    at = inout(reg) -48 * 1024_i64 => _,
                    marker = in(reg) marker,
                    word = out(reg) _,
                    count = inout(reg) count,
                    options(nostack, readonly),
                );
            }
            count
        }

        #[test]
        fn burned_leaves_nothing_of_its_work_even_at_the_top() {
            // In memory, so that no register that is saved on the stack holds it.
            let marker = Box::new(marker());
            let work = || optimization_barrier(&[**black_box(&marker); 8]);
            not_burned(work);
            assert!(count_litter_below(&marker) >= 8);
            burned(|_| work());
            assert_eq!(count_litter_below(&marker), 0);
        }

        #[test]
        fn burned_clears_every_register_there_is() {
            burned(|_| fill_xmm());
            assert_eq!(dirty_xmm(), 0);
            if !is_x86_feature_detected!("avx512f") {
                io::stderr().write_all(b"NOT TESTED: zmm registers, this processor has none\n").unwrap();
                return;
            }
            // SAFETY: the processor has AVX-512F.
            unsafe {
                // The control: what nothing clears is seen. Some may be reused for the call.
                fill_zmm();
                assert!(dirty_zmm() >= 24);
                burned(|_| fill_zmm());
                assert_eq!(dirty_zmm(), 0);
                burned(|_| fill_zmm());
                assert_eq!(dirty_zmm(), 0);
            }
        }

        #[test]
        fn each_variant_clears_what_it_says() {
            fill_xmm();
            registers::sse();
            assert_eq!(dirty_xmm(), 0);
            if !is_x86_feature_detected!("avx512f") {
                io::stderr()
                    .write_all(b"NOT TESTED: the variants for AVX and AVX-512, this processor lacks AVX-512F\n")
                    .unwrap();
                return;
            }
            // SAFETY: the processor has AVX-512F, and so AVX.
            unsafe {
                fill_zmm();
                registers::avx();
                // zmm16 to zmm31 stay dirty: this is why AVX-512 has a variant of its own.
                assert_eq!(dirty_zmm(), 16);
                registers::avx512();
                assert_eq!(dirty_zmm(), 0);
            }
        }
    }

    #[cfg(target_arch = "aarch64")]
    #[test]
    fn burned_clears_every_register_there_is() {
        /// Writes ones to all registers. Half of v8 to v15 is restored on return.
        #[inline(never)]
        fn fill() {
            // SAFETY: changes vector registers only, which are all declared as clobbered.
            unsafe {
                asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    "movi v\\n\\().16b, #255",
                    ".endr",
                    clobber_abi("C"),
                    options(nostack, preserves_flags),
                );
            }
        }

        /// How many are not zero, of those that a function need not restore.
        fn dirty() -> usize {
            let mut copy = MaybeUninit::<[[u64; 2]; 32]>::uninit();
            // SAFETY: writes all of `copy`, 32 times 16 bytes.
            let copy = unsafe {
                asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    "str q\\n, [{copy}, #(16 * \\n)]",
                    ".endr",
                    copy = in(reg) copy.as_mut_ptr(),
                    options(nostack, preserves_flags),
                );
                copy.assume_init()
            };
            copy.iter().enumerate().filter(|(n, register)| !(8..16).contains(n) && **register != [0; 2]).count()
        }

        fill();
        assert!(dirty() >= 16);
        burned(|_| fill());
        assert_eq!(dirty(), 0);
    }
}
