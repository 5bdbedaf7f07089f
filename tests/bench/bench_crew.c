/* What it costs to share a loop, without models: bench_crew [hog]
 * A caller posts loops of so many microseconds with pauses between them, as the layers of
 * a forward pass do; one member of the crew helps. For each length and pause, of short
 * rounds in turn: the median time of a loop alone and shared, their ratio, and what is
 * lost beside a perfect half; the median time from the post until the member's first
 * slice, and from the end of the last slice until crew_for returns. All these are of the
 * best round, in which nobody else wanted the cores. Then how many loops of all rounds
 * the member came to, and the ratio of means over all rounds. With `hog` another thread
 * keeps a core busy all the time: sharing must not be much slower than working alone. */
#include "model/base/crew.h"
#include "tests/bench/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 21, SAMPLES = 2000, ITERATIONS = 48, GRAIN_US = 4, ROUND_NS = 5000000 };

static const int LENGTHS_US[] = {5, 10, 20, 50, 100, 200, 1000};
static const int PAUSES_US[] = {0, 5, 50, 500};

struct bench {
    struct crew *crew;
    pthread_t member, hog;
    atomic_bool stop;
    double steps_per_ns;
};

struct loop {
    uint64_t steps; /* of one iteration */
    pthread_t caller;
    atomic_ullong helper_ns, last_ns; /* first slice begun; last slice ended */
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Arithmetic that depends on itself, and touches no memory. */
static void work(uint64_t steps)
{
    volatile uint64_t sink;
    uint64_t z = steps;
    for (uint64_t i = 0; i < steps; i++)
        z = z * 6364136223846793005u + i;
    sink = z;
    (void)sink;
}

static void run_slice(void *arg, size_t first, size_t last)
{
    struct loop *l = arg;
    if (!pthread_equal(pthread_self(), l->caller)) {
        unsigned long long none = 0;
        atomic_compare_exchange_strong(&l->helper_ns, &none, now_ns());
    }
    work((last - first) * l->steps);
    atomic_store(&l->last_ns, now_ns());
}

static bool still_idle(void *arg)
{
    const struct bench *b = arg;
    return !atomic_load(&b->stop);
}

static void *member_main(void *arg)
{
    struct bench *b = arg;
    while (still_idle(b))
        crew_assist(b->crew, still_idle, b);
    return NULL;
}

static void *hog_main(void *arg)
{
    const struct bench *b = arg;
    while (still_idle((void *)b))
        work(10000);
    return NULL;
}

/* Of the loops of a round, in us; then of the best round. */
struct sample {
    double time[SAMPLES], begin[SAMPLES], end[SAMPLES];
    size_t n, n_helped;
};

struct best {
    double time, begin, end; /* medians of a round, the least of all rounds */
    double sum;              /* of all loops */
    size_t n, n_helped;
};

static double least(double before, double v)
{
    return before == 0 || v < before ? v : before;
}

static void run_round(struct bench *b, bool shared, int length_us, int pause_us,
                      struct best *best)
{
    static struct sample s;
    size_t n = ROUND_NS / 1000 / (size_t)(length_us + pause_us);
    uint64_t steps = (uint64_t)(length_us * 1000 * b->steps_per_ns / ITERATIONS);
    size_t ns = (size_t)(length_us * 1000 / ITERATIONS);
    s.n = s.n_helped = 0;
    for (size_t i = 0; i < n && s.n < SAMPLES; i++) {
        struct loop l = {.steps = steps, .caller = pthread_self()};
        work((uint64_t)(pause_us * 1000 * b->steps_per_ns));
        uint64_t start = now_ns();
        crew_for(shared ? b->crew : NULL, ITERATIONS, ns, run_slice, &l);
        uint64_t end = now_ns();
        best->sum += s.time[s.n++] = (double)(end - start) * 1e-3;
        if (!l.helper_ns)
            continue;
        s.begin[s.n_helped] = (double)(l.helper_ns - start) * 1e-3;
        s.end[s.n_helped++] = (double)(end - l.last_ns) * 1e-3;
    }
    best->n += s.n;
    best->n_helped += s.n_helped;
    best->time = least(best->time, median(s.time, s.n));
    if (s.n_helped < s.n / 2)
        return;
    best->begin = least(best->begin, median(s.begin, s.n_helped));
    best->end = least(best->end, median(s.end, s.n_helped));
}

static void run_row(struct bench *b, int length_us, int pause_us)
{
    struct best one = {0}, two = {0};
    for (size_t r = 0; r < ROUNDS; r++) {
        run_round(b, false, length_us, pause_us, &one);
        run_round(b, true, length_us, pause_us, &two);
    }
    printf("%6d %6d %8.1f %8.1f %8.2f %8.1f %8.2f %8.2f %7.0f%% %8.2f\n", length_us,
           pause_us, one.time, two.time, one.time / two.time, two.time - one.time / 2,
           two.begin, two.end, 100.0 * (double)two.n_helped / (double)two.n,
           one.sum / (double)one.n / two.sum * (double)two.n);
    fflush(stdout);
}

/* Steps of `work` in a nanosecond: the most of many short runs. */
static double calibrate(void)
{
    double best = 0;
    for (int i = 0; i < 200; i++) {
        uint64_t start = now_ns();
        work(100000);
        double speed = 100000 / (double)(now_ns() - start);
        best = speed > best ? speed : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    static struct bench b;
    struct err err = {0};
    bool with_hog = argc > 1 && strcmp(argv[1], "hog") == 0;
    if (crew_new(&b.crew, &err) != ERR_OK ||
        pthread_create(&b.member, NULL, member_main, &b) != 0 ||
        (with_hog && pthread_create(&b.hog, NULL, hog_main, &b) != 0)) {
        fprintf(stderr, "bench_crew: can't start: %s\n", err.msg);
        return 1;
    }
    b.steps_per_ns = calibrate();
    printf("a loop of `length` us behind `pause` us of work by the caller alone%s; us\n",
           with_hog ? ", beside a hog" : "");
    printf("%6s %6s %8s %8s %8s %8s %8s %8s %8s %8s\n", "length", "pause", "alone",
           "shared", "ratio", "lost", "begins", "returns", "helped", "means");
    for (size_t p = 0; p < sizeof PAUSES_US / sizeof *PAUSES_US; p++)
        for (size_t l = 0; l < sizeof LENGTHS_US / sizeof *LENGTHS_US; l++)
            run_row(&b, LENGTHS_US[l], PAUSES_US[p]);
    atomic_store(&b.stop, true);
    crew_wake(b.crew);
    pthread_join(b.member, NULL);
    if (with_hog)
        pthread_join(b.hog, NULL);
    crew_free(b.crew);
    return 0;
}
