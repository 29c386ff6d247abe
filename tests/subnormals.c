/* Whether arithmetic has met a subnormal number, as the processor's flags tell: test_scratch.py.
 *
 * C has no name for this flag, and those functions of C that read flags do not show it.
 */
#include <xmmintrin.h>

enum { DENORMAL_OPERAND = 2, FLAGS = 0x3f };

void forget(void) { _mm_setcsr(_mm_getcsr() & ~(unsigned)FLAGS); }

int has_met_subnormal(void) { return (_mm_getcsr() & DENORMAL_OPERAND) != 0; }
