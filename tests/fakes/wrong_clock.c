/* Loaded before the C library: the clock of this process shows another time, and may be stepped while it runs.
 *
 * WRONG_CLOCK_SECONDS: how much it is fast. WRONG_CLOCK_STEP_SECONDS: by how much it is set after a few seconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

#define STEPS_AFTER_SECONDS 5

static long setting(const char *name)
{
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    static long began;
    struct timespec monotonic;
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
        return answer;
    real(CLOCK_MONOTONIC, &monotonic);
    if (!began)
        began = monotonic.tv_sec;
    now->tv_sec += setting("WRONG_CLOCK_SECONDS");
    if (monotonic.tv_sec - began >= STEPS_AFTER_SECONDS)
        now->tv_sec += setting("WRONG_CLOCK_STEP_SECONDS");
    return answer;
}
