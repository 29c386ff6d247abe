/* Every tile of every level that runs here, bit for bit against one plain chain after another.
 *
 * Built with src/tile/tiles.c; by tools/avx512.sh without an operating system (BARE), for an
 * emulator: so nothing but memcpy is called, and what it says goes through put(). The sums are
 * those that tiles.h defines, in the order that every level has: chains of at most CC_BLOCK fused
 * multiply-adds, added in order; CC_LANES chains where lanes run along positions.
 */
#include "tiles.h"

#ifdef BARE
static void put(char c) { __asm__ volatile("outb %0, $0xe9" ::"a"(c)); }
enum { NO_TIES = 1 }; /* Bochs 2.7 rounds some of them up when it narrows, processors to even */
#else
#include <stdio.h>
static void put(char c) { putchar(c); }
enum { NO_TIES = 0 };
#endif

static void say(const char *text)
{
    while (*text)
        put(*text++);
}

static void say_number(long number)
{
    if (number > 9)
        say_number(number / 10);
    put((char)('0' + number % 10));
}

static uint32_t state;

static int random_bits(void) /* 16 of them */
{
    state = state * 1664525u + 1013904223u;
    return (int)(state >> 16);
}

static long compared, wrong;

enum { SAMPLES = 8192, RESULTS = 5120 };
static int32_t offset[400], w_offset[400], dy_offset[CC_DOT_ROWS];

#define REAL float
#define BITS uint32_t
#define FMA __builtin_fmaf
#define NAME(name) name##_f32
#include "tile_driver.h"
#undef REAL
#undef BITS
#undef FMA
#undef NAME
#define REAL double
#define BITS uint64_t
#define FMA __builtin_fma
#define NAME(name) name##_f64
#include "tile_driver.h"

static void halves(const cc_half *level, const cc_half *plain)
{
    static uint16_t all[1 << 16], back[2][1 << 16];
    static float values[2][1 << 16];
    for (int i = 0; i < 1 << 16; i++)
        all[i] = (uint16_t)i;
    level->widen(all, 1 << 16, values[0]);
    plain->widen(all, 1 << 16, values[1]);
    for (int i = 0; i < 1 << 16; i++, compared++)
        wrong += ((uint32_t *)values[0])[i] != ((uint32_t *)values[1])[i];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 1 << 16; i++)
            ((uint32_t *)values[0])[i] = (uint32_t)i << 16 | (uint32_t)random_bits() | NO_TIES;
        level->narrow(values[0], 1 << 16, back[0]);
        plain->narrow(values[0], 1 << 16, back[1]);
        for (int i = 0; i < 1 << 16; i++, compared++)
            wrong += back[0][i] != back[1][i];
    }
}

static void report(const char *level, const char *what)
{
    say(level);
    say(what);
    say_number(compared);
    say(" compared, ");
    say_number(wrong);
    say(" wrong\n");
}

int main(void)
{
    long all_wrong = 0;
    for (int i = 0; i < cc_level_count; i++) {
        const cc_level *level = &cc_levels[i];
        if (!level->supported()) {
            say(level->name);
            say(": not supported by this processor\n");
            continue;
        }
        const int fuses = level->name[0] != 'b'; /* all but the baseline of x86 */
        compared = wrong = 0;
        halves(level->float16, cc_levels[0].float16);
        halves(level->bfloat16, cc_levels[0].bfloat16);
        report(level->name, " halves: ");
        all_wrong += wrong;
        if (fuses) {
            compared = wrong = 0;
            check_f32(level->f32);
            report(level->name, " float32: ");
            all_wrong += wrong;
            compared = wrong = 0;
            check_f64(level->f64);
            report(level->name, " float64: ");
            all_wrong += wrong;
        }
    }
    say(all_wrong ? "FAILED\n" : "all tiles right\n");
    return all_wrong != 0;
}
