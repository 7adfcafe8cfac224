// Stands in for the compiler's header of this name where the processor lacks an instruction set:
// SIMDe's functions under the names of the intrinsics, then those that SIMDe 0.7.4 lacks. SIMDe
// itself includes this name for what the processor has, and gets the compiler's.
#ifdef FTLLM_EMULATED_INTRINSICS
#include_next <immintrin.h>
#else
#define FTLLM_EMULATED_INTRINSICS

// The helper functions of SIMDe are older than the warnings.
#pragma GCC system_header
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include "avx512_gaps.h"
#include "tiles.h"

#endif
